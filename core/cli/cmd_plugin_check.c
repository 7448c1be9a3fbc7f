/* sluice plugin check: prints what the tests of core/check find. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/stop.h"
#include "check/conform.h"
#include "cli/cli.h"
#include "cli/plugin.h"

static const char help[] = "Tests a plugin: the file, what loading it does, what it declares, and "
                           "each stage with typical, short, empty and\n"
                           "hostile inputs, parameters at their bounds, cancelling, little memory, "
                           "many jobs. Each test has workers of its own,\n"
                           "so a crash or a hang costs one test.\n\n"
                           "--only and --except take a test (inputs.empty), a family (inputs), a "
                           "stage (audio/decode) or both (audio/decode:inputs).\n"
                           "A parameter that is required, or a model, comes with --with "
                           "STAGE.NAME=VALUE; without it the stage is skipped.\n"
                           "Exit status: 0 nothing failed, 1 some test failed, 2 bad usage.";

struct arguments {
    struct sl_words only, except, with, rest;
    const char *wrap;
    bool in_process, list, json;
    int limit_s;
};

static void report_line(void *to, const struct sl_conform_result *r) {
    (void)to;
    sl_autostr struct sl_str line = {0}, name = {0};
    sl_str_addf(&name, "%s%s%s", r->stage ? r->stage : "", r->stage ? ":" : "", r->test);
    sl_str_add_column(&line, sl_conform_outcome_name(r->outcome), 5);
    sl_str_add_column(&line, sl_str_text(&name), 34);
    sl_str_addf(&line, " %6lld ms", (long long)r->ms);
    if (*r->why)
        sl_str_addf(&line, "  %s", r->why);
    puts(sl_str_text(&line));
    fflush(stdout);
}

static void print_json(json_t *one) {
    sl_autofree char *line = sl_json_line(one);
    puts(line);
    fflush(stdout);
    json_decref(one);
}

static void report_json(void *to, const struct sl_conform_result *r) {
    (void)to;
    json_t *one = json_object();
    sl_json_set(one, "test", json_string(r->test));
    sl_json_set(one, "stage", r->stage ? json_string(r->stage) : json_null());
    sl_json_set(
        one, "outcome",
        json_string(r->outcome == SL_CONFORM_FAIL ? "fail" : sl_conform_outcome_name(r->outcome)));
    sl_json_set(one, "ms", json_integer(r->ms));
    sl_json_set(one, "why", sl_json_text(r->why));
    print_json(one);
}

static void print_summary(const struct sl_conform_summary *s, bool json) {
    const int *n = s->counts;
    if (json)
        print_json(json_pack("{s:i,s:i,s:i,s:i,s:b}", "ok", n[SL_CONFORM_OK], "warn",
                             n[SL_CONFORM_WARN], "skip", n[SL_CONFORM_SKIP], "fail",
                             n[SL_CONFORM_FAIL], "stopped", s->stopped));
    else
        printf("\n%d ok, %d warnings, %d skipped, %d failed%s\n", n[SL_CONFORM_OK],
               n[SL_CONFORM_WARN], n[SL_CONFORM_SKIP], n[SL_CONFORM_FAIL],
               s->stopped ? " (stopped before the end)" : "");
}

static int print_list(bool json) {
    const char *name, *what;
    bool per_stage;
    for (int i = 0; (name = sl_conform_test(i, &what, &per_stage)); i++) {
        if (json)
            print_json(
                json_pack("{s:s,s:s,s:b}", "test", name, "what", what, "per_stage", per_stage));
        else
            printf("%-16s %s%s\n", name, what, per_stage ? "" : " (once a plugin)");
    }
    return SL_EXIT_OK;
}

/* Ctrl-C ends the test that runs, its workers and the temporary files, in this order. */
static int check(const struct arguments *a, struct sl_conform_options *options) {
    struct sl_conform_summary summary;
    struct sl_err err = {0};
    sl_autoclose int stop_fd = sl_stop_open();
    options->stop_fd = stop_fd;
    int rc = sl_conform_run(options, &summary, &err);
    if (rc < 0) {
        sl_cli_error(&err);
        return SL_EXIT_USAGE;
    }
    print_summary(&summary, a->json);
    if (summary.stopped)
        return SL_EXIT_CANCELLED;
    return summary.counts[SL_CONFORM_FAIL] ? SL_EXIT_FAILED : SL_EXIT_OK;
}

/* "name=value" words; owned names. */
static int split_with(const struct sl_words *words, struct sl_conform_with *ret,
                      struct sl_err *err) {
    for (int i = 0; i < words->n; i++) {
        char *name = NULL;
        int rc = sl_cli_split(words->items[i], "with", &name, &ret[i].value, err);
        if (rc < 0)
            return rc;
        ret[i].name = name;
    }
    return 0;
}

static int run(const struct arguments *a) {
    struct sl_install in = sl_install_find();
    struct sl_err err = {0};
    sl_autofree struct sl_conform_with *with = sl_xcalloc((size_t)a->with.n + 1, sizeof *with);
    struct sl_arena arena = {0};
    struct sl_conform_options options = {.plugin = a->rest.items[0],
                                         .worker = in.worker,
                                         .share = in.share,
                                         .only = a->only.items,
                                         .n_only = a->only.n,
                                         .except = a->except.items,
                                         .n_except = a->except.n,
                                         .with = with,
                                         .n_with = a->with.n,
                                         .wrap = a->wrap ? sl_cli_wrap(a->wrap, &arena) : NULL,
                                         .in_process = a->in_process,
                                         .limit_s = a->limit_s,
                                         .report = a->json ? report_json : report_line};
    int status = SL_EXIT_USAGE;
    if (split_with(&a->with, with, &err) < 0)
        sl_cli_error(&err);
    else
        status = check(a, &options);
    for (int i = 0; i < a->with.n; i++)
        free((char *)with[i].name);
    sl_arena_finish(&arena);
    sl_install_finish(&in);
    return status;
}

int sl_plugin_check(const struct sl_command *self, int argc, char **argv) {
    struct arguments a = {.limit_s = 60};
    const struct sl_option table[] = {
        {"only", 0, SL_OPT_LIST, &a.only, "TEST", "run these tests only"},
        {"except", 0, SL_OPT_LIST, &a.except, "TEST", "leave these tests out"},
        {"with", 0, SL_OPT_LIST, &a.with, "NAME=VALUE", "a parameter; NAME is STAGE.PARAMETER"},
        {"limit", 0, SL_OPT_INT, &a.limit_s, "SECONDS", "for a job or create() (default 60)"},
        {"in-process", 0, SL_OPT_FLAG, &a.in_process, NULL, "one worker for all tests of a stage"},
        {"wrap", 0, SL_OPT_TEXT, &a.wrap, "COMMAND", "run workers under a command, without limits"},
        {"list", 0, SL_OPT_FLAG, &a.list, NULL, "name the tests; nothing is run"},
        {"json", 0, SL_OPT_FLAG, &a.json, NULL, "one JSON object a test and line"},
        {0},
    };
    int status = sl_cli_parse(self, help, table, argc, argv, &a.rest);
    if (status < 0 && a.list)
        status = print_list(a.json);
    if (status < 0 && a.rest.n != 1) {
        fprintf(stderr,
                "sluice: expected one plugin file, such as build/hello.so\nusage: sluice %s\n",
                self->usage);
        status = SL_EXIT_USAGE;
    }
    if (status < 0)
        status = run(&a);
    free(a.only.items);
    free(a.except.items);
    free(a.with.items);
    free(a.rest.items);
    return status;
}

/* sluice run: a pipeline over files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "cli/batch.h"
#include "cli/cli.h"
#include "cli/places.h"

static const char help[] =
    "Runs every stage of the pipeline for every FILE and writes the outputs into DIR, as\n"
    "<name of the file>.<name of the output>. A folder stands for the audio and video files in it\n"
    "and below, a quoted pattern for the files that match. One bad file does not stop the others.\n"
    "Progress and failures go to standard error, the paths of the files written to standard "
    "output.\n"
    "Ctrl-C cancels; a second one kills. With --watch the first one only ends the watching.\n\n"
    "Exit status: 0 all items ok, 1 some item failed, 2 bad usage or pipeline, 130 cancelled.";

struct arguments {
    const char *out, *manifest, *watch;
    struct sl_words settings, inputs, inject, plugins, rest;
    int jobs;
    bool fail_fast, keep, no_cache, json, quiet;
};

/* The paths of the pipeline's inputs after the first, from --in NAME=FILE; [0] stays empty. */
static int bind_inputs(const struct sl_plan *plan, const struct sl_words *words, const char **paths,
                       struct sl_arena *arena, struct sl_err *err) {
    for (int w = 0; w < words->n; w++) {
        sl_autofree char *name = NULL;
        const char *value;
        int at = 1, rc = sl_cli_split(words->items[w], "in", &name, &value, err);
        if (rc < 0)
            return rc;
        while (at < plan->n_inputs && strcmp(plan->inputs[at].name, name) != 0)
            at++;
        if (at >= plan->n_inputs)
            return sl_err_set(err, SL_USAGE,
                              "--in %s: the pipeline has no input of that name beside its first",
                              name);
        sl_autofree char *absolute = sl_path_absolute(value);
        paths[at] = sl_arena_strdup(arena, absolute);
    }
    for (int i = 1; i < plan->n_inputs; i++)
        if (!paths[i])
            return sl_err_set(err, SL_USAGE,
                              "the pipeline's input \"%s\" is not given: --in %s=FILE",
                              plan->inputs[i].name, plan->inputs[i].name);
    return 0;
}

/* The journal says where outputs are, for `sluice resume` too. */
static bool check_out(const char *folder, struct sl_err *err) {
    if (!folder || sl_utf8_valid(folder, strlen(folder)) == strlen(folder))
        return true;
    sl_err_set(err, SL_USAGE, "-o: the path of the folder is not UTF-8; choose another");
    return false;
}

static bool check_watch(const char *folder, struct sl_err *err) {
    struct stat st;
    if (!folder || (stat(folder, &st) == 0 && S_ISDIR(st.st_mode)))
        return true;
    sl_err_set(err, SL_USAGE, "--watch %s: there is no such folder", folder);
    return false;
}

static int read_injections(const struct sl_plan *plan, const struct sl_words *words,
                           struct sl_injection **ret, int *ret_n, struct sl_err *err) {
    int rc = 0;
    for (int w = 0; rc == 0 && w < words->n; w++)
        rc = sl_inject_parse(plan, words->items[w], ret, ret_n, err);
    return rc;
}

static int run_plan(const struct arguments *a, const struct sl_loaded *loaded) {
    const struct sl_plan *plan = loaded->plan;
    struct sl_arena arena = {0};
    struct sl_err err = {0};
    struct sl_batch batch = {0};
    const char **inputs = sl_arena_alloc(&arena, (size_t)(plan->n_inputs + 1) * sizeof *inputs);
    sl_autofree char *out = sl_path_absolute(a->out);
    sl_autofree char *watch = a->watch ? sl_path_absolute(a->watch) : NULL;
    struct sl_batch_spec spec = {loaded,        &a->settings, a->rest.items + 1,
                                 a->rest.n - 1, a->manifest,  watch};
    sl_autofree struct sl_injection *injections = NULL;
    int status = 0, n_injections = 0;
    if (!check_out(out, &err) || !check_watch(watch, &err) ||
        bind_inputs(plan, &a->inputs, inputs, &arena, &err) < 0 ||
        read_injections(plan, &a->inject, &injections, &n_injections, &err) < 0) {
        sl_cli_error(&err);
        status = SL_EXIT_USAGE;
    }
    if (status == 0)
        status = sl_batch_make(&spec, &batch);
    if (status == 0 && sl_places_check(plan, batch.items, batch.n_items, out, &err) < 0) {
        sl_cli_error(&err);
        status = SL_EXIT_USAGE;
    }
    if (status == 0)
        status = sl_cli_execute(&(struct sl_cli_run){.plan = plan,
                                                     .pipeline_file = a->rest.items[0],
                                                     .out_dir = out,
                                                     .items = batch.items,
                                                     .n_items = batch.n_items,
                                                     .max_items = batch.max_items,
                                                     .variants = batch.variants,
                                                     .watch_dir = watch,
                                                     .inputs = inputs,
                                                     .json = a->json,
                                                     .quiet = a->quiet,
                                                     .fail_fast = a->fail_fast,
                                                     .keep_artifacts = a->keep,
                                                     .cache = !a->no_cache,
                                                     .jobs = a->jobs,
                                                     .injections = injections,
                                                     .n_injections = n_injections,
                                                     .settings = &a->settings,
                                                     .plugins = &a->plugins});
    sl_batch_finish(&batch);
    sl_arena_finish(&arena);
    return status;
}

int sl_cmd_run(const struct sl_command *self, int argc, char **argv) {
    struct arguments a = {.out = "."};
    const struct sl_option table[] = {
        {"out", 'o', SL_OPT_TEXT, &a.out, "DIR", "where outputs are written (default: here)"},
        {"set", 0, SL_OPT_LIST, &a.settings, "NAME=VALUE", "set a parameter of the pipeline"},
        {"in", 0, SL_OPT_LIST, &a.inputs, "NAME=FILE",
         "a further input of the pipeline, the same for every item"},
        {"manifest", 0, SL_OPT_TEXT, &a.manifest, "FILE",
         "take files from a list, or from a .csv file with parameters for each"},
        {"watch", 0, SL_OPT_TEXT, &a.watch, "DIR",
         "take files that are put into this folder, until Ctrl-C"},
        {"jobs", 'j', SL_OPT_INT, &a.jobs, "N", "workers at a time (default: one a processor)"},
        {"fail-fast", 0, SL_OPT_FLAG, &a.fail_fast, NULL, "stop at the first item that fails"},
        {"keep-artifacts", 0, SL_OPT_FLAG, &a.keep, NULL,
         "keep what stages handed on, also of items that are ok"},
        {"inject", 0, SL_OPT_LIST, &a.inject, "STAGE:FAULT[@N]",
         "rehearse a failure: crash, hang, oom, transient, garbage or slow, in attempt N or in "
         "all"},
        {"no-cache", 0, SL_OPT_FLAG, &a.no_cache, NULL,
         "use no results of earlier runs, and keep none"},
        {"json", 0, SL_OPT_FLAG, &a.json, NULL, "print events as JSON lines on standard output"},
        {"quiet", 'q', SL_OPT_FLAG, &a.quiet, NULL, "print failures only"},
        {"plugins", 0, SL_OPT_LIST, &a.plugins, "DIR", "look for plugins here first"},
        {0},
    };
    struct sl_loaded loaded = {0};
    int status = sl_cli_parse(self, help, table, argc, argv, &a.rest);
    if (status < 0 && a.rest.n == 0) {
        fprintf(stderr, "sluice: no pipeline given\nusage: sluice %s\n", self->usage);
        status = SL_EXIT_USAGE;
    }
    if (status < 0)
        status = sl_cli_load_plan(a.rest.items[0], NULL, &a.plugins, &a.settings, &loaded);
    if (loaded.plan && status == 0)
        status = run_plan(&a, &loaded);
    sl_loaded_finish(&loaded);
    free(a.settings.items);
    free(a.inputs.items);
    free(a.inject.items);
    free(a.plugins.items);
    free(a.rest.items);
    return status;
}

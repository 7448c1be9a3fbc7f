/*
 * sluice resume: finishes a run whose core was killed, lost its power or was cancelled. The
 * pipeline is the copy in the run's folder; parameters, inputs, items and options are those that
 * the journal begins with, in the folder in which the run was started. What is kept and what runs
 * again is decided in sched/resume.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/cli.h"
#include "graph/variants.h"
#include "proc/leftovers.h"
#include "run/replay.h"

static const char help[] = "Finishes a run that was cut off: killed, out of power, or cancelled. "
                           "RUN is an id, the beginning\n"
                           "of one, or \"last\". What was done stays, after a look at it; what was "
                           "under way is done again.\n"
                           "Of a run that came to its end nothing is done; with --failed, items "
                           "that failed are tried again.\n"
                           "Pipeline, parameters, inputs and options are those of the run. A run "
                           "that watched a folder is\n"
                           "finished with the files it had.\n\n"
                           "Exit status: 0 all items ok, or nothing to do; 1 some item failed, or "
                           "the run is still under way;\n"
                           "2 bad usage, or the run cannot be resumed; 130 cancelled.";

struct arguments {
    struct sl_words rest;
    int jobs;
    bool failed, json, quiet;
};

/* A run opened and locked, with what its journal says. */
struct cut_off {
    struct sl_rundir dir;
    struct sl_replay replay;
    const json_t *command; /* borrowed from the replay */
};

static void cut_off_finish(struct cut_off *c) {
    sl_replay_finish(&c->replay);
    sl_rundir_finish(&c->dir);
}

static int open_cut_off(const char *id, struct cut_off *ret, struct sl_err *err) {
    int rc = sl_rundir_open(id, &ret->dir, err);
    if (rc == 0)
        rc = sl_rundir_lock(&ret->dir, err);
    if (rc < 0)
        return rc;
    rc = sl_replay_read(ret->dir.path, &ret->replay, err);
    if (rc < 0)
        return sl_err_wrap(err, "run %s cannot be resumed", ret->dir.id);
    ret->command = json_object_get(ret->replay.run, "command");
    if (!json_is_object(ret->command))
        return sl_err_set(err, SLUICE_INPUT,
                          "run %s cannot be resumed: its journal does not say how it was started",
                          ret->dir.id);
    if (json_is_true(json_object_get(ret->command, "wrap")))
        return sl_err_set(err, SLUICE_INPUT,
                          "run %s cannot be resumed: it was one stage under --wrap; start it anew",
                          ret->dir.id);
    return 0;
}

static bool flag(const struct cut_off *c, const char *key) {
    return json_is_true(json_object_get(c->command, key));
}

/* As it was where the run was started: relative paths in parameters, and plugins. */
static void restore_place(const struct cut_off *c) {
    const char *cwd = sl_json_str(c->command, "cwd", ""),
               *plugin_path = sl_json_str(c->command, "plugin_path", NULL);
    if (*cwd && chdir(cwd) < 0)
        fprintf(stderr,
                "sluice: %s, where the run was started, is gone: relative paths in parameters will "
                "not be found\n",
                cwd);
    if (plugin_path)
        setenv("SLUICE_PLUGIN_PATH", plugin_path, 0);
}

/* ---- Items ----------------------------------------------------------------------------------- */

/* The items as they were listed, and the parameters that they have of their own. */
struct items {
    struct sl_arena arena;
    struct sl_item *list;
    struct sl_setting *settings; /* of --set; owned */
    int n_settings;
    struct sl_variants *variants; /* NULL: no item has parameters of its own */
};

static void items_finish(struct items *in) {
    sl_variants_destroy(in->variants);
    sl_cli_settings_free(in->settings, in->n_settings);
    sl_arena_finish(&in->arena);
}

/* Names of all parameters that an item has of its own, each once. */
static const char **columns_of(const struct cut_off *c, struct sl_arena *arena, int *ret_n) {
    sl_autojson json_t *names = json_object();
    size_t i;
    json_t *one, *value;
    const char *name;
    int n = 0;
    json_array_foreach(c->replay.list, i, one)
        json_object_foreach(json_object_get(one, "params"), name, value)
            json_object_set_new(names, name, json_true());
    const char **columns = sl_arena_alloc(arena, json_object_size(names) * sizeof *columns);
    json_object_foreach(names, name, value) columns[n++] = sl_arena_strdup(arena, name);
    *ret_n = n;
    return columns;
}

static void give_set(struct items *in, struct sl_item *item, const json_t *params,
                     const char *const *columns, int n, struct sl_diags *diags) {
    const char **values = sl_arena_alloc(&in->arena, (size_t)n * sizeof *values);
    for (int k = 0; k < n; k++)
        values[k] = sl_json_str(params, columns[k], NULL);
    item->set = sl_variants_add(in->variants, values, (struct sl_pos){0}, diags);
}

static void give_sets(struct items *in, const struct cut_off *c, const struct sl_loaded *l,
                      struct sl_diags *diags) {
    int n;
    const char **columns = columns_of(c, &in->arena, &n);
    struct sl_pos *nowhere = sl_arena_alloc(&in->arena, (size_t)n * sizeof *nowhere);
    if (n == 0)
        return;
    in->variants = sl_variants_create(l->pipeline, &l->catalog, l->plan, in->settings,
                                      in->n_settings, columns, nowhere, n, diags);
    for (int i = 0; in->variants && i < c->replay.n_items; i++)
        give_set(in, &in->list[i],
                 json_object_get(json_array_get(c->replay.list, (size_t)i), "params"), columns, n,
                 diags);
}

/* Prints what is wrong. 0 or an exit status. */
static int items_make(struct items *in, const struct cut_off *c, const struct sl_loaded *l,
                      const struct sl_words *settings) {
    struct sl_diags diags = {.file = c->dir.id};
    sl_autostr struct sl_str out = {0};
    if (sl_cli_settings(settings, &in->settings, NULL) < 0)
        return SL_EXIT_USAGE;
    in->n_settings = settings->n;
    in->list = sl_arena_alloc(&in->arena, (size_t)c->replay.n_items * sizeof *in->list);
    for (int i = 0; i < c->replay.n_items; i++) {
        const json_t *one = json_array_get(c->replay.list, (size_t)i);
        in->list[i] = (struct sl_item){.name = sl_json_str(one, "name", ""),
                                       .file = sl_json_str(one, "file", "")};
    }
    give_sets(in, c, l, &diags);
    sl_diags_print(&diags, &out);
    fputs(sl_str_text(&out), stderr);
    int n_errors = diags.n_errors;
    sl_diags_finish(&diags);
    return n_errors ? SL_EXIT_USAGE : 0;
}

/* ---- The rest of the run --------------------------------------------------------------------- */

static int run_rest(const struct arguments *a, const struct cut_off *c, const struct items *in,
                    const struct sl_plan *plan, const struct sl_words *settings,
                    const struct sl_words *plugins) {
    struct sl_words inputs = sl_cli_words(json_object_get(c->command, "inputs"));
    int status = SL_EXIT_USAGE;
    if (inputs.n == plan->n_inputs)
        status = sl_cli_execute_rest(
            &(struct sl_cli_run){
                .plan = plan,
                .pipeline_file = sl_json_str(c->replay.run, "file", NULL),
                .out_dir = sl_json_str(c->replay.run, "out", NULL),
                .items = in->list,
                .n_items = c->replay.n_items,
                .variants = in->variants,
                .inputs = inputs.items,
                .json = a->json,
                .quiet = a->quiet,
                .fail_fast = flag(c, "fail_fast"),
                .keep_artifacts = flag(c, "keep_artifacts"),
                .cache = flag(c, "cache"),
                .outputs_by_port = flag(c, "outputs_by_port"),
                .jobs = a->jobs ? a->jobs : (int)sl_json_num(c->command, "jobs", 0),
                .settings = settings,
                .plugins = plugins,
            },
            &c->dir, &c->replay, a->failed);
    else
        fprintf(stderr,
                "sluice: run %s cannot be resumed: its pipeline has %d inputs, its journal %d\n",
                c->dir.id, plan->n_inputs, inputs.n);
    free(inputs.items);
    return status;
}

static int load_and_run(const struct arguments *a, const struct cut_off *c) {
    struct sl_words settings = sl_cli_words(json_object_get(c->command, "set")),
                    plugins = sl_cli_words(json_object_get(c->command, "plugins"));
    sl_autofree char *pipeline = sl_path_join(c->dir.path, "pipeline.yaml");
    struct sl_loaded loaded = {0};
    struct items items = {0};
    restore_place(c);
    int status = sl_cli_load_plan(pipeline, NULL, &plugins, &settings, &loaded);
    if (status == 0)
        status = items_make(&items, c, &loaded, &settings);
    if (status == 0)
        status = run_rest(a, c, &items, loaded.plan, &settings, &plugins);
    items_finish(&items);
    sl_loaded_finish(&loaded);
    free(settings.items);
    free(plugins.items);
    return status;
}

static int count(const struct sl_replay *r, enum sl_replay_state state) {
    int n = 0;
    for (int i = 0; i < r->n_items; i++)
        n += r->items[i] == state;
    return n;
}

static int nothing_to_do(const struct arguments *a, const struct cut_off *c) {
    int failed = count(&c->replay, SL_REPLAY_FAILED);
    if (!a->quiet && !a->json)
        fprintf(stderr, "run %s is finished: %d ok, %d failed; nothing to do%s\n", c->dir.id,
                count(&c->replay, SL_REPLAY_DONE), failed,
                failed ? " (--failed tries what failed again)" : "");
    return SL_EXIT_OK;
}

static int resume(const struct arguments *a, struct cut_off *c) {
    struct sl_err err = {0};
    int n_left;
    int rc = open_cut_off(a->rest.items[0], c, &err);
    if (rc == 0)
        sl_replay_reopen(&c->replay, a->failed);
    if (rc == 0 && c->replay.ended && sl_replay_open_items(&c->replay) == 0)
        return nothing_to_do(a, c);
    if (rc == 0)
        rc = sl_leftovers_end(c->dir.path, &n_left, &err);
    if (rc < 0) {
        sl_cli_error(&err);
        return rc == SLUICE_INPUT ? SL_EXIT_USAGE : SL_EXIT_FAILED;
    }
    if (n_left > 0)
        fprintf(stderr, "sluice: ended %d processes that the run left behind\n", n_left);
    return load_and_run(a, c);
}

int sl_cmd_resume(const struct sl_command *self, int argc, char **argv) {
    struct arguments a = {0};
    struct cut_off c = {.dir.lock_fd = -1};
    const struct sl_option table[] = {
        {"failed", 0, SL_OPT_FLAG, &a.failed, NULL, "try items that failed again too"},
        {"jobs", 'j', SL_OPT_INT, &a.jobs, "N", "workers at a time (default: as the run was)"},
        {"json", 0, SL_OPT_FLAG, &a.json, NULL, "print events as JSON lines on standard output"},
        {"quiet", 'q', SL_OPT_FLAG, &a.quiet, NULL, "print failures only"},
        {0},
    };
    int status = sl_cli_parse(self, help, table, argc, argv, &a.rest);
    if (status < 0 && a.rest.n != 1) {
        fprintf(
            stderr,
            "sluice: expected a run: its id, the beginning of it, or \"last\"\nusage: sluice %s\n",
            self->usage);
        status = SL_EXIT_USAGE;
    }
    if (status < 0)
        status = resume(&a, &c);
    cut_off_finish(&c);
    free(a.rest.items);
    return status;
}

/* A run from the plan to the exit status: the folder, the observers, the summary. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/places.h"
#include "cli/summary.h"
#include "cli/tell.h"
#include "sched/run.h"

#define OUTPUT_WAIT_S 30.0

static int exit_status(const struct sl_run_result *r) {
    if (r->interrupted)
        return SL_EXIT_CANCELLED;
    return r->n_failed || r->n_cancelled ? SL_EXIT_FAILED : SL_EXIT_OK;
}

/* For how long a reader of standard output may stand still. */
static double patience_s(void) {
    const char *text = getenv("SLUICE_OUTPUT_WAIT");
    double seconds;
    return text && sl_parse_duration(text, &seconds) ? seconds : OUTPUT_WAIT_S;
}

/* Standard output and standard error of the run. */
struct outlets {
    struct sl_outlet *out, *err;
};

static void say(struct sl_outlet *to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct sl_outlet *to, const char *fmt, ...) {
    sl_autostr struct sl_str line = {0};
    va_list args;
    sl_str_add(&line, "sluice: ");
    va_start(args, fmt);
    sl_str_vaddf(&line, fmt, args);
    va_end(args);
    sl_str_add(&line, "\n");
    sl_outlet_put(to, line.data, line.len);
}

static struct outlets open_outlets(void) {
    struct outlets o;
    signal(SIGPIPE, SIG_IGN);
    o.err = sl_outlet_create(STDERR_FILENO, SL_OUTLET_LOSSY, patience_s(), NULL);
    o.out = sl_outlet_create(STDOUT_FILENO, SL_OUTLET_EXACT, patience_s(), o.err);
    return o;
}

/* What is not read in time is lost, and said. */
static void close_outlets(struct outlets o) {
    int n_lost = sl_outlet_finish(o.out);
    if (n_lost > 0)
        say(o.err, "%d lines of standard output were not read and are lost", n_lost);
    sl_outlet_finish(o.err);
}

static void set_words(json_t *object, const char *key, const struct sl_words *words, bool paths) {
    json_t *list = json_array();
    for (int i = 0; words && i < words->n; i++) {
        sl_autofree char *path = paths ? sl_path_absolute(words->items[i]) : NULL;
        json_array_append_new(list, sl_json_text(path ? path : words->items[i]));
    }
    sl_json_set(object, key, list);
}

/* What cmd_resume.c reads. */
static json_t *command_json(const struct sl_cli_run *spec) {
    json_t *c = json_object(), *inputs = json_array();
    sl_autofree char *here = sl_path_absolute(".");
    const char *plugin_path = getenv("SLUICE_PLUGIN_PATH");
    sl_json_set(c, "cwd", sl_json_text(here));
    set_words(c, "set", spec->settings, false);
    set_words(c, "plugins", spec->plugins, true);
    sl_json_set(c, "plugin_path", plugin_path ? sl_json_text(plugin_path) : NULL);
    for (int i = 0; i < spec->plan->n_inputs; i++)
        json_array_append_new(inputs, sl_json_text(spec->inputs[i] ? spec->inputs[i] : ""));
    sl_json_set(c, "inputs", inputs);
    sl_json_set(c, "jobs", json_integer(spec->jobs));
    sl_json_set(c, "fail_fast", json_boolean(spec->fail_fast));
    sl_json_set(c, "keep_artifacts", json_boolean(spec->keep_artifacts));
    sl_json_set(c, "cache", json_boolean(spec->cache));
    sl_json_set(c, "outputs_by_port", json_boolean(spec->outputs_by_port));
    sl_json_set(c, "wrap", json_boolean(spec->wrap != NULL));
    return c;
}

struct place {
    const struct sl_rundir *dir;
    const struct sl_replay *replay; /* NULL: the run begins */
    bool retry_failed;
    struct sl_admission *admission;
};

/* Everything of a run but who watches it. */
static struct sl_run_spec run_spec(const struct sl_cli_run *spec, const struct place *at,
                                   const struct sl_install *install, json_t *command) {
    return (struct sl_run_spec){
        .plan = spec->plan,
        .pipeline_file = spec->pipeline_file,
        .pipeline_text = spec->pipeline_text,
        .command = command,
        .replay = at->replay,
        .retry_failed = at->retry_failed,
        .items = spec->items,
        .n_items = spec->n_items,
        .variants = spec->variants,
        .watch_dir = spec->watch_dir,
        .room = spec->items,
        .max_items = spec->max_items,
        .inputs = spec->inputs,
        .out_dir = spec->out_dir,
        .outputs_by_port = spec->outputs_by_port,
        .jobs = spec->jobs,
        .fail_fast = spec->fail_fast,
        .injections = spec->injections,
        .n_injections = spec->n_injections,
        .keep_artifacts = spec->keep_artifacts,
        .cache = spec->cache,
        .worker_program = install->worker,
        .share_dir = install->share,
        .wrap = spec->wrap,
        .admission = at->admission,
    };
}

static int run_in(const struct sl_cli_run *spec, const struct place *at,
                  const struct sl_install *install, struct outlets to) {
    const struct sl_rundir *dir = at->dir;
    sl_autojson json_t *command = command_json(spec);
    struct sl_jsonl jsonl = {
        .plan = spec->plan, .items = spec->items, .run_id = dir->id, .out = to.out};
    struct sl_console *console =
        spec->json ? NULL
                   : sl_console_create(spec->plan, spec->items,
                                       spec->watch_dir ? spec->max_items : spec->n_items,
                                       spec->watch_dir, dir->id, spec->quiet, to.err);
    struct sl_tell tell = {.items = spec->items};
    struct sl_observer observers[] = {spec->json ? sl_jsonl_observer(&jsonl)
                                                 : sl_console_observer(console),
                                      sl_tell_observer(&tell)};
    struct sl_run_spec run = run_spec(spec, at, install, command);
    run.observers = observers;
    run.n_observers = 2;
    struct sl_run_result result = {0};
    struct sl_err err = {0};
    int rc = sl_run(&run, dir, &result, &err);
    sl_console_destroy(console);
    if (rc < 0) {
        sl_tell_finish(&tell);
        say(to.err, "%s", err.msg);
        return SL_EXIT_FAILED;
    }
    if (!spec->json &&
        sl_summary_print(dir->path, spec->plan, spec->items, result.n_items, at->replay,
                         spec->quiet || spec->wrap ? NULL : to.err, to.out, &err) < 0)
        say(to.err, "%s", err.msg);
    sl_tell_end(&tell, spec->plan, dir, spec->out_dir, &result, to.err);
    sl_tell_finish(&tell);
    return exit_status(&result);
}

static int execute_in(const struct sl_cli_run *spec, const struct place *at,
                      const struct sl_install *install) {
    struct outlets to = open_outlets();
    int status = run_in(spec, at, install, to);
    close_outlets(to);
    return status;
}

static bool writes_files(const struct sl_cli_run *spec) {
    for (int s = 0; s < spec->plan->n_stages; s++)
        if (spec->outputs_by_port || spec->plan->stages[s].is_output)
            return true;
    return false;
}

/* In a new run folder, or in the one that is given. Nothing is made for a plan that cannot run on
 * this machine, or whose outputs cannot be written. */
static int execute(const struct sl_cli_run *spec, struct place *at, struct sl_rundir *fresh) {
    struct sl_install install = sl_install_find();
    struct sl_err err = {0};
    int status, rc = writes_files(spec) ? sl_places_check_folder(spec->out_dir, &err) : 0;
    if (rc == 0)
        rc = sl_admission_create(spec->plan, install.worker, &at->admission, &err);
    status = rc < 0 ? SL_EXIT_USAGE : SL_EXIT_FAILED;
    if (rc == 0 && fresh)
        rc = sl_rundir_create(fresh, &err);
    if (rc < 0)
        sl_cli_error(&err);
    else
        status = execute_in(spec, at, &install);
    sl_admission_destroy(at->admission);
    sl_install_finish(&install);
    return status;
}

int sl_cli_execute(const struct sl_cli_run *spec) {
    struct sl_rundir dir = {.lock_fd = -1};
    int status = execute(spec, &(struct place){.dir = &dir}, &dir);
    sl_rundir_finish(&dir);
    return status;
}

int sl_cli_execute_rest(const struct sl_cli_run *spec, const struct sl_rundir *dir,
                        const struct sl_replay *replay, bool retry_failed) {
    return execute(spec, &(struct place){dir, replay, retry_failed, NULL}, NULL);
}

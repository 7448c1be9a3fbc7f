/* A run from the plan to the exit status: the folder, the observers, the summary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "cli/cli.h"
#include "cli/summary.h"
#include "sched/run.h"

static int exit_status(const struct sl_run_result *r) {
    if (r->interrupted)
        return SL_EXIT_CANCELLED;
    return r->n_failed || r->n_cancelled ? SL_EXIT_FAILED : SL_EXIT_OK;
}

static int run_in(const struct sl_cli_run *spec, const struct sl_rundir *dir,
                  const struct sl_install *install) {
    struct sl_console *console =
        spec->json
            ? NULL
            : sl_console_create(spec->plan, spec->items, spec->n_items, dir->id, spec->quiet);
    struct sl_jsonl jsonl = {.plan = spec->plan, .items = spec->items, .run_id = dir->id};
    struct sl_observer observer = {.event = spec->json ? sl_jsonl_event : sl_console_event,
                                   .ctx = spec->json ? (void *)&jsonl : console};
    struct sl_run_spec run = {
        .plan = spec->plan,
        .pipeline_file = spec->pipeline_file,
        .items = spec->items,
        .n_items = spec->n_items,
        .inputs = spec->inputs,
        .out_dir = spec->out_dir,
        .outputs_by_port = spec->outputs_by_port,
        .jobs = spec->jobs,
        .fail_fast = spec->fail_fast,
        .keep_artifacts = spec->keep_artifacts,
        .worker_program = install->worker,
        .share_dir = install->share,
        .wrap = spec->wrap,
        .observers = &observer,
        .n_observers = 1,
    };
    struct sl_run_result result = {0};
    struct sl_err err = {0};
    int rc = sl_run(&run, dir, &result, &err);
    sl_console_destroy(console);
    if (rc < 0) {
        sl_cli_error(&err);
        return SL_EXIT_FAILED;
    }
    if (!spec->json && sl_summary_print(dir->path, spec->plan, spec->items, spec->n_items,
                                        !spec->quiet && !spec->wrap, true, &err) < 0)
        sl_cli_error(&err);
    return exit_status(&result);
}

int sl_cli_execute(const struct sl_cli_run *spec) {
    struct sl_rundir dir = {.lock_fd = -1};
    struct sl_install install = sl_install_find();
    struct sl_err err = {0};
    int status = SL_EXIT_FAILED;
    if (sl_rundir_create(&dir, &err) == 0)
        status = run_in(spec, &dir, &install);
    else
        sl_cli_error(&err);
    sl_rundir_finish(&dir);
    sl_install_finish(&install);
    return status;
}

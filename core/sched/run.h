/*
 * Running a plan over a batch of items: the one loop of the core. Blocks until every item is
 * settled and every worker is gone. Call from the main thread; SIGINT, SIGTERM and SIGHUP are taken
 * over for the time of the call (the first cancels, the second kills).
 */
#ifndef SCHED_RUN_H
#define SCHED_RUN_H

#include <jansson.h>

#include "graph/variants.h"
#include "run/items.h"
#include "run/replay.h"
#include "run/rundir.h"
#include "sched/admission.h"
#include "sched/event.h"
#include "sched/inject.h"

struct sl_run_spec {
    const struct sl_plan *plan;
    /* as the user named it; copied into the run folder; NULL: none (one stage) */
    const char *pipeline_file;
    const char *pipeline_text; /* what is copied in its place where it is not NULL */
    /* What another core needs to make the same plan, written into the journal as it is; an object,
     * borrowed, or NULL. */
    const json_t *command;
    /* goes on with the run that is in the folder; NULL: begins it */
    const struct sl_replay *replay;
    bool retry_failed; /* was given to sl_replay_reopen() */
    const struct sl_item *items;
    int n_items;
    const struct sl_variants *variants; /* of the items' sets of parameters; NULL: there are none */
    /* absolute; files put into it become further items; NULL: there are none */
    const char *watch_dir;
    struct sl_item *room; /* `items` again, for those: it has room for max_items */
    int max_items;
    /* absolute paths of the pipeline's inputs; [0] is the item's. May be NULL */
    const char *const *inputs;
    const char *out_dir;  /* absolute; where outputs are written; NULL: nowhere */
    bool outputs_by_port; /* name outputs <port><extension> and write those of every stage */
    int jobs;             /* workers at a time; 0: as many as processors */
    bool fail_fast, keep_artifacts;
    bool cache; /* results of earlier runs are used, and kept for later ones */
    const struct sl_injection *injections; /* faults on purpose */
    int n_injections;
    const char *worker_program, *share_dir; /* absolute */
    const char *const *wrap; /* words put before the worker's command, NULL-terminated; NULL: none.
                                        The worker then uses the terminal, without its own init */
    const struct sl_observer *observers;
    int n_observers;
    struct sl_admission *admission; /* of the same plan, borrowed; NULL: the run makes its own */
};

struct sl_run_result {
    int n_items; /* those that came in included */
    int n_ok, n_failed, n_cancelled;
    int n_warnings;   /* optional stages that failed */
    bool interrupted; /* by a signal */
    double seconds;
};

/* `dir` was made by sl_rundir_create(). An error means that the run could not be carried out at
 * all; what happened to items is in the result. */
int sl_run(const struct sl_run_spec *spec, const struct sl_rundir *dir, struct sl_run_result *ret,
           struct sl_err *err);

#endif

/* Telling people that a run has ended: gathers what failed while it runs, then has sluice-notify do
 * the pipeline's hooks. */
#ifndef CLI_TELL_H
#define CLI_TELL_H

#include "cli/cli.h"
#include "sched/run.h"

struct sl_tell {
    const struct sl_item *items;
    json_t *failures; /* [{"item", "message"}], the first few; owned */
};

/* Watches a run for what failed. */
struct sl_observer sl_tell_observer(struct sl_tell *tell);

/*
 * Does `on_finish`, and after items failed `on_failure`, within SLUICE_NOTIFY_WAIT (default 2
 * minutes). What goes wrong is a line in the run's log and on `to`, and changes nothing else.
 * `out_dir`: may be NULL.
 */
void sl_tell_end(struct sl_tell *tell, const struct sl_plan *plan, const struct sl_rundir *dir,
                 const char *out_dir, const struct sl_run_result *result, struct sl_outlet *to);
void sl_tell_finish(struct sl_tell *tell);

#endif

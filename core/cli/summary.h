/* What a run did, at its end: a table for people, and the files written. */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include <stdbool.h>

#include "cli/outlet.h"
#include "graph/plan.h"
#include "run/items.h"

/*
 * From the journal of the run folder. To `table` outcome, attempts, wall time, processor time and
 * peak memory: of each item and stage for up to 20 items, else of each stage, with the items that
 * failed. `resumed`: tasks may have settled more than once. To `outputs` the paths of what was
 * written, one a line. Either may be NULL. SLUICE_*: the journal cannot be read.
 */
int sl_summary_print(const char *run_path, const struct sl_plan *plan, const struct sl_item *items,
                     int n_items, bool resumed, struct sl_outlet *table, struct sl_outlet *outputs,
                     struct sl_err *err);

#endif

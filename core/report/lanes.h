/* Attempts of a run on a common time, each in a lane: those of one process stay together, and no
 * two overlap in one. */
#ifndef REPORT_LANES_H
#define REPORT_LANES_H

#include "base/json.h"

struct sl_bar {
    const json_t *item, *stage, *attempt; /* borrowed from the state */
    double start_s, end_s;                /* since the run began */
    size_t item_index;
    int worker, lane;
};

struct sl_lanes {
    struct sl_bar *bars; /* by start */
    size_t n_bars, n_left_out;
    int n_lanes;
    double length_s; /* of the run, at least to the end of the last bar */
};

/* At most `max_bars`, the longest. */
void sl_lanes_init(struct sl_lanes *lanes, const json_t *state, size_t max_bars);
void sl_lanes_finish(struct sl_lanes *lanes);

/* Seconds since 1970 of "2026-01-31T08:15:42.123Z"; 0 where it is none. */
double sl_report_time(const char *text);

#endif

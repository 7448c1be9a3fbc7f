/*
 * A run for people who look: one self-contained HTML page, and a trace for Perfetto and
 * chrome://tracing. Both are pure functions of what run/state.h reads from the journal.
 *
 * The page has no scripts and loads nothing. It follows the reader's light or dark scheme;
 * everything that a picture shows is also in a table, and every bar of the timeline is a link to
 * its row there.
 */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "base/json.h"
#include "base/str.h"

/* More of each are counted, not listed, so that a page of 100,000 items still opens. */
#define SL_REPORT_MAX_BARS  4000 /* of the timeline: the longest attempts */
#define SL_REPORT_MAX_ITEMS 1000 /* failed ones first, then the slowest */

/* Outcome of one stage over all items, for tables and for marks on the graph. */
struct sl_stage_sum {
    const char *name, *use; /* borrowed from the state */
    bool is_output;
    size_t n, done, absent, failed, open; /* items; open: skipped, cancelled or not begun */
    size_t attempts, retries;
    double wall_s, wall_max_s, cpu_s, peak_bytes, memory_limit; /* peak: of one attempt */
    double gpu_peak_bytes, gpu_memory_limit;
};

/* One for each stage, in the pipeline's order; *ret is the caller's to free. */
size_t sl_report_sums(const json_t *state, struct sl_stage_sum **ret);

/* Adds the page to `out`. `graph_svg`: a picture of the pipeline, or NULL. `run_path`: the run's
 * folder, for links. */
void sl_report_html(const json_t *state, const char *graph_svg, const char *run_path,
                    struct sl_str *out);

/* Adds a JSON object in the Trace Event Format to `out`: an event for each attempt, a thread for
 * each lane. */
void sl_report_trace(const json_t *state, struct sl_str *out);

#endif

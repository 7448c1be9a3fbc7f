/*
 * What a run did, put together from its journal. The result is the JSON object that `sluice show
 * --json` prints:
 *
 *   {"id", "pipeline", "file", "out", "containment", "limits", "sluice", "started", "ended",
 *    "state", "seconds", "ok", "failed", "cancelled", "resumed": [{"time", "pid", "open_items"}],
 *    "items": [{"name", "file", "state", "message", "outputs": [path...],
 *       "stages": [{"name", "use", "state", "class", "message",
 *          "attempts": [{"attempt", "class", "message", "wall_s", "cpu_s", "peak_bytes",
 *                        "memory_limit", "pid", "log", "metrics", "started", "retry_delay_s"}],
 *          "artifacts": [{"port", "port_type", "file", "size", "xxh3"}]}]}]}
 *
 * "state" of a run: running, ok, failed, cancelled, or died (the core was killed before it could
 * finish). An attempt without a class is still running, or was when the core died; "lost": it was,
 * and the run was resumed. "seconds", "containment" and "limits" are those of the last core.
 */
#ifndef RUN_STATE_H
#define RUN_STATE_H

#include <stdbool.h>

#include "base/json.h"

/* Pure: from the bytes of a journal. `live`: its core runs. SLUICE_INPUT: there is not even a first
 * record. */
int sl_state_build(const char *journal, size_t len, bool live, json_t **ret, struct sl_err *err);

/* From a run folder. */
int sl_state_read(const char *run_path, json_t **ret, struct sl_err *err);

/* The same one item after the other, so that of a long run only what is at hand is in memory. */
struct sl_state_visitor {
    /* first: the run without "items"; borrowed */
    void (*run)(void *ctx, json_t *run, size_t n_items);
    /* each item, in order; borrowed; NULL: they are not looked at */
    void (*item)(void *ctx, json_t *item);
    void *ctx;
};
int sl_state_visit(const char *run_path, const struct sl_state_visitor *v, struct sl_err *err);

#endif

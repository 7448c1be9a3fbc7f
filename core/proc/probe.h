/* Probes: describes plugins in throwaway workers, several at a time. */
#ifndef PROC_PROBE_H
#define PROC_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define SL_PROBE_LIMIT_MS 20000      /* for one plugin to load */
#define SL_PROBE_MAX_JSON (4u << 20) /* bytes of a description */

struct sl_probe {
    const char *path; /* in: absolute; borrowed */
    char *json;       /* out: the description, owned; NULL where there is none */
    size_t len;
    char *reason;   /* out: why there is none, owned; else NULL */
    bool timed_out; /* out: over the limit */
    bool lasting; /* out: the reason lies in the file itself, so another probe would say the same */
};

/*
 * Describes all `n`, at most as many at a time as there are processors, each within `limit_ms`. A
 * plugin that cannot be described has a reason; the call fails only where no worker can be run.
 * Call from the main thread.
 */
int sl_probe_run(const char *worker, struct sl_probe *probes, int n, int limit_ms,
                 struct sl_err *err);
void sl_probe_finish(struct sl_probe *p);

#endif

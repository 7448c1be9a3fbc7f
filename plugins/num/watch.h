/* Who is asked and told while long work runs. */
#ifndef NUM_WATCH_H
#define NUM_WATCH_H

#include <stdbool.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Each may be NULL. Called on the thread that works. */
struct num_watch {
    void *ctx;
    bool (*cancelled)(void *ctx);             /* asked several times a second */
    void (*progress)(void *ctx, double done); /* in [0, 1] */
};

/* NULL: nobody watches. */
static inline bool num_cancelled(const struct num_watch *watch) {
    return watch && watch->cancelled && watch->cancelled(watch->ctx);
}

static inline void num_progress(const struct num_watch *watch, double done) {
    if (watch && watch->progress)
        watch->progress(watch->ctx, done);
}

/* SLUICE_CANCELLED, with its sentence, or SLUICE_OK. */
static inline int32_t num_go_on(const struct num_watch *watch, struct num_err *err) {
    return num_cancelled(watch) ? num_fail(err, SLUICE_CANCELLED, "cancelled") : SLUICE_OK;
}

#ifdef __cplusplus
}
#endif

#endif

/* Who is asked and told while an engine works. */
#ifndef ALIGN_WATCH_H
#define ALIGN_WATCH_H

#include <stdbool.h>
#include <stddef.h>

/* Both may be NULL. Called on the caller's thread. */
struct al_watch {
    void *ctx;
    bool (*cancelled)(void *ctx);             /* asked several times a second */
    void (*progress)(void *ctx, double done); /* in [0, 1] */
};

static inline bool al_cancelled(const struct al_watch *watch) {
    return watch && watch->cancelled && watch->cancelled(watch->ctx);
}

#endif

/* The event loop: one thread, epoll over descriptors, timers by deadline. Callbacks may add and
 * remove freely. */
#ifndef SCHED_LOOP_H
#define SCHED_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sl_loop;

/* A watched descriptor; the owner embeds it and keeps it alive until sl_watch_stop(). */
struct sl_watch {
    int fd;        /* borrowed; -1: not watched */
    bool for_room; /* waits until something can be written, not read */
    void (*ready)(struct sl_watch *w);
    void *ctx;
};

/* A timer; the owner embeds it. `{.fire = f, .ctx = c}` is unarmed. */
struct sl_timer {
    int64_t at_ms; /* deadline by sl_now_ms(); 0: unarmed */
    void (*fire)(struct sl_timer *t);
    void *ctx;
    struct sl_timer *prev, *next;
};

int sl_loop_create(struct sl_loop **ret, struct sl_err *err);
void sl_loop_destroy(struct sl_loop *loop);

/* Calls w->ready whenever the descriptor is readable (has room) or hung up. */
int sl_watch_start(struct sl_loop *loop, struct sl_watch *w, struct sl_err *err);
void sl_watch_stop(struct sl_loop *loop, struct sl_watch *w);

/* (Re-)arms the timer `delay_s` from now; it is unarmed when it fires. */
void sl_timer_set(struct sl_loop *loop, struct sl_timer *t, double delay_s);
void sl_timer_stop(struct sl_loop *loop, struct sl_timer *t);

/* One turn: waits at most `max_wait_ms` (-1: for ever) for something to happen, then calls what is
 * due. Returns how many descriptors were ready. */
int sl_loop_turn(struct sl_loop *loop, int max_wait_ms, struct sl_err *err);

#endif

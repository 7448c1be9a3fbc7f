/* What a run tells those who watch it: the console, JSON lines. Everything is borrowed for the
 * call. */
#ifndef SCHED_EVENT_H
#define SCHED_EVENT_H

#include "base/log.h"
#include "sched/loop.h"
#include "sched/tasks.h"

enum sl_event_type {
    SL_EVENT_RUN_BEGIN,  /* text: the run's folder */
    SL_EVENT_TASK_BEGIN, /* attempt began; text: why no earlier result could be used */
    SL_EVENT_TASK_READY, /* its worker is loaded; seconds: since the attempt began */
    SL_EVENT_PROGRESS,   /* fraction (< 0: unknown), text */
    SL_EVENT_METRIC,     /* port: its name, fraction: its value */
    SL_EVENT_PART,       /* port, text/len: incremental output */
    SL_EVENT_LOG,        /* level, text; item may be -1 */
    SL_EVENT_RETRY,      /* the attempt failed and is repeated; cls, text, seconds: delay */
    /* the task settled: state, cls, text (done: the steps of on_oom that it took), seconds: wall
     * time of the last attempt */
    SL_EVENT_TASK_END,
    SL_EVENT_ITEM_END,   /* item_state, text */
    SL_EVENT_NOTE,       /* level, text: of the run as a whole */
    SL_EVENT_CANCELLING, /* text */
    SL_EVENT_RUN_END,    /* seconds */
};

struct sl_event {
    enum sl_event_type type;
    int item, stage; /* -1: none */
    int attempt;
    enum sl_task_state state;
    enum sl_item_state item_state;
    int cls, level;
    double fraction, seconds;
    const char *port;
    const char *text; /* NULL: none */
    size_t len;       /* of text, for PART */
    bool reused;      /* TASK_END: by a result of an earlier run */
};

struct sl_observer {
    void (*event)(void *ctx, const struct sl_event *ev);
    /* Gives the loop of the run before the first event, and NULL after the last; or NULL. */
    void (*attach)(void *ctx, struct sl_loop *loop, const struct sl_log *log);
    bool (*is_full)(void *ctx); /* nothing is started while it is; or NULL */
    void *ctx;
};

#endif

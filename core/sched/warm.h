/*
 * Warm workers, the rules as pure functions. A worker of a stage with `keep: batch` or a duration
 * (the default where a stage loads a model, or takes several items at a time) takes one task after
 * the other.
 *
 * What is held in memory stays what it is without: no more kept workers live at a time than tasks
 * may run at a time (--jobs), and what ledger.h admits. So a stage whose worker is not there waits
 * for room while the workers that are there have work, and the work is done stage by stage: a model
 * is loaded once where its tasks can wait for each other. An idle worker makes room
 *   - when nothing runs, so nothing will bring it work before others had theirs;
 *   - when SL_WARM_WAITING tasks wait for its room: one more load is little beside so many tasks;
 *   - when it has been idle for much longer than loading it again takes (SL_WARM_PATIENCE times, at
 *     least SL_WARM_PATIENCE_MS).
 * Of several the one that has been idle for longest goes. A busy one never does.
 *
 * So that tasks that wait do not fill the disk with what others made for them, no item is begun
 * while SL_WARM_IN_FLIGHT are.
 */
#ifndef SCHED_WARM_H
#define SCHED_WARM_H

#include <stdbool.h>

#include "config/policy.h"

#define SL_WARM_WAITING     32
#define SL_WARM_IN_FLIGHT   64
#define SL_WARM_PATIENCE    4
#define SL_WARM_PATIENCE_MS 5000

/* Why a worker gets no further task. */
enum sl_let_go {
    SL_LET_GO_NOT,    /* it may */
    SL_LET_GO_TASK,   /* it is not kept */
    SL_LET_GO_DONE,   /* no task of its stage is left */
    SL_LET_GO_IDLE,   /* keep: DURATION is over */
    SL_LET_GO_USES,   /* keep.uses */
    SL_LET_GO_GROWTH, /* keep.growth */
    SL_LET_GO_ROOM,   /* another needs the room */
    /* a task in it failed in a way that a fresh process may cure, or it failed itself */
    SL_LET_GO_FAILED,
    SL_LET_GO_STOP, /* the run stops */
};

/* "idle", "growth"...: for records; and in words, for the log. */
const char *sl_let_go_name(enum sl_let_go why);
const char *sl_let_go_text(enum sl_let_go why);

/* What a worker did so far, looked at when it has nothing to do. */
struct sl_warm_use {
    int tasks;
    uint64_t first_memory, memory; /* bytes after its first task, and now; 0: not known */
};
/* USES, GROWTH or NOT. */
enum sl_let_go sl_warm_worn(const struct sl_keep *keep, const struct sl_warm_use *use);

/* Whether a task that failed as `cls` leaves a process that nobody should work in. */
bool sl_warm_spoilt(int cls);

/* The situation of an idle worker in whose place another stage's could start. */
struct sl_warm_case {
    int64_t idle_ms, load_ms; /* for how long it is idle; how long its start took */
    int n_busy;               /* workers at work */
    int n_waiting;            /* tasks that wait for the room */
};
/* 0: it makes room now; else look again after so many milliseconds, or when something has ended. */
int64_t sl_warm_wait_ms(const struct sl_warm_case *c);

#endif

/*
 * Results of earlier runs in place of attempts. Before a task is started it is asked here what it
 * would be made of (its *recipe*, run/results.h); where a result of that recipe is kept, its
 * outputs become the task's artifacts. What an attempt makes well, also after retries, is kept for
 * later runs.
 *
 * A stage takes part if it is declared deterministic, unless its pipeline says `cache: false`; one
 * that is not, if it says `cache: true`.
 */
#ifndef SCHED_REUSE_H
#define SCHED_REUSE_H

#include <stdbool.h>

#include "base/json.h"

struct run;
struct sl_task;

enum sl_reuse {
    SL_REUSE_MISS, /* it has to be made */
    SL_REUSE_WAIT, /* something is being hashed or copied: ask again next turn */
    SL_REUSE_HIT,  /* the task has its artifacts */
};

/* Does nothing where the run has no cache. */
void sl_reuse_start(struct run *run);
void sl_reuse_finish(struct run *run);

/* For a ready task. At most a slice of work. */
enum sl_reuse sl_reuse_look(struct run *run, struct sl_task *task);
/* Why it has to be made, in words; NULL: nobody asked, or its stage takes no part. Borrowed until
 * it is settled. */
const char *sl_reuse_why(const struct sl_task *task);
/* The record of the entry that was found, {"key", "run", "sources"}; owned. */
json_t *sl_reuse_found(const struct sl_task *task);

/* Keeps what the task, which is done and hashed, made. To be called for every task that is done. */
void sl_reuse_keep(struct run *run, struct sl_task *task);
/* It was settled otherwise. */
void sl_reuse_drop(struct sl_task *task);

/* Copies what could not be linked, for a moment. True: there is more to do, or a task waits for its
 * next slice. */
bool sl_reuse_some(struct run *run);
/* Results are being copied. */
bool sl_reuse_is_busy(const struct run *run);

#endif

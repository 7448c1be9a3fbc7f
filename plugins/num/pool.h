/*
 * A pool of threads that run the tasks of one loop after another: the caller is one of them.
 *
 * Between loops a thread spins for a few microseconds and then sleeps on a futex, so that an idle
 * pool takes nothing from other stages, and a thread that was preempted delays only the task it
 * holds.
 */
#ifndef NUM_POOL_H
#define NUM_POOL_H

#include <stdint.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct num_pool;

/* One task: `index` in [0, n_tasks), run on thread `thread` in [0, n_threads) of the pool. */
typedef void num_task(void *ctx, uint32_t index, uint32_t thread);

/* `n_threads` counts the caller of num_pool_run(); at least 1. */
int32_t num_pool_create(uint32_t n_threads, struct num_pool **ret, struct num_err *err);
void num_pool_destroy(struct num_pool *pool);
uint32_t num_pool_threads(const struct num_pool *pool);

/*
 * Runs task 0 .. n_tasks-1, in any order and at the same time, and returns when all are done. One
 * loop at a time: not to be called from two threads, nor from a task.
 */
void num_pool_run(struct num_pool *pool, uint32_t n_tasks, num_task *run, void *ctx);

#ifdef __cplusplus
}
#endif

#endif

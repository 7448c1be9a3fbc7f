/*
 * `on_oom: [shrink, other_gpu, grow, cpu]`: what is changed before a task that ran out of memory is
 * tried again. Pure.
 *
 * The first step of the list that can change something is taken, and again after the next failure
 * for as long as it can; then the next one. So `[shrink, grow]` halves the batch down to 1 and then
 * raises the limit.
 */
#ifndef SCHED_OOM_H
#define SCHED_OOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/policy.h"

#define SL_OOM_MAX_STEPS 16  /* of one task */
#define SL_OOM_FACTOR    2.0 /* of `grow` where retry.grow says nothing */

/* The attempt that failed. */
struct sl_oom_case {
    bool host, card;             /* whose memory it may have been; both where that is not known */
    bool on_gpu;                 /* it ran on a card */
    int other_cards;             /* that it has not been tried on */
    int batch;                   /* its batch_size; 0: it has none */
    uint64_t memory, memory_max; /* its limit (0: none), and what the machine has */
    uint64_t gpu_memory, gpu_memory_max;
    double grow_memory, grow_gpu_memory; /* retry.grow; 1: not given */
    int n_steps;                         /* taken before */
};

struct sl_oom_decision {
    enum sl_oom_step step;       /* NONE: nothing of the list changes anything */
    int batch;                   /* SHRINK: the next */
    uint64_t memory, gpu_memory; /* GROW: the next limits; 0: as before */
};

struct sl_oom_decision sl_oom_next(const struct sl_oom_policy *policy, const struct sl_oom_case *c);

/* "batch_size 8", "another card", "a memory limit of 2.0 GiB", "the CPU", into buf. */
const char *sl_oom_text(const struct sl_oom_decision *d, char *buf, size_t size);

#endif

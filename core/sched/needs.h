/*
 * What a stage needs of this machine and on which device it runs: decided from the plan, what was
 * measured, and the cards, before anything starts. `sluice check --plan` prints it, admission.c
 * acts on it. Pure.
 */
#ifndef SCHED_NEEDS_H
#define SCHED_NEEDS_H

#include "graph/plan.h"
#include "proc/gpu.h"
#include "sched/peaks.h"

enum sl_need_from { SL_NEED_UNKNOWN, SL_NEED_DECLARED, SL_NEED_MEASURED };
const char *sl_need_from_name(enum sl_need_from from); /* "unknown", "declared", "measured" */

struct sl_machine {
    uint64_t memory; /* bytes that processes can have */
    const struct sl_gpus *gpus;
    const struct sl_peaks *peaks;
};

struct sl_stage_need {
    bool on_gpu;
    bool blind; /* on a card of which the driver says nothing: one worker at a time */
    int card;   /* cuda:N: index among the cards; -1: any */
    /* `device: auto` of a stage that can use a card: why this device; owned, else NULL */
    char *why;
    char *never;                 /* a sentence: why it cannot run here at all; owned, else NULL */
    uint64_t memory, gpu_memory; /* 0: unknown */
    enum sl_need_from memory_from, gpu_from;
};

/* `params`: those of the stage, or of an item that has its own; JSON as in the plan. `force_cpu`:
 * `device: auto` was tried on a card and refused; the reason, else NULL. */
void sl_stage_need_find(const struct sl_plan_stage *stage, const char *params,
                        const struct sl_machine *m, const char *force_cpu,
                        struct sl_stage_need *ret);
void sl_stage_need_finish(struct sl_stage_need *n);

/* A stage of the plan would use a card if there is one: the driver has to be asked. */
bool sl_plan_wants_cards(const struct sl_plan *plan);

#endif

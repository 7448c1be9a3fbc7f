/* `--inject STAGE:FAULT[@ATTEMPT],...`: which attempts get a fault. Pure. */
#ifndef SCHED_INJECT_H
#define SCHED_INJECT_H

#include "graph/plan.h"
#include "ipc/fault.h"

struct sl_injection {
    int stage;
    enum sl_fault fault;
    int attempt; /* of each task, from 1; 0: every attempt */
};

/* Adds what `text` says to the list (owned by the caller, free()). SL_USAGE: no such stage or
 * fault, or not of that form. */
int sl_inject_parse(const struct sl_plan *plan, const char *text, struct sl_injection **list,
                    int *n, struct sl_err *err);

/* The fault of an attempt: the last that was given counts. */
enum sl_fault sl_inject_find(const struct sl_injection *list, int n, int stage, int attempt);

#endif

/*
 * Admission by memory: on which device each stage runs, whether one more worker fits beside those
 * that run, and when memory of a card that a worker left is back. The sums are in ledger.h, needs
 * in needs.h, measured peaks in peaks.h. docs/admission.md describes it.
 */
#ifndef SCHED_ADMISSION_H
#define SCHED_ADMISSION_H

#include "graph/plan.h"

struct sl_admission;

/*
 * Looks at the machine and, where a stage of the plan could use one, at its cards, which may take
 * seconds. The plan is borrowed. SLUICE_RESOURCE, SLUICE_UNSUPPORTED: a stage that is not optional
 * can never run here; the message names it and what it needs.
 */
int sl_admission_create(const struct sl_plan *plan, const char *worker_program,
                        struct sl_admission **ret, struct sl_err *err);
void sl_admission_destroy(struct sl_admission *a); /* NULL is fine */

#endif

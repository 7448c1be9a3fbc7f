/* Admission by processors: whether a worker may start now, and how many threads it is given.
 * Pure. */
#ifndef SCHED_ADMIT_H
#define SCHED_ADMIT_H

/*
 * Processors for a worker about to start, or 0: wait. `total` of the machine, `used` by running
 * workers, `declared` by the stage (`resources: {cpus}`; 0: not given), `ready` tasks that could
 * start now, this one included.
 *
 * A declared number is given whole (never more than the machine has) and waited for, unless nothing
 * runs. Otherwise the free processors are divided among the ready tasks, at least one each: one
 * file on an idle machine gets all of them, a batch gets one a file.
 */
int sl_admit_cpus(int total, int used, double declared, int ready);

#endif

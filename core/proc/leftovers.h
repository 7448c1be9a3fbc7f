/*
 * Processes of a run whose core is gone. A worker dies with its core (spawn.h), so there is usually
 * nothing to do; but the last of them may still be on their way out, and where a keeper was killed
 * along with the core its tree has nobody.
 */
#ifndef PROC_LEFTOVERS_H
#define PROC_LEFTOVERS_H

#include "base/err.h"

/*
 * Kills every process of ours whose standard output or error is a file below `folder` (absolute),
 * the logs of a run, and waits until they are gone. Call only with the run's lock held: then none
 * of them is of use. *ret_n: how many there were. SLUICE_RESOURCE: one does not go within
 * SL_LEFTOVERS_LIMIT_MS (it waits for a device); says which.
 */
int sl_leftovers_end(const char *folder, int *ret_n, struct sl_err *err);
#define SL_LEFTOVERS_LIMIT_MS 10000

#endif

/*
 * Orphans of workers. A keeper (containment without a PID namespace) kills what its worker leaves
 * behind; should the keeper itself be SIGKILLed, its tree has nobody. So the core makes itself the
 * subreaper: such processes become its children, and it kills them here.
 */
#ifndef PROC_ORPHANS_H
#define PROC_ORPHANS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Makes this process adopt orphans from now on. False where it has children already that are not
 * ours (a shell that exec'd us): theirs could not be told from a worker's; or where the kernel does
 * not list children (CONFIG_PROC_CHILDREN). Then orphans of a killed keeper go to init and live on.
 */
bool sl_orphans_adopt(void);
void sl_orphans_release(void);

/*
 * Kills and reaps every child that `is_ours` does not know, and what those leave in turn, for at
 * most SL_ORPHANS_LIMIT_MS. Call from the main thread, only after sl_orphans_adopt() succeeded.
 * Returns how many were killed.
 */
int sl_orphans_kill(bool (*is_ours)(void *ctx, pid_t pid), void *ctx);
#define SL_ORPHANS_LIMIT_MS 1000

#endif

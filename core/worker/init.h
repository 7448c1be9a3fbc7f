/* The worker's init: the process that sluice spawns. It forks the plugin's process and outlives
 * it. */
#ifndef WORKER_INIT_H
#define WORKER_INIT_H

/*
 * Forks once. In the child it returns 0: that is the plugin's process, which dies with the init
 * (PDEATHSIG), with default signals. In the init it never returns: it reaps orphans, forwards
 * SIGTERM to the plugin's process, and ends
 *   - when the plugin's process ends: kills what is left of the tree, sends SL_FRAME_EXIT over
 *     `socket`, exits 0 where the plugin's process exited 0, else 1;
 *   - when the core is gone (closed socket, or its pidfd where we are not PID 1): kills the whole
 *     tree, exits 1.
 *
 * Killing is repeated until no process is left, for at most SL_INIT_KILL_LIMIT_MS. Returns -1 where
 * it cannot fork.
 *
 * As PID 1 of a PID namespace the kernel kills the tree with us, whatever happens to us. As a
 * keeper (getpid() != 1) we are the subreaper of the tree: a SIGKILL of the keeper itself takes the
 * plugin's process along (PDEATHSIG), but not children of that which ignore their parent's death. A
 * keeper finds its children in /proc/self/task/TID/children.
 *
 * Call before any thread is started or plugin loaded.
 */
int sl_init_fork(int socket);

#define SL_INIT_KILL_LIMIT_MS 5000

#endif

/* The fork server: a worker program that stays without a plugin and forks workers
 * (proc/forkserver.h has the why). */
#ifndef WORKER_FORKSERVER_H
#define WORKER_FORKSERVER_H

/*
 * Serves the core's requests (SL_FRAME_FORK) on `socket` until the core closes it or is gone; then
 * the process ends. Returns only in a new worker, and there the descriptor of its channel. That
 * process is as one that sluice exec'd with `--socket`: a child of the core, dead when the core is,
 * in its PID namespace and control group, with its limits, standard descriptors, session and
 * variables.
 *
 * Call before any thread is started or plugin loaded, in a process whose parent is the core.
 */
int sl_forkserver_serve(int socket);

#endif

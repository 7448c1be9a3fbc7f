/*
 * A fork server: a sluice-worker that has been exec'd and has loaded the libraries it is linked
 * with, and then forks a process for each worker that is asked for. That saves what exec and the
 * dynamic loader take, which is most of the time to READY of a small plugin.
 *
 * It never loads a plugin, never calls CUDA and has one thread, so a process that is forked from it
 * is as good as one that was exec'd. The new process is a child of the core (CLONE_PARENT), not of
 * the server; what spawn.h promises of a worker holds unchanged, and the end of the server concerns
 * none of its workers.
 *
 * Without the server (it was killed, does not answer, or the system does not permit such a clone)
 * workers are exec'd, and another server is started for the next one; after SL_FORKSERVER_MAX_LOST
 * of them no more.
 */
#ifndef PROC_FORKSERVER_H
#define PROC_FORKSERVER_H

#include "base/log.h"
#include "proc/spawn.h"

#define SL_FORKSERVER_MAX_LOST 5

struct sl_forkserver;

/* Starts one from `program`, the path of sluice-worker (borrowed, as is `log`, until it is
 * destroyed). Where it cannot be started, workers will be exec'd. NULL in builds with the thread
 * sanitizer, whose own thread a clone would lose. */
struct sl_forkserver *sl_forkserver_create(const char *program, const struct sl_log *log);
/* Kills and reaps the server; its workers live on. NULL is fine. */
void sl_forkserver_destroy(struct sl_forkserver *s);

/*
 * Starts a worker as sl_spawn_start() does, by a fork where that works. `spec` is that of a worker
 * that serves on descriptor 3 (`--socket 3`), without stdin. What fails in the new process after
 * the fork (its control group, its limits) is told through its channel, as SL_FRAME_REFUSED. `s`
 * may be NULL. Call from the main thread only.
 */
int sl_forkserver_spawn(struct sl_forkserver *s, const struct sl_spawn *spec, pid_t *ret_pid,
                        int *ret_pidfd, struct sl_err *err);

/* The server's own process, a child of the core; -1: none. */
pid_t sl_forkserver_pid(const struct sl_forkserver *s);

#endif

/*
 * Spawning a worker: clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD) on a stack of its own, then exec;
 * never a plain fork, which costs tens of milliseconds from a large core. The errno of a failed
 * exec comes back at once through the shared memory.
 *
 * The child begins with: default signal dispositions, an empty signal mask, PR_SET_PDEATHSIG =
 * SIGKILL, a session of its own (unless stdin_fd is given), stdin from /dev/null, stdout and stderr
 * to the log, the worker's end of the channel as fd 3, and nothing else open. A Ctrl-C at the
 * terminal therefore reaches the core alone. Call from the main thread only: PDEATHSIG follows the
 * parent thread.
 *
 * Containment, so that the whole tree dies with its worker and every worker with the core:
 *   SL_CONTAIN_PIDNS   the worker is PID 1 of a PID namespace of its own (CLONE_NEWPID; as an
 *                      ordinary user inside a new user namespace); the kernel kills every
 *                      descendant with it
 *   SL_CONTAIN_KEEPER  elsewhere: the worker's init is a child subreaper that watches a pidfd of
 *                      the core and kills what is left
 * In both the process that is spawned is the worker's init, which forks the plugin's process before
 * anything is loaded, reaps orphans, and reports the plugin's end (SL_FRAME_EXIT).
 *
 * What is guaranteed, whatever the plugin does:
 *                               PIDNS                 KEEPER
 *   the plugin's process ends   its descendants die   its descendants die, by repeated SIGKILL
 *                                                     (5 s)
 *   the core is SIGKILLed       all die               all die, by the keeper
 *   the init is SIGKILLed       all die               the plugin's process dies; descendants that
 *                                                     ignore that are adopted by the core's
 *                                                     subreaper, or by init
 */
#ifndef PROC_SPAWN_H
#define PROC_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum sl_containment { SL_CONTAIN_PIDNS, SL_CONTAIN_KEEPER };

/* What this system permits, found by trying once (one probe process);
 * SLUICE_CONTAINMENT=pidns|keeper in the environment forces one. */
enum sl_containment sl_containment_detect(void);
const char *sl_containment_name(enum sl_containment c); /* "pidns", "keeper" */

/* A resource limit of setrlimit(2) for the new process and its descendants. */
struct sl_spawn_rlimit {
    int resource; /* RLIMIT_* */
    uint64_t soft, hard;
};
#define SL_SPAWN_MAX_RLIMITS 8

struct sl_spawn {
    const char *program;     /* absolute path */
    const char *const *argv; /* NULL-terminated, argv[0] included */
    int log_fd;              /* stdout and stderr; borrowed */
    int channel_fd;          /* becomes fd 3 of the child; borrowed; -1: none */
    int stdin_fd;            /* -1: /dev/null; for debuggers run by hand */
    enum sl_containment containment;
    /* Bounds, applied before exec. 0: as inherited. */
    /* CUDA_VISIBLE_DEVICES is set to it, "" on the CPU; NULL: unchanged */
    const char *visible_cards;
    int cpus; /* > 0: OMP_NUM_THREADS and OPENBLAS_NUM_THREADS are set to it */
    struct sl_spawn_rlimit rlimits[SL_SPAWN_MAX_RLIMITS];
    int n_rlimits;
    /* > 0: cgroup.procs of the group it joins before anything else; borrowed */
    int cgroup_procs_fd;
};

/* 0 where a new process can join the group of `cgroup_procs_fd`, else the errno, negative. */
int sl_spawn_try_join(int cgroup_procs_fd);

/*
 * Starts it; *ret_pidfd is O_CLOEXEC and owned. Errors name the program. Call from the main thread,
 * which is refused otherwise: a child dies with the thread that started it (PDEATHSIG, prctl(2)),
 * not with the process.
 */
int sl_spawn_start(const struct sl_spawn *spec, pid_t *ret_pid, int *ret_pidfd, struct sl_err *err);

#endif

/*
 * Control groups, version 2 only: a group for each worker below a subtree that was delegated to us.
 * The kernel then counts and limits the whole tree of the worker from its first instruction on, and
 * kills it in one step.
 *
 *   ROOT                      SLUICE_CGROUP_ROOT, or the group we are in
 *     sluice-PID-N            worker N of the core PID: memory.max, pids.max, cpu.max...
 *     sluice-PID-core         the core itself, where it had to leave ROOT: a group that hands out
 * controllers may hold no process of its own
 *
 * Version 1 and hybrid mounts count as none: their controllers are elsewhere. Nothing is ever done
 * to processes that are not ours, so a ROOT that holds others is not used.
 *
 * All files are opened as an ordinary folder's would be: a plain folder with the file
 * cgroup.controllers serves as a fake tree for tests, and its description says that it limits
 * nothing.
 */
#ifndef PROC_CGROUP_H
#define PROC_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sl_cgroup_tree;

/*
 * Finds the subtree, turns its controllers on, and tries once whether a process can join a group
 * there. SLUICE_UNSUPPORTED: there is none; the message says why.
 */
int sl_cgroup_tree_open(struct sl_cgroup_tree **ret, struct sl_err *err);
/* Removes all groups that were made, waiting up to two seconds for processes in them to be gone;
 * the core goes back to where it came from. NULL is fine. */
void sl_cgroup_tree_close(struct sl_cgroup_tree *tree);
const char *sl_cgroup_tree_path(const struct sl_cgroup_tree *tree);
/* False: a fake tree, for tests. */
bool sl_cgroup_tree_is_real(const struct sl_cgroup_tree *tree);

/* 0: no limit. */
struct sl_cgroup_limits {
    /* bytes, file pages included; no swap; at the limit the whole group is killed */
    uint64_t memory;
    int tasks; /* processes and threads */
    double cpus;
};

struct sl_cgroup {
    struct sl_cgroup_tree *tree;
    char *name; /* owned */
    int folder_fd;
    int procs_fd; /* of cgroup.procs, for struct sl_spawn */
};

int sl_cgroup_create(struct sl_cgroup_tree *tree, const struct sl_cgroup_limits *limits,
                     struct sl_cgroup **ret, struct sl_err *err);

/* SIGKILL to all in it at once (cgroup.kill, Linux 5.14); false: this kernel has it not. */
bool sl_cgroup_kill(struct sl_cgroup *g);

/* What the kernel noted; read after the processes ended and before the group is destroyed. 0 where
 * it does not say. */
struct sl_cgroup_account {
    uint64_t oom;         /* times the group's own limit could not be kept */
    uint64_t oom_kills;   /* processes killed for lack of memory, here or above */
    uint64_t task_limit;  /* times pids.max refused a process or thread */
    uint64_t peak_memory; /* bytes (Linux 5.19) */
    double cpu_s;
};
void sl_cgroup_account(const struct sl_cgroup *g, struct sl_cgroup_account *ret);

/* Kills what is left and removes the group; where its processes take a moment to go, a later call
 * removes it. NULL is fine. */
void sl_cgroup_destroy(struct sl_cgroup *g);

#endif

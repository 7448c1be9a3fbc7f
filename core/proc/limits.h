/*
 * Limits of a worker: which mechanism is in force, what the process is started with, what is over,
 * and the sentence that says so. Bounds that rlimits can keep without lying are rlimits; never
 * RLIMIT_AS (CUDA and sanitizers reserve address space) and never RLIMIT_NPROC (it counts all
 * processes of the user).
 *
 *   resources.    delegated cgroup v2          otherwise
 *   memory        memory.max                   watched, whole tree (watch.h)
 *   processes     pids.max                     watched, whole tree
 *   cpus          cpu.max                      threads given to the stage
 *   cpu_time      watched, whole tree; RLIMIT_CPU for each process besides
 *   open_files    RLIMIT_NOFILE, of each process
 *   file_size     RLIMIT_FSIZE, of each process
 *   scratch       watched
 */
#ifndef PROC_LIMITS_H
#define PROC_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

#include "config/policy.h"
#include "proc/cgroup.h"
#include "proc/spawn.h"
#include "proc/watch.h"

/* The mechanism in force. */
struct sl_limiter {
    struct sl_cgroup_tree *tree; /* NULL: rlimits and watching */
    char *text; /* "cgroup v2 at PATH", "rlimits and watched memory (no delegated cgroup v2)"; owned
                 */
};
void sl_limiter_init(struct sl_limiter *l);
void sl_limiter_finish(struct sl_limiter *l);

enum sl_limit {
    SL_LIMIT_NONE,
    SL_LIMIT_MEMORY,
    SL_LIMIT_CPU_TIME,
    SL_LIMIT_OPEN_FILES,
    SL_LIMIT_PROCESSES,
    SL_LIMIT_FILE_SIZE,
    SL_LIMIT_SCRATCH,
    SL_LIMIT_MACHINE, /* no limit of the stage: the machine has no memory left */
};

/*
 * What a worker may use. `cpu_time` is for one attempt: a worker that got several jobs may use it
 * for each, so RLIMIT_CPU, which cannot be raised later, is only set where `one_job`.
 */
void sl_limits_spawn(const struct sl_resources *r, bool one_job, struct sl_spawn *spawn);
/* The group for such a worker: what the kernel is to keep. */
struct sl_cgroup_limits sl_limits_cgroup(const struct sl_resources *r);

/* What of SL_USAGE_* and whether anything has to be sampled while the worker lives. `in_group`: a
 * cgroup keeps its part. */
bool sl_limits_need_watch(const struct sl_resources *r, bool in_group, unsigned *ret_what);
/* The first limit that the sample is over. `n_jobs`: given to the worker so far. Memory and
 * processes only if !in_group. */
enum sl_limit sl_limits_over(const struct sl_resources *r, const struct sl_usage *now, int n_jobs,
                             bool in_group);
/*
 * Milliseconds until the next sample: half the time in which the use would reach its limit if it
 * went on growing as between the last two samples (`dt_ms` apart), within 50 and 250.
 */
int sl_limits_interval_ms(const struct sl_resources *r, const struct sl_usage *before,
                          const struct sl_usage *now, int dt_ms);
#define SL_LIMITS_MIN_INTERVAL_MS 50
#define SL_LIMITS_MAX_INTERVAL_MS 250

/* How a worker's process ended, and what is known besides. */
struct sl_limits_end {
    int wait_status;
    bool killed_by_us;
    bool machine_oom;            /* the kernel killed a process for lack of memory meanwhile */
    const struct sl_usage *peak; /* of the samples */
    const struct sl_cgroup_account *group; /* NULL: none */
};
/* The limit behind the end of a process (a signal, the kernel's account), or NONE. */
enum sl_limit sl_limits_of_end(const struct sl_resources *r, const struct sl_limits_end *end);

/*
 * The sentence: what was used, the limit, what to change. `used`: bytes, seconds, or a number; 0:
 * not known. `by_kernel`: the kernel kept the limit. `asked`: the memory limit of the file where it
 * grew since, else 0. Owned.
 */
struct sl_limit_case {
    enum sl_limit which;
    double used, limit;
    bool by_kernel;
    uint64_t asked;
};
char *sl_limit_text(const struct sl_limit_case *c);

/* "open_files 64, file_size 1.0 MiB": those that a stage may run into without our seeing it; owned,
 * NULL: none is set. */
char *sl_limits_silent(const struct sl_resources *r);

/* The next memory limit after `limit`: times `factor`, at most what the machine has; `limit` itself
 * where it cannot grow. */
uint64_t sl_limits_grow(uint64_t limit, double factor, uint64_t machine);

#endif

/*
 * Watching a worker's tree from outside, through /proc: what it uses now. For systems without a
 * delegated cgroup, and for the limits that cgroups do not have.
 *
 * Memory is RssAnon + RssShmem of every process: pages that only exit gives back. File pages
 * (programs, mapped weights and inputs) are left out, since the kernel drops them when it needs
 * room. Processes that share pages after a fork count them twice, and so do those that share
 * anonymous files: SL_USAGE_EXACT asks for proportional shares (smaps_rollup) instead, which costs
 * a walk through the page tables of each process: ask when the cheap sum is over the limit.
 */
#ifndef PROC_WATCH_H
#define PROC_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SL_USAGE_FILES 1u /* count open files as well */
#define SL_USAGE_EXACT 2u /* memory by proportional shares, where the kernel permits */

#define SL_USAGE_MAX_PROCESSES 8192 /* of one tree; what is beyond is not looked at */

struct sl_usage {
    uint64_t memory; /* bytes */
    double cpu_s;    /* user and system, with descendants that ended and were waited for */
    int processes;
    int tasks;      /* processes and threads, without the init */
    int open_files; /* of the process that has most; 0 unless asked for */
};

/* Samples the tree below and with `init`. It changes meanwhile, so a process may be missed once.
 * False: no such process. */
bool sl_usage_sample(pid_t init, unsigned what, struct sl_usage *ret);

/* Each member becomes the larger of both. */
void sl_usage_raise(struct sl_usage *peak, const struct sl_usage *now);

/*
 * SIGKILL to the children of `init` (the plugin's process, and orphans); the init, which sees its
 * plugin's process end, kills what is left below and reports. Returns how many lived and were
 * signalled.
 */
int sl_usage_kill_below(pid_t init);

/*
 * Bytes on disk of the files in a folder and below, links not followed, hard links counted each
 * time. Looks at no more than `max_entries`: false where there were more (the sum is of those
 * seen), or no such folder (0).
 */
bool sl_folder_size(const char *path, int max_entries, uint64_t *ret_bytes);

/* Bytes of memory of this machine. */
uint64_t sl_machine_memory(void);
/* How many processes the kernel has killed for lack of memory since it was started (oom_kill of
 * /proc/vmstat); 0: not known. */
uint64_t sl_machine_oom_kills(void);

#endif

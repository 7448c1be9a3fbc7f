/* Parsers of the text files of /proc and of cgroup folders: pure, bounded by the given length,
 * fuzzed. */
#ifndef PROC_PROCTEXT_H
#define PROC_PROCTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of /proc/PID/stat (proc(5)). The name, which may hold spaces and parentheses, is skipped. */
struct sl_proc_stat {
    char state; /* 'R', 'S', 'Z'... */
    pid_t parent;
    uint64_t ticks; /* CPU time, user and system, its own and that of children it waited for; 1 /
                       sysconf(_SC_CLK_TCK) s */
};
bool sl_proc_stat_parse(const char *text, size_t len, struct sl_proc_stat *ret);

/*
 * The number after `key` at the start of a line: "oom_kill 2" (memory.events, cpu.stat, vmstat),
 * "RssAnon:    120 kB" (status, smaps_rollup; give the key with its colon). A unit kB is multiplied
 * out. False: no such line, or no number.
 */
bool sl_proc_key(const char *text, size_t len, const char *key, uint64_t *ret);

/* Process ids separated by blanks (/proc/PID/task/TID/children); at most `max` of them. Returns how
 * many. */
int sl_proc_pids(const char *text, size_t len, pid_t *ret, int max);

/* True if `word` is one of the blank-separated words (cgroup.controllers). */
bool sl_proc_has_word(const char *text, size_t len, const char *word);

/* The path of the "0::" line of /proc/self/cgroup: the version 2 group. False: none, or longer than
 * `size`. */
bool sl_proc_cgroup_path(const char *text, size_t len, char *ret, size_t size);

/* The first cgroup2 line of /proc/self/mountinfo: which group is its root, and where it is mounted;
 * octal escapes undone. */
bool sl_proc_cgroup_mount(const char *text, size_t len, char *ret_root, char *ret_point,
                          size_t size);

#endif

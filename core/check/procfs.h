/* Another process, seen through /proc. */
#ifndef CHECK_PROCFS_H
#define CHECK_PROCFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The child that was started first, or 0. */
pid_t sl_procfs_first_child(pid_t pid);
/* A number of /proc/PID/status by its key with the colon ("VmData:", in KiB); 0 where it is not
 * there. */
uint64_t sl_procfs_status(pid_t pid, const char *key);
/* Open descriptors; -1 where they cannot be seen. */
int sl_procfs_count_fds(pid_t pid);
/* Sets RLIMIT_DATA; false where that is not permitted. */
bool sl_procfs_limit_data(pid_t pid, uint64_t bytes);

#endif

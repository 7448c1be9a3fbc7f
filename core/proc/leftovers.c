/*
 * Ending what a run left behind, see leftovers.h. A process is known by where its output goes: the
 * log of an attempt is given to every worker and inherited by what it starts, whatever session,
 * parent or environment that has. Someone who reads the log has it open too, but not as standard
 * output or error.
 *
 * Rounds over /proc follow until none is found, since one that is being killed may just have
 * forked. A pidfd is taken before the second look, so that a process id that was given anew is
 * never hit.
 */
#include "proc/leftovers.h"

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#define PAUSE_MS 5

static bool is_below(const char *proc_link, const char *folder) {
    char target[PATH_MAX];
    ssize_t n = readlink(proc_link, target, sizeof target - 1);
    size_t len = strlen(folder);
    if (n <= 0)
        return false;
    target[n] = 0;
    return strncmp(target, folder, len) == 0 && target[len] == '/';
}

static bool writes_into(long pid, const char *folder) {
    char link[64];
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        snprintf(link, sizeof link, "/proc/%ld/fd/%d", pid, fd);
        if (is_below(link, folder))
            return true;
    }
    return false;
}

static bool kill_it(long pid, const char *folder) {
    sl_autoclose int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (pidfd < 0 || !writes_into(pid, folder))
        return false;
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    return true;
}

/* One round over all processes; returns how many were found, *ret_last one of them. A process that
 * was killed and not yet reaped has no descriptors any more. */
static int round_of(const char *folder, long *ret_last) {
    DIR *dir = opendir("/proc");
    int n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (*end || pid <= 0 || pid == (long)getpid() || !writes_into(pid, folder))
            continue;
        if (kill_it(pid, folder)) {
            *ret_last = pid;
            n++;
        }
    }
    if (dir)
        closedir(dir);
    return n;
}

int sl_leftovers_end(const char *folder, int *ret_n, struct sl_err *err) {
    int64_t end_ms = sl_now_ms() + SL_LEFTOVERS_LIMIT_MS;
    char real[PATH_MAX];
    long last = 0;
    int most = 0;
    if (!realpath(folder, real)) /* the kernel's links are without links */
        snprintf(real, sizeof real, "%s", folder);
    for (int n; (n = round_of(real, &last)) > 0;) {
        most = n > most ? n : most;
        if (sl_now_ms() > end_ms)
            return sl_err_set(
                err, SLUICE_RESOURCE,
                "process %ld, which the run left behind, does not end although it was "
                "killed; it may wait for a device",
                last);
        poll(NULL, 0, PAUSE_MS);
    }
    *ret_n = most;
    return 0;
}

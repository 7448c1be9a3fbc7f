/*
 * One program, from posix_spawn to its exit status.
 *
 * A loop polls two descriptors: a pidfd that becomes readable when the program ends, and the read
 * end of the pipe that is its standard error. What comes through the pipe goes on to our own
 * standard error, and its last 2 KiB are kept for the message of a failure. The poll times out
 * often enough to notice a cancellation.
 *
 *     program ends -> look (WNOWAIT) -> SIGKILL to its group -> drain the pipe -> reap
 *
 * The program is reaped last: while it is a zombie its process group's number cannot be given to
 * others, so the signal to the group cannot hit a stranger. The pipe is drained, not read to its
 * end, since a process that left the group may hold it open for ever.
 *
 * What it does not do: tie the program's life to ours beyond this call. Whoever supervises this
 * process does.
 */
#include "exec/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sluice/types.h>

#include "exec/tail.h"

#define DRAIN_BYTES (1 << 20) /* the largest pipe an unprivileged process can have */

struct child {
    pid_t pid;
    int pidfd;     /* -1: none to be had, the loop polls by time alone */
    int stderr_fd; /* non-blocking; -1: at its end */
    struct cmd_tail tail;
    bool cancelled;
};

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Writes all to our standard error; gives up where nobody takes it. */
static void pass_on(const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, data, len);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){STDERR_FILENO, POLLOUT, 0}, 1, CMD_CANCEL_MS);
        } else if (n == 0 || errno != EINTR) {
            return;
        }
    }
}

/* Reads once; false where there is nothing more for now. */
static bool read_stderr(struct child *child) {
    char data[4096];
    if (child->stderr_fd < 0)
        return false;
    ssize_t n = read(child->stderr_fd, data, sizeof data);
    if (n > 0) {
        cmd_tail_add(&child->tail, data, (size_t)n);
        pass_on(data, (size_t)n);
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_fd(&child->stderr_fd);
    return n < 0 && errno == EINTR;
}

/* 1: ended, 0: not yet, negative: errno. Leaves it a zombie. */
static int has_ended(const struct child *child, siginfo_t *ret_info) {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return errno == EINTR ? 0 : -errno;
    if (info.si_pid == 0)
        return 0;
    *ret_info = info;
    return 1;
}

/* Polls until the program ended. Returns 0 or a negative errno. */
static int wait_end(struct child *child, const struct cmd_child_watch *watch, siginfo_t *ret_info) {
    int64_t alive_at = now_ms() + CMD_ALIVE_MS, kill_at = INT64_MAX;
    for (;;) {
        struct pollfd fds[] = {{child->pidfd, POLLIN, 0}, {child->stderr_fd, POLLIN, 0}};
        poll(fds, 2, CMD_CANCEL_MS);
        if (fds[1].revents)
            read_stderr(child);
        int ended = has_ended(child, ret_info);
        if (ended)
            return ended < 0 ? ended : 0;
        int64_t now = now_ms();
        if (!child->cancelled && watch->cancelled(watch->context)) {
            child->cancelled = true;
            kill(-child->pid, SIGTERM);
            kill_at = now + CMD_TERMINATE_MS;
        }
        if (now >= kill_at) {
            kill(-child->pid, SIGKILL);
            kill_at = INT64_MAX;
        }
        if (now >= alive_at) {
            watch->alive(watch->context);
            alive_at = now + CMD_ALIVE_MS;
        }
    }
}

static void drain(struct child *child) {
    for (size_t reads = 0; reads < DRAIN_BYTES / 4096 && read_stderr(child); reads++)
        ;
}

/* Signals and their mask as a fresh program expects them, whatever was done with ours. */
static int set_attributes(posix_spawnattr_t *attr) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int reason = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF);
    if (!reason)
        reason = posix_spawnattr_setpgroup(attr, 0);
    if (!reason)
        reason = posix_spawnattr_setsigmask(attr, &none);
    return reason ? reason : posix_spawnattr_setsigdefault(attr, &all);
}

static int set_files(posix_spawn_file_actions_t *files, int stderr_fd) {
    int reason = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!reason)
        reason = posix_spawn_file_actions_adddup2(files, stderr_fd, STDERR_FILENO);
    return reason ? reason : posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
}

/* Starts the program; returns 0 or errno. */
static int start(const struct cmd_child_spec *spec, int stderr_fd, pid_t *ret_pid) {
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    int reason = posix_spawnattr_init(&attr);
    if (reason)
        return reason;
    reason = posix_spawn_file_actions_init(&files);
    if (reason) {
        posix_spawnattr_destroy(&attr);
        return reason;
    }
    reason = set_attributes(&attr);
    if (!reason)
        reason = set_files(&files, stderr_fd);
    if (!reason)
        reason = posix_spawn(ret_pid, spec->file, &files, &attr, spec->argv, spec->env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return reason;
}

static int start_failed(const char *program, int reason, struct cmd_err *err) {
    if (reason == ENOMEM || reason == EAGAIN || reason == EMFILE || reason == ENFILE)
        return cmd_fail(err, SLUICE_RESOURCE, "%s: cannot be started: %s", program,
                        strerror(reason));
    if (reason == ENOEXEC)
        return cmd_fail(err, SLUICE_UNSUPPORTED,
                        "%s: is no program for this machine; a script must begin with a line such "
                        "as #!/bin/sh",
                        program);
    return cmd_fail(err, SLUICE_UNSUPPORTED, "%s: cannot be run: %s", program, strerror(reason));
}

static void describe_end(const struct child *child, const siginfo_t *info,
                         struct cmd_child_end *ret) {
    bool exited = info->si_code == CLD_EXITED;
    *ret = (struct cmd_child_end){.status = exited ? info->si_status : 128 + info->si_status,
                                  .signal = exited ? 0 : info->si_status,
                                  .cancelled = child->cancelled};
    cmd_tail_last_line(&child->tail, ret->last_line, sizeof ret->last_line);
}

int cmd_child_run(const struct cmd_child_spec *spec, const struct cmd_child_watch *watch,
                  struct cmd_child_end *ret, struct cmd_err *err) {
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return start_failed(spec->argv[0], errno, err);
    struct child child = {.pidfd = -1, .stderr_fd = pipe_fds[0]};
    fcntl(child.stderr_fd, F_SETFL, O_NONBLOCK);
    int reason = start(spec, pipe_fds[1], &child.pid);
    close(pipe_fds[1]);
    if (reason) {
        close_fd(&child.stderr_fd);
        return start_failed(spec->argv[0], reason, err);
    }
    child.pidfd = pidfd_open(child.pid, 0);
    siginfo_t info = {0};
    int status = wait_end(&child, watch, &info);
    kill(-child.pid, SIGKILL);
    drain(&child);
    close_fd(&child.stderr_fd);
    close_fd(&child.pidfd);
    if (status < 0)
        return cmd_fail(err, SLUICE_INTERNAL, "%s: how it ended cannot be learned: %s",
                        spec->argv[0], strerror(-status));
    waitid(P_PID, (id_t)child.pid, &info, WEXITED);
    describe_end(&child, &info, ret);
    return 0;
}

/*
 * Probes, see probe.h: `sluice-worker --describe FILE --fd 3` for each plugin, with a pipe for the
 * JSON as descriptor 3 and an anonymous file for what it prints. One poll loop watches pipes and
 * pidfds; a probe that is over its time is killed with its process group, and so is what a finished
 * one left behind in it.
 */
#include "proc/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "proc/spawn.h"

#define TAIL_SIZE      4096 /* of what a probe printed, to find the last line */
#define LINE_MAX_BYTES 400  /* of that line in a reason */
/* Exit codes of sluice-worker --describe, as worker/describe.h states them. */
#define EXIT_LOAD  1 /* dlopen's words are the last line */
#define EXIT_WRONG 2 /* the plugin was loaded and is wrong in itself */

struct running {
    struct sl_probe *probe;
    pid_t pid;
    int pidfd, pipe_fd, log_fd;
    int64_t deadline_ms;
    bool timed_out, too_long;
    struct sl_str json;
};

static int start(const char *worker, struct sl_probe *probe, int limit_ms, struct running *r,
                 struct sl_err *err) {
    int ends[2];
    *r = (struct running){.probe = probe, .pidfd = -1, .deadline_ms = sl_now_ms() + limit_ms};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "no pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    r->pipe_fd = ends[0];
    r->log_fd = memfd_create("probe", MFD_CLOEXEC);
    const char *argv[] = {worker, "--describe", probe->path, "--fd", "3", NULL};
    struct sl_spawn spec = {
        .program = worker,
        .argv = argv,
        .log_fd = r->log_fd,
        .channel_fd = ends[1],
        .stdin_fd = -1,
        .containment = SL_CONTAIN_KEEPER, /* no init of ours: it is the process itself that ends */
    };
    int rc = sl_spawn_start(&spec, &r->pid, &r->pidfd, err);
    close(ends[1]);
    if (rc < 0) {
        sl_close(&r->pipe_fd);
        sl_close(&r->log_fd);
    }
    return rc;
}

/* False at the end of the pipe. */
static bool drain(struct running *r) {
    char chunk[16384];
    for (;;) {
        ssize_t n = read(r->pipe_fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        r->too_long |= r->json.len + (size_t)n > SL_PROBE_MAX_JSON;
        if (!r->too_long)
            sl_str_addn(&r->json, chunk, (size_t)n);
    }
}

/* ---- Reasons --------------------------------------------------------------------------------- */

/* The last line that is not empty; `buf` of TAIL_SIZE bytes and one. */
static const char *last_line(int log_fd, char *buf) {
    off_t size = lseek(log_fd, 0, SEEK_END);
    ssize_t n = pread(log_fd, buf, TAIL_SIZE, size > TAIL_SIZE ? size - TAIL_SIZE : 0);
    size_t len = n > 0 ? (size_t)n : 0;
    while (len > 0 && (buf[len - 1] == '\n' || buf[len - 1] == '\r' || buf[len - 1] == ' ' ||
                       buf[len - 1] == 0))
        len--;
    buf[len] = 0;
    char *line = memrchr(buf, '\n', len);
    line = line ? line + 1 : buf;
    if (strlen(line) > LINE_MAX_BYTES)
        line[LINE_MAX_BYTES] = 0;
    line[sl_utf8_valid(line, strlen(line))] = 0;
    return line;
}

static char *with_last_line(const char *what, const char *line) {
    return *line ? sl_xasprintf("%s; last line: \"%s\"", what, line) : sl_xstrdup(what);
}

static char *exit_reason(int code, const char *line) {
    if ((code == EXIT_LOAD || code == EXIT_WRONG) && *line)
        return sl_xstrdup(line);
    char what[96];
    snprintf(what, sizeof what, "ended its process while it was loaded (exit status %d)", code);
    return with_last_line(what, line);
}

static char *reason(const struct running *r, int status, int limit_ms) {
    char buf[TAIL_SIZE + 1], what[128];
    const char *line = last_line(r->log_fd, buf);
    if (r->timed_out) {
        snprintf(what, sizeof what, "took longer than %g s to load", limit_ms / 1000.0);
        return with_last_line(what, line);
    }
    if (r->too_long)
        return sl_xstrdup("describes itself in more than 4 MiB");
    if (WIFSIGNALED(status)) {
        snprintf(what, sizeof what, "crashed while it was loaded (%s)",
                 strsignal(WTERMSIG(status)));
        return with_last_line(what, line);
    }
    return exit_reason(WIFEXITED(status) ? WEXITSTATUS(status) : -1, line);
}

/* ---- The loop -------------------------------------------------------------------------------- */

/* The process has ended: what is left of its group is killed before its number is free again. */
static int reap(struct running *r) {
    int status = 0;
    kill(-r->pid, SIGKILL);
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static void finish(struct running *r, int limit_ms) {
    drain(r);
    int status = reap(r);
    bool ended_well = WIFEXITED(status) && WEXITSTATUS(status) == 0 && r->json.len > 0;
    if (ended_well && !r->timed_out && !r->too_long) {
        r->probe->len = r->json.len;
        r->probe->json = r->json.data;
        r->json = (struct sl_str){0};
    } else {
        r->probe->reason = reason(r, status, limit_ms);
        r->probe->timed_out = r->timed_out;
        r->probe->lasting = !r->timed_out && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_WRONG;
    }
    sl_str_finish(&r->json);
    sl_close(&r->pidfd);
    sl_close(&r->pipe_fd);
    sl_close(&r->log_fd);
}

static int wait_ms(const struct running *list, int n) {
    int64_t next = INT64_MAX, now = sl_now_ms();
    for (int i = 0; i < n; i++)
        if (!list[i].timed_out && list[i].deadline_ms < next)
            next = list[i].deadline_ms;
    return next == INT64_MAX ? -1 : next > now ? (int)(next - now) : 0;
}

static void kill_late(struct running *list, int n) {
    int64_t now = sl_now_ms();
    for (int i = 0; i < n; i++) {
        if (list[i].timed_out || list[i].deadline_ms > now)
            continue;
        list[i].timed_out = true;
        kill(-list[i].pid, SIGKILL);
        kill(list[i].pid, SIGKILL);
    }
}

/* Waits until something happens; finished ones leave the list. Returns how many are left. */
static int turn(struct running *list, int n, int limit_ms) {
    sl_autofree struct pollfd *fds = sl_xcalloc((size_t)n * 2, sizeof *fds);
    for (int i = 0; i < n; i++) {
        fds[2 * i] = (struct pollfd){list[i].pidfd, POLLIN, 0};
        fds[2 * i + 1] = (struct pollfd){list[i].pipe_fd, POLLIN, 0};
    }
    if (poll(fds, (nfds_t)n * 2, wait_ms(list, n)) < 0)
        return n;
    kill_late(list, n);
    int left = 0;
    for (int i = 0; i < n; i++) {
        if (fds[2 * i + 1].revents && !drain(&list[i]))
            sl_close(&list[i].pipe_fd); /* poll passes over -1 */
        if (fds[2 * i].revents)
            finish(&list[i], limit_ms);
        else
            list[left++] = list[i];
    }
    return left;
}

static void kill_all(struct running *list, int n) {
    for (int i = 0; i < n; i++) {
        kill(list[i].pid, SIGKILL);
        finish(&list[i], 0);
    }
}

int sl_probe_run(const char *worker, struct sl_probe *probes, int n, int limit_ms,
                 struct sl_err *err) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int at_once = cpus > 1 ? (int)cpus : 1, started = 0, n_running = 0;
    sl_autofree struct running *list = sl_xcalloc((size_t)at_once, sizeof *list);
    while (started < n || n_running > 0) {
        while (started < n && n_running < at_once) {
            int rc = start(worker, &probes[started], limit_ms, &list[n_running], err);
            if (rc < 0) {
                kill_all(list, n_running);
                return rc;
            }
            started++;
            n_running++;
        }
        n_running = turn(list, n_running, limit_ms);
    }
    return 0;
}

void sl_probe_finish(struct sl_probe *p) {
    free(p->json);
    free(p->reason);
    p->json = p->reason = NULL;
}

/*
 * Graphviz as a helper process, see graphviz.h: `dot -Tsvg -o /dev/fd/3`, without a shell. It reads
 * an anonymous file, so that it cannot make us wait by not reading; what it draws comes through a
 * pipe, bounded in time and size; what it complains about goes to a second anonymous file, whose
 * first line explains a failure. It is spawned as workers are: it dies with us, and with a PID
 * namespace so does all that it started.
 */
#include "cli/graphviz.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "proc/spawn.h"
#include "sched/worker.h"

#define LINE_MAX_BYTES 200

struct dot {
    pid_t pid;
    int pidfd, in, pipe, log;
};

/* Owned; NULL: none. */
static char *find_dot(void) {
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t len = strcspn(at, ":");
        sl_autofree char *dir = sl_xstrndup(at, len), *path = sl_path_join(dir, "dot");
        if (*dir == '/' && access(path, X_OK) == 0)
            return sl_steal(&path);
        at += len + (at[len] == ':');
    }
    return NULL;
}

static int start(struct dot *d, const char *program, const struct sl_str *text,
                 struct sl_err *err) {
    int ends[2];
    const char *argv[] = {program, "-Tsvg", "-o", "/dev/fd/3", NULL};
    d->in = memfd_create("graph", MFD_CLOEXEC);
    d->log = memfd_create("complaints", MFD_CLOEXEC);
    if (d->in < 0 || d->log < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "no pipe");
    d->pipe = ends[0];
    fcntl(d->pipe, F_SETFL, O_NONBLOCK);
    struct sl_spawn spec = {.program = program,
                            .argv = argv,
                            .log_fd = d->log,
                            .channel_fd = ends[1],
                            .stdin_fd = d->in,
                            .containment = sl_containment_detect()};
    int rc = sl_write_all(d->in, text->data, text->len, err);
    lseek(d->in, 0, SEEK_SET);
    if (rc == 0)
        rc = sl_spawn_start(&spec, &d->pid, &d->pidfd, err);
    close(ends[1]);
    return rc;
}

/* 1: at its end; 0: more will come; negative: too much. */
static int drain(int fd, struct sl_str *out, struct sl_err *err) {
    char chunk[16384];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0) {
        if (out->len + (size_t)n > SL_DOT_MAX_OUTPUT)
            return sl_err_set(err, SLUICE_INTERNAL, "drew more than 64 MiB");
        sl_str_addn(out, chunk, (size_t)n);
    }
    return n == 0;
}

/* Reads until dot has ended and its pipe is empty. */
static int collect(const struct dot *d, int64_t deadline_ms, struct sl_str *out,
                   struct sl_err *err) {
    struct pollfd fds[2] = {{d->pidfd, POLLIN, 0}, {d->pipe, POLLIN, 0}};
    for (;;) {
        int64_t left = deadline_ms - sl_now_ms();
        if (left <= 0)
            return sl_err_set(err, SLUICE_INTERNAL, "was not done in time");
        if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
            return sl_err_sys(err, SLUICE_INTERNAL, errno, "cannot be waited for");
        int rc = fds[1].fd >= 0 ? drain(d->pipe, out, err) : 0;
        if (rc < 0 || fds[0].revents)
            return rc < 0 ? rc : 0;
        if (rc == 1)
            fds[1].fd = -1; /* poll passes over it */
    }
}

static const char *first_line(int log, char *buf) {
    ssize_t n = pread(log, buf, LINE_MAX_BYTES, 0);
    buf[n > 0 ? n : 0] = 0;
    buf[strcspn(buf, "\n")] = 0;
    return sl_make_printable(buf);
}

/* The process is gone after. */
static int finish(struct dot *d, int rc, const struct sl_str *svg, struct sl_err *err) {
    char how[96], line[LINE_MAX_BYTES + 1];
    int status = 0;
    if (d->pid > 0) {
        kill(d->pid, SIGKILL); /* it has ended, or has had its time */
        while (waitpid(d->pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (rc == 0 && status != 0)
        rc = sl_err_set(err, SLUICE_INTERNAL, "%s: %s",
                        sl_wait_status_text(status, how, sizeof how), first_line(d->log, line));
    else if (rc == 0 && (!svg->data || !strstr(svg->data, "<svg")))
        rc = sl_err_set(err, SLUICE_INTERNAL, "drew no SVG");
    sl_close(&d->pidfd);
    sl_close(&d->in);
    sl_close(&d->pipe);
    sl_close(&d->log);
    return rc;
}

int sl_graphviz_svg(const struct sl_str *dot_text, int limit_ms, struct sl_str *out,
                    struct sl_err *err) {
    sl_autofree char *program = find_dot();
    sl_autostr struct sl_str svg = {0};
    struct dot d = {.pidfd = -1, .in = -1, .pipe = -1, .log = -1};
    if (!program)
        return 0;
    int rc = start(&d, program, dot_text, err);
    if (rc == 0)
        rc = collect(&d, sl_now_ms() + limit_ms, &svg, err);
    rc = finish(&d, rc, &svg, err);
    if (rc < 0) {
        sl_err_wrap(err, "%s", program);
        return err->cls = SLUICE_INTERNAL;
    }
    sl_str_addn(out, svg.data, svg.len);
    return 1;
}

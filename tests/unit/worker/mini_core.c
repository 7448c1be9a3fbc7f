/* A core just large enough to drive one worker, see mini_core.h. */
#include "mini_core.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/plugin.h>

#include "base/clock.h"
#include "base/mem.h"

#define WAIT_MS 10000

static void need(bool ok, const char *what, const struct sl_err *err) {
    if (ok)
        return;
    fprintf(stderr, "mini core: %s%s%s\n", what, err ? ": " : "", err ? err->msg : "");
    exit(1);
}

void mini_spawn(struct mini_core *c) {
    struct sl_err err;
    int worker_fd;
    need(sl_channel_pair(&c->fd, &worker_fd, &err) == 0, "pair", &err);
    c->log_fd = memfd_create("log", MFD_CLOEXEC);
    const char *argv[] = {WORKER, "--socket", "3", NULL};
    struct sl_spawn spec = {.program = WORKER,
                            .argv = argv,
                            .log_fd = c->log_fd,
                            .channel_fd = worker_fd,
                            .stdin_fd = -1,
                            .containment = c->containment};
    if (c->forked && !c->server)
        c->server = sl_forkserver_create(WORKER, &(struct sl_log){.fd = STDERR_FILENO});
    struct sl_forkserver *server = c->forked ? c->server : NULL;
    need(sl_forkserver_spawn(server, &spec, &c->pid, &c->pidfd, &err) == 0, "spawn", &err);
    close(worker_fd);
}

static void send_out(struct mini_core *c, const int *fds, int n_fds) {
    struct sl_err err;
    need(sl_frame_finish(&c->out, &err) == 0, "frame", &err);
    int rc = sl_channel_send(c->fd, &c->out, fds, n_fds, &err);
    need(rc == 0 || rc == SL_CRASH, "send", &err);
}

void mini_send_start(struct mini_core *c, const char *plugin, const char *stage,
                     const char *params) {
    sl_frame_init(&c->out, SL_FRAME_START, 0);
    sl_frame_add_text(&c->out, plugin);
    sl_frame_add_text(&c->out, stage);
    sl_frame_add_text(&c->out, params);
    sl_frame_add_text(&c->out, "/share/sluice");
    sl_frame_add_u64(&c->out, SLUICE_DEVICE_CPU);
    sl_frame_add_u64(&c->out, 0);
    sl_frame_add_u64(&c->out, 2);
    sl_frame_add_u64(&c->out, 1u << 30);
    sl_frame_add_u64(&c->out, 0);
    send_out(c, NULL, 0);
}

void mini_start(struct mini_core *c, const char *plugin, const char *stage, const char *params) {
    mini_spawn(c);
    mini_send_start(c, plugin, stage, params);
}

void mini_ready(struct mini_core *c, const char *plugin, const char *stage, const char *params) {
    mini_start(c, plugin, stage, params);
    mini_expect(c, SL_FRAME_READY, 0);
}

int mini_file(const char *content) {
    int fd = memfd_create("payload", MFD_CLOEXEC);
    need(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content), "payload",
         NULL);
    return fd;
}

static int count_ports(const struct mini_port *ports) {
    int n = 0;
    while (n < MINI_MAX_PORTS && ports[n].port)
        n++;
    return n;
}

static bool is_file(const struct mini_port *p) {
    return strcmp(p->type, SLUICE_TYPE_FILE) == 0;
}

void mini_job(struct mini_core *c, uint32_t id, struct mini_job *job) {
    int fds[2 * MINI_MAX_PORTS], n_fds = 0, n_in = count_ports(job->inputs),
                                 n_out = count_ports(job->outputs);
    sl_frame_init(&c->out, SL_FRAME_JOB, id);
    sl_frame_add_text(&c->out, job->item ? job->item : "item");
    sl_frame_add_text(&c->out, job->scratch ? job->scratch : "");
    sl_frame_add_u64(&c->out, (uint64_t)n_in);
    sl_frame_add_u64(&c->out, (uint64_t)n_out);
    for (int i = 0; i < n_in; i++) {
        struct mini_port *p = &job->inputs[i];
        p->fd = is_file(p) ? -1 : mini_file(p->content);
        sl_frame_add_text(&c->out, p->port);
        sl_frame_add_text(&c->out, p->type);
        sl_frame_add_text(&c->out, is_file(p) ? p->content : "/run/artifact");
        if (p->fd >= 0)
            fds[n_fds++] = p->fd;
    }
    for (int i = 0; i < n_out; i++) {
        job->outputs[i].fd = mini_file("");
        sl_frame_add_text(&c->out, job->outputs[i].port);
        sl_frame_add_text(&c->out, job->outputs[i].type);
        fds[n_fds++] = job->outputs[i].fd;
    }
    send_out(c, fds, n_fds);
}

void mini_cancel(struct mini_core *c, uint32_t id) {
    sl_frame_init(&c->out, SL_FRAME_CANCEL, id);
    send_out(c, NULL, 0);
}

void mini_stop(struct mini_core *c) {
    sl_frame_init(&c->out, SL_FRAME_STOP, 0);
    send_out(c, NULL, 0);
}

int mini_next(struct mini_core *c) {
    struct sl_err err;
    int fds[SL_FRAME_MAX_FDS], n_fds;
    struct pollfd p = {c->fd, POLLIN, 0};
    if (poll(&p, 1, WAIT_MS) != 1) {
        fprintf(stderr, "the worker's log:\n%s\n", mini_read(c->log_fd));
        need(false, "nothing came from the worker", NULL);
    }
    int rc = sl_channel_recv(c->fd, c->buf, &c->in, fds, &n_fds, &err);
    if (rc == SL_CRASH)
        return 0;
    need(rc == 1, "recv", &err);
    return 1;
}

void mini_expect(struct mini_core *c, int type, uint32_t job) {
    while (mini_next(c)) {
        if (c->in.type == type && (!job || c->in.job == job))
            return;
        if (c->in.type == SL_FRAME_REFUSED || c->in.type == SL_FRAME_EXIT ||
            c->in.type == SL_FRAME_DONE) {
            fprintf(stderr, "expected a frame of type %d, got %d: %s\nlog:\n%s\n", type, c->in.type,
                    mini_text(c, 1), mini_read(c->log_fd));
            exit(1);
        }
    }
    fprintf(stderr, "the worker ended before a frame of type %d; its log:\n%s\n", type,
            mini_read(c->log_fd));
    exit(1);
}

const char *mini_text(struct mini_core *c, int i) {
    return sl_frame_text(&c->in, i, c->text, sizeof c->text);
}

int64_t mini_int(struct mini_core *c, int i) {
    return (int64_t)sl_frame_u64(&c->in, i);
}

int mini_done(struct mini_core *c, uint32_t job) {
    mini_expect(c, SL_FRAME_DONE, job);
    return (int)mini_int(c, 0);
}

int mini_exit(struct mini_core *c, int *ret_code) {
    mini_expect(c, SL_FRAME_EXIT, 0);
    int plugin = (int)mini_int(c, 0), status;
    need(waitpid(c->pid, &status, 0) == c->pid, "waitpid", NULL);
    *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return plugin;
}

void mini_kill(struct mini_core *c) {
    kill(c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    close(c->fd);
    close(c->pidfd);
}

const char *mini_read(int fd) {
    static char text[1 << 16];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return text;
}

bool mini_locked(const char *path) {
    sl_autoclose int fd = open(path, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool mini_unlocked_within(const char *path, int ms) {
    for (int64_t end = sl_now_ms() + ms; sl_now_ms() < end; poll(NULL, 0, 5))
        if (!mini_locked(path))
            return true;
    return !mini_locked(path);
}

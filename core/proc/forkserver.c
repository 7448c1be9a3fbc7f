/*
 * The core's side of the fork server, see forkserver.h; the other is worker/forkserver.c.
 *
 * One request at a time: SL_FRAME_FORK with the descriptors of the worker, and the answer
 * SL_FRAME_FORKED with its process id, for which the core waits. That takes about a tenth of a
 * millisecond, less than the vfork and exec it stands for. The new process is a child of ours that
 * nobody has reaped, so its id stays its own until there is a pidfd.
 *
 * A server that breaks the rules in any way is killed. Should it have forked before, that process
 * finds its channel closed and ends before it loads anything; it is a zombie until the core's end,
 * or adopted (orphans.h).
 */
#include "proc/forkserver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ipc/channel.h"

#define ANSWER_LIMIT_MS 2000 /* the server only has to clone; longer means that it was stopped */

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

struct sl_forkserver {
    const char *program;
    const struct sl_log *log;
    pid_t pid; /* -1: there is none */
    int pidfd, socket;
    int n_lost;
    struct sl_frame_out request;
    struct sl_frame answer;
    char buf[SL_FRAME_MAX_SIZE];
};

/* ---- Its life -------------------------------------------------------------------------------- */

static int start(struct sl_forkserver *s, struct sl_err *err) {
    const char *argv[] = {s->program, "--fork-server", "3", NULL};
    sl_autoclose int ours = -1, theirs = -1;
    sl_autoclose int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int rc = sl_channel_pair(&ours, &theirs, err);
    if (rc < 0)
        return rc;
    struct sl_spawn spec = {.program = s->program,
                            .argv = argv,
                            .log_fd = null_fd,
                            .channel_fd = theirs,
                            .stdin_fd = -1,
                            .containment = SL_CONTAIN_KEEPER};
    rc = sl_spawn_start(&spec, &s->pid, &s->pidfd, err);
    if (rc == 0)
        s->socket = sl_steal_fd(&ours);
    return rc;
}

static void end(struct sl_forkserver *s) {
    if (s->pid < 0)
        return;
    syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    sl_close(&s->pidfd);
    sl_close(&s->socket);
    s->pid = -1;
}

static void lose(struct sl_forkserver *s, const char *why) {
    end(s);
    s->n_lost++;
    sl_log(s->log, SLUICE_LOG_WARN, "the fork server is lost (%s); %s", why,
           s->n_lost < SL_FORKSERVER_MAX_LOST ? "another one is started"
                                              : "workers are started without one from here on");
}

struct sl_forkserver *sl_forkserver_create(const char *program, const struct sl_log *log) {
#ifdef __SANITIZE_THREAD__
    return NULL;
#endif
    struct sl_err err = {0};
    struct sl_forkserver *s = sl_xcalloc(1, sizeof *s);
    s->program = program;
    s->log = log;
    s->pid = s->pidfd = s->socket = -1;
    if (start(s, &err) < 0)
        lose(s, err.msg);
    return s;
}

void sl_forkserver_destroy(struct sl_forkserver *s) {
    if (!s)
        return;
    end(s);
    free(s);
}

pid_t sl_forkserver_pid(const struct sl_forkserver *s) {
    return s ? s->pid : -1;
}

/* ---- A request ------------------------------------------------------------------------------- */

static int send_request(struct sl_forkserver *s, const struct sl_spawn *spec, struct sl_err *err) {
    struct sl_frame_out *f = &s->request;
    int fds[3] = {spec->log_fd, spec->channel_fd, spec->cgroup_procs_fd};
    bool in_group = spec->cgroup_procs_fd > 0;
    sl_autofree char *cards =
        spec->visible_cards ? sl_xasprintf("=%s", spec->visible_cards) : sl_xstrdup("");
    sl_frame_init(f, SL_FRAME_FORK, 0);
    sl_frame_add_u64(f, spec->containment == SL_CONTAIN_PIDNS);
    sl_frame_add_text(f, cards);
    sl_frame_add_u64(f, (uint64_t)spec->cpus);
    sl_frame_add_u64(f, in_group);
    sl_frame_add_u64(f, (uint64_t)spec->n_rlimits);
    for (int i = 0; i < spec->n_rlimits; i++) {
        sl_frame_add_u64(f, (uint64_t)spec->rlimits[i].resource);
        sl_frame_add_u64(f, spec->rlimits[i].soft);
        sl_frame_add_u64(f, spec->rlimits[i].hard);
    }
    int rc = sl_frame_finish(f, err);
    return rc < 0 ? rc : sl_channel_send(s->socket, f, fds, in_group ? 3 : 2, err);
}

static int receive_answer(struct sl_forkserver *s, struct sl_err *err) {
    int64_t limit_ms = sl_now_ms() + ANSWER_LIMIT_MS;
    int fds[SL_FRAME_MAX_FDS], n_fds;
    for (;;) {
        struct pollfd p = {s->socket, POLLIN, 0};
        int64_t left_ms = limit_ms - sl_now_ms();
        if (left_ms <= 0)
            return sl_err_set(err, SL_TIMEOUT, "no answer in %d s", ANSWER_LIMIT_MS / 1000);
        poll(&p, 1, (int)left_ms);
        int rc = sl_channel_recv(s->socket, s->buf, &s->answer, fds, &n_fds, err);
        if (rc < 0)
            return rc;
        for (int i = 0; rc == 1 && i < n_fds; i++)
            close(fds[i]);
        if (rc == 1)
            return s->answer.type == SL_FRAME_FORKED
                       ? 0
                       : sl_err_set(err, SLUICE_INTERNAL, "an answer of type %u", s->answer.type);
    }
}

/* A pidfd of the process, which must be a child of ours. */
static int open_child(pid_t pid, struct sl_err *err) {
    sl_autoclose int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    siginfo_t info;
    if (pidfd < 0 || waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "its process %d", (int)pid);
    return sl_steal_fd(&pidfd);
}

/* 0; 1: the server said that it cannot; negative: it is lost. */
static int ask(struct sl_forkserver *s, const struct sl_spawn *spec, pid_t *ret_pid, int *ret_pidfd,
               struct sl_err *err) {
    int rc = send_request(s, spec, err);
    if (rc == 0)
        rc = receive_answer(s, err);
    if (rc < 0)
        return rc;
    pid_t pid = (pid_t)sl_frame_u64(&s->answer, 0);
    if (pid <= 0)
        return 1;
    int pidfd = open_child(pid, err);
    if (pidfd < 0)
        return pidfd;
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

int sl_forkserver_spawn(struct sl_forkserver *s, const struct sl_spawn *spec, pid_t *ret_pid,
                        int *ret_pidfd, struct sl_err *err) {
    struct sl_err why = {0};
    if (s && s->pid < 0 && s->n_lost < SL_FORKSERVER_MAX_LOST && start(s, &why) < 0)
        lose(s, why.msg);
    int rc = s && s->pid >= 0 ? ask(s, spec, ret_pid, ret_pidfd, &why) : 1;
    if (rc < 0)
        lose(s, why.msg);
    return rc == 0 ? 0 : sl_spawn_start(spec, ret_pid, ret_pidfd, err);
}

/*
 * A worker process, see worker.h. Every change of state goes through the table of machine.c; what
 * the table orders is carried out by act(). When the process ends, the socket is drained first, so
 * that results sent just before the end are not lost.
 */
#include "sched/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

#define STOP_GRACE_S      10.0 /* STOP sent: destroy() and exit */
#define CANCEL_GRACE_S    3.0  /* CANCEL sent: a plugin has one second to obey */
#define TERMINATE_GRACE_S 2.0  /* SIGTERM sent */
#define ORPHAN_GRACE_S    1.0  /* the socket closed: the process should be ending */
#define FRAMES_A_TURN     64   /* so that one chatty worker does not starve the others */
#define FRAMES_AT_END                                                                              \
    4096 /* more than a socket buffer holds; a process that is left may go on writing */

static void step(struct sl_worker *w, enum sl_worker_event event);

static void send_plain(struct sl_worker *w, enum sl_frame_type type, uint32_t job) {
    sl_autofree struct sl_frame_out *f = sl_xmalloc(sizeof *f);
    struct sl_err err;
    sl_frame_init(f, type, job);
    if (w->socket.fd >= 0 && sl_frame_finish(f, &err) == 0)
        sl_channel_send(w->socket.fd, f, NULL, 0, &err);
}

static void signal_process(struct sl_worker *w, int signal) {
    if (w->process.fd >= 0)
        syscall(SYS_pidfd_send_signal, w->process.fd, signal, NULL, 0);
}

static void act(struct sl_worker *w, enum sl_worker_action action) {
    switch (action) {
    case SL_WORKER_DO_STOP:
        send_plain(w, SL_FRAME_STOP, 0);
        sl_timer_set(w->loop, &w->step, STOP_GRACE_S);
        break;
    case SL_WORKER_DO_CANCEL:
        send_plain(w, SL_FRAME_CANCEL, 0);
        sl_timer_set(w->loop, &w->step, CANCEL_GRACE_S);
        break;
    case SL_WORKER_DO_TERMINATE:
        signal_process(w, SIGTERM);
        sl_timer_set(w->loop, &w->step, TERMINATE_GRACE_S);
        break;
    case SL_WORKER_DO_KILL:
        if (w->group)
            sl_cgroup_kill(w->group);
        signal_process(w, SIGKILL);
        break;
    case SL_WORKER_DO_BUG:
        fprintf(stderr, "sluice: internal error: a worker in state %s\n",
                sl_worker_state_name(w->state));
        abort();
    case SL_WORKER_DO_NOTHING:
        break;
    }
}

static void step(struct sl_worker *w, enum sl_worker_event event) {
    struct sl_worker_step s = sl_worker_next(w->state, event);
    if (s.next != w->state) {
        sl_timer_stop(w->loop, &w->step);
        if (s.next != SL_WORKER_STARTING)
            sl_timer_stop(w->loop, &w->start);
    }
    w->state = s.next;
    act(w, s.action);
}

static void on_grace(struct sl_timer *t) {
    step(t->ctx, SL_WORKER_EV_GRACE);
}

static void on_start_timeout(struct sl_timer *t) {
    struct sl_worker *w = t->ctx;
    step(w, SL_WORKER_EV_ABANDON);
    w->callbacks->start_timeout(w);
}

static void take_exit(struct sl_worker *w, const struct sl_frame *f) {
    w->end.reported = true;
    w->end.wait_status = (int)sl_frame_u64(f, 0);
    w->end.cpu_s = (double)(sl_frame_u64(f, 1) + sl_frame_u64(f, 2)) * 1e-6;
    w->end.peak_bytes = sl_frame_u64(f, 3);
}

static void take_frame(struct sl_worker *w, const struct sl_frame *f) {
    char text[SL_ERR_SIZE];
    switch (f->type) {
    case SL_FRAME_READY:
        step(w, SL_WORKER_EV_READY);
        if (w->state == SL_WORKER_IDLE)
            w->callbacks->ready(w);
        break;
    case SL_FRAME_REFUSED:
        step(w, SL_WORKER_EV_ABANDON);
        w->callbacks->refused(w, (int)(int64_t)sl_frame_u64(f, 0),
                              sl_frame_text(f, 1, text, sizeof text));
        break;
    case SL_FRAME_EXIT:
        take_exit(w, f);
        break;
    default:
        w->callbacks->frame(w, f);
    }
}

/* Reads what has come, at most `limit` frames; false when there is nothing more to read for
 * good. */
static bool drain(struct sl_worker *w, int limit) {
    sl_autofree char *buf = sl_xmalloc(SL_FRAME_MAX_SIZE);
    sl_autofree struct sl_frame *frame = sl_xmalloc(sizeof *frame);
    int fds[SL_FRAME_MAX_FDS], n_fds, rc = 1;
    struct sl_err err;
    for (int i = 0; i < limit && w->socket.fd >= 0; i++) {
        rc = sl_channel_recv(w->socket.fd, buf, frame, fds, &n_fds, &err);
        if (rc != 1)
            break;
        for (int k = 0; k < n_fds; k++)
            close(fds[k]);
        if (frame->type < SL_FRAME_READY || frame->type > SL_FRAME_EXIT) {
            rc = sl_err_set(&err, SLUICE_INTERNAL, "a frame of type %d is not one a worker sends",
                            frame->type);
            break;
        }
        take_frame(w, frame);
    }
    if (rc >= 0)
        return true;
    if (rc != SL_CRASH && w->state != SL_WORKER_GONE) {
        step(w, SL_WORKER_EV_ABANDON);
        w->callbacks->broken(w, err.msg);
    }
    return false;
}

static void close_socket(struct sl_worker *w) {
    int fd = w->socket.fd;
    sl_watch_stop(w->loop, &w->socket);
    if (fd >= 0)
        close(fd);
}

static void on_socket(struct sl_watch *watch) {
    struct sl_worker *w = watch->ctx;
    if (drain(w, FRAMES_A_TURN))
        return;
    bool usable = sl_worker_is_usable(w);
    w->hung_up = true;
    close_socket(w);
    if (usable)
        sl_timer_set(w->loop, &w->step, ORPHAN_GRACE_S);
}

static void reap(struct sl_worker *w) {
    int status = 0;
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!w->end.reported)
        w->end.wait_status = status;
    int fd = w->process.fd;
    sl_watch_stop(w->loop, &w->process);
    if (fd >= 0)
        close(fd);
}

static void on_process(struct sl_watch *watch) {
    struct sl_worker *w = watch->ctx;
    drain(w, FRAMES_AT_END);
    close_socket(w);
    reap(w);
    step(w, SL_WORKER_EV_ENDED);
    w->callbacks->ended(w);
}

static int watch_it(struct sl_worker *w, struct sl_err *err) {
    int rc = sl_watch_start(w->loop, &w->process, err);
    return rc < 0 ? rc : sl_watch_start(w->loop, &w->socket, err);
}

int sl_worker_create(struct sl_loop *loop, const struct sl_worker_spec *spec,
                     const struct sl_frame_out *start, struct sl_worker **ret, struct sl_err *err) {
    sl_autoclose int ours = -1, theirs = -1;
    int pidfd, rc = sl_channel_pair(&ours, &theirs, err);
    if (rc < 0)
        return rc;
    struct sl_worker *w = sl_xcalloc(1, sizeof *w);
    struct sl_spawn spawn = spec->spawn;
    spawn.channel_fd = theirs;
    rc = sl_forkserver_spawn(spec->forkserver, &spawn, &w->pid, &pidfd, err);
    if (rc < 0) {
        free(w);
        return rc;
    }
    w->loop = loop;
    w->callbacks = spec->callbacks;
    w->ctx = spec->ctx;
    w->group = spec->group;
    w->process = (struct sl_watch){.fd = pidfd, .ready = on_process, .ctx = w};
    w->socket = (struct sl_watch){.fd = sl_steal_fd(&ours), .ready = on_socket, .ctx = w};
    w->step = (struct sl_timer){.fire = on_grace, .ctx = w};
    w->start = (struct sl_timer){.fire = on_start_timeout, .ctx = w};
    rc = watch_it(w, err);
    if (rc == 0 && spec->sandbox)
        rc = sl_channel_send(w->socket.fd, spec->sandbox, NULL, 0, err);
    if (rc == 0)
        rc = sl_channel_send(w->socket.fd, start, NULL, 0, err);
    /* A worker that died already is a crash to be told by `ended`, not a failure to start. */
    if (rc < 0 && rc != SL_CRASH) {
        sl_worker_destroy(w);
        return rc;
    }
    if (spec->start_timeout_s > 0)
        sl_timer_set(loop, &w->start, spec->start_timeout_s);
    *ret = w;
    return 0;
}

void sl_worker_destroy(struct sl_worker *w) {
    if (!w)
        return;
    if (w->process.fd >= 0) {
        signal_process(w, SIGKILL);
        reap(w);
    }
    close_socket(w);
    sl_timer_stop(w->loop, &w->step);
    sl_timer_stop(w->loop, &w->start);
    free(w);
}

bool sl_worker_is_ready(const struct sl_worker *w) {
    return w->socket.fd >= 0 && (w->state == SL_WORKER_IDLE || w->state == SL_WORKER_BUSY);
}

bool sl_worker_is_usable(const struct sl_worker *w) {
    return w->socket.fd >= 0 && w->state <= SL_WORKER_BUSY;
}

int sl_worker_send_job(struct sl_worker *w, const struct sl_frame_out *job, const int *fds,
                       int n_fds, struct sl_err *err) {
    int rc = sl_channel_send(w->socket.fd, job, fds, n_fds, err);
    if (rc < 0)
        return rc;
    w->n_jobs++;
    step(w, SL_WORKER_EV_JOB);
    return 0;
}

int sl_worker_send_fault(struct sl_worker *w, uint32_t job, enum sl_fault fault,
                         struct sl_err *err) {
    sl_autofree struct sl_frame_out *f = sl_xmalloc(sizeof *f);
    sl_frame_init(f, SL_FRAME_FAULT, job);
    sl_frame_add_u64(f, fault);
    int rc = sl_frame_finish(f, err);
    return rc < 0 ? rc : sl_channel_send(w->socket.fd, f, NULL, 0, err);
}

void sl_worker_cancel_job(struct sl_worker *w, uint32_t job) {
    send_plain(w, SL_FRAME_CANCEL, job);
}

void sl_worker_job_ended(struct sl_worker *w) {
    if (--w->n_jobs == 0)
        step(w, SL_WORKER_EV_DRAINED);
}

void sl_worker_release(struct sl_worker *w) {
    step(w, SL_WORKER_EV_RELEASE);
}

void sl_worker_cancel(struct sl_worker *w) {
    step(w, SL_WORKER_EV_CANCEL);
}

void sl_worker_abandon(struct sl_worker *w) {
    step(w, SL_WORKER_EV_ABANDON);
}

void sl_worker_kill(struct sl_worker *w) {
    step(w, SL_WORKER_EV_KILL);
}

const char *sl_wait_status_text(int wait_status, char *buf, size_t size) {
    if (WIFSIGNALED(wait_status))
        snprintf(buf, size, "killed by signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    else
        snprintf(buf, size, "exited with status %d", WEXITSTATUS(wait_status));
    return buf;
}

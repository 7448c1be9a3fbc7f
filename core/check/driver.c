/*
 * The driver, see driver.h: one worker, a list of the jobs it has, and pump(), which waits for the
 * next frame and books it. Everything else is pump() in a loop with a condition and a deadline.
 * What the worker's process holds is read from outside, through /proc, and limited by prlimit(2),
 * so that the worker needs no part in it.
 */
#include "check/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/plugin.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "check/procfs.h"
#include "ipc/channel.h"

#define MAX_WRAP       64
#define CPUS           2
#define LOG_TAIL       4096
#define LINE_MAX_BYTES 300
#define REAP_MS        8000 /* the init kills what is left for at most 5 s */
#define FIND_HOST_MS   2000 /* the init forks before it does anything else */

struct sl_drive {
    struct sl_drive_spec spec;
    int fd, pidfd, log_fd;
    pid_t pid, host; /* what was spawned; the plugin's process, 0 until it was looked for */
    uint32_t last_id;
    struct sl_drive_job *jobs; /* those that have not ended */
    enum { STARTING, READY, REFUSED, GONE } state;
    int status;      /* of REFUSED */
    int wait_status; /* of the plugin's process, -1 while unknown */
    uint64_t data_seen;
    bool stopped;
    char message[SL_ERR_SIZE]; /* of REFUSED, or how it went */
    char complaint[256];
    struct sl_frame_out out;
    struct sl_frame in;
    unsigned char buf[SL_FRAME_MAX_SIZE];
};

/* ---- The end of a worker --------------------------------------------------------------------- */

/* The last line of what the worker wrote, in `buf` of LOG_TAIL + 1 bytes. */
static const char *last_line(int log_fd, char *buf) {
    off_t size = lseek(log_fd, 0, SEEK_END);
    ssize_t n = pread(log_fd, buf, LOG_TAIL, size > LOG_TAIL ? size - LOG_TAIL : 0);
    size_t len = n > 0 ? (size_t)n : 0;
    while (len > 0 && strchr("\n\r ", buf[len - 1]))
        len--;
    buf[len] = 0;
    char *line = strrchr(buf, '\n');
    line = line ? line + 1 : buf;
    if (strlen(line) > LINE_MAX_BYTES)
        line[LINE_MAX_BYTES] = 0;
    line[sl_utf8_valid(line, strlen(line))] = 0;
    return line;
}

static void describe_end(struct sl_drive *d) {
    char buf[LOG_TAIL + 1], what[128];
    int s = d->wait_status;
    if (WIFSIGNALED(s))
        snprintf(what, sizeof what, "its process crashed (%s)", strsignal(WTERMSIG(s)));
    else if (WIFEXITED(s))
        snprintf(what, sizeof what, "it ended its process (exit status %d)", WEXITSTATUS(s));
    else
        snprintf(what, sizeof what, "its process is gone");
    const char *line = last_line(d->log_fd, buf);
    snprintf(d->message, sizeof d->message, *line ? "%s; last line of its log: %s" : "%s", what,
             line);
}

/* Waits for the process that was spawned; kills it where it does not end. */
static void reap(struct sl_drive *d, int limit_ms) {
    struct pollfd p = {d->pidfd, POLLIN, 0};
    if (poll(&p, 1, limit_ms) != 1)
        kill(d->pid, SIGKILL);
    int status = 0;
    while (waitpid(d->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (d->wait_status == -1)
        d->wait_status = status;
    d->pid = 0;
}

static void end_job(struct sl_drive *d, struct sl_drive_job *job, enum sl_drive_end end) {
    struct sl_drive_job **at = &d->jobs;
    while (*at && *at != job)
        at = &(*at)->next;
    if (*at)
        *at = job->next;
    job->end = end;
    job->ended_ms = sl_now_ms();
    sl_autofree char *scratch = sl_xasprintf("%s/%u", d->spec.scratch, job->id);
    sl_remove_tree(scratch, NULL);
}

static void worker_is_gone(struct sl_drive *d) {
    if (d->state == GONE)
        return;
    bool refused = d->state == REFUSED;
    d->state = GONE;
    if (d->pid)
        reap(d, REAP_MS);
    if (!refused)
        describe_end(d);
    while (d->jobs) {
        snprintf(d->jobs->message, sizeof d->jobs->message, "%s", d->message);
        end_job(d, d->jobs, SL_DRIVE_DIED);
    }
}

/* ---- Frames ---------------------------------------------------------------------------------- */

/* A worker of ours never says these things, so somebody else has written to its socket. */
#define FORGED "it wrote to the socket between the worker and sluice, which is not its own"

static void complain(struct sl_drive *d, const char *what) {
    if (!d->complaint[0])
        snprintf(d->complaint, sizeof d->complaint, "%s", what);
}

static void check_text(struct sl_drive *d, int field, const char *what) {
    const struct sl_field *f = &d->in.fields[field];
    if (field < d->in.n_fields && sl_utf8_valid(f->data, f->len) != f->len)
        complain(d, what);
}

static struct sl_drive_job *find_job(struct sl_drive *d, uint32_t id) {
    struct sl_drive_job *job = d->jobs;
    while (job && job->id != id)
        job = job->next;
    return job;
}

static void take_commit(struct sl_drive *d, struct sl_drive_job *job) {
    char port[256];
    bool known = false;
    sl_frame_text(&d->in, 0, port, sizeof port);
    for (int i = 0; i < job->n_outputs; i++) {
        if (strcmp(job->outputs[i].port, port) != 0)
            continue;
        known = true;
        job->outputs[i].committed = true;
        job->outputs[i].len = sl_frame_u64(&d->in, 1);
    }
    if (!known)
        complain(d, FORGED);
}

static void take_done(struct sl_drive *d, struct sl_drive_job *job) {
    check_text(d, 1, "the message of a job is not valid UTF-8");
    job->status = (int)(int64_t)sl_frame_u64(&d->in, 0);
    sl_frame_text(&d->in, 1, job->message, sizeof job->message);
    end_job(d, job, SL_DRIVE_ENDED);
}

static void take_job_frame(struct sl_drive *d) {
    struct sl_drive_job *job = find_job(d, d->in.job);
    if (!job && (d->in.job != 0 || d->in.type != SL_FRAME_LOG))
        complain(d, FORGED);
    if (d->in.type == SL_FRAME_LOG)
        check_text(d, 1, "a log line is not valid UTF-8");
    if (d->in.type == SL_FRAME_PROGRESS)
        check_text(d, 1, "what progress() was given is not valid UTF-8");
    if (d->in.type == SL_FRAME_PART)
        check_text(d, 1, "a published part is not valid UTF-8");
    if (job && d->in.type == SL_FRAME_PROGRESS)
        job->progressed = true;
    if (job && d->in.type == SL_FRAME_COMMIT)
        take_commit(d, job);
    if (job && d->in.type == SL_FRAME_DONE)
        take_done(d, job);
}

static void take_frame(struct sl_drive *d) {
    bool first_words = d->in.type == SL_FRAME_READY || d->in.type == SL_FRAME_REFUSED;
    if (d->wait_status != -1 || (first_words && d->state != STARTING)) {
        complain(d, FORGED);
        return;
    }
    switch (d->in.type) {
    case SL_FRAME_READY:
        d->state = READY;
        break;
    case SL_FRAME_REFUSED:
        check_text(d, 1, "the message of create() is not valid UTF-8");
        d->state = REFUSED;
        d->status = (int)(int64_t)sl_frame_u64(&d->in, 0);
        sl_frame_text(&d->in, 1, d->message, sizeof d->message);
        break;
    case SL_FRAME_EXIT:
        d->wait_status = (int)sl_frame_u64(&d->in, 0);
        break;
    default:
        take_job_frame(d);
    }
}

/* Books the next frame; false where none came until the deadline, or the user wants to stop. */
static bool pump(struct sl_drive *d, int64_t deadline_ms) {
    struct pollfd p[] = {{d->fd, POLLIN, 0}, {d->spec.stop_fd, POLLIN, 0}};
    int64_t left = deadline_ms - sl_now_ms();
    int n = poll(p, 2, left > 0 ? (int)left : 0);
    if (n < 0)
        return errno == EINTR;
    d->stopped |= p[1].revents != 0;
    if (n == 0 || d->stopped)
        return false;
    int fds[SL_FRAME_MAX_FDS], n_fds = 0;
    struct sl_err err;
    int rc = sl_channel_recv(d->fd, d->buf, &d->in, fds, &n_fds, &err);
    for (int i = 0; rc == 1 && i < n_fds; i++)
        close(fds[i]);
    if (rc == 1 && n_fds > 0)
        complain(d, FORGED);
    if (rc == 1)
        take_frame(d);
    if (rc == SLUICE_INTERNAL) {
        complain(d, FORGED);
        kill(d->pid, SIGKILL);
    }
    if (rc < 0)
        worker_is_gone(d);
    return true;
}

static enum sl_drive_end late(const struct sl_drive *d) {
    return d->stopped ? SL_DRIVE_STOPPED : SL_DRIVE_SILENT;
}

static int send_out(struct sl_drive *d, const int *fds, int n_fds, struct sl_err *err) {
    if (d->state == GONE)
        return 0; /* the job has ended, or will be found ended */
    int rc = sl_frame_finish(&d->out, err);
    if (rc == 0)
        rc = sl_channel_send(d->fd, &d->out, fds, n_fds, err);
    return rc == SL_CRASH ? 0 : rc;
}

/* ---- Starting -------------------------------------------------------------------------------- */

static int send_start(struct sl_drive *d, struct sl_err *err) {
    sl_frame_init(&d->out, SL_FRAME_START, 0);
    sl_frame_add_text(&d->out, d->spec.plugin);
    sl_frame_add_text(&d->out, d->spec.stage);
    sl_frame_add_text(&d->out, d->spec.params);
    sl_frame_add_text(&d->out, d->spec.share);
    sl_frame_add_u64(&d->out, SLUICE_DEVICE_CPU);
    sl_frame_add_u64(&d->out, 0);
    sl_frame_add_u64(&d->out, CPUS);
    sl_frame_add_u64(&d->out, 0);
    sl_frame_add_u64(&d->out, 0);
    return send_out(d, NULL, 0, err);
}

static int spawn(struct sl_drive *d, int worker_fd, struct sl_err *err) {
    const char *argv[MAX_WRAP + 5];
    int n = 0;
    for (int i = 0; d->spec.wrap && d->spec.wrap[i] && n < MAX_WRAP; i++)
        argv[n++] = d->spec.wrap[i];
    argv[n++] = d->spec.worker;
    argv[n++] = "--socket";
    argv[n++] = "3";
    argv[n++] = d->spec.no_init ? "--no-init" : NULL;
    argv[n] = NULL;
    struct sl_spawn spawn = {.program = argv[0],
                             .argv = argv,
                             .log_fd = d->spec.wrap ? STDERR_FILENO : d->log_fd,
                             .channel_fd = worker_fd,
                             .stdin_fd = d->spec.wrap ? STDIN_FILENO : -1,
                             .containment = d->spec.containment,
                             .visible_cards = "",
                             .cpus = CPUS};
    return sl_spawn_start(&spawn, &d->pid, &d->pidfd, err);
}

int sl_drive_create(const struct sl_drive_spec *spec, struct sl_drive **ret, struct sl_err *err) {
    struct sl_drive *d = sl_xcalloc(1, sizeof *d);
    sl_autoclose int worker_fd = -1;
    d->spec = *spec;
    d->wait_status = -1;
    d->pidfd = d->fd = -1;
    d->log_fd = memfd_create("log", MFD_CLOEXEC);
    int rc = sl_channel_pair(&d->fd, &worker_fd, err);
    if (rc == 0)
        rc = spawn(d, worker_fd, err);
    if (rc == 0 && spec->data_limit)
        sl_drive_limit_data(d, spec->data_limit);
    if (rc == 0)
        rc = send_start(d, err);
    if (rc < 0) {
        sl_drive_destroy(d);
        return rc;
    }
    *ret = d;
    return 0;
}

enum sl_drive_end sl_drive_ready(struct sl_drive *d, int limit_ms, int *ret_status,
                                 char message[SL_ERR_SIZE]) {
    int64_t deadline = sl_now_ms() + limit_ms;
    while (d->state == STARTING)
        if (!pump(d, deadline) && d->state == STARTING)
            return late(d);
    snprintf(message, SL_ERR_SIZE, "%s", d->message);
    *ret_status = d->state == REFUSED ? d->status : 0;
    return d->state == GONE ? SL_DRIVE_DIED : SL_DRIVE_ENDED;
}

/* ---- Jobs ------------------------------------------------------------------------------------ */

/* Descriptors of a job: inputs that are not files by path, opened here and closed once they were
 * sent, then outputs. */
struct job_fds {
    int fds[2 * SL_DRIVE_MAX_PORTS];
    int n, n_inputs;
};

static int add_input(struct sl_drive *d, const struct sl_drive_input *in, struct job_fds *f,
                     struct sl_err *err) {
    sl_frame_add_text(&d->out, in->port);
    sl_frame_add_text(&d->out, in->type);
    sl_frame_add_text(&d->out, in->path);
    if (strcmp(in->type, SLUICE_TYPE_FILE) == 0)
        return 0;
    int fd = open(in->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s: cannot be opened", in->path);
    f->fds[f->n++] = fd;
    f->n_inputs = f->n;
    return 0;
}

static int add_output(struct sl_drive *d, struct sl_drive_output *out, struct job_fds *f,
                      struct sl_err *err) {
    out->committed = false;
    out->fd = memfd_create(out->port, MFD_CLOEXEC);
    if (out->fd < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "no file for an output");
    sl_frame_add_text(&d->out, out->port);
    sl_frame_add_text(&d->out, out->type);
    f->fds[f->n++] = out->fd;
    return 0;
}

int sl_drive_send(struct sl_drive *d, struct sl_drive_job *job, struct sl_err *err) {
    struct job_fds f = {.n = 0};
    int rc = 0;
    job->id = ++d->last_id;
    job->end = SL_DRIVE_RUNNING;
    job->progressed = false;
    for (int i = 0; i < job->n_outputs; i++)
        job->outputs[i].fd = -1;
    sl_autofree char *scratch = sl_xasprintf("%s/%u", d->spec.scratch, job->id);
    sl_frame_init(&d->out, SL_FRAME_JOB, job->id);
    sl_frame_add_text(&d->out, job->item ? job->item : "item");
    sl_frame_add_text(&d->out, scratch);
    sl_frame_add_u64(&d->out, (uint64_t)job->n_inputs);
    sl_frame_add_u64(&d->out, (uint64_t)job->n_outputs);
    for (int i = 0; rc == 0 && i < job->n_inputs; i++)
        rc = add_input(d, &job->inputs[i], &f, err);
    for (int i = 0; rc == 0 && i < job->n_outputs; i++)
        rc = add_output(d, &job->outputs[i], &f, err);
    job->sent_ms = job->ended_ms = sl_now_ms();
    job->next = d->jobs;
    d->jobs = job;
    if (rc == 0)
        rc = send_out(d, f.fds, f.n, err);
    for (int i = 0; i < f.n_inputs; i++)
        close(f.fds[i]);
    if (rc < 0 || d->state == GONE)
        end_job(d, job, SL_DRIVE_DIED);
    if (d->state == GONE)
        snprintf(job->message, sizeof job->message, "%s", d->message);
    return rc;
}

void sl_drive_cancel(struct sl_drive *d, const struct sl_drive_job *job) {
    sl_frame_init(&d->out, SL_FRAME_CANCEL, job->id);
    send_out(d, NULL, 0, NULL);
}

static void wait_for(struct sl_drive *d, struct sl_drive_job *job, bool progress, int limit_ms) {
    int64_t deadline = sl_now_ms() + limit_ms;
    while (job->end == SL_DRIVE_RUNNING && !(progress && job->progressed))
        if (!pump(d, deadline))
            break;
}

void sl_drive_wait(struct sl_drive *d, struct sl_drive_job *job, int limit_ms) {
    wait_for(d, job, false, limit_ms);
    if (job->end == SL_DRIVE_RUNNING)
        end_job(d, job, late(d));
}

void sl_drive_wait_progress(struct sl_drive *d, struct sl_drive_job *job, int limit_ms) {
    wait_for(d, job, true, limit_ms);
}

void sl_drive_job_finish(struct sl_drive_job *job) {
    for (int i = 0; i < job->n_outputs; i++)
        sl_close(&job->outputs[i].fd);
}

/* ---- The end --------------------------------------------------------------------------------- */

int sl_drive_stop(struct sl_drive *d, int limit_ms, struct sl_err *err) {
    int64_t deadline = sl_now_ms() + limit_ms;
    sl_frame_init(&d->out, SL_FRAME_STOP, 0);
    send_out(d, NULL, 0, NULL);
    while (d->state != GONE)
        if (!pump(d, deadline) && d->state != GONE)
            return sl_err_set(err, SLUICE_INTERNAL, "it did not end within %g s of being asked to",
                              limit_ms / 1000.0);
    if (WIFEXITED(d->wait_status) && WEXITSTATUS(d->wait_status) == 0)
        return 0;
    return sl_err_set(err, SLUICE_INTERNAL, "%s", d->message);
}

void sl_drive_destroy(struct sl_drive *d) {
    if (!d)
        return;
    if (d->pid) {
        kill(d->pid, SIGKILL);
        reap(d, REAP_MS);
    }
    while (d->jobs)
        end_job(d, d->jobs, SL_DRIVE_DIED);
    sl_close(&d->fd);
    sl_close(&d->pidfd);
    sl_close(&d->log_fd);
    free(d);
}

bool sl_drive_alive(const struct sl_drive *d) {
    return d->state == READY && !d->stopped;
}

const char *sl_drive_complaint(const struct sl_drive *d) {
    return d->complaint;
}

int sl_drive_exit_status(const struct sl_drive *d) {
    return d->state == GONE && WIFEXITED(d->wait_status) ? WEXITSTATUS(d->wait_status) : -1;
}

/* ---- Seen from outside ----------------------------------------------------------------------- */

/* The plugin's process: what was spawned, or the child of that, as soon as it is there. */
static pid_t find_host(struct sl_drive *d) {
    int64_t deadline = sl_now_ms() + FIND_HOST_MS;
    if (d->spec.no_init)
        d->host = d->pid;
    while (!d->host && d->state != GONE && sl_now_ms() < deadline) {
        d->host = sl_procfs_first_child(d->pid);
        if (!d->host)
            poll(NULL, 0, 1);
    }
    return d->host;
}

bool sl_drive_usage(struct sl_drive *d, struct sl_drive_usage *ret) {
    pid_t host = find_host(d);
    *ret = (struct sl_drive_usage){.anonymous_bytes = sl_procfs_status(host, "RssAnon:") * 1024,
                                   .data_bytes = sl_procfs_status(host, "VmData:") * 1024,
                                   .threads = (int)sl_procfs_status(host, "Threads:"),
                                   .fds = sl_procfs_count_fds(host)};
    if (ret->data_bytes > d->data_seen)
        d->data_seen = ret->data_bytes;
    return host && ret->threads > 0 && d->state != GONE;
}

uint64_t sl_drive_data_seen(const struct sl_drive *d) {
    return d->data_seen;
}

bool sl_drive_limit_data(struct sl_drive *d, uint64_t headroom) {
    struct sl_drive_usage now;
    return sl_drive_usage(d, &now) && sl_procfs_limit_data(d->host, now.data_bytes + headroom);
}

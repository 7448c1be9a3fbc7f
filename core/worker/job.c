/*
 * Jobs: made from a JOB frame, used by the stage, ended by DONE. See host.h for the locking and
 * plugin.h for the contract.
 *
 * An ended job keeps its shell for a while (host->retired): a late call on it finds the magic of an
 * ended job and is refused with a line in the log instead of reading freed memory. Ids are never
 * used twice by the core.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "worker/host.h"
#include "worker/sandbox.h"

#define ALIVE             0x4a4f4221u
#define ENDED             0x656e6421u
#define PROGRESS_PAUSE_MS 100
#define PART_MAX          (32 * 1024)

/* ---- Making and ending ----------------------------------------------------------------------- */

static const struct sluice_port *declared(const struct sluice_port *const *ports,
                                          const char *name) {
    for (int i = 0; ports && ports[i]; i++)
        if (strcmp(ports[i]->name, name) == 0)
            return ports[i];
    return NULL;
}

static const char *field_text(struct sluice_job *job, const struct sl_frame *f, int i) {
    return sl_arena_strndup(&job->arena, f->fields[i].data, f->fields[i].len);
}

/* Takes the ports and one descriptor each; returns how many descriptors they need. */
static int read_ports(struct sluice_job *job, const struct sl_frame *f, const int *fds, int n_fds) {
    int at = 4, used = 0;
    job->inputs = sl_arena_alloc(&job->arena, (size_t)job->n_inputs * sizeof *job->inputs);
    job->outputs = sl_arena_alloc(&job->arena, (size_t)job->n_outputs * sizeof *job->outputs);
    for (int i = 0; i < job->n_inputs; i++, at += 3) {
        struct sl_job_input *in = &job->inputs[i];
        *in = (struct sl_job_input){field_text(job, f, at), field_text(job, f, at + 1),
                                    field_text(job, f, at + 2), .fd = -1};
        if (strcmp(in->type, SLUICE_TYPE_FILE) != 0) {
            in->fd = used < n_fds ? fds[used] : -1;
            used++;
        }
    }
    for (int i = 0; i < job->n_outputs; i++, at += 2) {
        struct sl_job_output *out = &job->outputs[i];
        out->port = field_text(job, f, at);
        out->type = field_text(job, f, at + 1);
        out->fd = used < n_fds ? fds[used] : -1;
        used++;
        const struct sluice_port *port = declared(job->host->stage.outputs, out->port);
        out->optional = port && (port->flags & SLUICE_PORT_OPTIONAL);
    }
    return used;
}

static void release(struct sluice_job *job) {
    for (int i = 0; i < job->n_inputs; i++) {
        if (job->inputs[i].mapped && job->inputs[i].len)
            munmap(job->inputs[i].map, job->inputs[i].len);
        sl_close(&job->inputs[i].fd);
    }
    sl_job_outputs_close(job);
    job->n_inputs = job->n_outputs = 0;
    sl_arena_finish(&job->arena);
}

static void send_done(struct sluice_job *job, int32_t status, const char *message) {
    struct sl_frame_out *f = &job->host->frame;
    sl_frame_init(f, SL_FRAME_DONE, job->id);
    sl_frame_add_u64(f, (uint64_t)(int64_t)status);
    sl_frame_add_text(f, message);
    sl_host_send(job->host);
}

static void send_progress(struct sluice_job *job) {
    struct sl_frame_out *f = &job->host->frame;
    sl_frame_init(f, SL_FRAME_PROGRESS, job->id);
    sl_frame_add_f64(f, job->fraction);
    sl_frame_add_text(f, job->doing);
    sl_host_send(job->host);
    job->progress_pending = false;
}

/* Keeps the shell of an ended job and frees the one that ended SL_HOST_RETIRED jobs ago. */
static void retire(struct sluice_job *job) {
    struct sl_host *host = job->host;
    job->magic = ENDED;
    release(job);
    unsigned slot = host->n_retired++ % SL_HOST_RETIRED;
    free(host->retired[slot]);
    host->retired[slot] = job;
}

struct sluice_job *sl_job_create(struct sl_host *host, const struct sl_frame *frame, int *fds,
                                 int n_fds) {
    struct sluice_job *job = sl_xcalloc(1, sizeof *job);
    job->magic = ALIVE;
    job->id = frame->job;
    job->host = host;
    job->item = field_text(job, frame, 0);
    job->scratch = field_text(job, frame, 1);
    job->n_inputs = (int)sl_frame_u64(frame, 2);
    job->n_outputs = (int)sl_frame_u64(frame, 3);
    if (read_ports(job, frame, fds, n_fds) == n_fds)
        return job;
    for (int i = 0; i < n_fds; i++)
        close(fds[i]);
    job->n_inputs = job->n_outputs = 0;
    send_done(job, SLUICE_INTERNAL, "the job came with the wrong number of descriptors");
    retire(job);
    return NULL;
}

/* What the stage's status means, given what it did: *ret_status is sent, job->failure says why. */
static void judge(struct sluice_job *job, int32_t *status) {
    char *why = job->failure;
    size_t size = sizeof job->failure;
    if (*status > 0 || *status < SLUICE_CANCELLED) {
        snprintf(why, size, "the stage returned status %d, which does not exist", *status);
        *status = SLUICE_INTERNAL;
    } else if (*status == SLUICE_CANCELLED && !atomic_load(&job->cancelled)) {
        snprintf(why, size, "the stage stopped as if cancelled, but was not asked to");
        *status = SLUICE_INTERNAL;
    } else if (*status < 0 && !why[0]) {
        snprintf(why, size,
                 *status == SLUICE_CANCELLED ? "cancelled"
                                             : "the stage failed (%s) without saying why",
                 sl_class_name(*status));
    }
    for (int i = 0; *status == SLUICE_OK && i < job->n_outputs; i++) {
        const struct sl_job_output *out = &job->outputs[i];
        if (out->committed || (out->optional && !out->problem[0]))
            continue;
        if (out->problem[0])
            snprintf(why, size, "%s", out->problem);
        else
            snprintf(why, size, "output \"%s\" was not committed", out->port);
        *status = SLUICE_INTERNAL;
    }
}

void sl_job_end(struct sluice_job *job, int32_t status) {
    judge(job, &status);
    /* Before DONE, so that the core finds nobody who could change them. */
    sl_job_outputs_close(job);
    if (job->progress_pending)
        send_progress(job);
    if (status != SLUICE_OK)
        sl_sandbox_explain(job->host->confined, job->failure, sizeof job->failure);
    send_done(job, status, status == SLUICE_OK ? "" : job->failure);
    retire(job);
}

static struct sl_host *refuse_call(const char *call, const char *why) {
    fprintf(stderr, "error: the stage called %s() for a job that %s\n", call, why);
    return NULL;
}

/* Takes the lock for a call on a live job; NULL (and no lock) where it is not one. */
static struct sl_host *enter(struct sluice_job *job, const char *call) {
    if (!job)
        return refuse_call(call, "is NULL");
    struct sl_host *host = job->host;
    pthread_mutex_lock(&host->lock);
    if (job->magic == ALIVE)
        return host;
    pthread_mutex_unlock(&host->lock);
    return refuse_call(call, "has ended");
}

static void leave(struct sl_host *host) {
    pthread_mutex_unlock(&host->lock);
}

struct sluice_job *sl_job_check(struct sluice_job *job, const char *call) {
    struct sl_host *host = enter(job, call);
    if (!host)
        return NULL;
    leave(host);
    return job;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

static struct sl_job_input *find_input(struct sluice_job *job, const char *port) {
    for (int i = 0; i < job->n_inputs; i++)
        if (strcmp(job->inputs[i].port, port) == 0)
            return &job->inputs[i];
    return NULL;
}

/* Maps on first use. */
static int32_t map_input(struct sluice_job *job, struct sl_job_input *in) {
    struct stat st;
    if (in->mapped || in->fd < 0)
        return 0;
    if (fstat(in->fd, &st) == 0) {
        in->len = (size_t)st.st_size;
        in->map = in->len ? mmap(NULL, in->len, PROT_READ, MAP_SHARED, in->fd, 0)
                          : (void *)(uintptr_t) "";
        in->mapped = in->map != MAP_FAILED;
    }
    if (in->mapped)
        return 0;
    sl_host_reportf(job->host, job->id, SLUICE_LOG_ERROR, "input \"%s\" cannot be mapped: %s",
                    in->port, strerror(errno));
    return SLUICE_RESOURCE;
}

/* Not connected: fine for a port that is declared, or where any name is taken. */
static int32_t missing_input(struct sluice_job *job, const char *port) {
    const struct sluice_port *const *ports = job->host->stage.inputs;
    if (declared(ports, port) || declared(ports, "*"))
        return SLUICE_UNSUPPORTED;
    sl_host_reportf(job->host, job->id, SLUICE_LOG_ERROR,
                    "%s asks for input \"%s\", which it does not declare", job->host->stage_id,
                    port);
    return SLUICE_INTERNAL;
}

static int32_t input_view(struct sluice_job *job, const char *port, struct sluice_view *view) {
    struct sl_job_input *in = find_input(job, port);
    if (!in)
        return missing_input(job, port);
    int32_t rc = map_input(job, in);
    if (rc < 0)
        return rc;
    struct sluice_view full = {
        .size = view->size, .data = in->map, .len = in->len, .type = in->type, .path = in->path};
    memcpy(view, &full, view->size < sizeof full ? view->size : sizeof full);
    return 0;
}

static int32_t job_input(struct sluice_job *job, const char *port, struct sluice_view *view) {
    struct sl_host *host = enter(job, "input");
    if (!host)
        return SLUICE_INTERNAL;
    int32_t rc = SLUICE_INTERNAL;
    if (port && view && view->size >= SLUICE_SIZED(struct sluice_view))
        rc = input_view(job, port, view);
    else
        sl_host_report(host, job->id, SLUICE_LOG_ERROR,
                       "input() needs a port and a view whose size is set");
    leave(host);
    return rc;
}

static const char *job_input_name(struct sluice_job *job, uint32_t i) {
    struct sl_host *host = enter(job, "input_name");
    if (!host)
        return NULL;
    const char *name = i < (uint32_t)job->n_inputs ? job->inputs[i].port : NULL;
    leave(host);
    return name;
}

/* ---- Progress, cancel, failure --------------------------------------------------------------- */

static void job_progress(struct sluice_job *job, double fraction, const char *what) {
    struct sl_host *host = enter(job, "progress");
    if (!host)
        return;
    job->fraction = isnan(fraction) || fraction < 0 ? -1 : fraction > 1 ? 1 : fraction;
    snprintf(job->doing, sizeof job->doing, "%s", what ? what : "");
    int64_t now = sl_now_ms();
    job->progress_pending = true;
    if (job->progress_ms == 0 || now - job->progress_ms >= PROGRESS_PAUSE_MS) {
        job->progress_ms = now;
        send_progress(job);
    }
    leave(host);
}

static int32_t job_cancelled(struct sluice_job *job) {
    return job && atomic_load(&job->cancelled);
}

static void job_fail(struct sluice_job *job, const char *message) {
    struct sl_host *host = enter(job, "fail");
    if (!host)
        return;
    snprintf(job->failure, sizeof job->failure, "%s", message ? message : "");
    leave(host);
}

static const char *job_item(struct sluice_job *job) {
    struct sl_host *host = enter(job, "item");
    if (!host)
        return "";
    const char *item = job->item;
    leave(host);
    return item;
}

/* ---- Extensions ------------------------------------------------------------------------------ */

static bool is_output(const struct sluice_job *job, const char *port) {
    for (int i = 0; port && i < job->n_outputs; i++)
        if (strcmp(job->outputs[i].port, port) == 0)
            return true;
    return false;
}

static void stream_publish(struct sluice_job *job, const char *port, const void *data,
                           uint64_t len) {
    struct sl_host *host = enter(job, "publish");
    if (!host)
        return;
    if (!is_output(job, port) || len > PART_MAX) {
        sl_host_reportf(host, job->id, SLUICE_LOG_WARN, "a part of output \"%s\" was dropped: %s",
                        port ? port : "(NULL)",
                        len > PART_MAX ? "it is larger than 32 KiB" : "the job has no such output");
    } else if (!atomic_load(&job->cancelled)) {
        sl_frame_init(&host->frame, SL_FRAME_PART, job->id);
        sl_frame_add_text(&host->frame, port);
        sl_frame_add(&host->frame, data, len);
        sl_host_send(host);
    }
    leave(host);
}

static const char *scratch_path(struct sluice_job *job) {
    struct sl_host *host = enter(job, "scratch path");
    if (!host)
        return NULL;
    const char *path = job->scratch;
    if (!*path || (mkdir(path, 0700) < 0 && errno != EEXIST)) {
        sl_host_reportf(host, job->id, SLUICE_LOG_WARN, "no scratch folder: %s%s%s", path,
                        *path ? ": " : "", *path ? strerror(errno) : "the core gave none");
        path = NULL;
    }
    leave(host);
    return path;
}

static void metrics_set(struct sluice_job *job, const char *name, double value) {
    struct sl_host *host = enter(job, "metric");
    if (!host)
        return;
    if (!name || !sl_is_identifier(name)) {
        sl_host_reportf(host, job->id, SLUICE_LOG_WARN, "a metric was dropped: its name is \"%s\"",
                        name ? name : "(NULL)");
    } else {
        sl_frame_init(&host->frame, SL_FRAME_METRIC, job->id);
        sl_frame_add_text(&host->frame, name);
        sl_frame_add_f64(&host->frame, value);
        sl_host_send(host);
    }
    leave(host);
}

const void *sl_job_extension(const char *id) {
    static const struct sluice_stream stream = {SLUICE_SIZED(struct sluice_stream), 0,
                                                stream_publish};
    static const struct sluice_scratch scratch = {SLUICE_SIZED(struct sluice_scratch), 0,
                                                  scratch_path};
    static const struct sluice_metrics metrics = {SLUICE_SIZED(struct sluice_metrics), 0,
                                                  metrics_set};
    if (strcmp(id, SLUICE_EXT_STREAM) == 0)
        return &stream;
    if (strcmp(id, SLUICE_EXT_SCRATCH) == 0)
        return &scratch;
    return strcmp(id, SLUICE_EXT_METRICS) == 0 ? &metrics : NULL;
}

void sl_job_fill_table(struct sluice_host *t) {
    t->input = job_input;
    t->input_name = job_input_name;
    t->progress = job_progress;
    t->cancelled = job_cancelled;
    t->fail = job_fail;
    t->item = job_item;
    t->output_grow = sl_job_output_grow;
    t->output_commit = sl_job_output_commit;
}

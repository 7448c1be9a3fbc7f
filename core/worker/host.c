/*
 * Host: life of the plugin's process, see host.h. START, create(), the loop over jobs, take() and
 * finish(), the I/O thread, and what is written and sent. Jobs themselves are in job.c and
 * output.c, parameters in params.c.
 */
#include "worker/host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/exit.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "ipc/channel.h"
#include "worker/loader.h"

#define SOCKET_FD_FROM                                                                             \
    200 /* the socket is moved up here, away from numbers that programs guess   \
                            */
#define RESEND_PAUSE_MS 10
#define LOG_LINE_MAX    4096

static struct sl_host *host_of(const struct sluice_host *table) {
    return (struct sl_host *)(uintptr_t)table;
}

/* ---- Sending --------------------------------------------------------------------------------- */

void sl_host_send(struct sl_host *host) {
    struct sl_err err;
    if (sl_frame_finish(&host->frame, &err) < 0) {
        fprintf(stderr, "error: %s\n", err.msg);
        return;
    }
    for (;;) {
        int rc = sl_channel_send(host->socket, &host->frame, NULL, 0, &err);
        if (rc == 0)
            return;
        if (rc != SLUICE_TRANSIENT && rc != SLUICE_RESOURCE)
            sl_exit(SL_HOST_EXIT_CORE_GONE);
        poll(NULL, 0, RESEND_PAUSE_MS);
    }
}

static void write_line(int level, const char *text) {
    char line[LOG_LINE_MAX + 32];
    int len =
        snprintf(line, sizeof line - 1, "%s: %.*s", sl_log_level_name(level), LOG_LINE_MAX, text);
    line[len++] = '\n';
    sl_write_all(STDERR_FILENO, line, (size_t)len, NULL);
}

void sl_host_report(struct sl_host *host, uint32_t job, int level, const char *text) {
    write_line(level, text);
    if (level < SLUICE_LOG_WARN || host->n_reports > SL_HOST_MAX_REPORTS)
        return;
    if (host->n_reports++ == SL_HOST_MAX_REPORTS)
        text = "further warnings are in the log of the attempt only";
    size_t len = strlen(text) < LOG_LINE_MAX ? strlen(text) : LOG_LINE_MAX;
    sl_frame_init(&host->frame, SL_FRAME_LOG, job);
    sl_frame_add_u64(&host->frame, (uint64_t)level);
    sl_frame_add(&host->frame, text, len);
    sl_host_send(host);
}

void sl_host_reportf(struct sl_host *host, uint32_t job, int level, const char *fmt, ...) {
    char text[SL_ERR_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sl_host_report(host, job, level, text);
}

/* ---- The table, where it names no job -------------------------------------------------------- */

static const struct sluice_budget *table_budget(const struct sluice_host *table) {
    return &host_of(table)->budget;
}

static const char *table_share_dir(const struct sluice_host *table) {
    return host_of(table)->share_dir;
}

static void table_error(const struct sluice_host *table, const char *message) {
    struct sl_host *host = host_of(table);
    pthread_mutex_lock(&host->lock);
    snprintf(host->error, sizeof host->error, "%s", message ? message : "");
    pthread_mutex_unlock(&host->lock);
}

/* A line belongs to the job that runs, where that is one alone. */
static void table_log(const struct sluice_host *table, int32_t level, const char *message) {
    struct sl_host *host = host_of(table);
    if (level < SLUICE_LOG_DEBUG || level > SLUICE_LOG_ERROR)
        level = SLUICE_LOG_INFO;
    pthread_mutex_lock(&host->lock);
    sl_host_report(host, host->n_active == 1 ? host->active->id : 0, level, message ? message : "");
    pthread_mutex_unlock(&host->lock);
}

static const void *table_extension(const struct sluice_host *table, const char *id) {
    (void)table;
    return id ? sl_job_extension(id) : NULL;
}

/* ---- Lists of jobs --------------------------------------------------------------------------- */

static void append(struct sluice_job **list, struct sluice_job *job) {
    while (*list)
        list = &(*list)->next;
    job->next = NULL;
    *list = job;
}

static struct sluice_job *find(struct sluice_job *list, uint32_t id) {
    while (list && list->id != id)
        list = list->next;
    return list;
}

static void unlink_job(struct sluice_job **list, const struct sluice_job *job) {
    while (*list && *list != job)
        list = &(*list)->next;
    if (*list)
        *list = job->next;
}

/* The next waiting job becomes active; NULL where none waits. `lock` held. */
static struct sluice_job *activate(struct sl_host *host) {
    struct sluice_job *job = host->waiting;
    if (!job)
        return NULL;
    host->waiting = job->next;
    append(&host->active, job);
    host->n_active++;
    return job;
}

static void end_active(struct sl_host *host, struct sluice_job *job, int32_t status) {
    unlink_job(&host->active, job);
    host->n_active--;
    sl_job_end(job, status);
}

/* ---- take() and finish() --------------------------------------------------------------------- */

static struct timespec deadline_in(int32_t wait_ms) {
    int64_t at_ns = sl_now_ns() + (int64_t)wait_ms * 1000000;
    return (struct timespec){.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
}

static struct sluice_job *take_next(struct sl_host *host, int32_t wait_ms) {
    struct timespec deadline = deadline_in(wait_ms > 0 ? wait_ms : 0);
    unsigned max_jobs = host->stage.max_jobs ? host->stage.max_jobs : 1;
    pthread_mutex_lock(&host->lock);
    struct sluice_job *job = NULL;
    while ((unsigned)host->n_active < max_jobs && !(job = activate(host)) && !host->stopping &&
           wait_ms != 0) {
        if (wait_ms < 0)
            pthread_cond_wait(&host->changed, &host->lock);
        else if (pthread_cond_timedwait(&host->changed, &host->lock, &deadline) == ETIMEDOUT)
            wait_ms = 0; /* a last look, then give up */
    }
    pthread_mutex_unlock(&host->lock);
    return job;
}

/* Its fault ended the job. */
static bool struck_down(struct sluice_job *job) {
    struct sl_host *host = job->host;
    int32_t status;
    if (!sl_job_strike(job, &status))
        return false;
    pthread_mutex_lock(&host->lock);
    end_active(host, job, status);
    pthread_mutex_unlock(&host->lock);
    return true;
}

static struct sluice_job *table_take(const struct sluice_host *table, int32_t wait_ms) {
    struct sluice_job *job;
    do
        job = take_next(host_of(table), wait_ms);
    while (job && struck_down(job));
    return job;
}

static void table_finish(struct sluice_job *job, int32_t status) {
    if (!sl_job_check(job, "finish"))
        return;
    struct sl_host *host = job->host;
    pthread_mutex_lock(&host->lock);
    end_active(host, job, status);
    pthread_mutex_unlock(&host->lock);
}

/* ---- The I/O thread -------------------------------------------------------------------------- */

static void on_job(struct sl_host *host, const struct sl_frame *frame, int *fds, int n_fds) {
    struct sluice_job *job = sl_job_create(host, frame, fds, n_fds);
    if (!job)
        return;
    job->fault = job->id == host->fault_job ? host->fault : SL_FAULT_NONE;
    append(&host->waiting, job);
}

/* A job that still waits ends here; one that runs learns of it through cancelled(). */
static void on_cancel(struct sl_host *host, uint32_t id) {
    for (struct sluice_job *job = host->active; job; job = job->next)
        if (id == 0 || job->id == id)
            atomic_store(&job->cancelled, true);
    for (struct sluice_job *job = host->waiting, *next; job; job = next) {
        next = job->next;
        if (id != 0 && job->id != id)
            continue;
        unlink_job(&host->waiting, job);
        atomic_store(&job->cancelled, true);
        sl_job_end(job, SLUICE_CANCELLED);
    }
}

static void on_frame(struct sl_host *host, const struct sl_frame *frame, int *fds, int n_fds) {
    pthread_mutex_lock(&host->lock);
    if (frame->type == SL_FRAME_JOB)
        on_job(host, frame, fds, n_fds);
    else
        for (int i = 0; i < n_fds; i++)
            close(fds[i]);
    if (frame->type == SL_FRAME_FAULT) {
        host->fault_job = frame->job;
        host->fault = (int)sl_frame_u64(frame, 0);
    }
    if (frame->type == SL_FRAME_CANCEL)
        on_cancel(host, frame->job);
    if (frame->type == SL_FRAME_STOP)
        host->stopping = true;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

/* Reads the next frame; without a core there is nothing left to do. */
static int receive(const struct sl_host *host, void *buf, struct sl_frame *frame, int *fds) {
    struct sl_err err;
    int n_fds = 0;
    int rc = sl_channel_recv(host->socket, buf, frame, fds, &n_fds, &err);
    if (rc == SL_CRASH)
        sl_exit(SL_HOST_EXIT_CORE_GONE);
    if (rc != 1) {
        write_line(SLUICE_LOG_ERROR, rc < 0 ? err.msg : "the socket of the worker does not wait");
        sl_exit(SL_HOST_EXIT_CORE_GONE);
    }
    return n_fds;
}

static void *io_main(void *arg) {
    struct sl_host *host = arg;
    void *buf = sl_xmalloc(SL_FRAME_MAX_SIZE);
    struct sl_frame *frame = sl_xmalloc(sizeof *frame);
    int fds[SL_FRAME_MAX_FDS];
    for (;;) {
        int n_fds = receive(host, buf, frame, fds);
        on_frame(host, frame, fds, n_fds);
    }
    return NULL;
}

/* Signals are the main thread's. */
static void start_io_thread(struct sl_host *host) {
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    pthread_t thread;
    int error = pthread_create(&thread, NULL, io_main, host);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (error) {
        fprintf(stderr, "error: no thread: %s\n", strerror(error));
        sl_exit(SL_HOST_EXIT_REFUSED);
    }
    pthread_detach(thread);
}

/* ---- START ----------------------------------------------------------------------------------- */

static char *copy_text(const struct sl_frame *f, int i) {
    return sl_xstrndup(f->fields[i].data, f->fields[i].len);
}

static void set_budget(struct sl_host *host, const struct sl_frame *f) {
    host->budget = (struct sluice_budget){.size = SLUICE_SIZED(struct sluice_budget),
                                          .device = (int32_t)sl_frame_u64(f, 4),
                                          .device_index = (int32_t)sl_frame_u64(f, 5),
                                          .cpus = (uint32_t)sl_frame_u64(f, 6),
                                          .memory = sl_frame_u64(f, 7),
                                          .gpu_memory = sl_frame_u64(f, 8)};
    if (host->budget.cpus == 0)
        host->budget.cpus = 1;
}

/* Parameters as values, and each as text, so that later calls only read. */
static int set_params(struct sl_host *host, const char *text, size_t len, struct sl_err *err) {
    if (sl_json_parse(text, len, &host->params, err) < 0) {
        sl_err_wrap(err, "the parameters");
        return err->cls = SLUICE_INTERNAL; /* they are the core's, not the user's */
    }
    if (!json_is_object(host->params))
        return sl_err_set(err, SLUICE_INTERNAL, "the parameters are not a JSON object");
    host->params_text = json_object();
    const char *name;
    json_t *value;
    json_object_foreach(host->params, name, value) {
        sl_autofree char *line = sl_json_line(value);
        json_object_set_new(host->params_text, name, json_string(line));
    }
    return 0;
}

/* A frame without descriptors. */
static void receive_alone(const struct sl_host *host, void *buf, struct sl_frame *frame) {
    int fds[SL_FRAME_MAX_FDS];
    int n_fds = receive(host, buf, frame, fds);
    for (int i = 0; i < n_fds; i++)
        close(fds[i]);
}

static int take_start(struct sl_host *host, const struct sl_sandbox_base *base,
                      struct sl_err *err) {
    sl_autofree void *buf = sl_xmalloc(SL_FRAME_MAX_SIZE);
    sl_autofree struct sl_frame *frame = sl_xmalloc(sizeof *frame);
    receive_alone(host, buf, frame);
    if (frame->type == SL_FRAME_SANDBOX) {
        if (sl_sandbox_enter(base, frame, err) < 0)
            return err->cls;
        host->confined = true;
        receive_alone(host, buf, frame);
    }
    if (frame->type == SL_FRAME_STOP)
        sl_exit(0);
    if (frame->type != SL_FRAME_START)
        return sl_err_set(err, SLUICE_INTERNAL,
                          "the first message to a worker is of type %u, not START", frame->type);
    host->plugin_path = copy_text(frame, 0);
    host->stage_id = copy_text(frame, 1);
    host->share_dir = copy_text(frame, 3);
    set_budget(host, frame);
    return set_params(host, frame->fields[2].data, frame->fields[2].len, err);
}

static int load_stage(struct sl_host *host, struct sl_err *err) {
    const struct sluice_plugin *plugin;
    int rc = sl_loader_open(host->plugin_path, &plugin, NULL, err);
    if (rc < 0)
        return rc;
    const struct sluice_stage *stage = sl_loader_stage(plugin, host->stage_id);
    if (!stage)
        return sl_err_set(err, SLUICE_INTERNAL, "%s: has no stage %s", host->plugin_path,
                          host->stage_id);
    memcpy(&host->stage, stage,
           stage->size < sizeof host->stage ? stage->size : sizeof host->stage);
    return 0;
}

static int create_stage(struct sl_host *host, struct sl_err *err) {
    if (!host->stage.create)
        return 0;
    int32_t status = host->stage.create(&host->table, &host->self);
    if (status == SLUICE_OK)
        return 0;
    pthread_mutex_lock(&host->lock);
    bool known = status < 0 && status >= SLUICE_CANCELLED;
    if (host->error[0])
        sl_err_set(err, known ? status : SLUICE_INTERNAL, "%s", host->error);
    else
        sl_err_set(err, known ? status : SLUICE_INTERNAL,
                   "%s: create() failed (%s) without saying why", host->stage_id,
                   known ? sl_class_name(status) : "a status that does not exist");
    pthread_mutex_unlock(&host->lock);
    return err->cls;
}

static void estimate_memory(struct sl_host *host, uint64_t *ret_host, uint64_t *ret_device) {
    const struct sluice_memory *memory = NULL;
    if (host->stage.extension)
        memory = host->stage.extension(host->self, SLUICE_EXT_MEMORY);
    uint64_t host_bytes = 0, device_bytes = 0;
    if (memory && memory->estimate &&
        memory->estimate(host->self, &host_bytes, &device_bytes) == SLUICE_OK) {
        *ret_host = host_bytes;
        *ret_device = device_bytes;
    }
}

static void send_ready(struct sl_host *host) {
    uint64_t host_bytes = 0, device_bytes = 0;
    estimate_memory(host, &host_bytes, &device_bytes);
    pthread_mutex_lock(&host->lock);
    sl_frame_init(&host->frame, SL_FRAME_READY, 0);
    sl_frame_add_u64(&host->frame, host_bytes);
    sl_frame_add_u64(&host->frame, device_bytes);
    sl_host_send(host);
    pthread_mutex_unlock(&host->lock);
}

static _Noreturn void refuse(struct sl_host *host, const struct sl_err *err) {
    write_line(SLUICE_LOG_ERROR, err->msg);
    pthread_mutex_lock(&host->lock);
    sl_frame_init(&host->frame, SL_FRAME_REFUSED, 0);
    sl_frame_add_u64(&host->frame, (uint64_t)(int64_t)err->cls);
    sl_frame_add_text(&host->frame, err->msg);
    sl_host_send(host);
    sl_exit(SL_HOST_EXIT_REFUSED);
}

/* ---- The main loop --------------------------------------------------------------------------- */

static struct sluice_job *next_job(struct sl_host *host) {
    struct sluice_job *job;
    pthread_mutex_lock(&host->lock);
    while (!(job = activate(host)) && !host->stopping)
        pthread_cond_wait(&host->changed, &host->lock);
    pthread_mutex_unlock(&host->lock);
    return job;
}

/* After process(): its own job ends with what it returned, others that it took and forgot have
 * failed. */
static void end_round(struct sl_host *host, uint32_t id, int32_t status) {
    pthread_mutex_lock(&host->lock);
    struct sluice_job *own = find(host->active, id);
    if (own)
        end_active(host, own, status);
    while (host->active) {
        snprintf(host->active->failure, sizeof host->active->failure,
                 "the stage returned without finishing the job");
        end_active(host, host->active, SLUICE_INTERNAL);
    }
    pthread_mutex_unlock(&host->lock);
}

static void serve(struct sl_host *host) {
    for (struct sluice_job *job; (job = next_job(host));) {
        uint32_t id = job->id;
        int32_t status;
        if (!sl_job_strike(job, &status))
            status = host->stage.process(host->self, job);
        end_round(host, id, status);
    }
}

static void fill_table(struct sluice_host *t) {
    t->size = SLUICE_SIZED(struct sluice_host);
    t->abi_minor = SLUICE_ABI_MINOR;
    t->budget = table_budget;
    t->share_dir = table_share_dir;
    t->error = table_error;
    t->log = table_log;
    t->extension = table_extension;
    t->take = table_take;
    t->finish = table_finish;
    sl_params_fill_table(t);
    sl_job_fill_table(t);
}

static struct sl_host *host_create(int socket) {
    struct sl_host *host = sl_xmalloc(sizeof *host);
    memset(host, 0, offsetof(struct sl_host, frame));
    host->socket = fcntl(socket, F_DUPFD_CLOEXEC, SOCKET_FD_FROM);
    if (host->socket < 0)
        host->socket = socket; /* the limit of open files is lower: it stays where it is */
    else
        close(socket);
    fcntl(host->socket, F_SETFD, FD_CLOEXEC);
    pthread_mutex_init(&host->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&host->changed, &monotonic);
    fill_table(&host->table);
    return host;
}

_Noreturn void sl_host_run(int socket, const struct sl_sandbox_base *base) {
    struct sl_host *host = host_create(socket);
    struct sl_err err = {0};
    /* What a plugin prints is in the log even if it crashes later. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    int rc = take_start(host, base, &err);
    if (rc == 0)
        start_io_thread(host);
    if (rc == 0)
        rc = load_stage(host, &err);
    if (rc == 0)
        rc = create_stage(host, &err);
    if (rc < 0) {
        sl_sandbox_explain(host->confined, err.msg, sizeof err.msg);
        refuse(host, &err);
    }
    send_ready(host);
    serve(host);
    if (host->stage.destroy)
        host->stage.destroy(host->self);
    fflush(NULL);
    sl_exit(0);
}

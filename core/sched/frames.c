/*
 * What workers say and how they end: each frame of a job, readiness, refusal, the end of the
 * process. What an attempt's end means is decided in outcome.c; every path from here leads to
 * sl_run_conclude().
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/units.h"
#include "proc/orphans.h"
#include "sched/run_internal.h"

#define MAX_LOGS 2000 /* LOG frames of one worker; its host stops at half as many */

/* ---- frames ---- */

static struct sl_attempt *find_job(struct carrier *c, uint32_t job) {
    for (struct sl_attempt *a = c->attempts; a; a = a->next)
        if (a->job == job && a->sent)
            return a;
    return NULL;
}

/* A text of the worker's, fit to be printed. */
static const char *text_of(const struct sl_frame *f, int i, char *buf, size_t size) {
    sl_frame_text(f, i, buf, size);
    return sl_make_printable(buf);
}

static void heartbeat(struct run *run, struct sl_attempt *a) {
    if (a->idle.at_ms)
        sl_timer_set(run->loop, &a->idle, a->stage->timeouts.idle_s);
}

static struct sl_event event_of(const struct sl_attempt *a, enum sl_event_type type) {
    return (struct sl_event){
        .type = type, .item = a->task->item, .stage = a->task->stage, .attempt = a->number};
}

static void on_progress(struct run *run, struct sl_attempt *a, const struct sl_frame *f) {
    char text[256];
    struct sl_event ev = event_of(a, SL_EVENT_PROGRESS);
    ev.fraction = sl_frame_f64(f, 0);
    ev.fraction = ev.fraction >= 0 && ev.fraction <= 1 ? ev.fraction : ev.fraction > 1 ? 1 : -1;
    ev.text = text_of(f, 1, text, sizeof text);
    sl_run_emit(run, &ev);
}

static void on_part(struct run *run, struct sl_attempt *a, const struct sl_frame *f) {
    char port[256];
    struct sl_event ev = event_of(a, SL_EVENT_PART);
    ev.port = text_of(f, 0, port, sizeof port);
    ev.text = f->fields[1].data;
    ev.len = f->fields[1].len;
    sl_run_emit(run, &ev);
}

static void on_log(struct carrier *c, const struct sl_attempt *a, const struct sl_frame *f) {
    char text[SL_ERR_SIZE];
    const struct sl_plan_stage *stage = &c->run->plan->stages[c->stage];
    struct sl_event ev = {.type = SL_EVENT_LOG, .item = a ? a->task->item : -1, .stage = c->stage};
    uint64_t level = sl_frame_u64(f, 0);
    if (c->n_logs++ >= MAX_LOGS)
        return;
    ev.level = level <= SLUICE_LOG_ERROR ? (int)level : SLUICE_LOG_WARN;
    ev.text = text_of(f, 1, text, sizeof text);
    if (a)
        sl_log(&c->run->log, ev.level, "%s/%s: %s", a->item->name, stage->name, ev.text);
    else
        sl_log(&c->run->log, ev.level, "%s: %s", stage->name, ev.text);
    sl_run_emit(c->run, &ev);
}

static void on_commit(struct carrier *c, struct sl_attempt *a, const struct sl_frame *f) {
    char port[256];
    struct sl_err err = {0};
    text_of(f, 0, port, sizeof port);
    if (sl_attempt_note_commit(a, port, sl_frame_u64(f, 1), &err) < 0)
        sl_run_stop_attempt(c->run, a, SLUICE_INTERNAL, sl_xstrdup(err.msg));
}

static void on_done(struct carrier *c, struct sl_attempt *a, const struct sl_frame *f) {
    char text[SL_ERR_SIZE];
    int64_t status = (int64_t)sl_frame_u64(f, 0);
    text_of(f, 1, text, sizeof text);
    if (status > SLUICE_OK || status < SLUICE_CANCELLED) {
        snprintf(text, sizeof text, "the stage returned %lld, which is not a status",
                 (long long)status);
        status = SLUICE_INTERNAL;
    }
    if (status < 0 && !*text)
        snprintf(text, sizeof text, "failed as %s and gave no reason; see its log",
                 sl_class_name((int)status));
    sl_run_conclude(c->run, a, (int)status, text);
}

static void on_metric(struct run *run, struct sl_attempt *a, const struct sl_frame *f) {
    char name[64];
    struct sl_event ev = event_of(a, SL_EVENT_METRIC);
    ev.fraction = sl_frame_f64(f, 1);
    ev.port = sl_frame_text(f, 0, name, sizeof name);
    if (!isfinite(ev.fraction) || !sl_is_identifier(name))
        return;
    sl_attempt_note_metric(a, name, ev.fraction);
    sl_run_emit(run, &ev);
}

static void on_frame(struct sl_worker *w, const struct sl_frame *f) {
    struct carrier *c = w->ctx;
    struct sl_attempt *a = f->job ? find_job(c, f->job) : NULL;
    if (f->type == SL_FRAME_LOG)
        on_log(c, a, f);
    if (!a)
        return;
    heartbeat(c->run, a);
    if (f->type == SL_FRAME_PROGRESS)
        on_progress(c->run, a, f);
    else if (f->type == SL_FRAME_PART)
        on_part(c->run, a, f);
    else if (f->type == SL_FRAME_METRIC)
        on_metric(c->run, a, f);
    else if (f->type == SL_FRAME_COMMIT)
        on_commit(c, a, f);
    else if (f->type == SL_FRAME_DONE)
        on_done(c, a, f);
}

/* ---- workers ---- */

static void on_ready(struct sl_worker *w) {
    struct carrier *c = w->ctx;
    c->was_ready = true;
    c->load_ms = sl_now_ms() - c->began_ms;
    sl_storm_ready(&c->run->health[c->stage].storm);
    for (struct sl_attempt *a = c->attempts; a; a = a->next) {
        struct sl_event ev = event_of(a, SL_EVENT_TASK_READY);
        ev.seconds = sl_run_wall_s(a);
        sl_run_emit(c->run, &ev);
    }
    sl_run_send_waiting(c);
    sl_run_carrier_idle(c);
}

void sl_run_carrier_doom(struct carrier *c, int cls, const char *text) {
    if (c->why)
        return;
    c->why = cls;
    c->why_text = sl_xstrdup(text);
    if (!c->let_go)
        c->let_go = SL_LET_GO_FAILED;
}

static void on_refused(struct sl_worker *w, int cls, const char *message) {
    bool known = cls < SLUICE_OK && cls >= SLUICE_CANCELLED;
    sl_autofree char *text = sl_make_printable(sl_xstrdup(message));
    sl_run_carrier_doom(w->ctx, known ? cls : SLUICE_INTERNAL,
                        *text ? text : "create() failed and gave no reason; see its log");
}

static void on_broken(struct sl_worker *w, const char *message) {
    sl_autofree char *text = sl_xasprintf("its worker broke the protocol: %s", message);
    sl_run_carrier_doom(w->ctx, SLUICE_INTERNAL, text);
}

static void on_start_timeout(struct sl_worker *w) {
    struct carrier *c = w->ctx;
    char limit[32];
    sl_format_duration(c->run->plan->stages[c->stage].timeouts.start_s, limit, sizeof limit);
    sl_autofree char *text = sl_xasprintf("not ready after %s (timeout.start)", limit);
    sl_run_carrier_doom(c, SL_TIMEOUT, text);
}

static char *explain_end(const struct carrier *c) {
    char how[96];
    int status = c->worker->end.wait_status;
    sl_autofree char *line = sl_last_log_line(c->log_path);
    bool exited = WIFEXITED(status);
    if (exited && c->worker->hung_up && !c->worker->end.reported)
        return sl_xasprintf("its process closed its connection to sluice%s%s",
                            line ? "; its last line: " : "", line ? line : "");
    sl_wait_status_text(status, how, sizeof how);
    return sl_xasprintf("its process %s%s%s%s%s", exited ? "" : "was ", how,
                        exited ? " before the job was done" : "", line ? "; its last line: " : "",
                        line ? line : "");
}

static bool is_ours(void *ctx, pid_t pid) {
    const struct run *run = ctx;
    for (const struct carrier *c = run->carriers; c; c = c->next)
        if (c->worker && c->worker->pid == pid)
            return true;
    return sl_forkserver_pid(run->forkserver) == pid || sl_admission_helper_pid(run) == pid ||
           sl_durable_pid(run) == pid;
}

static void kill_orphans(struct run *run) {
    int n = run->adopts ? sl_orphans_kill(is_ours, run) : 0;
    if (n > 0)
        sl_log(&run->log, SLUICE_LOG_WARN, "killed %d processes that a worker left behind", n);
}

static void on_ended(struct sl_worker *w) {
    struct carrier *c = w->ctx;
    struct run *run = c->run;
    sl_autofree char *how = explain_end(c);
    sl_guard_end(c);
    sl_admission_ended(c);
    sl_logs_bound(c);
    kill_orphans(run);
    if (!c->was_ready && !c->was_cancelled && !run->stopping && !sl_admission_refuses_card(c))
        sl_run_start_failed(run, c->stage, c->why ? c->why : SL_CRASH, c->why ? c->why_text : how);
    if (!c->let_go)
        c->let_go = SL_LET_GO_FAILED;
    if (c->n_attempts == 0 && w->end.wait_status != 0 && !c->was_cancelled)
        sl_log(&run->log, SLUICE_LOG_WARN, "%s: after its work was done, %s",
               run->plan->stages[c->stage].name, how);
    sl_record_worker(run, c);
    c->n_hit = c->n_attempts;
    while (c->attempts) {
        struct sl_attempt *a = c->attempts;
        a->sent = false;
        sl_run_conclude(run, a, c->why ? c->why : SL_CRASH, c->why ? c->why_text : how);
    }
    sl_run_carrier_destroy(c);
}

const struct sl_worker_callbacks sl_run_callbacks = {
    .ready = on_ready,
    .refused = on_refused,
    .frame = on_frame,
    .broken = on_broken,
    .start_timeout = on_start_timeout,
    .ended = on_ended,
};

/*
 * Workers and the attempts they carry: made, given attempts, kept while they are idle, let go,
 * forgotten. What is kept and for how long is warm.h's to say; who starts when is in dispatch.c.
 *
 * A worker that is let go takes no further attempt from that moment on; the process is told to stop
 * when the last one it has is over. An idle worker is in nobody's way but for its memory: it counts
 * among the kept ones until it was reaped.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "sched/run_internal.h"

bool sl_run_keeps(const struct run *run, int stage) {
    return run->plan->stages[stage].keep.kind != SL_KEEP_NONE && !run->spec->wrap;
}

/* The tasks of the stage that no worker has yet; many where items still come in. */
static int tasks_ahead(const struct run *run, int stage) {
    int n = run->tasks.stage_open[stage];
    if (sl_incoming_is_open(run))
        return INT_MAX;
    for (const struct carrier *c = run->carriers; c; c = c->next)
        n -= c->stage == stage ? c->n_attempts : 0;
    return n;
}

static void on_idle_over(struct sl_timer *t) {
    sl_run_carrier_let_go(t->ctx, SL_LET_GO_IDLE);
}

struct carrier *sl_run_carrier_create(struct run *run, int stage, int cpus) {
    const struct sl_plan_stage *s = &run->plan->stages[stage];
    struct carrier *c = sl_xcalloc(1, sizeof *c);
    c->run = run;
    c->stage = stage;
    c->cpus = cpus;
    c->number = ++run->last_worker;
    c->shared = s->max_jobs > 1 || (sl_run_keeps(run, stage) && tasks_ahead(run, stage) > 1);
    c->kept = sl_run_keeps(run, stage);
    c->began_ms = sl_now_ms();
    c->idle = (struct sl_timer){.fire = on_idle_over, .ctx = c};
    c->next = run->carriers;
    run->carriers = c;
    return c;
}

void sl_run_carrier_destroy(struct carrier *c) {
    struct carrier **at = &c->run->carriers;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    sl_timer_stop(c->run->loop, &c->idle);
    sl_worker_destroy(c->worker);
    sl_guard_finish(c);
    sl_admission_forget(c);
    free(c->log_path);
    free(c->why_text);
    free(c);
}

/* ---- Attempts -------------------------------------------------------------------------------- */

/* Tasks that it takes at a time. Who was in a process that ended badly is alone in its next one. */
static int capacity(const struct carrier *c) {
    int most = c->run->plan->stages[c->stage].max_jobs;
    if (c->attempts && c->attempts->task->alone)
        return 1;
    return c->batch > 0 && c->batch < most ? c->batch : most;
}

/* It was started with what the task asks for. */
static bool suits(const struct carrier *c, const struct sl_task *task) {
    bool avoided = c->grant.on_gpu && (task->avoid >> c->grant.card & 1);
    return c->params_key == sl_run_params_key(c->run, task) &&
           c->batch == sl_run_batch(c->run, task) && c->on_cpu == task->on_cpu && !avoided &&
           sl_guard_suits(c, task);
}

bool sl_run_carrier_takes(const struct carrier *c, const struct sl_task *task) {
    return c->kept && !c->let_go && sl_worker_is_usable(c->worker) && !task->alone &&
           c->n_attempts < capacity(c) && suits(c, task);
}

void sl_run_carrier_attach(struct carrier *c, struct sl_attempt *a) {
    struct sl_attempt **at = &c->attempts;
    while (*at)
        at = &(*at)->next;
    *at = a;
    c->n_attempts++;
    c->idle_since_ms = 0;
    sl_timer_stop(c->run->loop, &c->idle);
    a->worker = c->worker;
}

void sl_run_carrier_detach(struct carrier *c, struct sl_attempt *a) {
    struct sl_attempt **at = &c->attempts;
    while (*at && *at != a)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = a->next;
    c->n_attempts--;
}

/* ---- Between attempts ------------------------------------------------------------------------ */

void sl_run_carrier_let_go(struct carrier *c, enum sl_let_go why) {
    if (c->let_go)
        return;
    c->let_go = why;
    sl_run_carrier_idle(c);
}

static void look_at_memory(struct carrier *c) {
    struct sl_usage now;
    if (c->guard.n_jobs == 0 || !sl_usage_sample(c->worker->pid, 0, &now))
        return;
    c->memory = now.memory;
    if (!c->first_memory)
        c->first_memory = now.memory;
}

/* Why it gets nothing more to do, of what can be said while it is idle. */
static enum sl_let_go reason(struct carrier *c, bool was_busy) {
    const struct run *run = c->run;
    const struct sl_keep *keep = &run->plan->stages[c->stage].keep;
    if (run->stopping)
        return SL_LET_GO_STOP;
    if (!c->kept)
        return SL_LET_GO_TASK;
    if (tasks_ahead(run, c->stage) <= 0)
        return SL_LET_GO_DONE;
    if (!was_busy)
        return SL_LET_GO_NOT;
    if (keep->growth)
        look_at_memory(c);
    return sl_warm_worn(keep, &(struct sl_warm_use){.tasks = c->guard.n_jobs,
                                                    .first_memory = c->first_memory,
                                                    .memory = c->memory});
}

static void log_let_go(const struct carrier *c) {
    char grown[64] = "", first[32], now[32];
    if (!c->shared || c->let_go == SL_LET_GO_STOP)
        return;
    if (c->let_go == SL_LET_GO_GROWTH)
        snprintf(grown, sizeof grown, " (%s to %s)",
                 sl_format_size(c->first_memory, first, sizeof first),
                 sl_format_size(c->memory, now, sizeof now));
    sl_log(&c->run->log, SLUICE_LOG_INFO, "%s: worker %d is let go after %d tasks: %s%s",
           c->run->plan->stages[c->stage].name, c->number, c->guard.n_jobs,
           sl_let_go_text(c->let_go), grown);
}

void sl_run_carrier_idle(struct carrier *c) {
    const struct sl_keep *keep = &c->run->plan->stages[c->stage].keep;
    bool was_busy = c->idle_since_ms == 0;
    if (c->n_attempts > 0 || !sl_worker_is_usable(c->worker))
        return;
    if (!c->let_go)
        c->let_go = reason(c, was_busy);
    if (c->let_go) {
        log_let_go(c);
        c->idle_since_ms = 0;
        sl_timer_stop(c->run->loop, &c->idle);
        sl_worker_release(c->worker);
    } else if (was_busy) {
        c->idle_since_ms = sl_now_ms();
        if (keep->kind == SL_KEEP_FOR)
            sl_timer_set(c->run->loop, &c->idle, keep->idle_s);
    }
}

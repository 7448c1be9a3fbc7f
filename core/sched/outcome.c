/*
 * What ends mean. Every attempt ends in sl_run_conclude(), once; from there the class
 * and the policy decide: done, again, absent, failed. Settled tasks settle items.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "sched/retry.h"
#include "sched/run_internal.h"

/* For one job of a shared worker, before the whole worker is stopped. */
#define JOB_CANCEL_GRACE_S 3.0
#define HASH_SLICE         (1u << 20) /* bytes a turn of the loop: less than half a millisecond */

double sl_run_wall_s(const struct sl_attempt *a) {
    return (double)(sl_now_ms() - a->began_ms) / 1000;
}

static struct carrier *carrier_of(struct run *run, const struct sl_attempt *a) {
    for (struct carrier *c = run->carriers; c; c = c->next)
        if (c->worker == a->worker)
            return c;
    return NULL;
}

static double random_unit(struct run *run) {
    return (double)rand_r(&run->random_state) / ((double)RAND_MAX + 1);
}

/* ---- stopping an attempt ---- */

void sl_run_stop_attempt(struct run *run, struct sl_attempt *a, int cls, char *reason) {
    struct carrier *c = carrier_of(run, a);
    if (a->verdict) {
        free(reason);
        return;
    }
    a->verdict = cls;
    a->reason = reason;
    sl_timer_stop(run->loop, &a->idle);
    bool goes_on = c->n_attempts > 1 || (c->kept && cls == SLUICE_CANCELLED && !run->stopping);
    if (goes_on) {
        /* The worker is for others too. An attempt that was not handed over yet ends when the
         * worker is ready. */
        if (a->sent) {
            sl_worker_cancel_job(c->worker, a->job);
            sl_timer_set(run->loop, &a->total, JOB_CANCEL_GRACE_S);
        }
        return;
    }
    sl_timer_stop(run->loop, &a->total);
    c->was_cancelled = true;
    if (!c->let_go)
        c->let_go = SL_LET_GO_FAILED;
    sl_worker_cancel(c->worker);
}

static void on_idle(struct sl_timer *t) {
    struct sl_attempt *a = t->ctx;
    struct carrier *c = a->worker->ctx;
    char limit[32];
    sl_format_duration(a->stage->timeouts.idle_s, limit, sizeof limit);
    sl_run_stop_attempt(
        c->run, a, SL_TIMEOUT,
        sl_xasprintf("no progress for %s (timeout.idle); raise it if the stage is slow but alive",
                     limit));
}

static void on_total(struct sl_timer *t) {
    struct sl_attempt *a = t->ctx;
    struct carrier *c = a->worker->ctx;
    char limit[32];
    if (a->verdict) {
        c->was_cancelled = true;
        sl_run_carrier_doom(
            c, SL_CRASH,
            "its worker was stopped because another job in it did not stop when cancelled");
        sl_worker_abandon(c->worker);
        return;
    }
    sl_format_duration(a->stage->timeouts.total_s, limit, sizeof limit);
    sl_run_stop_attempt(c->run, a, SL_TIMEOUT,
                        sl_xasprintf("not done after %s (timeout.total)", limit));
}

void sl_run_arm_job_timers(struct run *run, struct sl_attempt *a) {
    a->idle = (struct sl_timer){.fire = on_idle, .ctx = a};
    a->total = (struct sl_timer){.fire = on_total, .ctx = a};
    if (run->spec->wrap)
        return;
    if (a->stage->timeouts.idle_s > 0)
        sl_timer_set(run->loop, &a->idle, a->stage->timeouts.idle_s);
    if (a->stage->timeouts.total_s > 0)
        sl_timer_set(run->loop, &a->total, a->stage->timeouts.total_s);
}

static void stop_attempts_of_item(struct run *run, int item) {
    for (struct carrier *c = run->carriers; c; c = c->next)
        for (struct sl_attempt *a = c->attempts; a; a = a->next)
            if (a->task->item == item)
                sl_run_stop_attempt(run, a, SLUICE_CANCELLED,
                                    sl_xstrdup("another stage of this item failed"));
}

/* ---- items ---- */

static void end_item(struct run *run, int item, const char *message) {
    for (int s = 0; !message && s < run->plan->n_stages; s++) {
        const struct sl_task *task = sl_task_at(&run->tasks, item, s);
        if (task->state == SL_TASK_FAILED)
            message = task->message;
    }
    enum sl_item_state state = run->tasks.items[item];
    *(state == SL_ITEM_OK       ? &run->result.n_ok
      : state == SL_ITEM_FAILED ? &run->result.n_failed
                                : &run->result.n_cancelled) += 1;
    run->open_items--;
    run->in_flight -= run->begun[item];
    sl_record_item(run, item, message);
    if (state == SL_ITEM_OK && !run->spec->keep_artifacts)
        sl_artifacts_remove_later(run, item);
    sl_tasks_forget(&run->tasks, item);
    if (state == SL_ITEM_FAILED && run->spec->fail_fast && !run->stopping)
        sl_run_cancel_all(run, "an item failed (--fail-fast)");
}

void sl_run_item_written(struct run *run, int item, const char *message) {
    if (message)
        run->tasks.items[item] = SL_ITEM_FAILED;
    end_item(run, item, message);
}

static bool is_hashing(const struct run *run, int item) {
    for (int i = 0; i < run->n_late; i++)
        if (run->late[i].item == item)
            return true;
    return false;
}

void sl_run_end_item_if_done(struct run *run, int item) {
    if (run->tasks.item_open[item] > 0 || is_hashing(run, item))
        return;
    if (run->tasks.items[item] == SL_ITEM_OK && run->spec->out_dir)
        sl_outputs_write(run, item);
    else
        end_item(run, item, NULL);
}

/* ---- hashes of large artifacts, made between turns of the loop ---- */

bool sl_run_hash_some(struct run *run) {
    if (run->n_late == 0)
        return false;
    const struct late_hash late = run->late[0];
    struct sl_task *task = sl_task_at(&run->tasks, late.item, late.stage);
    struct sl_err err = {0};
    int rc = sl_artifact_settle(&task->artifacts[late.port], HASH_SLICE, &err);
    if (rc == 0)
        return true;
    if (rc < 0)
        sl_log(&run->log, SLUICE_LOG_ERROR, "%s", err.msg);
    run->n_late--;
    memmove(&run->late[0], &run->late[1], (size_t)run->n_late * sizeof late);
    sl_record_late_artifact(run, task, late.port);
    if (task->unrecorded == 0 && task->state == SL_TASK_DONE)
        sl_reuse_keep(run, task);
    sl_run_end_item_if_done(run, late.item);
    return true; /* others may start now */
}

static void note_artifacts(struct run *run, const struct sl_attempt *a) {
    for (int i = 0; i < a->stage->n_outputs; i++) {
        if (!a->task->artifacts[i].path)
            continue;
        if (!a->task->artifacts[i].hasher) {
            sl_record_artifact(run, a->task, i);
            continue;
        }
        SL_PUSH_ROOM(run->late, run->n_late, run->cap_late);
        run->late[run->n_late++] = (struct late_hash){a->task->item, a->task->stage, i};
        a->task->unrecorded++;
    }
}

/* ---- tasks ---- */

static void cancel_rest(struct run *run, int item);

void sl_run_task_changed(void *ctx, struct sl_task *task) {
    struct run *run = ctx;
    struct backoff *b = task->backoff;
    if (b) {
        sl_timer_stop(run->loop, &b->timer);
        free(b);
        task->backoff = NULL;
    }
    sl_record_task(run, task);
    if (task->state != SL_TASK_DONE)
        sl_reuse_drop(task);
}

static void settle(struct run *run, struct sl_task *task, enum sl_task_state outcome) {
    int item = task->item;
    sl_tasks_settle(&run->tasks, task, outcome, sl_run_task_changed, run);
    if (run->tasks.items[item] == SL_ITEM_FAILED || run->tasks.items[item] == SL_ITEM_CANCELLED)
        stop_attempts_of_item(run, item);
    if (run->stopping && run->tasks.item_open[item] > 0)
        cancel_rest(run, item);
    else
        sl_run_end_item_if_done(run, item);
}

/* Settles what of an item has not begun. */
static void cancel_rest(struct run *run, int item) {
    for (int s = 0; s < run->plan->n_stages; s++) {
        struct sl_task *task = sl_task_at(&run->tasks, item, s);
        if (!sl_task_is_settled(task) && task->state != SL_TASK_RUNNING)
            settle(run, task, SL_TASK_CANCELLED);
    }
}

/* ---- the end of an attempt ---- */

static void on_backoff_over(struct sl_timer *t) {
    struct backoff *b = t->ctx;
    b->task->backoff = NULL;
    sl_tasks_make_ready_again(&b->run->tasks, b->task);
    free(b);
}

static void try_again(struct run *run, struct sl_task *task, double delay_s) {
    if (delay_s <= 0) {
        sl_tasks_make_ready_again(&run->tasks, task);
        return;
    }
    struct backoff *b = sl_xcalloc(1, sizeof *b);
    *b = (struct backoff){.timer = {.fire = on_backoff_over, .ctx = b}, .run = run, .task = task};
    task->state = SL_TASK_BACKOFF;
    task->backoff = b;
    sl_timer_set(run->loop, &b->timer, delay_s);
}

static void note_failure(struct run *run, struct sl_task *task, int cls, const char *message) {
    sl_task_drop_artifacts(task, run->plan->stages[task->stage].n_outputs);
    free(task->message);
    task->message = sl_xstrdup(message);
    task->cls = cls;
}

static void settle_failed(struct run *run, struct sl_task *task) {
    bool ignore = run->plan->stages[task->stage].retry.ignore;
    run->result.n_warnings += ignore;
    settle(run, task, ignore ? SL_TASK_ABSENT : SL_TASK_FAILED);
}

/* Adds to the sentence what was done about it: `quarantined` (or NULL), and steps of on_oom. */
static void settle_for_good(struct run *run, struct sl_task *task, const char *quarantined) {
    sl_autofree char *was = task->message;
    task->message =
        sl_xasprintf("%s%s%s%s%s", was, quarantined ? "; " : "", quarantined ? quarantined : "",
                     task->steps ? "; on_oom: " : "", task->steps ? task->steps : "");
    settle_failed(run, task);
}

void sl_run_task_not_tried(struct run *run, struct sl_task *task) {
    const struct health *h = &run->health[task->stage];
    sl_autofree char *text =
        sl_xasprintf("not tried: the stage failed to start %d times in a row, the last time: %s",
                     h->storm.streak, h->text);
    note_failure(run, task, h->cls, text);
    settle_failed(run, task);
}

void sl_run_task_refused(struct run *run, struct sl_task *task, const char *text) {
    note_failure(run, task, SLUICE_RESOURCE, text);
    settle_failed(run, task);
}

void sl_run_start_failed(struct run *run, int stage, int cls, const char *text) {
    struct health *h = &run->health[stage];
    bool raged = sl_storm_rages(&h->storm);
    sl_storm_failed(&h->storm, cls);
    free(h->text);
    h->text = sl_xstrdup(text);
    h->cls = cls;
    if (sl_storm_rages(&h->storm) && !raged)
        sl_log(&run->log, SLUICE_LOG_ERROR,
               "%s: failed to start %d times in a row; it is not tried for further items",
               run->plan->stages[stage].name, h->storm.streak);
}

void sl_run_task_failed(struct run *run, struct sl_task *task, int cls, const char *message) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    note_failure(run, task, cls, message);
    if (run->tasks.items[task->item] != SL_ITEM_OPEN || run->stopping || cls == SLUICE_CANCELLED) {
        settle(run, task, SL_TASK_CANCELLED);
        return;
    }
    if (sl_run_step_after_oom(run, task, cls, message)) {
        try_again(run, task, 0);
        return;
    }
    sl_autofree char *quarantined = sl_run_quarantine(run, task, cls);
    if (quarantined) {
        settle_for_good(run, task, quarantined);
        return;
    }
    struct sl_retry_decision d = sl_retry_decide(cls, task->attempt - task->before - task->n_steps,
                                                 &stage->retry, random_unit(run));
    if (d.retry && (cls != SLUICE_RESOURCE || sl_guard_retry(run, task))) {
        sl_record_retry(run, task, cls, message, d.delay_s);
        try_again(run, task, d.delay_s);
        return;
    }
    settle_for_good(run, task, NULL);
}

void sl_run_task_reused(struct run *run, struct sl_task *task) {
    task->reused = true;
    sl_record_reuse(run, task);
    for (int o = 0; o < run->plan->stages[task->stage].n_outputs; o++)
        if (task->artifacts[o].path)
            sl_record_artifact(run, task, o);
    sl_reuse_drop(task);
    settle(run, task, SL_TASK_DONE);
}

/* A stage with `device: auto` did not want the card that it got: it is tried on the processor. */
static bool falls_back(struct run *run, struct carrier *c, struct sl_task *task, int cls,
                       const char *text) {
    if (run->tasks.items[task->item] != SL_ITEM_OPEN || run->stopping ||
        !sl_admission_refuses_card(c))
        return false;
    sl_admission_fall_back(c);
    note_failure(run, task, cls, text);
    sl_record_retry(run, task, cls, text, 0);
    try_again(run, task, 0);
    return true;
}

/* The class and the sentence of an attempt's end, after the core's verdict and the commit of its
 * outputs. */
static int judge(struct run *run, struct sl_attempt *a, int cls, const char *message,
                 char **ret_text) {
    struct sl_err err = {0};
    if (a->verdict == SLUICE_INTERNAL && cls == SLUICE_OK)
        cls = SLUICE_INTERNAL; /* it lied on the way */
    bool own = cls != SLUICE_OK && a->verdict == 0 && cls != SLUICE_CANCELLED;
    int changed = cls == SLUICE_OK || own
                      ? sl_attempt_check_inputs(&run->tasks, a, cls == SLUICE_OK, &err)
                      : 0;
    if (changed < 0) {
        cls = changed;
        message = err.msg;
    } else if (cls == SLUICE_OK && (cls = sl_attempt_commit(&run->places, a, &err)) != SLUICE_OK) {
        message = err.msg;
    } else if (cls != SLUICE_OK && a->verdict) {
        cls = a->verdict;
        message = a->reason;
    }
    *ret_text = sl_xstrdup(message ? message : "");
    return cls;
}

void sl_run_conclude(struct run *run, struct sl_attempt *a, int cls, const char *message) {
    struct carrier *c = carrier_of(run, a);
    struct sl_task *task = a->task;
    bool sent = a->sent;
    sl_autofree char *text = NULL;
    sl_timer_stop(run->loop, &a->idle);
    sl_timer_stop(run->loop, &a->total);
    sl_run_carrier_detach(c, a);
    cls = sl_guard_judge(c, a, judge(run, a, cls, message, &text), &text);
    task->wall_s = sl_run_wall_s(a);
    sl_record_attempt_end(run, a, cls, text);
    sl_run_note_death(run, c, a, cls, text);
    if (cls == SLUICE_OK) {
        note_artifacts(run, a);
        sl_run_learn(run, task);
        c->n_ok++;
        if (task->unrecorded == 0)
            sl_reuse_keep(run, task);
    }
    sl_attempt_destroy(a);
    task->alone = sl_warm_spoilt(cls);
    if (task->alone && !c->let_go)
        c->let_go = SL_LET_GO_FAILED;
    if (cls == SLUICE_OK)
        settle(run, task,
               run->tasks.items[task->item] == SL_ITEM_OPEN ? SL_TASK_DONE : SL_TASK_CANCELLED);
    else if (!falls_back(run, c, task, cls, text))
        sl_run_task_failed(run, task, cls, text);
    if (sent)
        sl_worker_job_ended(c->worker);
    sl_run_carrier_idle(c);
}

void sl_run_cancel_all(struct run *run, const char *reason) {
    if (run->stopping)
        return;
    run->stopping = true;
    sl_incoming_stop(run, NULL);
    sl_log(&run->log, SLUICE_LOG_WARN, "cancelling: %s", reason);
    sl_run_emit(run, &(struct sl_event){
                         .type = SL_EVENT_CANCELLING, .item = -1, .stage = -1, .text = reason});
    for (struct carrier *c = run->carriers; c; c = c->next) {
        for (struct sl_attempt *a = c->attempts; a; a = a->next)
            sl_run_stop_attempt(run, a, SLUICE_CANCELLED, sl_xstrdup(reason));
        c->was_cancelled = true;
        sl_worker_cancel(c->worker);
    }
    for (int i = 0; i < run->tasks.n_items; i++)
        cancel_rest(run, i);
}

/*
 * Who starts when. Ready tasks wait in a queue for each stage. Earlier items go first, and of an
 * item its later stages, so that items are finished rather than begun, also where several stages
 * take from the file itself. A task needs room among the workers (--jobs) and processors; a stage
 * whose workers are kept (warm.h) gives it to one that lives, and loads a further one only where
 * there is room for it among those that are kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "sched/admit.h"
#include "sched/confine.h"
#include "sched/ledger.h"
#include "sched/run_internal.h"

/* What keeps a stage from starting its next task in this turn. */
enum hold {
    HOLD_NOT,
    HOLD_BUSY,    /* until something ends */
    HOLD_ROOM,    /* a worker that is idle holds the place */
    HOLD_SETTLED, /* not at all: its task was refused, the next one is to be looked at */
};

#define STOPPING_SHARE 3 /* living workers for each of --jobs, at most */
#define STOPPING_MORE  8

static int cpus_in_use(const struct run *run) {
    int used = 0;
    for (const struct carrier *c = run->carriers; c; c = c->next)
        if (c->n_attempts > 0)
            used += c->cpus;
    return used;
}

/* Workers that were told to stop do not hold others up, but a stage whose workers hang at their end
 * must not pile them up either. */
static bool too_many_workers(const struct run *run) {
    int n = 0;
    for (const struct carrier *c = run->carriers; c; c = c->next)
        n++;
    return n >= run->slots * STOPPING_SHARE + STOPPING_MORE;
}

static int workers_in_use(const struct run *run) {
    int used = 0;
    for (const struct carrier *c = run->carriers; c; c = c->next)
        used += c->n_attempts > 0;
    return used;
}

static int spawn_fds(const struct run *run, const char *log_path, int *ret_log_fd,
                     struct sl_err *err) {
    if (run->spec->wrap) {
        *ret_log_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        return 0;
    }
    sl_autofree char *folder = sl_xstrdup(log_path);
    *strrchr(folder, '/') = 0;
    int rc = sl_make_dirs(folder, err);
    if (rc < 0)
        return rc;
    *ret_log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (*ret_log_fd < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: the log cannot be opened",
                          log_path);
    return 0;
}

static const char **worker_argv(const struct run *run, const char **ret_program) {
    static const char *const plain[] = {"--socket", "3", NULL};
    static const char *const wrapped[] = {"--socket", "3", "--no-init", NULL};
    const char *const *wrap = run->spec->wrap, *const *tail = wrap ? wrapped : plain;
    const char **argv = sl_xcalloc(80, sizeof *argv);
    int n = 0;
    for (int i = 0; wrap && wrap[i] && n < 64; i++)
        argv[n++] = wrap[i];
    argv[n++] = run->spec->worker_program;
    for (int i = 0; tail[i]; i++)
        argv[n++] = tail[i];
    *ret_program = argv[0];
    return argv;
}

int sl_run_params_key(const struct run *run, const struct sl_task *task) {
    return sl_variants_key(run->spec->variants, run->spec->items[task->item].set, task->stage);
}

char *sl_run_params(const struct run *run, const struct sl_task *task) {
    int batch = sl_run_batch(run, task);
    sl_autofree char *own =
        sl_variants_params(run->spec->variants, run->spec->items[task->item].set, task->stage);
    if (batch == 0)
        return sl_steal(&own);
    return sl_plan_with_batch(own ? own : run->plan->stages[task->stage].params, batch);
}

static int spawn_worker(struct run *run, struct carrier *c, const struct sl_task *task,
                        struct sl_err *err) {
    const struct sl_plan_stage *stage = &run->plan->stages[c->stage];
    sl_autofree struct sl_frame_out *start = sl_xmalloc(sizeof *start);
    sl_autoclose int log_fd = -1;
    const char *program;
    int rc = spawn_fds(run, c->log_path, &log_fd, err);
    if (rc < 0)
        return rc;
    sl_autofree const char **argv = worker_argv(run, &program);
    struct sl_worker_spec spec = {
        .spawn = {.program = program,
                  .argv = argv,
                  .log_fd = log_fd,
                  .channel_fd = -1,
                  .stdin_fd = run->spec->wrap ? STDIN_FILENO : -1,
                  .containment = run->containment,
                  .visible_cards = c->grant.visible,
                  .cpus = c->cpus},
        .forkserver = run->forkserver,
        .start_timeout_s = run->spec->wrap ? 0 : stage->timeouts.start_s,
        .callbacks = &sl_run_callbacks,
        .ctx = c,
    };
    rc = sl_guard_prepare(c, task, &spec.spawn, err);
    sl_autofree char *params = sl_run_params(run, task);
    if (rc == 0)
        rc = sl_start_frame(&run->places, stage, params ? params : stage->params, c->grant.on_gpu,
                            &c->guard.limits, c->cpus, start, err);
    sl_autofree struct sl_frame_out *sandbox = sl_xmalloc(sizeof *sandbox);
    if (rc == 0 &&
        sl_confine_frame(run, task, c->grant.on_gpu, params ? params : stage->params, sandbox))
        spec.sandbox = sandbox;
    spec.group = c->guard.group;
    if (rc == 0)
        rc = sl_worker_create(run->loop, &spec, start, &c->worker, err);
    if (rc == 0) {
        sl_guard_watch(c);
        sl_logs_watch(run);
    }
    return rc;
}

static void send_job(struct carrier *c, struct sl_attempt *a) {
    struct run *run = c->run;
    sl_autofree struct sl_frame_out *frame = sl_xmalloc(sizeof *frame);
    int fds[SL_FRAME_MAX_FDS + 1], n_fds, n_owned;
    struct sl_err err = {0};
    int rc = sl_job_frame(&run->places, &run->tasks, a, frame, fds, &n_fds, &n_owned, &err);
    if (rc == 0 && a->fault)
        rc = sl_worker_send_fault(c->worker, a->job, a->fault, &err);
    if (rc == 0)
        rc = sl_worker_send_job(c->worker, frame, fds, n_fds, &err);
    for (int i = 0; i < n_owned; i++)
        close(fds[i]);
    if (rc == 0) {
        a->sent = true;
        c->guard.n_jobs++;
        sl_run_arm_job_timers(run, a);
    } else if (rc != SL_CRASH) {
        sl_run_conclude(run, a, rc, err.msg);
    }
}

void sl_run_send_waiting(struct carrier *c) {
    for (struct sl_attempt *a = c->attempts, *next; a; a = next) {
        next = a->next;
        if (!a->sent && a->verdict)
            sl_run_conclude(c->run, a, a->verdict, a->reason);
        else if (!a->sent)
            send_job(c, a);
    }
}

/* Makes the attempt on a carrier, which may be new (not yet spawned). */
static int begin_attempt(struct run *run, struct carrier *c, struct sl_task *task,
                         struct sl_err *err) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    const struct sl_item *item = &run->spec->items[task->item];
    struct sl_attempt *a;
    if (!c->log_path)
        c->log_path =
            c->shared
                ? sl_xasprintf("%s/logs/%s.worker-%d.log", run->places.run, stage->name, c->number)
                : sl_attempt_log_path(&run->places, item->name, stage->name, task->attempt);
    int rc = sl_attempt_create(&run->places, task, stage, item, ++run->last_job,
                               sl_xstrdup(c->log_path), &a, err);
    if (rc == 0 && !c->worker) {
        c->first_item = task->item;
        c->first_attempt = task->attempt;
        rc = spawn_worker(run, c, task, err);
        if (rc < 0) {
            sl_run_start_failed(run, task->stage, rc, err->msg);
            sl_attempt_destroy(a);
        }
    }
    if (rc < 0)
        return rc;
    a->fault =
        sl_inject_find(run->spec->injections, run->spec->n_injections, task->stage, task->attempt);
    task->on_gpu = c->grant.on_gpu;
    task->card = c->grant.card;
    if (c->shared && stage->max_jobs == 1)
        a->log_from = sl_logs_size(c->log_path);
    task->deviates =
        task->batch || task->on_cpu || a->fault || sl_admission_device_changed(run, task->stage);
    sl_run_carrier_attach(c, a);
    sl_record_attempt(run, a, c);
    return 0;
}

static void start_task(struct run *run, struct carrier *c, int stage) {
    struct sl_task *task = sl_tasks_take(&run->tasks, stage);
    struct sl_err err = {0};
    run->in_flight += !run->begun[task->item];
    run->begun[task->item] = true;
    task->batch = sl_run_batch(run, task);
    task->attempt++;
    task->over = SL_LIMIT_NONE;
    task->blameless = false;
    int rc = begin_attempt(run, c, task, &err);
    if (rc == 0) {
        if (sl_worker_is_ready(c->worker))
            sl_run_send_waiting(c);
        return;
    }
    if (!c->worker)
        sl_run_carrier_destroy(c);
    sl_run_task_failed(run, task, rc, err.msg);
}

/* ---- Which worker ---------------------------------------------------------------------------- */

/* One that lives and takes the task at once, or as soon as it is ready; NULL: none. */
static struct carrier *find_worker(const struct run *run, const struct sl_task *task) {
    struct carrier *found = NULL;
    for (struct carrier *c = run->carriers; c; c = c->next)
        if (c->stage == task->stage && sl_run_carrier_takes(c, task) &&
            (!found || c->n_attempts > found->n_attempts))
            found = c;
    return found;
}

/* The kept worker that has been idle for longest, of one stage (-1: of any); NULL: none is idle. */
static struct carrier *longest_idle(const struct run *run, int stage) {
    struct carrier *found = NULL;
    for (struct carrier *c = run->carriers; c; c = c->next)
        if (c->idle_since_ms && (stage < 0 || c->stage == stage) &&
            (!found || c->idle_since_ms < found->idle_since_ms))
            found = c;
    return found;
}

/* Kept workers that live, also those that are on their way out, of one stage (-1: of all). */
static int count_kept(const struct run *run, int stage) {
    int n = 0;
    for (const struct carrier *c = run->carriers; c; c = c->next)
        n += c->kept && (stage < 0 || c->stage == stage);
    return n;
}

static int most_workers(const struct run *run, int stage) {
    int n = run->plan->stages[stage].keep.workers;
    return n > 0 && n < run->slots ? n : run->slots;
}

/* Whether one more worker of the stage may be loaded beside those that are; else *ret_victim is an
 * idle one that could make room, or NULL. */
static bool has_room(const struct run *run, int stage, struct carrier **ret_victim) {
    *ret_victim = NULL;
    if (!sl_run_keeps(run, stage))
        return true;
    if (count_kept(run, stage) >= most_workers(run, stage))
        *ret_victim = longest_idle(run, stage);
    else if (count_kept(run, -1) >= run->slots)
        *ret_victim = longest_idle(run, -1);
    else
        return true;
    return false;
}

/* Tasks that could start now, without those of the stage that its workers could not take at
 * once. */
static int ready_at_once(const struct run *run, int stage) {
    int own = sl_tasks_ready(&run->tasks, stage), most = own;
    if (sl_run_keeps(run, stage) && most_workers(run, stage) < own)
        most = most_workers(run, stage);
    return sl_tasks_ready_in_all(&run->tasks) - own + most;
}

/* ---- Whether now ----------------------------------------------------------------------------- */

/* Gives the task to a worker that lives, or false. */
static bool start_in(struct run *run, struct carrier *c) {
    if (c->n_attempts == 0 && (cpus_in_use(run) >= run->cpus || workers_in_use(run) >= run->slots))
        return false;
    start_task(run, c, c->stage);
    return true;
}

/* Whether there is memory for a worker that takes the stage's next task. A task that is refused is
 * settled, or tried again later. */
static enum hold admit(struct run *run, int stage, struct sl_grant *ret) {
    sl_autofree char *text = NULL;
    struct sl_task *task;
    switch (sl_admission_ask(run, sl_tasks_peek(&run->tasks, stage), ret, &text)) {
    case SL_ADMITTED_YES:
        return HOLD_NOT;
    case SL_ADMITTED_WAIT:
        return HOLD_BUSY;
    case SL_ADMITTED_ROOM:
        return HOLD_ROOM;
    case SL_ADMITTED_LATE:
        task = sl_tasks_take(&run->tasks, stage);
        task->attempt++;
        sl_run_task_failed(run, task, SLUICE_RESOURCE, text);
        return HOLD_SETTLED;
    default:
        sl_run_task_refused(run, sl_tasks_take(&run->tasks, stage), text);
        return HOLD_SETTLED;
    }
}

static enum hold start_new(struct run *run, int stage) {
    struct carrier *victim;
    struct sl_grant grant;
    if (workers_in_use(run) >= run->slots || too_many_workers(run))
        return HOLD_BUSY;
    int cpus = sl_admit_cpus(run->cpus, cpus_in_use(run), run->plan->stages[stage].resources.cpus,
                             ready_at_once(run, stage));
    if (cpus == 0)
        return HOLD_BUSY;
    if (!has_room(run, stage, &victim))
        return HOLD_ROOM;
    enum hold hold = admit(run, stage, &grant);
    if (hold != HOLD_NOT)
        return hold == HOLD_SETTLED ? HOLD_NOT : hold;
    const struct sl_task *task = sl_tasks_peek(&run->tasks, stage);
    struct carrier *c = sl_run_carrier_create(run, stage, cpus);
    c->params_key = sl_run_params_key(run, task);
    c->batch = sl_run_batch(run, task);
    c->on_cpu = task->on_cpu;
    sl_admission_hold(c, task, &grant);
    start_task(run, c, stage);
    return HOLD_NOT;
}

/* Starts one ready task of the stage, or says what it waits for. */
static enum hold start_one(struct run *run, int stage) {
    struct sl_task *task = sl_tasks_peek(&run->tasks, stage);
    switch (sl_reuse_look(run, task)) {
    case SL_REUSE_HIT:
        sl_run_task_reused(run, sl_tasks_take(&run->tasks, stage));
        return HOLD_NOT;
    case SL_REUSE_WAIT:
        return HOLD_BUSY;
    case SL_REUSE_MISS:
        break;
    }
    if (sl_storm_rages(&run->health[stage].storm) && task->attempt == 0) {
        sl_run_task_not_tried(run, sl_tasks_take(&run->tasks, stage));
        return HOLD_NOT;
    }
    if (run->keeps && !run->begun[task->item] && run->in_flight >= run->most_in_flight)
        return HOLD_BUSY;
    struct carrier *c = find_worker(run, task);
    if (c)
        return start_in(run, c) ? HOLD_NOT : HOLD_BUSY;
    return start_new(run, stage);
}

/* ---- Room ------------------------------------------------------------------------------------ */

static void on_wake(struct sl_timer *t) {
    (void)t; /* the turn of the loop that it makes looks again */
}

static void wake_in(struct run *run, int64_t ms) {
    run->wake.fire = on_wake;
    sl_timer_set(run->loop, &run->wake, (double)ms / 1000);
}

/* A worker whose end others wait for. */
static bool one_is_leaving(const struct run *run) {
    for (const struct carrier *c = run->carriers; c; c = c->next)
        if (c->kept && c->let_go && c->n_attempts == 0)
            return true;
    return false;
}

/* Milliseconds until the idle worker may go for the stage's tasks. */
static int64_t wait_of(const struct run *run, const struct carrier *victim, int stage) {
    struct sl_warm_case situation = {.idle_ms = sl_now_ms() - victim->idle_since_ms,
                                     .load_ms = victim->load_ms,
                                     .n_busy = workers_in_use(run),
                                     .n_waiting = sl_tasks_ready(&run->tasks, stage)};
    /* Idle beside a task of its own stage: it does not suit the task. */
    return victim->stage == stage ? 0 : sl_warm_wait_ms(&situation);
}

/* The idle workers in the way of the stage's next task: of their number, else of their memory. */
static int find_victims(struct run *run, int stage, struct carrier **ret) {
    if (!has_room(run, stage, &ret[0]))
        return ret[0] != NULL;
    return sl_admission_victims(run, sl_tasks_peek(&run->tasks, stage), ret);
}

/* Lets idle workers go where the stage's tasks have waited for their room long enough; all that it
 * takes, or none. */
static void make_room(struct run *run, int stage) {
    struct carrier *victims[SL_LEDGER_MAX_EVICT];
    int n = find_victims(run, stage, victims);
    int64_t longest_ms = 0;
    for (int i = 0; i < n; i++) {
        int64_t wait_ms = wait_of(run, victims[i], stage);
        longest_ms = wait_ms > longest_ms ? wait_ms : longest_ms;
    }
    if (longest_ms > 0)
        wake_in(run, longest_ms);
    for (int i = 0; i < n && longest_ms == 0; i++)
        sl_run_carrier_let_go(victims[i], SL_LET_GO_ROOM);
}

/* ---- A turn ---------------------------------------------------------------------------------- */

/* Somebody cannot take more events. */
static bool is_watched_too_slowly(const struct run *run) {
    for (int i = 0; i < run->spec->n_observers; i++)
        if (run->spec->observers[i].is_full &&
            run->spec->observers[i].is_full(run->spec->observers[i].ctx))
            return true;
    return false;
}

/* Of the stages held in this way: the one whose next task is of the first item, of several the
 * last; -1: none. */
static int next_stage(const struct run *run, enum hold hold) {
    int best = -1, best_item = 0;
    for (int s = run->plan->n_stages - 1; s >= 0; s--) {
        const struct sl_task *task = run->held[s] == hold ? sl_tasks_peek(&run->tasks, s) : NULL;
        if (task && (best < 0 || task->item < best_item)) {
            best = s;
            best_item = task->item;
        }
    }
    return best;
}

/* Lets workers go for which no task will come: the last one may have been skipped, because what it
 * would have taken from failed, long after the worker had its last one. */
static void release_idle(struct run *run) {
    for (struct carrier *c = run->carriers; c; c = c->next)
        if (c->idle_since_ms)
            sl_run_carrier_idle(c);
}

static void start_ready(struct run *run) {
    memset(run->held, HOLD_NOT, (size_t)run->plan->n_stages);
    for (int s; !run->stopping && (s = next_stage(run, HOLD_NOT)) >= 0;)
        run->held[s] = (unsigned char)start_one(run, s);
    int waits = run->stopping || one_is_leaving(run) ? -1 : next_stage(run, HOLD_ROOM);
    if (waits >= 0)
        make_room(run, waits);
}

void sl_run_dispatch(struct run *run) {
    release_idle(run);
    sl_admission_turn(run);
    if (!is_watched_too_slowly(run))
        start_ready(run);
    sl_admission_turn_ended(run);
}

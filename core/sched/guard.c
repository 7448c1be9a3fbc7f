/*
 * Keeping workers within their limits: what a worker is started with, samples of those that have a
 * limit which nobody keeps for us, and which limit was behind a failure. The mechanisms are in
 * proc/limits.h; here they meet tasks and attempts.
 *
 * One timer serves all workers, and is unarmed while none needs watching. A worker over a limit is
 * killed at once, without the steps of the ladder: what it does next would only make it worse. Its
 * init survives that, kills what is left of the tree and reports.
 *
 * An attempt that went over a limit of its own is only repeated with a higher one: the same limit
 * would end it the same way.
 */
#include <stdlib.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/units.h"
#include "sched/run_internal.h"

#define FIRST_SAMPLE_MS     50
#define SCRATCH_MAX_ENTRIES 20000
#define SCRATCH_INTERVAL_MS 250
#define SCRATCH_SHARE       20 /* a walk that takes t ms is repeated after this many t */

void sl_guard_set_up(struct run *run) {
    sl_limiter_init(&run->limiter);
    run->oom_kills = sl_machine_oom_kills();
}

/* ---- Before the start ------------------------------------------------------------------------ */

uint64_t sl_guard_memory(const struct run *run, const struct sl_task *task) {
    return task->memory ? task->memory : run->plan->stages[task->stage].resources.memory;
}

int sl_guard_prepare(struct carrier *c, const struct sl_task *task, struct sl_spawn *spawn,
                     struct sl_err *err) {
    struct guard *g = &c->guard;
    g->limits = c->run->plan->stages[c->stage].resources;
    g->limits.memory = sl_guard_memory(c->run, task);
    g->limits.gpu_memory = task->gpu_memory ? task->gpu_memory : g->limits.gpu_memory;
    if (c->run->spec->wrap)
        return 0; /* a debugger's own use is not the stage's */
    sl_limits_spawn(&g->limits, !c->shared, spawn);
    if (c->run->limiter.tree) {
        struct sl_cgroup_limits kept = sl_limits_cgroup(&g->limits);
        int rc = sl_cgroup_create(c->run->limiter.tree, &kept, &g->group, err);
        if (rc < 0)
            return rc;
        spawn->cgroup_procs_fd = g->group->procs_fd;
    }
    g->watched = sl_limits_need_watch(&g->limits, g->group, &g->what);
    return 0;
}

bool sl_guard_suits(const struct carrier *c, const struct sl_task *task) {
    return c->guard.limits.memory >= sl_guard_memory(c->run, task);
}

void sl_guard_finish(struct carrier *c) {
    sl_cgroup_destroy(c->guard.group);
    c->guard.group = NULL;
}

/* ---- Over a limit ---------------------------------------------------------------------------- */

/* What the sentence needs to know, from the largest values seen. */
static char *sentence(const struct carrier *c, enum sl_limit which, double used, bool by_kernel) {
    const struct sl_resources *r = &c->guard.limits;
    uint64_t declared = c->run->plan->stages[c->stage].resources.memory;
    double limits[] = {
        [SL_LIMIT_MEMORY] = (double)r->memory,
        [SL_LIMIT_CPU_TIME] = r->cpu_time_s,
        [SL_LIMIT_OPEN_FILES] = r->open_files,
        [SL_LIMIT_PROCESSES] = r->processes,
        [SL_LIMIT_FILE_SIZE] = (double)r->file_size,
        [SL_LIMIT_SCRATCH] = (double)r->scratch,
        [SL_LIMIT_MACHINE] = 0,
    };
    return sl_limit_text(&(struct sl_limit_case){.which = which,
                                                 .used = used,
                                                 .limit = limits[which],
                                                 .by_kernel = by_kernel,
                                                 .asked = r->memory > declared ? declared : 0});
}

static double used_of(const struct sl_usage *u, enum sl_limit which) {
    return which == SL_LIMIT_CPU_TIME     ? u->cpu_s
           : which == SL_LIMIT_PROCESSES  ? u->tasks
           : which == SL_LIMIT_OPEN_FILES ? u->open_files
                                          : (double)u->memory;
}

/* Memory that earlier jobs of the same worker may have left behind is no job's own: a fresh worker
 * can do better. */
static void blame_all(struct carrier *c, enum sl_limit which) {
    bool blameless = which == SL_LIMIT_MEMORY && c->guard.n_jobs > c->n_attempts;
    for (struct sl_attempt *a = c->attempts; a; a = a->next) {
        a->task->blameless = blameless;
        if (!blameless)
            a->task->over = which;
    }
}

static void kill_worker(struct carrier *c) {
    c->guard.watched = false;
    c->guard.killed = true;
    if (sl_usage_kill_below(c->worker->pid) == 0 && c->guard.group)
        sl_cgroup_kill(c->guard.group);
    sl_worker_abandon(c->worker);
}

static void stop_over(struct carrier *c, enum sl_limit which, double used) {
    sl_autofree char *text = sentence(c, which, used, false);
    blame_all(c, which);
    sl_run_carrier_doom(c, SLUICE_RESOURCE, text);
    kill_worker(c);
}

/* Scratch folders belong to attempts, so only one is to blame; the others of the same worker lose
 * it without guilt. */
static void stop_over_scratch(struct carrier *c, struct sl_attempt *a, uint64_t used) {
    a->task->over = SL_LIMIT_SCRATCH;
    if (!a->verdict) {
        a->verdict = SLUICE_RESOURCE;
        a->reason = sentence(c, SL_LIMIT_SCRATCH, (double)used, false);
    }
    sl_run_carrier_doom(
        c, SL_CRASH, "its worker was stopped because another job in it filled its scratch folder");
    kill_worker(c);
}

/* ---- Sampling -------------------------------------------------------------------------------- */

static bool sample(struct carrier *c, enum sl_limit *ret_over) {
    struct guard *g = &c->guard;
    struct sl_usage now, exact;
    if (!sl_usage_sample(c->worker->pid, g->what, &now))
        return false;
    *ret_over = sl_limits_over(&g->limits, &now, g->n_jobs, g->group);
    /* With more processes than the init and the plugin's, pages may have been counted twice. */
    if (*ret_over == SL_LIMIT_MEMORY && now.processes > 2 &&
        sl_usage_sample(c->worker->pid, g->what | SL_USAGE_EXACT, &exact)) {
        now = exact;
        *ret_over = sl_limits_over(&g->limits, &now, g->n_jobs, g->group);
    }
    sl_usage_raise(&g->peak, &now);
    g->last = now;
    return true;
}

static void look_at_scratch(struct carrier *c, int64_t now_ms) {
    struct guard *g = &c->guard;
    if (!g->limits.scratch || now_ms < g->scratch_ms)
        return;
    for (struct sl_attempt *a = c->attempts; a; a = a->next) {
        uint64_t bytes;
        sl_folder_size(a->scratch, SCRATCH_MAX_ENTRIES, &bytes);
        if (bytes > g->limits.scratch) {
            stop_over_scratch(c, a, bytes);
            return;
        }
    }
    int64_t took = sl_now_ms() - now_ms;
    g->scratch_ms = now_ms + (took * SCRATCH_SHARE > SCRATCH_INTERVAL_MS ? took * SCRATCH_SHARE
                                                                         : SCRATCH_INTERVAL_MS);
}

static void look(struct carrier *c) {
    struct guard *g = &c->guard;
    struct sl_usage before = g->last;
    enum sl_limit over = SL_LIMIT_NONE;
    int64_t now_ms = sl_now_ms(), dt_ms = now_ms - g->sampled_ms;
    g->sampled_ms = now_ms;
    g->next_ms = now_ms + SL_LIMITS_MAX_INTERVAL_MS;
    if (!sample(c, &over))
        return;
    if (over != SL_LIMIT_NONE) {
        stop_over(c, over, used_of(&g->last, over));
        return;
    }
    g->next_ms = now_ms + sl_limits_interval_ms(&g->limits, &before, &g->last, (int)dt_ms);
    look_at_scratch(c, now_ms);
}

static void arm(struct run *run) {
    int64_t next = INT64_MAX, now = sl_now_ms();
    for (const struct carrier *c = run->carriers; c; c = c->next)
        if (c->guard.watched && c->guard.next_ms < next)
            next = c->guard.next_ms;
    if (next == INT64_MAX)
        sl_timer_stop(run->loop, &run->guard);
    else
        sl_timer_set(run->loop, &run->guard, next > now ? (double)(next - now) / 1000 : 0);
}

static void on_tick(struct sl_timer *t) {
    struct run *run = t->ctx;
    int64_t now = sl_now_ms();
    for (struct carrier *c = run->carriers; c; c = c->next)
        if (c->guard.watched && c->guard.next_ms <= now)
            look(c);
    arm(run);
}

void sl_guard_watch(struct carrier *c) {
    struct run *run = c->run;
    if (!c->guard.watched)
        return;
    c->guard.sampled_ms = sl_now_ms();
    c->guard.next_ms = c->guard.sampled_ms + FIRST_SAMPLE_MS;
    run->guard.fire = on_tick;
    run->guard.ctx = run;
    arm(run);
}

/* ---- What was behind a failure --------------------------------------------------------------- */

static void raise_memory(struct sl_worker_end *end, uint64_t bytes) {
    if (bytes > end->peak_bytes)
        end->peak_bytes = bytes;
}

static void complete_end(struct carrier *c, const struct sl_cgroup_account *account) {
    struct sl_worker_end *end = &c->worker->end;
    raise_memory(end, c->guard.peak.memory);
    raise_memory(end, account->peak_memory);
    if (!end->reported)
        end->cpu_s = account->cpu_s > c->guard.peak.cpu_s ? account->cpu_s : c->guard.peak.cpu_s;
}

static bool machine_ran_out(struct run *run) {
    uint64_t now = sl_machine_oom_kills();
    bool more = now > run->oom_kills;
    run->oom_kills = now;
    return more;
}

void sl_guard_end(struct carrier *c) {
    struct guard *g = &c->guard;
    const struct sl_worker_end *end = &c->worker->end;
    struct sl_cgroup_account account = {0};
    bool ours = c->was_cancelled || c->why || c->run->spec->wrap;
    bool killed = WIFSIGNALED(end->wait_status) && WTERMSIG(end->wait_status) == SIGKILL;
    g->watched = false;
    if (g->group)
        sl_cgroup_account(g->group, &account);
    complete_end(c, &account);
    struct sl_limits_end facts = {.wait_status = end->wait_status,
                                  .killed_by_us = ours,
                                  .peak = &g->peak,
                                  .machine_oom = killed && !ours && machine_ran_out(c->run),
                                  .group = g->group ? &account : NULL};
    enum sl_limit which = c->why ? SL_LIMIT_NONE : sl_limits_of_end(&g->limits, &facts);
    if (which == SL_LIMIT_NONE)
        return;
    bool memory = which == SL_LIMIT_MEMORY || which == SL_LIMIT_MACHINE;
    sl_autofree char *text =
        sentence(c, which, memory ? (double)end->peak_bytes : used_of(&g->peak, which), true);
    blame_all(c, which);
    sl_run_carrier_doom(c, SLUICE_RESOURCE, text);
}

/* The limit that a stage ran into and reported in its own words, as far as can be seen from
 * outside. */
static enum sl_limit limit_behind(struct carrier *c) {
    struct guard *g = &c->guard;
    struct sl_cgroup_account account = {0};
    enum sl_limit over = SL_LIMIT_NONE;
    if (g->watched)
        sample(c, &over);
    if (over == SL_LIMIT_CPU_TIME)
        return over;
    if (g->group)
        sl_cgroup_account(g->group, &account);
    if (g->limits.processes && account.task_limit)
        return SL_LIMIT_PROCESSES;
    /* Some were closed since: those of the job itself, for one. */
    bool files = g->limits.open_files &&
                 g->peak.open_files >= g->limits.open_files - g->limits.open_files / 8;
    return files ? SL_LIMIT_OPEN_FILES : SL_LIMIT_NONE;
}

static void append(char **text, const char *fmt, const char *more) {
    sl_autofree char *was = *text, *end = sl_xasprintf(fmt, more);
    *text = sl_xasprintf("%s%s", was, end);
}

int sl_guard_judge(struct carrier *c, struct sl_attempt *a, int cls, char **text) {
    bool ended = c->worker->state == SL_WORKER_GONE;
    if (cls == SLUICE_OK || cls == SLUICE_CANCELLED || a->verdict || ended || c->run->spec->wrap)
        return cls;
    if (c->guard.killed &&
        c->why == SLUICE_RESOURCE) { /* it failed by itself while we were killing it */
        free(*text);
        *text = sl_xstrdup(c->why_text);
        return SLUICE_RESOURCE;
    }
    enum sl_limit which = limit_behind(c);
    if (which != SL_LIMIT_NONE) {
        sl_autofree char *why = sentence(c, which, used_of(&c->guard.peak, which), true);
        a->task->over = which;
        append(text, "; %s", why);
        return SLUICE_RESOURCE;
    }
    sl_autofree char *silent = cls == SLUICE_RESOURCE ? sl_limits_silent(&c->guard.limits) : NULL;
    if (silent)
        append(text, " (its resources: %s)", silent);
    return cls;
}

/* ---- The next attempt ------------------------------------------------------------------------ */

static void log_growth(const struct run *run, const struct sl_task *task, const char *what,
                       uint64_t bytes) {
    char size[32];
    sl_log(&run->log, SLUICE_LOG_INFO, "%s/%s: its %s limit grows to %s",
           run->spec->items[task->item].name, run->plan->stages[task->stage].name, what,
           sl_format_size(bytes, size, sizeof size));
}

bool sl_guard_retry(struct run *run, struct sl_task *task) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    uint64_t had = sl_guard_memory(run, task),
             gpu = task->gpu_memory ? task->gpu_memory : stage->resources.gpu_memory;
    bool plain = task->over == SL_LIMIT_NONE, grew = false;
    if (plain || task->over == SL_LIMIT_MEMORY) {
        task->memory = sl_limits_grow(had, stage->retry.grow_memory, sl_machine_memory());
        grew = task->memory > had;
    }
    if (plain)
        task->gpu_memory = sl_limits_grow(gpu, stage->retry.grow_gpu_memory, UINT64_MAX);
    if (grew)
        log_growth(run, task, "memory", task->memory);
    if (task->gpu_memory > gpu)
        log_growth(run, task, "GPU memory", task->gpu_memory);
    return plain || grew || task->over == SL_LIMIT_MACHINE;
}

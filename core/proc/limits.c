/*
 * Limits, see limits.h. Apart from sl_limiter_init() and the look at our own rlimits all of it is
 * pure: samples and accounts in, a verdict and a sentence out.
 */
#include "proc/limits.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/units.h"

#define CPU_KILL_AFTER_S 5 /* SIGXCPU may be ignored; then SIGKILL */

/* ---- Which mechanism ------------------------------------------------------------------------- */

void sl_limiter_init(struct sl_limiter *l) {
    struct sl_err err;
    const char *asked = getenv("SLUICE_CGROUP_ROOT");
    *l = (struct sl_limiter){0};
    if (sl_cgroup_tree_open(&l->tree, &err) == 0)
        l->text = sl_xasprintf(
            "cgroup v2 at %s%s", sl_cgroup_tree_path(l->tree),
            sl_cgroup_tree_is_real(l->tree) ? "" : " (a fake tree for tests: limits nothing)");
    else if (asked && *asked)
        l->text = sl_xasprintf("rlimits and watched memory (SLUICE_CGROUP_ROOT is not usable: %s)",
                               err.msg);
    else
        l->text = sl_xstrdup("rlimits and watched memory (no delegated cgroup v2)");
}

void sl_limiter_finish(struct sl_limiter *l) {
    sl_cgroup_tree_close(l->tree);
    free(l->text);
    *l = (struct sl_limiter){0};
}

/* ---- Before the start ------------------------------------------------------------------------ */

/* Our own hard limit cannot be raised, so it bounds what is asked for. */
static void add_rlimit(struct sl_spawn *spawn, int resource, uint64_t soft, uint64_t hard) {
    struct rlimit own;
    if (getrlimit((__rlimit_resource_t)resource, &own) == 0) {
        soft = soft < own.rlim_max ? soft : own.rlim_max;
        hard = hard < own.rlim_max ? hard : own.rlim_max;
    }
    spawn->rlimits[spawn->n_rlimits++] = (struct sl_spawn_rlimit){resource, soft, hard};
}

void sl_limits_spawn(const struct sl_resources *r, bool one_job, struct sl_spawn *spawn) {
    spawn->n_rlimits = 0;
    if (r->cpu_time_s > 0 && one_job) {
        /* A second more than was asked for: the watch, which sees the whole tree and says more,
         * should come first. */
        uint64_t seconds = (uint64_t)ceil(r->cpu_time_s) + 1;
        add_rlimit(spawn, RLIMIT_CPU, seconds, seconds + CPU_KILL_AFTER_S);
    }
    if (r->open_files > 0)
        add_rlimit(spawn, RLIMIT_NOFILE, (uint64_t)r->open_files, (uint64_t)r->open_files);
    if (r->file_size > 0)
        add_rlimit(spawn, RLIMIT_FSIZE, r->file_size, r->file_size);
}

struct sl_cgroup_limits sl_limits_cgroup(const struct sl_resources *r) {
    return (struct sl_cgroup_limits){
        .memory = r->memory,
        .tasks = r->processes > 0 ? r->processes + 1 : 0, /* and the worker's init */
        .cpus = r->cpus,
    };
}

/* ---- While it runs --------------------------------------------------------------------------- */

bool sl_limits_need_watch(const struct sl_resources *r, bool in_group, unsigned *ret_what) {
    *ret_what = r->open_files > 0 ? SL_USAGE_FILES : 0;
    return r->cpu_time_s > 0 || r->open_files > 0 || r->scratch > 0 ||
           (!in_group && (r->memory || r->processes));
}

static double cpu_budget(const struct sl_resources *r, int n_jobs) {
    return r->cpu_time_s * (n_jobs > 1 ? n_jobs : 1);
}

enum sl_limit sl_limits_over(const struct sl_resources *r, const struct sl_usage *now, int n_jobs,
                             bool in_group) {
    if (!in_group && r->memory && now->memory > r->memory)
        return SL_LIMIT_MEMORY;
    if (!in_group && r->processes && now->tasks > r->processes)
        return SL_LIMIT_PROCESSES;
    if (r->cpu_time_s > 0 && now->cpu_s > cpu_budget(r, n_jobs))
        return SL_LIMIT_CPU_TIME;
    return SL_LIMIT_NONE;
}

/* Milliseconds until `now` reaches `limit` at the pace it had. */
static double reach_ms(double limit, double before, double now, double dt_ms) {
    double pace = (now - before) / (dt_ms > 1 ? dt_ms : 1);
    return limit > 0 && pace > 0 ? (limit - now) / pace : INFINITY;
}

int sl_limits_interval_ms(const struct sl_resources *r, const struct sl_usage *before,
                          const struct sl_usage *now, int dt_ms) {
    double memory = reach_ms((double)r->memory, (double)before->memory, (double)now->memory, dt_ms);
    double cpu = reach_ms(r->cpu_time_s, before->cpu_s, now->cpu_s, dt_ms);
    double half = (memory < cpu ? memory : cpu) / 2;
    return half < SL_LIMITS_MIN_INTERVAL_MS   ? SL_LIMITS_MIN_INTERVAL_MS
           : half > SL_LIMITS_MAX_INTERVAL_MS ? SL_LIMITS_MAX_INTERVAL_MS
                                              : (int)half;
}

/* ---- After the end --------------------------------------------------------------------------- */

enum sl_limit sl_limits_of_end(const struct sl_resources *r, const struct sl_limits_end *end) {
    int signal = WIFSIGNALED(end->wait_status) ? WTERMSIG(end->wait_status) : 0;
    const struct sl_cgroup_account *g = end->group;
    bool over_cpu = r->cpu_time_s > 0 && end->peak->cpu_s >= r->cpu_time_s;
    if (g && g->oom_kills)
        return r->memory && g->oom ? SL_LIMIT_MEMORY : SL_LIMIT_MACHINE;
    if (signal == SIGXCPU && r->cpu_time_s > 0)
        return SL_LIMIT_CPU_TIME;
    if (signal == SIGXFSZ && r->file_size)
        return SL_LIMIT_FILE_SIZE;
    if (signal != SIGKILL || end->killed_by_us)
        return SL_LIMIT_NONE;
    return over_cpu ? SL_LIMIT_CPU_TIME : end->machine_oom ? SL_LIMIT_MACHINE : SL_LIMIT_NONE;
}

static void add_memory(struct sl_str *s, const struct sl_limit_case *c) {
    char used[32], limit[32], asked[32];
    sl_format_size((uint64_t)c->used, used, sizeof used);
    sl_format_size((uint64_t)c->limit, limit, sizeof limit);
    if (c->by_kernel && c->used > 0)
        sl_str_addf(s, "the kernel killed it at %s of memory, at its limit of %s", used, limit);
    else if (c->by_kernel)
        sl_str_addf(s, "the kernel killed it at its limit of %s of memory", limit);
    else
        sl_str_addf(s, "it used %s of memory, over its limit of %s", used, limit);
    if (c->asked)
        sl_str_addf(s, " (resources.memory: %s, grown)",
                    sl_format_size(c->asked, asked, sizeof asked));
    else
        sl_str_add(s, " (resources.memory)");
    sl_str_add(s, "; raise it, or let it grow with retry.grow.memory");
}

static void add_cpu_time(struct sl_str *s, const struct sl_limit_case *c) {
    char used[32], limit[32];
    if (c->used < 60)
        snprintf(used, sizeof used, "%.2f s", c->used > c->limit ? c->used : c->limit);
    else
        sl_format_duration(c->used, used, sizeof used);
    sl_str_addf(s,
                "it used %s of CPU time, over its limit of %s (resources.cpu_time); raise it if "
                "the stage is slow but "
                "sound",
                used, sl_format_duration(c->limit, limit, sizeof limit));
}

/* An account of the machine's does not tell a container's limit from the machine's end. */
static void add_machine(struct sl_str *s, const struct sl_limit_case *c) {
    char used[32];
    sl_str_add(s, "the kernel killed it for want of memory");
    if (c->used > 0)
        sl_str_addf(s, " (it used %s)", sl_format_size((uint64_t)c->used, used, sizeof used));
    sl_str_add(s, ": this machine, or the container that sluice runs in, had none left; run fewer "
                  "stages at a time (--jobs), or give it more");
}

char *sl_limit_text(const struct sl_limit_case *c) {
    struct sl_str s = {0};
    char limit[32], used[32];
    switch (c->which) {
    case SL_LIMIT_MEMORY:
        add_memory(&s, c);
        break;
    case SL_LIMIT_CPU_TIME:
        add_cpu_time(&s, c);
        break;
    case SL_LIMIT_OPEN_FILES:
        sl_str_addf(&s,
                    "it had %.0f files open, of %.0f that it may (resources.open_files); raise it",
                    c->used, c->limit);
        break;
    case SL_LIMIT_PROCESSES:
        if (c->by_kernel)
            sl_str_addf(&s, "it had reached its limit of %.0f processes and threads", c->limit);
        else
            sl_str_addf(&s, "it ran %.0f processes and threads, over its limit of %.0f", c->used,
                        c->limit);
        sl_str_add(
            &s, " (resources.processes); raise it, or give it fewer threads with resources.cpus");
        break;
    case SL_LIMIT_FILE_SIZE:
        sl_str_addf(
            &s, "it wrote to a file beyond its limit of %s a file (resources.file_size); raise it",
            sl_format_size((uint64_t)c->limit, limit, sizeof limit));
        break;
    case SL_LIMIT_SCRATCH:
        sl_str_addf(
            &s, "its scratch folder held %s, over its limit of %s (resources.scratch); raise it",
            sl_format_size((uint64_t)c->used, used, sizeof used),
            sl_format_size((uint64_t)c->limit, limit, sizeof limit));
        break;
    case SL_LIMIT_MACHINE:
        add_machine(&s, c);
        break;
    case SL_LIMIT_NONE:
        sl_str_add(&s, "it went over no limit");
        break;
    }
    return s.data;
}

char *sl_limits_silent(const struct sl_resources *r) {
    struct sl_str s = {0};
    char size[32];
    if (r->open_files)
        sl_str_addf(&s, "open_files %d", r->open_files);
    if (r->file_size)
        sl_str_addf(&s, "%sfile_size %s", s.len ? ", " : "",
                    sl_format_size(r->file_size, size, sizeof size));
    return s.data;
}

uint64_t sl_limits_grow(uint64_t limit, double factor, uint64_t machine) {
    double grown = (double)limit * factor;
    if (limit == 0 || factor <= 1 || limit >= machine)
        return limit;
    return grown >= (double)machine ? machine : (uint64_t)grown;
}

/*
 * After a failure, beside the plain retry: the steps of `on_oom`, and the quarantine of tasks that
 * kill their workers. What the next step is says oom.h; here it is found out what the attempt had,
 * and the step is applied to the task, journalled and told.
 *
 * A smaller batch that worked for one task is where the tasks of the stage begin that were not
 * begun yet: what does not fit once does not fit for the next file either. Limits and devices are
 * each task's own.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/units.h"
#include "sched/oom.h"
#include "sched/run_internal.h"

#define TAIL_BYTES 4096

/* ---- on_oom ---------------------------------------------------------------------------------- */

int sl_run_batch(const struct run *run, const struct sl_task *task) {
    return task->batch || task->attempt > 0 ? task->batch : run->health[task->stage].batch;
}

/* Memory may have been what it lacked: it said so, or was killed for it. */
static bool lacked_memory(const struct sl_task *task, int cls) {
    return cls == SLUICE_RESOURCE && !task->blameless &&
           (task->over == SL_LIMIT_NONE || task->over == SL_LIMIT_MEMORY ||
            task->over == SL_LIMIT_MACHINE);
}

static struct sl_oom_case describe(const struct run *run, const struct sl_task *task) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    bool said_so = task->over == SL_LIMIT_NONE;
    return (struct sl_oom_case){
        .host = true,
        .card = said_so && task->on_gpu,
        .on_gpu = task->on_gpu,
        .other_cards = task->on_gpu ? sl_admission_other_cards(run, task) : 0,
        .batch = task->batch ? task->batch : sl_plan_batch(stage->params),
        /* Where the machine had none left, a higher limit gives it no more. */
        .memory = task->over == SL_LIMIT_MACHINE ? 0 : sl_guard_memory(run, task),
        .memory_max = sl_machine_memory(),
        .gpu_memory = task->gpu_memory ? task->gpu_memory : stage->resources.gpu_memory,
        .gpu_memory_max = sl_admission_largest_card(run),
        .grow_memory = stage->retry.grow_memory,
        .grow_gpu_memory = stage->retry.grow_gpu_memory,
        .n_steps = task->n_steps,
    };
}

static void apply(struct sl_task *task, const struct sl_oom_decision *d) {
    task->n_steps++;
    if (d->batch)
        task->batch = d->batch;
    if (d->memory)
        task->memory = d->memory;
    if (d->gpu_memory)
        task->gpu_memory = d->gpu_memory;
    task->on_cpu |= d->step == SL_OOM_CPU;
    if (d->step == SL_OOM_OTHER_GPU)
        task->avoid |= (uint64_t)1 << task->card;
}

/* "shrink to batch_size 8, grow to a limit of 2.0 GiB of memory" */
static void add_step(struct sl_task *task, const struct sl_oom_decision *d, const char *change) {
    sl_autofree char *before = task->steps;
    task->steps = sl_xasprintf("%s%s%s to %s", before ? before : "", before ? ", " : "",
                               sl_oom_step_name(d->step), change);
}

bool sl_run_step_after_oom(struct run *run, struct sl_task *task, int cls, const char *message) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    if (stage->on_oom.n == 0 || !lacked_memory(task, cls))
        return false;
    struct sl_oom_case oom = describe(run, task);
    struct sl_oom_decision d = sl_oom_next(&stage->on_oom, &oom);
    char change[96];
    if (d.step == SL_OOM_NONE)
        return false;
    sl_oom_text(&d, change, sizeof change);
    apply(task, &d);
    add_step(task, &d, change);
    sl_record_step(run, task, sl_oom_step_name(d.step), change);
    sl_autofree char *text =
        sl_xasprintf("%s; on_oom: %s to %s", message, sl_oom_step_name(d.step), change);
    sl_record_retry(run, task, cls, text, 0);
    return true;
}

void sl_run_learn(struct run *run, const struct sl_task *task) {
    int *batch = &run->health[task->stage].batch;
    if (task->batch && (!*batch || task->batch < *batch))
        *batch = task->batch;
}

/* ---- Quarantine ------------------------------------------------------------------------------ */

static bool kills(int cls) {
    return cls == SL_CRASH || cls == SL_TIMEOUT;
}

void sl_run_note_death(struct run *run, const struct carrier *c, const struct sl_attempt *a,
                       int cls, const char *message) {
    struct sl_task *task = a->task;
    bool was_alone = c->n_hit ? c->n_hit == 1 : c->n_attempts == 0;
    if (!kills(cls)) {
        task->kills = 0;
        free(task->deaths);
        task->deaths = NULL;
        return;
    }
    if (!was_alone || !c->was_ready)
        return;
    sl_autofree char *before = task->deaths;
    task->kills++;
    task->deaths =
        sl_xasprintf("%sattempt %d, process %d: %s: %s\n  log: %s\n", before ? before : "",
                     a->number, (int)c->worker->pid, sl_class_name(cls), message,
                     a->log_path + strlen(run->places.run) + 1);
    free(task->last_log);
    task->last_log = sl_xstrdup(a->log_path);
}

/* The end of a log, as it is. */
static void add_tail(struct sl_str *s, const char *path) {
    char tail[TAIL_BYTES];
    sl_autoclose int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    off_t len = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    ssize_t n = len > 0 ? pread(fd, tail, sizeof tail, len > TAIL_BYTES ? len - TAIL_BYTES : 0) : 0;
    if (n > 0)
        sl_str_addn(s, tail, (size_t)n);
}

static void add_report(struct sl_str *s, const struct run *run, const struct sl_task *task) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    const struct sl_item *item = &run->spec->items[task->item];
    sl_str_addf(s, "item    %s\nfile    %s\nstage   %s (%s)\nplugin  %s\n\n", item->name,
                item->file, stage->name, stage->use, stage->desc->plugin->path);
    sl_str_addf(
        s,
        "Each of these attempts killed the process that it was alone in, %d in a row:\n\n%s\n"
        "The artifacts that it took are in items/%s; `sluice stage %s --wrap 'gdb --args'` runs "
        "the\n"
        "stage by hand.\n\nThe end of the last log:\n\n",
        task->kills, task->deaths, item->name, stage->use);
    add_tail(s, task->last_log);
}

char *sl_run_quarantine(struct run *run, struct sl_task *task, int cls) {
    int most = run->plan->stages[task->stage].retry.quarantine;
    struct sl_err err = {0};
    if (most == 0 || task->kills < most || !kills(cls))
        return NULL;
    sl_autofree char *name = sl_xasprintf("quarantine/%s/%s.txt", run->spec->items[task->item].name,
                                          run->plan->stages[task->stage].name);
    sl_autofree char *path = sl_path_join(run->places.run, name),
                     *folder = sl_xstrndup(path, (size_t)(strrchr(path, '/') - path));
    sl_autostr struct sl_str text = {0};
    add_report(&text, run, task);
    int rc = sl_make_dirs(folder, &err);
    if (rc == 0)
        rc = sl_write_file(path, text.data, text.len, &err);
    if (rc < 0)
        sl_log(&run->log, SLUICE_LOG_WARN, "the report of a quarantine is missing: %s", err.msg);
    sl_record_quarantine(run, task, rc == 0 ? name : NULL);
    return sl_xasprintf("quarantined: it killed %d workers in a row%s%s", task->kills,
                        rc == 0 ? "; report: " : "", rc == 0 ? name : "");
}

/*
 * What a run leaves behind and says: journal records (docs/run-folder.md lists them), lines of the
 * run log, events for those who watch. Each sl_record_* does all three.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/units.h"
#include "sched/run_internal.h"

void sl_run_emit(struct run *run, const struct sl_event *ev) {
    for (int i = 0; i < run->spec->n_observers; i++)
        run->spec->observers[i].event(run->spec->observers[i].ctx, ev);
}

static json_t *record(const char *type) {
    return json_pack("{s:s}", "type", type);
}

static json_t *task_record(const struct run *run, const char *type, int item, int stage) {
    json_t *r = record(type);
    sl_json_set(r, "item", sl_json_text(run->spec->items[item].name));
    sl_json_set(r, "stage", json_string(run->plan->stages[stage].name));
    return r;
}

static json_t *items_json(const struct run *run, int from, int n) {
    json_t *items = json_array();
    for (int i = from; i < from + n; i++) {
        const struct sl_item *item = &run->spec->items[i];
        json_t *one = json_object();
        sl_json_set(one, "name", sl_json_text(item->name));
        sl_json_set(one, "file", sl_json_text(item->file));
        sl_json_set(one, "params", sl_variants_values(run->spec->variants, item->set));
        json_array_append_new(items, one);
    }
    return items;
}

void sl_record_items(struct run *run, int from, int n) {
    json_t *r = record("items");
    sl_json_set(r, "items", items_json(run, from, n));
    sl_journal_add(&run->journal, r);
}

void sl_record_note(struct run *run, int level, const char *text) {
    sl_log(&run->log, level, "%s", text);
    sl_run_emit(run,
                &(struct sl_event){
                    .type = SL_EVENT_NOTE, .item = -1, .stage = -1, .level = level, .text = text});
}

json_t *sl_record_stages(const struct run *run) {
    json_t *stages = json_array();
    for (int s = 0; s < run->plan->n_stages; s++) {
        const struct sl_plan_stage *stage = &run->plan->stages[s];
        json_t *one = json_object(), *params = NULL;
        sl_json_set(one, "name", json_string(stage->name));
        sl_json_set(one, "use", json_string(stage->use));
        sl_json_set(one, "version", sl_json_text(stage->desc->version));
        sl_json_set(one, "plugin", sl_json_text(stage->desc->plugin->path));
        sl_json_set(one, "build", json_string(stage->desc->plugin->build));
        sl_json_set(one, "output", json_boolean(stage->is_output));
        if (sl_json_parse(stage->params, strlen(stage->params), &params, NULL) == 0)
            sl_json_set(one, "params", params);
        json_array_append_new(stages, one);
    }
    return stages;
}

static const char *sandbox_text(const struct run *run) {
    if (run->spec->wrap)
        return "none: the worker is wrapped";
    return sl_confinement_text(&run->confinement);
}

int sl_record_begin(struct run *run, struct sl_err *err) {
    json_t *r = record("run");
    sl_json_set(r, "id", json_string(run->dir->id));
    sl_json_set(r, "sluice", json_string(SLUICE_VERSION));
    sl_json_set(r, "pipeline", sl_json_text(run->plan->name));
    sl_json_set(r, "file",
                run->spec->pipeline_file ? sl_json_text(run->spec->pipeline_file) : NULL);
    sl_json_set(r, "pid", json_integer(getpid()));
    sl_json_set(r, "containment", json_string(sl_containment_name(run->containment)));
    sl_json_set(r, "limits", sl_json_text(run->limiter.text));
    sl_json_set(r, "sandbox", json_string(sandbox_text(run)));
    sl_json_set(r, "out", run->spec->out_dir ? sl_json_text(run->spec->out_dir) : NULL);
    sl_json_set(r, "stages", sl_record_stages(run));
    sl_json_set(r, "watch", run->spec->watch_dir ? sl_json_text(run->spec->watch_dir) : NULL);
    sl_json_set(r, "items", items_json(run, 0, run->spec->n_items));
    sl_json_set(r, "command", run->spec->command ? json_deep_copy(run->spec->command) : NULL);
    sl_journal_add(&run->journal, r);
    sl_log(&run->log, SLUICE_LOG_INFO,
           "run %s: %d items, %d stages, %d processors, containment %s, limits: %s, sandbox: %s",
           run->dir->id, run->spec->n_items, run->plan->n_stages, run->cpus,
           sl_containment_name(run->containment), run->limiter.text, sandbox_text(run));
    sl_run_emit(run,
                &(struct sl_event){
                    .type = SL_EVENT_RUN_BEGIN, .item = -1, .stage = -1, .text = run->dir->path});
    return sl_journal_write(&run->journal, err);
}

int sl_record_resume(struct run *run, struct sl_err *err) {
    const struct sl_replay *replay = run->spec->replay;
    sl_autojson json_t *stages = sl_record_stages(run);
    bool same = json_equal(stages, json_object_get(replay->run, "stages"));
    int n_open = sl_replay_open_items(replay);
    json_t *r = record("resume");
    sl_json_set(r, "pid", json_integer(getpid()));
    sl_json_set(r, "sluice", json_string(SLUICE_VERSION));
    sl_json_set(r, "containment", json_string(sl_containment_name(run->containment)));
    sl_json_set(r, "limits", sl_json_text(run->limiter.text));
    sl_json_set(r, "open_items", json_integer(n_open));
    sl_json_set(r, "failed", run->spec->retry_failed ? json_true() : NULL);
    sl_json_set(r, "stages", same ? NULL : json_incref(stages));
    sl_journal_add(&run->journal, r);
    sl_log(&run->log, SLUICE_LOG_INFO,
           "run %s resumed: %d of %d items are open, %d processors, containment %s, limits: %s",
           run->dir->id, n_open, run->spec->n_items, run->cpus,
           sl_containment_name(run->containment), run->limiter.text);
    sl_run_emit(run,
                &(struct sl_event){
                    .type = SL_EVENT_RUN_BEGIN, .item = -1, .stage = -1, .text = run->dir->path});
    return sl_journal_write(&run->journal, err);
}

void sl_record_attempt(struct run *run, const struct sl_attempt *a, const struct carrier *c) {
    json_t *r = task_record(run, "attempt", a->task->item, a->task->stage);
    sl_json_set(r, "attempt", json_integer(a->number));
    sl_json_set(r, "worker", json_integer(c->number));
    sl_json_set(r, "pid", json_integer(c->worker->pid));
    sl_json_set(r, "cpus", json_integer(c->cpus));
    sl_json_set(r, "device", json_string(c->grant.on_gpu ? "cuda" : "cpu"));
    sl_json_set(r, "card",
                c->grant.on_gpu && !c->grant.blind ? sl_json_text(c->grant.visible) : NULL);
    sl_json_set(r, "gpu_memory_limit",
                c->grant.on_gpu && c->guard.limits.gpu_memory
                    ? json_integer((json_int_t)c->guard.limits.gpu_memory)
                    : NULL);
    sl_json_set(r, "memory_limit",
                c->guard.limits.memory ? json_integer((json_int_t)c->guard.limits.memory) : NULL);
    sl_json_set(r, "injected", a->fault ? json_string(sl_fault_name(a->fault)) : NULL);
    sl_json_set(r, "log", sl_json_text(a->log_path + strlen(run->places.run) + 1));
    sl_json_set(r, "log_from", a->log_from < 0 ? NULL : json_integer(a->log_from));
    sl_json_set(r, "sources", sl_run_sources(run, a->task->item, a->task->stage));
    const char *miss = sl_reuse_why(a->task);
    sl_json_set(r, "miss", miss ? sl_json_text(miss) : NULL);
    if (miss)
        sl_log(&run->log, SLUICE_LOG_INFO, "%s/%s: no earlier result: %s", a->item->name,
               a->stage->name, miss);
    sl_journal_add(&run->journal, r);
    sl_log(&run->log, SLUICE_LOG_INFO, "%s/%s: attempt %d in worker %d (pid %d), %d threads%s%s",
           a->item->name, a->stage->name, a->number, c->number, (int)c->worker->pid, c->cpus,
           a->fault ? "; injected: " : "", a->fault ? sl_fault_name(a->fault) : "");
    sl_run_emit(run, &(struct sl_event){.type = SL_EVENT_TASK_BEGIN,
                                        .item = a->task->item,
                                        .stage = a->task->stage,
                                        .attempt = a->number,
                                        .text = miss});
}

void sl_record_attempt_end(struct run *run, const struct sl_attempt *a, int cls,
                           const char *message) {
    char took[32];
    json_t *r = task_record(run, "attempt_end", a->task->item, a->task->stage);
    sl_json_set(r, "attempt", json_integer(a->number));
    sl_json_set(r, "class", json_string(sl_class_name(cls)));
    sl_json_set(r, "message", *message ? sl_json_text(message) : NULL);
    sl_json_set(r, "wall_s", json_real(a->task->wall_s));
    sl_json_set(r, "log_to", a->log_from < 0 ? NULL : json_integer(sl_logs_size(a->log_path)));
    sl_json_set(r, "metrics", json_incref(a->metrics));
    sl_journal_add(&run->journal, r);
    sl_log(&run->log, cls == SLUICE_OK ? SLUICE_LOG_INFO : SLUICE_LOG_WARN,
           "%s/%s: attempt %d ended after %s: %s%s%s", a->item->name, a->stage->name, a->number,
           sl_format_duration(a->task->wall_s, took, sizeof took), sl_class_name(cls),
           *message ? ": " : "", message);
}

void sl_record_artifact(struct run *run, const struct sl_task *task, int port) {
    const struct sl_artifact *art = &task->artifacts[port];
    const struct sl_plan_output *out = &run->plan->stages[task->stage].outputs[port];
    char hash[20];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)art->hash);
    json_t *r = task_record(run, "artifact", task->item, task->stage);
    sl_json_set(r, "port", json_string(out->port));
    sl_json_set(r, "port_type", json_string(out->type));
    sl_json_set(r, "file", sl_json_text(art->path + strlen(run->places.run) + 1));
    sl_json_set(r, "size", json_integer((json_int_t)art->size));
    sl_json_set(r, "xxh3", json_string(hash));
    sl_journal_add(&run->journal, r);
    sl_durable_add(run, task->item, task->stage, port);
}

static void journal_task(struct run *run, const struct sl_task *task) {
    json_t *r = task_record(run, "task", task->item, task->stage);
    sl_json_set(r, "state", json_string(sl_task_state_name(task->state)));
    sl_json_set(r, "attempts", json_integer(task->attempt));
    sl_json_set(r, "reused", task->reused ? json_true() : NULL);
    if (task->state != SL_TASK_DONE && task->message) {
        sl_json_set(r, "class", task->cls ? json_string(sl_class_name(task->cls)) : NULL);
        sl_json_set(r, "message", sl_json_text(task->message));
    }
    sl_json_set(r, "on_oom", task->steps ? json_string(task->steps) : NULL);
    sl_journal_add(&run->journal, r);
}

void sl_record_late_artifact(struct run *run, struct sl_task *task, int port) {
    sl_record_artifact(run, task, port);
    if (--task->unrecorded == 0)
        journal_task(run, task);
}

void sl_record_task(struct run *run, const struct sl_task *task) {
    bool good = task->state == SL_TASK_DONE;
    if (task->unrecorded == 0)
        journal_task(run, task);
    sl_run_emit(run, &(struct sl_event){.type = SL_EVENT_TASK_END,
                                        .item = task->item,
                                        .stage = task->stage,
                                        .attempt = task->attempt,
                                        .state = task->state,
                                        .cls = good ? SLUICE_OK : task->cls,
                                        .seconds = task->wall_s,
                                        .reused = task->reused,
                                        .text = good ? task->steps : task->message});
}

void sl_record_reuse(struct run *run, const struct sl_task *task) {
    sl_autojson json_t *found = sl_reuse_found(task);
    json_t *r = task_record(run, "reuse", task->item, task->stage);
    json_object_update(r, found);
    sl_journal_add(&run->journal, r);
    sl_log(&run->log, SLUICE_LOG_INFO, "%s/%s: the result of run %s is used",
           run->spec->items[task->item].name, run->plan->stages[task->stage].name,
           sl_json_str(found, "from_run", "?"));
}

void sl_record_retry(struct run *run, const struct sl_task *task, int cls, const char *message,
                     double delay_s) {
    json_t *r = task_record(run, "retry", task->item, task->stage);
    sl_json_set(r, "after_attempt", json_integer(task->attempt));
    sl_json_set(r, "delay_s", json_real(delay_s));
    sl_json_set(r, "carry", sl_carry_json(run, task));
    sl_journal_add(&run->journal, r);
    sl_run_emit(run, &(struct sl_event){.type = SL_EVENT_RETRY,
                                        .item = task->item,
                                        .stage = task->stage,
                                        .attempt = task->attempt,
                                        .cls = cls,
                                        .text = message,
                                        .seconds = delay_s});
}

void sl_record_step(struct run *run, const struct sl_task *task, const char *step,
                    const char *change) {
    json_t *r = task_record(run, "oom_step", task->item, task->stage);
    sl_json_set(r, "after_attempt", json_integer(task->attempt));
    sl_json_set(r, "step", json_string(step));
    sl_json_set(r, "change", json_string(change));
    sl_journal_add(&run->journal, r);
    sl_log(&run->log, SLUICE_LOG_INFO, "%s/%s: on_oom: %s to %s", run->spec->items[task->item].name,
           run->plan->stages[task->stage].name, step, change);
}

void sl_record_quarantine(struct run *run, const struct sl_task *task, const char *report) {
    json_t *r = task_record(run, "quarantine", task->item, task->stage);
    sl_json_set(r, "kills", json_integer(task->kills));
    sl_json_set(r, "report", report ? sl_json_text(report) : NULL);
    sl_journal_add(&run->journal, r);
    sl_log(&run->log, SLUICE_LOG_ERROR, "%s/%s: quarantined: it killed %d workers in a row",
           run->spec->items[task->item].name, run->plan->stages[task->stage].name, task->kills);
}

void sl_record_worker(struct run *run, const struct carrier *c) {
    const struct sl_worker_end *end = &c->worker->end;
    json_t *r = record("worker_end");
    sl_json_set(r, "worker", json_integer(c->number));
    sl_json_set(r, "stage", json_string(run->plan->stages[c->stage].name));
    if (!c->shared) {
        sl_json_set(r, "item", sl_json_text(run->spec->items[c->first_item].name));
        sl_json_set(r, "attempt", json_integer(c->first_attempt));
    }
    if (WIFSIGNALED(end->wait_status))
        sl_json_set(r, "signal", json_integer(WTERMSIG(end->wait_status)));
    else
        sl_json_set(r, "exit", json_integer(WEXITSTATUS(end->wait_status)));
    sl_json_set(r, "wall_s", json_real((double)(sl_now_ms() - c->began_ms) / 1000));
    sl_json_set(r, "tasks", json_integer(c->guard.n_jobs));
    if (c->kept)
        sl_json_set(r, "let_go", json_string(sl_let_go_name(c->let_go)));
    if (end->reported || end->peak_bytes) {
        sl_json_set(r, "cpu_s", json_real(end->cpu_s));
        sl_json_set(r, "peak_bytes", json_integer((json_int_t)end->peak_bytes));
    }
    sl_json_set(r, "gpu_peak_bytes", c->gpu_peak ? json_integer((json_int_t)c->gpu_peak) : NULL);
    sl_journal_add(&run->journal, r);
}

void sl_record_output(struct run *run, int item, const char *name, const char *path) {
    json_t *r = record("output");
    sl_json_set(r, "item", sl_json_text(run->spec->items[item].name));
    sl_json_set(r, "name", sl_json_text(name));
    sl_json_set(r, "path", sl_json_text(path));
    sl_journal_add(&run->journal, r);
}

void sl_record_item(struct run *run, int item, const char *message) {
    static const char *const names[] = {"open", "ok", "failed", "cancelled"};
    enum sl_item_state state = run->tasks.items[item];
    json_t *r = record("item");
    sl_json_set(r, "item", sl_json_text(run->spec->items[item].name));
    sl_json_set(r, "state", json_string(names[state]));
    sl_json_set(r, "message", message ? sl_json_text(message) : NULL);
    sl_journal_add(&run->journal, r);
    sl_log(&run->log, state == SL_ITEM_OK ? SLUICE_LOG_INFO : SLUICE_LOG_ERROR, "%s: %s%s%s",
           run->spec->items[item].name, names[state], message ? ": " : "", message ? message : "");
    sl_run_emit(run, &(struct sl_event){.type = SL_EVENT_ITEM_END,
                                        .item = item,
                                        .stage = -1,
                                        .item_state = state,
                                        .text = message});
}

void sl_record_end(struct run *run) {
    const struct sl_run_result *result = &run->result;
    json_t *r = record("end");
    sl_json_set(r, "state",
                json_string(result->interrupted && result->n_cancelled ? "cancelled"
                            : result->n_failed                         ? "failed"
                                                                       : "ok"));
    sl_json_set(r, "ok", json_integer(result->n_ok));
    sl_json_set(r, "failed", json_integer(result->n_failed));
    sl_json_set(r, "cancelled", json_integer(result->n_cancelled));
    sl_json_set(r, "seconds", json_real(result->seconds));
    sl_journal_add(&run->journal, r);
    sl_run_emit(run,
                &(struct sl_event){
                    .type = SL_EVENT_RUN_END, .item = -1, .stage = -1, .seconds = result->seconds});
}

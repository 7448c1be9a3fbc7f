/*
 * Going on with a run whose core is gone: what the journal says was done (run/replay.h) becomes the
 * states of tasks and items, before anything starts.
 *
 * Items that are settled stay as they are. Of the others a task is kept that was settled, unless
 *   - what it is made of has changed: its plugin, its parameters, the user's file that it read.
 *     Then it runs again, and so does all that takes from it;
 *   - somebody needs its artifacts and they are not what the journal says (size, XXH3). Then it
 *     runs again alone: the same inputs give the same artifacts, and what was made from them stays.
 * Both are said. Artifacts that nobody needs any more are not looked at. What attempts in flight
 * left in the folder (artifacts without a record, named drafts, scratch folders) is removed.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "sched/run_internal.h"

struct going {
    struct run *run;
    const struct sl_replay *replay;
    int *place;          /* of each stage of the plan: its number in the journal */
    bool *stage_changed; /* its plugin or parameters did */
    /* of the item at hand, for each stage: made of other things; has to run */
    bool *changed, *must;
};

static void say(struct run *run, int item, int stage, const char *text) {
    sl_log(&run->log, SLUICE_LOG_WARN, "%s%s%s: %s", item >= 0 ? run->spec->items[item].name : "",
           item >= 0 ? "/" : "", run->plan->stages[stage].name, text);
    sl_run_emit(run, &(struct sl_event){.type = SL_EVENT_LOG,
                                        .item = item,
                                        .stage = stage,
                                        .level = SLUICE_LOG_WARN,
                                        .text = text});
}

/* ---- Stages ---------------------------------------------------------------------------------- */

static bool differs(const json_t *was, const json_t *is, const char *key) {
    const json_t *a = json_object_get(was, key), *b = json_object_get(is, key);
    return a && b && !json_equal((json_t *)a, (json_t *)b);
}

static const char *what_differs(const json_t *was, const json_t *is) {
    return differs(was, is, "use")                                    ? "it uses another stage"
           : differs(was, is, "build") || differs(was, is, "version") ? "its plugin is another one"
           : differs(was, is, "params")                               ? "its parameters are others"
                                                                      : NULL;
}

static int place_stages(struct going *g, struct sl_err *err) {
    const json_t *list = json_object_get(g->replay->run, "stages");
    sl_autojson json_t *now = sl_record_stages(g->run);
    for (int s = 0; s < g->run->plan->n_stages; s++) {
        const char *name = g->run->plan->stages[s].name, *what;
        const json_t *at = json_object_get(g->replay->stage_index, name);
        if (!at || g->replay->n_stages != g->run->plan->n_stages)
            return sl_err_set(err, SLUICE_INPUT,
                              "its pipeline has other stages than its journal (\"%s\")", name);
        g->place[s] = (int)json_integer_value(at);
        what =
            what_differs(json_array_get(list, (size_t)g->place[s]), json_array_get(now, (size_t)s));
        g->stage_changed[s] = what != NULL;
        if (!what)
            continue;
        sl_autofree char *text = sl_xasprintf(
            "%s than when the run began; what is not finished is done again from here", what);
        say(g->run, -1, s, text);
    }
    return 0;
}

/* ---- What a task is made of ------------------------------------------------------------------ */

static struct sl_replay_task *replayed(const struct going *g, int item, int stage) {
    return sl_replay_task(g->replay, item, g->place[stage]);
}

json_t *sl_run_sources(const struct run *run, int item, int stage) {
    const struct sl_plan_stage *s = &run->plan->stages[stage];
    json_t *sources = NULL;
    for (int i = 0; i < s->n_inputs; i++) {
        int port = s->inputs[i].from_port;
        if (s->inputs[i].from_stage >= 0)
            continue;
        sl_autofree char *stamp =
            sl_file_stamp(port == 0 ? run->spec->items[item].file : run->spec->inputs[port]);
        sources = sources ? sources : json_object();
        sl_json_set(sources, s->inputs[i].port, json_string(stamp));
    }
    return sources;
}

static bool sources_changed(const struct going *g, int item, int stage) {
    const struct sl_replay_task *t = replayed(g, item, stage);
    if (t->state == SL_REPLAY_OPEN || !t->sources)
        return false;
    sl_autojson json_t *now = sl_run_sources(g->run, item, stage);
    if (now && json_equal(now, t->sources))
        return false;
    say(g->run, item, stage,
        "the file it reads is not as it was; the item is done again from here");
    return true;
}

/* From the first stage to the last: a change reaches all that takes from it. */
static void find_changed(struct going *g, int item) {
    for (int s = 0; s < g->run->plan->n_stages; s++) {
        const struct sl_plan_stage *stage = &g->run->plan->stages[s];
        g->changed[s] = g->stage_changed[s] || sources_changed(g, item, s);
        for (int i = 0; i < stage->n_inputs; i++)
            if (stage->inputs[i].from_stage >= 0)
                g->changed[s] |= g->changed[stage->inputs[i].from_stage];
    }
}

/* ---- Artifacts ------------------------------------------------------------------------------- */

/* Fills `ret` from the record of an output; false where there is none, or it is damaged. */
static bool read_artifact(const struct going *g, const struct sl_task *task, int port,
                          struct sl_artifact *ret) {
    const struct sl_plan_stage *stage = &g->run->plan->stages[task->stage];
    const struct sl_plan_output *out = &stage->outputs[port];
    const json_t *r = json_object_get(replayed(g, task->item, task->stage)->artifacts, out->port);
    double size = sl_json_num(r, "size", -1);
    const char *hash = sl_json_str(r, "xxh3", "");
    char *end;
    if (!r || size < 0 || size > 1e18)
        return false;
    ret->size = (uint64_t)size;
    ret->hash = strtoull(hash, &end, 16);
    if (!*hash || *end)
        return false;
    ret->path = sl_artifact_path(&g->run->places, g->run->spec->items[task->item].name, stage->name,
                                 out->port, out->type);
    return true;
}

/* Gives the task its artifacts; false: one is missing that has to be there. */
static bool take_artifacts(const struct going *g, struct sl_task *task) {
    const struct sl_plan_stage *stage = &g->run->plan->stages[task->stage];
    task->artifacts = sl_xcalloc((size_t)stage->n_outputs, sizeof *task->artifacts);
    for (int o = 0; o < stage->n_outputs; o++)
        if (!read_artifact(g, task, o, &task->artifacts[o]) && !stage->outputs[o].optional)
            return false;
    return true;
}

static bool are_sound(const struct going *g, struct sl_task *task) {
    struct sl_err err = {0};
    bool sound = take_artifacts(g, task);
    for (int o = 0; sound && o < g->run->plan->stages[task->stage].n_outputs; o++) {
        const struct sl_artifact *a = &task->artifacts[o];
        sl_autoclose int fd = -1;
        sound = !a->path || sl_artifact_open(a->path, a->size, a->hash, 1, &fd, &err) == 0;
    }
    if (sound)
        return true;
    sl_autofree char *text = sl_xasprintf("its result cannot be used, so it runs again: %s",
                                          *err.msg ? err.msg : "the journal does not have it all");
    say(g->run, task->item, task->stage, text);
    sl_task_drop_artifacts(task, g->run->plan->stages[task->stage].n_outputs);
    return false;
}

/* ---- Items ----------------------------------------------------------------------------------- */

static bool is_needed(const struct going *g, int stage) {
    if (g->run->plan->stages[stage].is_output || g->run->spec->outputs_by_port)
        return true;
    for (const int *taker = g->run->tasks.takers[stage]; *taker >= 0; taker++)
        if (g->must[*taker])
            return true;
    return false;
}

/* From the last stage to the first: those that have to run need what they take. */
static void find_needed(struct going *g, int item) {
    for (int s = g->run->plan->n_stages - 1; s >= 0; s--) {
        const struct sl_replay_task *t = replayed(g, item, s);
        struct sl_task *task = sl_task_at(&g->run->tasks, item, s);
        g->must[s] = t->state == SL_REPLAY_OPEN || g->changed[s];
        if (!g->must[s] && t->state == SL_REPLAY_DONE)
            g->must[s] = is_needed(g, s) ? !are_sound(g, task) : !take_artifacts(g, task);
    }
}

static void remove_unrecorded(const struct going *g, const struct sl_task *task) {
    const struct sl_plan_stage *stage = &g->run->plan->stages[task->stage];
    for (int o = 0; o < stage->n_outputs; o++) {
        sl_autofree char *path =
            sl_artifact_path(&g->run->places, g->run->spec->items[task->item].name, stage->name,
                             stage->outputs[o].port, stage->outputs[o].type);
        unlink(path);
    }
}

static void remove_drafts(const struct going *g, int item) {
    sl_autofree char *folder =
        sl_xasprintf("%s/items/%s", g->run->places.run, g->run->spec->items[item].name);
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (sl_starts_with(e->d_name, SL_DRAFT_PREFIX))
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

static void restore_settled(struct going *g, struct sl_task *task) {
    const struct sl_replay_task *t = replayed(g, task->item, task->stage);
    task->state = t->state == SL_REPLAY_DONE     ? SL_TASK_DONE
                  : t->state == SL_REPLAY_ABSENT ? SL_TASK_ABSENT
                                                 : SL_TASK_FAILED;
    if (t->state == SL_REPLAY_DONE)
        return;
    task->cls = sl_class_from_name(sl_json_str(t->task, "class", ""));
    task->message = sl_xstrdup(sl_json_str(t->task, "message", ""));
    g->run->result.n_warnings += t->state == SL_REPLAY_ABSENT;
}

static void restore_open(struct going *g, int item) {
    find_changed(g, item);
    find_needed(g, item);
    remove_drafts(g, item);
    for (int s = 0; s < g->run->plan->n_stages; s++) {
        struct sl_task *task = sl_task_at(&g->run->tasks, item, s);
        const struct sl_replay_task *t = replayed(g, item, s);
        task->attempt = t->attempts;
        task->before = t->attempts > t->failed ? t->attempts - t->failed : 0;
        task->state = SL_TASK_WAITING;
        if (!g->must[s]) {
            restore_settled(g, task);
            continue;
        }
        if (t->state == SL_REPLAY_OPEN && t->carry)
            sl_carry_restore(g->run, task, t->carry);
        sl_task_drop_artifacts(task, g->run->plan->stages[s].n_outputs);
        remove_unrecorded(g, task);
    }
}

static void restore_ended(struct going *g, int item) {
    struct run *run = g->run;
    bool ok = g->replay->items[item] == SL_REPLAY_DONE;
    run->tasks.items[item] = ok ? SL_ITEM_OK : SL_ITEM_FAILED;
    *(ok ? &run->result.n_ok : &run->result.n_failed) += 1;
    run->open_items--;
    if (ok && !run->spec->keep_artifacts)
        sl_artifacts_remove_later(run, item);
}

/* ---- The interface --------------------------------------------------------------------------- */

static void restore(struct going *g) {
    for (int i = 0; i < g->run->spec->n_items; i++) {
        if (g->replay->items[i] == SL_REPLAY_OPEN)
            restore_open(g, i);
        else
            restore_ended(g, i);
    }
}

int sl_resume_restore(struct run *run, const struct sl_replay *replay, struct sl_err *err) {
    size_t n = (size_t)run->plan->n_stages;
    struct going g = {.run = run, .replay = replay};
    sl_autofree int *place = g.place = sl_xcalloc(n, sizeof *g.place);
    sl_autofree bool *flags = sl_xcalloc(3 * n, sizeof *flags);
    g.stage_changed = flags;
    g.changed = flags + n;
    g.must = flags + 2 * n;
    if (replay->n_items != run->spec->n_items)
        return sl_err_set(err, SLUICE_INTERNAL, "it has %d items, not %d", replay->n_items,
                          run->spec->n_items);
    int rc = place_stages(&g, err);
    if (rc < 0)
        return rc;
    run->last_worker = replay->last_worker;
    restore(&g);
    sl_tasks_restore(&run->tasks, sl_run_task_changed, run);
    return 0;
}

void sl_resume_end_items(struct run *run, const struct sl_replay *replay) {
    for (int i = 0; i < run->spec->n_items; i++)
        if (replay->items[i] == SL_REPLAY_OPEN)
            sl_run_end_item_if_done(run, i);
}

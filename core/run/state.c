/*
 * The state of a run from its journal, see state.h. One handler for each record type; records that name items or stages
 * that were never announced are ignored.
 */
#include "run/state.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "run/journal.h"
#include "run/rundir.h"

#define JOURNAL_MAX_BYTES ((size_t)4 << 30)

struct builder {
    json_t *run;    /* the result; NULL before the first record */
    json_t *plan;   /* stages as the first record has them, owned */
    json_t *items;  /* item name -> its object in the result, borrowed */
    json_t *stages; /* "item\nstage" -> its object, borrowed */
};

static void copy_key(json_t *to, const json_t *from, const char *key) {
    sl_json_set(to, key, json_incref(json_object_get(from, key)));
}

static void copy_keys(json_t *to, const json_t *from, const char *const *keys) {
    for (; *keys; keys++)
        if (json_object_get(from, *keys))
            copy_key(to, from, *keys);
}

static json_t *new_array(json_t *object, const char *key) {
    json_t *array = json_array();
    json_object_set_new(object, key, array);
    return array;
}

static char *stage_key(const char *item, const char *stage) {
    return sl_xasprintf("%s\n%s", item, stage);
}

static void add_stages(struct builder *b, json_t *item, const char *item_name,
                       const json_t *stages) {
    json_t *list = new_array(item, "stages");
    size_t i;
    json_t *stage;
    json_array_foreach(stages, i, stage) {
        const char *name = sl_json_str(stage, "name", "");
        sl_autofree char *key = stage_key(item_name, name);
        json_t *one = json_object();
        json_array_append_new(list, one);
        copy_keys(one, stage, (const char *const[]){"name", "use", "output", NULL});
        sl_json_set(one, "state", json_string("waiting"));
        new_array(one, "attempts");
        new_array(one, "artifacts");
        json_object_set(b->stages, key, one);
    }
}

static void on_items(struct builder *b, const json_t *r) {
    json_t *list = json_object_get(b->run, "items"), *item;
    size_t i;
    json_array_foreach(json_object_get(r, "items"), i, item) {
        json_t *one = json_object();
        json_array_append_new(list, one);
        copy_keys(one, item, (const char *const[]){"name", "file", "params", NULL});
        sl_json_set(one, "state", json_string("open"));
        new_array(one, "outputs");
        add_stages(b, one, sl_json_str(item, "name", ""), b->plan);
        json_object_set(b->items, sl_json_str(item, "name", ""), one);
    }
}

static void on_run(struct builder *b, const json_t *r) {
    static const char *const keys[] = {"id",          "pipeline", "file",   "out",
                                       "containment", "limits",   "sluice", "pid",
                                       "watch",       "sandbox",  NULL};
    b->run = json_object();
    copy_keys(b->run, r, keys);
    sl_json_set(b->run, "started", json_incref(json_object_get(r, "time")));
    new_array(b->run, "items");
    b->plan = json_incref(json_object_get(r, "stages"));
    on_items(b, r);
}

static json_t *find_stage(const struct builder *b, const json_t *r) {
    sl_autofree char *key = stage_key(sl_json_str(r, "item", ""), sl_json_str(r, "stage", ""));
    return json_object_get(b->stages, key);
}

/* The attempt a record names, or NULL. */
static json_t *find_attempt(const struct builder *b, const json_t *r, const char *number_key) {
    json_t *attempts = json_object_get(find_stage(b, r), "attempts"), *attempt;
    size_t i;
    json_array_foreach(attempts, i, attempt) if (sl_json_num(attempt, "attempt", 0) ==
                                                 sl_json_num(r, number_key, -1)) return attempt;
    return NULL;
}

static void on_attempt(struct builder *b, const json_t *r) {
    json_t *stage = find_stage(b, r);
    if (!stage)
        return;
    json_t *one = json_object();
    copy_keys(one, r,
              (const char *const[]){"attempt", "worker", "pid", "cpus", "device", "card",
                                    "memory_limit", "gpu_memory_limit", "miss", "injected", "log", "log_from", NULL});
    sl_json_set(one, "started", json_incref(json_object_get(r, "time")));
    json_array_append_new(json_object_get(stage, "attempts"), one);
    sl_json_set(stage, "state", json_string("running"));
}

static void on_attempt_end(struct builder *b, const json_t *r) {
    json_t *attempt = find_attempt(b, r, "attempt");
    if (attempt)
        copy_keys(attempt, r,
                  (const char *const[]){"class", "message", "wall_s", "metrics", "log_to", NULL});
}

static void on_worker_end(struct builder *b, const json_t *r) {
    json_t *attempt = find_attempt(b, r, "attempt");
    if (attempt)
        copy_keys(
            attempt, r,
            (const char *const[]){"cpu_s", "peak_bytes", "gpu_peak_bytes", "signal", "exit", NULL});
}

static void on_retry(struct builder *b, const json_t *r) {
    json_t *attempt = find_attempt(b, r, "after_attempt"), *stage = find_stage(b, r);
    if (attempt)
        sl_json_set(attempt, "retry_delay_s", json_incref(json_object_get(r, "delay_s")));
    if (stage)
        sl_json_set(stage, "state", json_string("backoff"));
}

static void on_task(struct builder *b, const json_t *r) {
    json_t *stage = find_stage(b, r);
    if (stage)
        copy_keys(stage, r, (const char *const[]){"state", "class", "message", "on_oom", NULL});
}

static void on_artifact(struct builder *b, const json_t *r) {
    json_t *stage = find_stage(b, r), *one = json_object();
    copy_keys(one, r, (const char *const[]){"port", "port_type", "file", "size", "xxh3", NULL});
    if (stage)
        json_array_append(json_object_get(stage, "artifacts"), one);
    json_decref(one);
}

static void on_reuse(struct builder *b, const json_t *r) {
    json_t *stage = find_stage(b, r), *one = json_object();
    copy_keys(one, r, (const char *const[]){"key", "from_run", NULL});
    if (stage)
        sl_json_set(stage, "reused", json_incref(one));
    json_decref(one);
}

static void on_output(struct builder *b, const json_t *r) {
    json_t *item = json_object_get(b->items, sl_json_str(r, "item", ""));
    if (item)
        json_array_append(json_object_get(item, "outputs"), json_object_get(r, "path"));
}

static void on_item(struct builder *b, const json_t *r) {
    json_t *item = json_object_get(b->items, sl_json_str(r, "item", ""));
    if (!item)
        return;
    copy_keys(item, r, (const char *const[]){"state", "message", NULL});
    if (strcmp(sl_json_str(r, "state", ""), "failed") == 0)
        json_array_clear(json_object_get(item, "outputs"));
}

/* What the core before had in flight is lost; what it cancelled or, with `failed`, failed at is open again. */
static void reopen_item(json_t *item, bool failed) {
    size_t s, a;
    json_t *stage, *attempt;
    const char *state = sl_json_str(item, "state", "");
    if (strcmp(state, "ok") == 0 || (strcmp(state, "failed") == 0 && !failed))
        return;
    sl_json_set(item, "state", json_string("open"));
    json_object_del(item, "message");
    json_array_clear(json_object_get(item, "outputs"));
    json_array_foreach(json_object_get(item, "stages"), s, stage) {
        const char *was = sl_json_str(stage, "state", "");
        json_array_foreach(json_object_get(stage, "attempts"), a,
                           attempt) if (!json_object_get(attempt, "class"))
            sl_json_set(attempt, "class", json_string("lost"));
        if (strcmp(was, "done") != 0 && strcmp(was, "absent") != 0) {
            sl_json_set(stage, "state", json_string("waiting"));
            json_object_del(stage, "message");
            json_object_del(stage, "class");
        }
    }
}

static void on_resume(struct builder *b, const json_t *r) {
    static const char *const gone[] = {"state", "ended", "seconds", "ok", "failed", "cancelled"};
    size_t i;
    json_t *item, *list = json_object_get(b->run, "resumed"), *one = json_object();
    for (i = 0; i < sizeof gone / sizeof *gone; i++)
        json_object_del(b->run, gone[i]);
    json_array_foreach(json_object_get(b->run, "items"), i, item)
        reopen_item(item, json_is_true(json_object_get(r, "failed")));
    sl_json_set(one, "time", json_incref(json_object_get(r, "time")));
    copy_keys(one, r, (const char *const[]){"pid", "open_items", NULL});
    copy_keys(b->run, r, (const char *const[]){"pid", "containment", "limits", "sluice", NULL});
    json_array_append_new(list ? list : new_array(b->run, "resumed"), one);
}

static void on_end(struct builder *b, const json_t *r) {
    copy_keys(b->run, r,
              (const char *const[]){"state", "ok", "failed", "cancelled", "seconds", NULL});
    sl_json_set(b->run, "ended", json_incref(json_object_get(r, "time")));
}

static void each_record(void *ctx, const json_t *r) {
    static const struct {
        const char *type;
        void (*handle)(struct builder *b, const json_t *r);
    } table[] = {
        {"run", on_run},
        {"items", on_items},
        {"attempt", on_attempt},
        {"attempt_end", on_attempt_end},
        {"worker_end", on_worker_end},
        {"retry", on_retry},
        {"task", on_task},
        {"artifact", on_artifact},
        {"output", on_output},
        {"item", on_item},
        {"reuse", on_reuse},
        {"resume", on_resume},
        {"end", on_end},
    };
    struct builder *b = ctx;
    const char *type = sl_json_str(r, "type", "");
    bool first = strcmp(type, "run") == 0;
    if (first == (b->run != NULL))
        return;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].type, type) == 0)
            table[i].handle(b, r);
}

int sl_state_build(const char *journal, size_t len, bool live, json_t **ret, struct sl_err *err) {
    struct builder b = {.items = json_object(), .stages = json_object()};
    size_t good;
    sl_journal_read(journal, len, each_record, &b, &good);
    json_decref(b.items);
    json_decref(b.stages);
    json_decref(b.plan);
    if (!b.run)
        return sl_err_set(err, SLUICE_INPUT, "the journal has no first record");
    if (!json_object_get(b.run, "state"))
        sl_json_set(b.run, "state", json_string(live ? "running" : "died"));
    *ret = b.run;
    return 0;
}

int sl_state_read(const char *run_path, json_t **ret, struct sl_err *err) {
    sl_autofree char *path = sl_path_join(run_path, "journal"), *text = NULL;
    size_t len;
    bool live = sl_rundir_is_live(run_path);
    int rc = sl_read_file(path, JOURNAL_MAX_BYTES, &text, &len, err);
    if (rc == 0 && (rc = sl_state_build(text, len, live, ret, err)) < 0)
        sl_err_wrap(err, "%s", path);
    return rc;
}

/*
 * The state of a run from its journal, see state.h. One handler for each record type; records that
 * name items or stages that were never announced are ignored.
 */
#include "run/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "run/journal.h"
#include "run/rundir.h"

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

static void on_run_itself(struct builder *b, const json_t *r) {
    static const char *const keys[] = {"id",          "pipeline", "file",    "out",
                                       "containment", "limits",   "sluice",  "pid",
                                       "watch",       "sandbox",  "command", NULL};
    b->run = json_object();
    copy_keys(b->run, r, keys);
    sl_json_set(b->run, "started", json_incref(json_object_get(r, "time")));
    new_array(b->run, "items");
    b->plan = json_incref(json_object_get(r, "stages"));
}

static void on_run(struct builder *b, const json_t *r) {
    on_run_itself(b, r);
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
                                    "memory_limit", "gpu_memory_limit", "miss", "injected", "log",
                                    "log_from", NULL});
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

/* What the core before had in flight is lost; what it cancelled or, with `failed`, failed at is
 * open again. */
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

static void handle(struct builder *b, const json_t *r) {
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
    const char *type = sl_json_str(r, "type", "");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].type, type) == 0)
            table[i].handle(b, r);
}

static void each_record(void *ctx, const json_t *r) {
    struct builder *b = ctx;
    bool first = strcmp(sl_json_str(r, "type", ""), "run") == 0;
    if (first != (b->run != NULL))
        handle(b, r);
}

static int built(struct builder *b, bool live, json_t **ret, struct sl_err *err) {
    json_decref(b->items);
    json_decref(b->stages);
    json_decref(b->plan);
    if (!b->run)
        return sl_err_set(err, SLUICE_INPUT, "the journal has no first record");
    if (!json_object_get(b->run, "state"))
        sl_json_set(b->run, "state", json_string(live ? "running" : "died"));
    *ret = b->run;
    return 0;
}

int sl_state_build(const char *journal, size_t len, bool live, json_t **ret, struct sl_err *err) {
    struct builder b = {.items = json_object(), .stages = json_object()};
    size_t good;
    sl_journal_read(journal, len, each_record, &b, &good);
    return built(&b, live, ret, err);
}

int sl_state_read(const char *run_path, json_t **ret, struct sl_err *err) {
    sl_autofree char *path = sl_path_join(run_path, "journal");
    bool live = sl_rundir_is_live(run_path);
    struct builder b = {.items = json_object(), .stages = json_object()};
    int rc = sl_journal_read_file(path, each_record, &b, NULL, err);
    json_t *state = NULL;
    int end = built(&b, live, &state, rc < 0 ? NULL : err);
    if (rc < 0)
        json_decref(state);
    else if (end < 0)
        rc = sl_err_wrap(err, "%s", path);
    else
        *ret = state;
    return rc;
}

/* ---- One item after the other ---------------------------------------------------------------- */

/* A first look at the journal takes in what concerns the run, and notes where the records of each
 * item are; those of one item after the other are then read again. A `resume` concerns all items:
 * it is between their records where it was. */

struct place {
    uint64_t at; /* of the record's text */
    uint32_t len;
    int item;
};

struct scan {
    struct builder run; /* without items */
    json_t *list;       /* the items as they were announced */
    json_t *index;      /* name -> number in the list */
    struct place *places;
    size_t n_places, cap_places;
    struct {
        uint64_t at;
        json_t *record;
    } * resumes;
    size_t n_resumes, cap_resumes;
    uint64_t at, len; /* of the text at hand */
};

static void note_place(struct scan *s, const char *name) {
    const json_t *number = json_object_get(s->index, name);
    if (!number)
        return;
    SL_PUSH_ROOM(s->places, s->n_places, s->cap_places);
    s->places[s->n_places++] =
        (struct place){s->at, (uint32_t)s->len, (int)json_integer_value(number)};
}

#define SUM_BYTES 17 /* before the text of a record; a newline follows it */

static bool is_of_the_run(void *ctx, const char *text, size_t len) {
    struct scan *s = ctx;
    char name[SL_JOURNAL_NAME_BYTES];
    s->at += s->len ? s->len + 1 + SUM_BYTES : SUM_BYTES;
    s->len = len;
    if (!sl_journal_item(text, len, name))
        return true;
    note_place(s, name);
    return false;
}

static void announce(struct scan *s, const json_t *r) {
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(r, "items"), i, item) {
        json_object_set_new(s->index, sl_json_str(item, "name", ""),
                            json_integer((json_int_t)json_array_size(s->list)));
        json_array_append(s->list, item);
    }
}

static void scan_record(void *ctx, const json_t *r) {
    struct scan *s = ctx;
    const char *type = sl_json_str(r, "type", ""), *item = sl_json_str(r, "item", NULL);
    bool first = strcmp(type, "run") == 0;
    if (first == (s->run.run != NULL))
        return;
    if (item) {
        note_place(s, item);
        return;
    }
    if (first || strcmp(type, "items") == 0)
        announce(s, r);
    if (first)
        on_run_itself(&s->run, r);
    else if (strcmp(type, "items") != 0)
        handle(&s->run, r);
    if (strcmp(type, "resume") != 0)
        return;
    SL_PUSH_ROOM(s->resumes, s->n_resumes, s->cap_resumes);
    s->resumes[s->n_resumes].at = s->at;
    s->resumes[s->n_resumes++].record = json_incref((json_t *)r);
}

static int by_item(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    return x->item != y->item ? (x->item > y->item) - (x->item < y->item)
                              : (x->at > y->at) - (x->at < y->at);
}

/* The record at a place, owned; NULL: it cannot be read, or is not as it was. */
static json_t *read_place(int fd, const struct place *p, struct sl_str *buf) {
    json_t *r = NULL;
    sl_str_clear(buf);
    sl_str_pad(buf, ' ', (int)p->len);
    if (pread(fd, buf->data, p->len, (off_t)p->at) != (ssize_t)p->len ||
        sl_json_parse(buf->data, p->len, &r, NULL) < 0)
        return NULL;
    return r;
}

/* Resumes that came before `until`, from number *next on. */
static void pass_resumes(const struct scan *s, struct builder *b, size_t *next, uint64_t until) {
    for (; *next < s->n_resumes && s->resumes[*next].at < until; ++*next)
        handle(b, s->resumes[*next].record);
}

/* The item with its n records. */
static void visit_item(const struct scan *s, size_t number, const struct place *places, size_t n,
                       int fd, struct sl_str *buf, const struct sl_state_visitor *v) {
    sl_autojson json_t *run = json_object(), *items = json_object(), *stages = json_object(),
                       *one = json_pack("{s:[O]}", "items", json_array_get(s->list, number));
    struct builder b = {.run = run, .plan = s->run.plan, .items = items, .stages = stages};
    size_t resume = 0;
    new_array(run, "items");
    on_items(&b, one);
    for (size_t i = 0; i < n; i++) {
        sl_autojson json_t *r = read_place(fd, &places[i], buf);
        pass_resumes(s, &b, &resume, places[i].at);
        if (r)
            handle(&b, r);
    }
    pass_resumes(s, &b, &resume, UINT64_MAX);
    v->item(v->ctx, json_array_get(json_object_get(run, "items"), 0));
}

static int visit_items(struct scan *s, const char *path, const struct sl_state_visitor *v,
                       struct sl_err *err) {
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    sl_autostr struct sl_str buf = {0};
    size_t from = 0;
    if (fd < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s: cannot be opened", path);
    if (s->n_places)
        qsort(s->places, s->n_places, sizeof *s->places, by_item);
    for (size_t number = 0; number < json_array_size(s->list); number++) {
        size_t to = from;
        while (to < s->n_places && s->places[to].item == (int)number)
            to++;
        visit_item(s, number, s->places + from, to - from, fd, &buf, v);
        from = to;
    }
    return 0;
}

static void scan_finish(struct scan *s) {
    for (size_t i = 0; i < s->n_resumes; i++)
        json_decref(s->resumes[i].record);
    free(s->resumes);
    free(s->places);
    json_decref(s->list);
    json_decref(s->index);
    json_decref(s->run.items);
    json_decref(s->run.stages);
    json_decref(s->run.plan);
    json_decref(s->run.run);
}

int sl_state_visit(const char *run_path, const struct sl_state_visitor *v, struct sl_err *err) {
    sl_autofree char *path = sl_path_join(run_path, "journal");
    bool live = sl_rundir_is_live(run_path);
    struct scan s = {.run = {.items = json_object(), .stages = json_object()},
                     .list = json_array(),
                     .index = json_object()};
    int rc = sl_journal_scan_file(path, is_of_the_run, scan_record, &s, NULL, err);
    if (rc == 0 && !s.run.run)
        rc = sl_err_set(err, SLUICE_INPUT, "%s: the journal has no first record", path);
    if (rc == 0) {
        json_object_del(s.run.run, "items");
        if (!json_object_get(s.run.run, "state"))
            sl_json_set(s.run.run, "state", json_string(live ? "running" : "died"));
        v->run(v->ctx, s.run.run, json_array_size(s.list));
        rc = v->item ? visit_items(&s, path, v, err) : 0;
    }
    scan_finish(&s);
    return rc;
}

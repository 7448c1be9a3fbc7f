/*
 * Replaying a journal, see replay.h: one handler for each type of record, in the order of the file.
 * Records that name items or stages that were never announced are ignored, as everything that
 * cannot have been written by a core.
 *
 * What counts is the last word on a task. A task that was settled by one core and begun again by
 * the next (its artifact was damaged, say) is open again from its new attempt on.
 */
#include "run/replay.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/mem.h"
#include "run/journal.h"

#define MAX_TASKS ((uint64_t)1 << 28)

static void task_finish(struct sl_replay_task *t) {
    json_decref(t->artifacts);
    json_decref(t->sources);
    json_decref(t->task);
    t->artifacts = t->sources = t->task = NULL;
}

static void set_carry(struct sl_replay_task *t, json_t *carry) {
    json_decref(t->carry);
    t->carry = json_is_object(carry) ? json_incref(carry) : NULL;
}

static void task_open(struct sl_replay_task *t) {
    task_finish(t);
    t->state = SL_REPLAY_OPEN;
    t->cached = false;
}

struct sl_replay_task *sl_replay_task(const struct sl_replay *r, int item, int stage) {
    return &r->tasks[(size_t)item * (size_t)r->n_stages + (size_t)stage];
}

void sl_replay_finish(struct sl_replay *r) {
    for (size_t i = 0; r->tasks && i < (size_t)r->cap_items * (size_t)r->n_stages; i++) {
        set_carry(&r->tasks[i], NULL);
        task_finish(&r->tasks[i]);
    }
    free(r->tasks);
    free(r->items);
    json_decref(r->run);
    json_decref(r->list);
    json_decref(r->item_index);
    json_decref(r->stage_index);
    *r = (struct sl_replay){0};
}

/* ---- Records --------------------------------------------------------------------------------- */

static json_t *index_names(const json_t *list) {
    json_t *index = json_object(), *one;
    size_t i;
    json_array_foreach(list, i, one)
        json_object_set_new(index, sl_json_str(one, "name", ""), json_integer((json_int_t)i));
    return index;
}

static int find(const json_t *index, const json_t *record, const char *key) {
    const json_t *at = json_object_get(index, sl_json_str(record, key, ""));
    return at ? (int)json_integer_value(at) : -1;
}

static struct sl_replay_task *task_of(const struct sl_replay *r, const json_t *record) {
    int item = find(r->item_index, record, "item"), stage = find(r->stage_index, record, "stage");
    return item < 0 || stage < 0 ? NULL : sl_replay_task(r, item, stage);
}

static void grow(struct sl_replay *r, int n_items) {
    size_t was = (size_t)r->cap_items, n_stages = (size_t)r->n_stages, cap = was ? was : 16;
    while (cap < (size_t)n_items)
        cap *= 2;
    if (cap == was)
        return;
    r->tasks = sl_xrealloc(r->tasks, cap * n_stages, sizeof *r->tasks);
    r->items = sl_xrealloc(r->items, cap, sizeof *r->items);
    memset(r->tasks + was * n_stages, 0, (cap - was) * n_stages * sizeof *r->tasks);
    memset(r->items + was, 0, cap - was);
    r->cap_items = (int)cap;
}

static void on_items(struct sl_replay *r, const json_t *record) {
    const json_t *list = json_object_get(record, "items");
    uint64_t n = (uint64_t)r->n_items + json_array_size(list);
    size_t i;
    json_t *one;
    if (n * (uint64_t)r->n_stages > MAX_TASKS)
        return;
    grow(r, (int)n);
    json_array_foreach(list, i, one) {
        json_object_set_new(r->item_index, sl_json_str(one, "name", ""),
                            json_integer(r->n_items++));
        json_array_append(r->list, one);
    }
}

static void on_run(struct sl_replay *r, const json_t *record) {
    const json_t *stages = json_object_get(record, "stages");
    size_t n_stages = json_array_size(stages);
    if (n_stages == 0 || n_stages > MAX_TASKS)
        return;
    r->run = json_incref((json_t *)record);
    r->n_stages = (int)n_stages;
    r->stage_index = index_names(stages);
    r->item_index = json_object();
    r->list = json_array();
    on_items(r, record);
}

static uint16_t small(double number) {
    return number < 0 ? 0 : number > UINT16_MAX ? UINT16_MAX : (uint16_t)number;
}

static void set_sources(struct sl_replay_task *t, const json_t *record) {
    json_decref(t->sources);
    t->sources = json_is_object(json_object_get(record, "sources"))
                     ? json_incref(json_object_get(record, "sources"))
                     : NULL;
}

static void on_attempt(struct sl_replay *r, const json_t *record) {
    struct sl_replay_task *t = task_of(r, record);
    if (!t)
        return;
    uint16_t number = small(sl_json_num(record, "attempt", 0));
    task_open(t);
    t->attempts = number > t->attempts ? number : t->attempts;
    double worker = sl_json_num(record, "worker", 0);
    if (worker > r->last_worker && worker < INT32_MAX)
        r->last_worker = (int)worker;
    set_sources(t, record);
}

static void on_attempt_end(struct sl_replay *r, const json_t *record) {
    struct sl_replay_task *t = task_of(r, record);
    const char *class = sl_json_str(record, "class", "");
    if (t && strcmp(class, "ok") != 0 && strcmp(class, "cancelled") != 0 && t->failed < UINT16_MAX)
        t->failed++;
}

static void on_retry(struct sl_replay *r, const json_t *record) {
    struct sl_replay_task *t = task_of(r, record);
    if (t)
        set_carry(t, json_object_get(record, "carry"));
}

static void on_reuse(struct sl_replay *r, const json_t *record) {
    struct sl_replay_task *t = task_of(r, record);
    if (!t)
        return;
    task_open(t);
    t->cached = true;
    set_sources(t, record);
}

static void on_artifact(struct sl_replay *r, const json_t *record) {
    struct sl_replay_task *t = task_of(r, record);
    if (!t)
        return;
    if (!t->artifacts)
        t->artifacts = json_object();
    json_object_set(t->artifacts, sl_json_str(record, "port", ""), (json_t *)record);
}

static void on_task(struct sl_replay *r, const json_t *record) {
    struct sl_replay_task *t = task_of(r, record);
    const char *state = sl_json_str(record, "state", "");
    if (!t)
        return;
    bool done = strcmp(state, "done") == 0, absent = strcmp(state, "absent") == 0;
    if (!done)
        task_open(t);
    if (done) {
        t->state = SL_REPLAY_DONE;
        set_carry(t, NULL);
    } else if (absent || strcmp(state, "failed") == 0) {
        t->state = absent ? SL_REPLAY_ABSENT : SL_REPLAY_FAILED;
        t->task = json_incref((json_t *)record);
    }
}

/* Nobody asks for the artifacts of an item that is settled. */
static void on_item(struct sl_replay *r, const json_t *record) {
    int item = find(r->item_index, record, "item");
    const char *state = sl_json_str(record, "state", "");
    if (item < 0)
        return;
    r->items[item] = strcmp(state, "ok") == 0       ? SL_REPLAY_DONE
                     : strcmp(state, "failed") == 0 ? SL_REPLAY_FAILED
                                                    : SL_REPLAY_CANCELLED;
    for (int s = 0; r->items[item] == SL_REPLAY_DONE && s < r->n_stages; s++)
        task_finish(sl_replay_task(r, item, s));
}

static void on_end(struct sl_replay *r, const json_t *record) {
    (void)record;
    r->ended = true;
}

static void on_resume(struct sl_replay *r, const json_t *record) {
    const json_t *stages = json_object_get(record, "stages");
    r->ended = false;
    r->n_resumed++;
    sl_replay_reopen(r, json_is_true(json_object_get(record, "failed")));
    if (json_array_size(stages) == (size_t)r->n_stages)
        json_object_set(r->run, "stages", (json_t *)stages);
}

static void each_record(void *ctx, const json_t *record) {
    static const struct {
        const char *type;
        void (*handle)(struct sl_replay *r, const json_t *record);
    } table[] = {
        {"items", on_items},       {"attempt", on_attempt}, {"attempt_end", on_attempt_end},
        {"artifact", on_artifact}, {"task", on_task},       {"item", on_item},
        {"reuse", on_reuse},       {"end", on_end},         {"resume", on_resume},
        {"retry", on_retry},
    };
    struct sl_replay *r = ctx;
    const char *type = sl_json_str(record, "type", "");
    if (!r->run) {
        if (strcmp(type, "run") == 0)
            on_run(r, record);
        return;
    }
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].type, type) == 0)
            table[i].handle(r, record);
}

/* ---- The interface --------------------------------------------------------------------------- */

static int check(struct sl_replay *r, struct sl_replay *ret, struct sl_err *err) {
    if (!r->run || r->n_items == 0) {
        sl_replay_finish(r);
        return sl_err_set(err, SLUICE_INPUT,
                          "its journal ends before it began, so it did nothing yet: start it anew");
    }
    *ret = *r;
    return 0;
}

int sl_replay_build(const char *journal, size_t len, struct sl_replay *ret, struct sl_err *err) {
    struct sl_replay r = {0};
    size_t good;
    sl_journal_read(journal, len, each_record, &r, &good);
    r.good = good;
    return check(&r, ret, err);
}

/* ---- Long journals: what was done is read over ---- */

/* In a long journal most records are of items that are ok, and of those nothing counts but that. A
 * first look finds them; then their other records are passed over by the text with which each
 * begins: {"type":"...","item":"NAME", */
struct reading {
    struct sl_replay replay;
    json_t *done; /* names of the items that are ok: a set */
};

static bool begins_with(const char *text, size_t len, const char *begin) {
    size_t n = strlen(begin);
    return len > n && memcmp(text, begin, n) == 0;
}

static void note_worker(struct sl_replay *r, const char *text, size_t len) {
    static const char key[] = "\"worker\":";
    const char *at = memmem(text, len, key, strlen(key));
    int worker = 0;
    for (at = at ? at + strlen(key) : text + len; at < text + len && *at >= '0' && *at <= '9'; at++)
        worker = worker > INT32_MAX / 10 - 9 ? worker : 10 * worker + (*at - '0');
    if (worker > r->last_worker)
        r->last_worker = worker;
}

static bool is_item(void *ctx, const char *text, size_t len) {
    (void)ctx;
    return begins_with(text, len, "{\"type\":\"item\",");
}

static void note_done(void *ctx, const json_t *record) {
    struct reading *reading = ctx;
    if (strcmp(sl_json_str(record, "state", ""), "ok") == 0)
        json_object_set_new(reading->done, sl_json_str(record, "item", ""), json_true());
}

static bool still_counts(void *ctx, const char *text, size_t len) {
    struct reading *reading = ctx;
    char name[SL_JOURNAL_NAME_BYTES];
    if (begins_with(text, len, "{\"type\":\"worker_end\",") ||
        begins_with(text, len, "{\"type\":\"output\","))
        return false;
    if (is_item(NULL, text, len) || !sl_journal_item(text, len, name) ||
        !json_object_get(reading->done, name))
        return true;
    if (begins_with(text, len, "{\"type\":\"attempt\","))
        note_worker(&reading->replay, text, len);
    return false;
}

static void read_record(void *ctx, const json_t *record) {
    each_record(&((struct reading *)ctx)->replay, record);
}

int sl_replay_read(const char *run_path, struct sl_replay *ret, struct sl_err *err) {
    sl_autofree char *path = sl_path_join(run_path, "journal");
    struct reading reading = {.done = json_object()};
    int rc = sl_journal_scan_file(path, is_item, note_done, &reading, NULL, err);
    if (rc == 0)
        rc = sl_journal_scan_file(path, still_counts, read_record, &reading, &reading.replay.good,
                                  err);
    json_decref(reading.done);
    if (rc < 0) {
        sl_replay_finish(&reading.replay);
        return rc;
    }
    return check(&reading.replay, ret, err);
}

void sl_replay_reopen(struct sl_replay *r, bool failed) {
    for (int i = 0; i < r->n_items; i++) {
        /* The core may have ended between the failure of a task and that of its item. */
        bool again = failed && r->items[i] != SL_REPLAY_DONE;
        if (r->items[i] == SL_REPLAY_CANCELLED || again)
            r->items[i] = SL_REPLAY_OPEN;
        for (int s = 0; again && s < r->n_stages; s++) {
            struct sl_replay_task *t = sl_replay_task(r, i, s);
            t->failed = 0;
            set_carry(t, NULL);
            if (t->state == SL_REPLAY_FAILED)
                task_open(t);
        }
    }
}

int sl_replay_open_items(const struct sl_replay *r) {
    int n = 0;
    for (int i = 0; i < r->n_items; i++)
        n += r->items[i] == SL_REPLAY_OPEN;
    return n;
}

char *sl_file_stamp(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return sl_xstrdup("");
    return sl_xasprintf("%lld:%lld", (long long)st.st_size,
                        (long long)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}

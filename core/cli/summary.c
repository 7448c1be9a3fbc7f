/*
 * The summary of a run, from its journal: for a few items a line for each item and stage, for many
 * a line for each stage and the items that failed. Also the list of files written. The journal is
 * read once, record by record.
 *
 * Processor time and memory are those of processes: a stage whose process takes several jobs has
 * them for the stage only.
 */
#include "cli/summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/units.h"
#include "cli/cli.h"
#include "run/journal.h"

#define FEW_ITEMS  20
#define MAX_FAILED 20
#define N_OUTCOMES 6
#define REUSED     1 /* of outcomes: done, by a result of an earlier run */
#define NEW_MISS   "not done before"

static const char *const outcomes[N_OUTCOMES] = {"done",    "reused", "absent",
                                                 "skipped", "failed", "cancelled"};

/* What is known of one stage: of one item, or of all. */
struct tally {
    int n[N_OUTCOMES]; /* tasks by outcome */
    int attempts;
    double wall_s, cpu_s;
    uint64_t peak_bytes;
    bool measured; /* cpu_s and peak_bytes are known */
    int n_missed;  /* tasks that a result was kept for, but not of this */
    char *miss;    /* why, of the first; owned */
};

struct summary {
    const struct sl_plan *plan;
    int n_items;
    json_t *stages, *items; /* name -> index; items only where they are few */
    struct tally *of_stage; /* n_stages */
    struct tally *of_task;  /* n_items x n_stages; NULL: many items */
    signed char *last;      /* n_items x n_stages: outcome so far; NULL: each task settles once */
    json_t *outputs;        /* paths of the item whose outputs are being recorded */
    json_t *failed;         /* [name, message] of the first that failed */
    int n_failed;
    struct sl_outlet *to; /* where paths go; NULL: nowhere */
};

/* ---- Gathering ------------------------------------------------------------------------------- */

static int index_of(const json_t *map, const json_t *r, const char *key) {
    const json_t *at = json_object_get(map, sl_json_str(r, key, ""));
    return at ? (int)json_integer_value(at) : -1;
}

static void settle(struct tally *t, int outcome, int before) {
    t->n[outcome]++;
    if (before >= 0)
        t->n[before]--;
}

/* The tallies that a record counts for: of its stage, and of its task where items are few. */
static int find(const struct summary *s, const json_t *r, struct tally *ret[2]) {
    int stage = index_of(s->stages, r, "stage"), item = index_of(s->items, r, "item"), n = 0;
    if (stage >= 0)
        ret[n++] = &s->of_stage[stage];
    if (stage >= 0 && item >= 0 && s->of_task)
        ret[n++] = &s->of_task[item * s->plan->n_stages + stage];
    return n;
}

static void on_attempt(struct summary *s, const json_t *r) {
    int stage = index_of(s->stages, r, "stage");
    const char *miss = sl_json_str(r, "miss", NEW_MISS);
    if (stage < 0 || strcmp(miss, NEW_MISS) == 0)
        return;
    struct tally *t = &s->of_stage[stage];
    t->n_missed++;
    if (!t->miss)
        t->miss = sl_make_printable(sl_xstrdup(miss));
}

static void on_attempt_end(struct summary *s, const json_t *r) {
    struct tally *t[2];
    for (int i = find(s, r, t); i-- > 0;) {
        t[i]->attempts++;
        t[i]->wall_s += sl_json_num(r, "wall_s", 0);
    }
}

static void on_worker_end(struct summary *s, const json_t *r) {
    struct tally *t[2];
    double peak = sl_json_num(r, "peak_bytes", 0);
    for (int i = json_object_get(r, "cpu_s") ? find(s, r, t) : 0; i-- > 0;) {
        t[i]->measured = true;
        t[i]->cpu_s += sl_json_num(r, "cpu_s", 0);
        if (peak > (double)t[i]->peak_bytes)
            t[i]->peak_bytes = (uint64_t)peak;
    }
}

/* In a run that was resumed a task may have settled before. */
static int exchange_last(const struct summary *s, const json_t *r, int outcome) {
    int stage = index_of(s->stages, r, "stage"), item = index_of(s->items, r, "item");
    if (!s->last || stage < 0 || item < 0)
        return -1;
    signed char *last = &s->last[(size_t)item * (size_t)s->plan->n_stages + (size_t)stage];
    int before = *last;
    *last = (signed char)outcome;
    return before;
}

static void on_task(struct summary *s, const json_t *r) {
    struct tally *t[2];
    const char *state = sl_json_str(r, "state", "");
    int outcome = 0;
    while (outcome < N_OUTCOMES && strcmp(outcomes[outcome], state) != 0)
        outcome++;
    if (outcome == N_OUTCOMES)
        return;
    if (json_is_true(json_object_get(r, "reused")))
        outcome = REUSED;
    int before = exchange_last(s, r, outcome);
    for (int i = find(s, r, t); i-- > 0;)
        settle(t[i], outcome, before);
}

static void on_output(struct summary *s, const json_t *r) {
    json_array_append(s->outputs, json_object_get(r, "path"));
}

/* The records of an item's outputs come right before its own. Those of an item that failed then
 * were removed again. */
static void on_item(struct summary *s, const json_t *r) {
    const char *state = sl_json_str(r, "state", "");
    sl_autostr struct sl_str paths = {0};
    size_t i;
    json_t *path;
    json_array_foreach(s->outputs, i, path) sl_str_addf(&paths, "%s\n", json_string_value(path));
    if (s->to && strcmp(state, "ok") == 0)
        sl_outlet_put(s->to, sl_str_text(&paths), paths.len);
    json_array_clear(s->outputs);
    if (strcmp(state, "failed") == 0 && s->n_failed++ < MAX_FAILED)
        json_array_append_new(s->failed, json_pack("[s,s]", sl_json_str(r, "item", ""),
                                                   sl_json_str(r, "message", "")));
}

static void each_record(void *ctx, const json_t *r) {
    static const struct {
        const char *type;
        void (*handle)(struct summary *s, const json_t *r);
    } table[] = {{"attempt", on_attempt},       {"attempt_end", on_attempt_end},
                 {"worker_end", on_worker_end}, {"task", on_task},
                 {"output", on_output},         {"item", on_item}};
    const char *type = sl_json_str(r, "type", "");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].type, type) == 0)
            table[i].handle(ctx, r);
}

/* ---- Printing -------------------------------------------------------------------------------- */

static int column_of(int n, const char *(*name)(const void *list, int i), const void *list,
                     const char *head) {
    int widest = sl_utf8_columns(head);
    for (int i = 0; i < n; i++) {
        int columns = sl_utf8_columns(name(list, i));
        widest = columns > widest ? columns : widest;
    }
    return widest > 32 ? 32 : widest;
}

static const char *stage_name(const void *plan, int i) {
    return ((const struct sl_plan *)plan)->stages[i].name;
}

static const char *item_name(const void *items, int i) {
    return ((const struct sl_item *)items)[i].name;
}

static void add_right(struct sl_str *line, const char *text, int columns) {
    sl_str_pad(line, ' ', columns - sl_utf8_columns(text));
    sl_str_add(line, text);
}

static void add_numbers(struct sl_str *line, const struct tally *t) {
    char number[32];
    snprintf(number, sizeof number, "%d", t->attempts);
    add_right(line, number, 10);
    add_right(line, t->attempts ? sl_format_duration(t->wall_s, number, sizeof number) : "-", 10);
    add_right(line, t->measured ? sl_format_duration(t->cpu_s, number, sizeof number) : "-", 10);
    add_right(line, t->measured ? sl_format_size(t->peak_bytes, number, sizeof number) : "-", 11);
}

/* "3 done, 1 failed"; "done" where there is one task. */
static void add_outcome(struct sl_str *line, const struct tally *t, bool one) {
    int n = 0;
    for (int k = 0; k < N_OUTCOMES; k++) {
        if (t->n[k] == 0)
            continue;
        if (one)
            sl_str_addf(line, "%s%s", n++ ? ", " : "", outcomes[k]);
        else
            sl_str_addf(line, "%s%d %s", n++ ? ", " : "", t->n[k], outcomes[k]);
    }
    if (n == 0)
        sl_str_add(line, "not begun");
}

static void add_line(struct sl_str *out, const char *item, int item_columns, const char *stage,
                     int stage_columns, const struct tally *t, bool one) {
    sl_autostr struct sl_str outcome = {0};
    sl_str_add(out, "  ");
    if (item_columns > 0) {
        sl_str_add_column(out, item, item_columns);
        sl_str_add(out, "  ");
    }
    sl_str_add_column(out, stage, stage_columns);
    sl_str_add(out, "  ");
    add_outcome(&outcome, t, one);
    sl_str_add_column(out, sl_str_text(&outcome), one ? 9 : 20);
    add_numbers(out, t);
    sl_str_add(out, "\n");
}

static void add_head(struct sl_str *out, int item_columns, int stage_columns, bool one) {
    sl_str_add(out, "  ");
    if (item_columns > 0) {
        sl_str_add_column(out, "item", item_columns);
        sl_str_add(out, "  ");
    }
    sl_str_add_column(out, "stage", stage_columns);
    sl_str_add(out, "  ");
    sl_str_add_column(out, "outcome", one ? 9 : 20);
    sl_str_add(out, "  attempts      wall       cpu       peak\n");
}

static void add_tasks(const struct summary *s, const struct sl_item *items, struct sl_str *out) {
    int item_columns = column_of(s->n_items, item_name, items, "item"), n = s->plan->n_stages;
    int stage_columns = column_of(n, stage_name, s->plan, "stage");
    add_head(out, item_columns, stage_columns, true);
    for (int i = 0; i < s->n_items; i++)
        for (int k = 0; k < n; k++)
            add_line(out, k ? "" : items[i].name, item_columns, s->plan->stages[k].name,
                     stage_columns, &s->of_task[i * n + k], true);
}

static void add_stages(const struct summary *s, struct sl_str *out) {
    int columns = column_of(s->plan->n_stages, stage_name, s->plan, "stage");
    add_head(out, 0, columns, false);
    for (int k = 0; k < s->plan->n_stages; k++)
        add_line(out, "", 0, s->plan->stages[k].name, columns, &s->of_stage[k], false);
}

/* Why what was done before was done again: one line a stage, of the first task. */
static void add_misses(const struct summary *s, struct sl_str *out) {
    for (int k = 0; k < s->plan->n_stages; k++) {
        const struct tally *t = &s->of_stage[k];
        if (!t->miss)
            continue;
        sl_str_addf(out, "  %s: no earlier result was used", s->plan->stages[k].name);
        if (s->n_items > 1)
            sl_str_addf(out, " for %d of %d", t->n_missed, s->n_items);
        sl_str_addf(out, "%s %s\n", t->n_missed > 1 ? "; the first time:" : ":", t->miss);
    }
}

static void add_failed(const struct summary *s, struct sl_str *out) {
    size_t i;
    json_t *one;
    if (s->n_failed)
        sl_str_add(out, "  failed:\n");
    json_array_foreach(s->failed, i, one)
        sl_str_addf(out, "    %s: %s\n", json_string_value(json_array_get(one, 0)),
                    json_string_value(json_array_get(one, 1)));
    if (s->n_failed > MAX_FAILED)
        sl_str_addf(out, "    and %d more\n", s->n_failed - MAX_FAILED);
}

/* ---- The interface --------------------------------------------------------------------------- */

static json_t *index_names(int n, const char *(*name)(const void *list, int i), const void *list) {
    json_t *map = json_object();
    for (int i = 0; i < n; i++)
        json_object_set_new(map, name(list, i), json_integer(i));
    return map;
}

int sl_summary_print(const char *run_path, const struct sl_plan *plan, const struct sl_item *items,
                     int n_items, bool resumed, struct sl_outlet *table, struct sl_outlet *outputs,
                     struct sl_err *err) {
    sl_autofree char *journal = sl_path_join(run_path, "journal");
    sl_autostr struct sl_str out = {0};
    size_t n_stages = (size_t)plan->n_stages;
    bool few = n_items <= FEW_ITEMS;
    struct summary s = {.plan = plan,
                        .n_items = n_items,
                        .outputs = json_array(),
                        .failed = json_array(),
                        .stages = index_names(plan->n_stages, stage_name, plan),
                        .items = index_names(few || resumed ? n_items : 0, item_name, items),
                        .to = outputs};
    s.of_stage = sl_xcalloc(n_stages, sizeof *s.of_stage);
    s.of_task = few ? sl_xcalloc((size_t)n_items * n_stages, sizeof *s.of_task) : NULL;
    if (resumed) {
        s.last = sl_xmalloc((size_t)n_items * n_stages);
        memset(s.last, -1, (size_t)n_items * n_stages);
    }
    int rc = sl_journal_read_file(journal, each_record, &s, NULL, err);
    if (few)
        add_tasks(&s, items, &out);
    else
        add_stages(&s, &out);
    add_misses(&s, &out);
    if (!few)
        add_failed(&s, &out);
    if (rc == 0 && table)
        sl_outlet_put(table, sl_str_text(&out), out.len);
    json_decref(s.outputs);
    json_decref(s.failed);
    json_decref(s.stages);
    json_decref(s.items);
    for (size_t k = 0; k < n_stages; k++)
        free(s.of_stage[k].miss);
    free(s.of_stage);
    free(s.of_task);
    free(s.last);
    return rc;
}

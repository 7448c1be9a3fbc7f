/* Item x stage bookkeeping, see tasks.h. An outcome costs time in the number of stages only. */
#include "sched/tasks.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool takes_from(const struct sl_plan_stage *stage, int source) {
    for (int i = 0; i < stage->n_inputs; i++)
        if (stage->inputs[i].from_stage == source)
            return true;
    return false;
}

static int *find_takers(const struct sl_plan *plan, int source) {
    int *takers = sl_xcalloc((size_t)plan->n_stages + 1, sizeof *takers), n = 0;
    for (int s = 0; s < plan->n_stages; s++)
        if (takes_from(&plan->stages[s], source))
            takers[n++] = s;
    takers[n] = -1;
    return takers;
}

static int count_sources(const struct sl_plan *plan, int stage) {
    int n = 0;
    for (int s = 0; s < plan->n_stages; s++)
        n += takes_from(&plan->stages[stage], s);
    return n;
}

void sl_tasks_add(struct sl_tasks *t, int n) {
    int from = t->n_items;
    t->n_items += n;
    for (int i = from; i < t->n_items; i++)
        t->item_open[i] = t->plan->n_stages;
    for (int s = 0; s < t->plan->n_stages; s++) {
        t->stage_open[s] += n;
        for (int i = from; i < t->n_items; i++) {
            struct sl_task *task = sl_task_at(t, i, s);
            *task = (struct sl_task){.item = i, .stage = s, .unsettled = t->sources[s]};
            if (task->unsettled == 0)
                sl_tasks_make_ready(t, task);
        }
    }
}

void sl_tasks_init(struct sl_tasks *t, const struct sl_plan *plan, int n_items) {
    sl_tasks_init_room(t, plan, n_items, n_items);
}

void sl_tasks_init_room(struct sl_tasks *t, const struct sl_plan *plan, int n_items,
                        int max_items) {
    size_t n_stages = (size_t)plan->n_stages, items = (size_t)max_items;
    *t = (struct sl_tasks){.plan = plan, .max_items = max_items};
    t->all = sl_xcalloc(n_stages * items, sizeof *t->all);
    t->items = sl_xcalloc(items, sizeof *t->items);
    t->item_open = sl_xcalloc(items, sizeof *t->item_open);
    t->stage_open = sl_xcalloc(n_stages, sizeof *t->stage_open);
    t->takers = sl_xcalloc(n_stages, sizeof *t->takers);
    t->ready_items = sl_xcalloc(n_stages * items, sizeof *t->ready_items);
    t->ready_head = sl_xcalloc(n_stages, sizeof *t->ready_head);
    t->ready_len = sl_xcalloc(n_stages, sizeof *t->ready_len);
    t->sources = sl_xcalloc(n_stages, sizeof *t->sources);
    for (int s = 0; s < plan->n_stages; s++) {
        t->sources[s] = count_sources(plan, s);
        t->takers[s] = find_takers(plan, s);
    }
    sl_tasks_add(t, n_items);
}

void sl_task_drop_artifacts(struct sl_task *task, int n_outputs) {
    for (int o = 0; task->artifacts && o < n_outputs; o++) {
        sl_hasher_destroy(task->artifacts[o].hasher);
        free(task->artifacts[o].path);
    }
    free(task->artifacts);
    task->artifacts = NULL;
}

static void finish_task(struct sl_task *task, int n_outputs) {
    sl_task_drop_artifacts(task, n_outputs);
    free(task->message);
    free(task->steps);
    free(task->deaths);
    free(task->last_log);
    task->message = task->steps = task->deaths = task->last_log = NULL;
}

void sl_tasks_forget(struct sl_tasks *t, int item) {
    for (int s = 0; s < t->plan->n_stages; s++)
        finish_task(sl_task_at(t, item, s), t->plan->stages[s].n_outputs);
}

void sl_tasks_finish(struct sl_tasks *t) {
    for (int s = 0; t->plan && s < t->plan->n_stages; s++) {
        for (int i = 0; i < t->n_items; i++)
            finish_task(sl_task_at(t, i, s), t->plan->stages[s].n_outputs);
        free(t->takers[s]);
    }
    free(t->all);
    free(t->items);
    free(t->item_open);
    free(t->stage_open);
    free(t->sources);
    free(t->takers);
    free(t->ready_items);
    free(t->ready_head);
    free(t->ready_len);
    *t = (struct sl_tasks){0};
}

struct sl_task *sl_task_at(const struct sl_tasks *t, int item, int stage) {
    return &t->all[(size_t)item * (size_t)t->plan->n_stages + (size_t)stage];
}

bool sl_task_is_settled(const struct sl_task *task) {
    return task->state >= SL_TASK_DONE;
}

const char *sl_task_state_name(enum sl_task_state state) {
    static const char *const names[] = {"waiting", "ready",   "running", "backoff",  "done",
                                        "absent",  "skipped", "failed",  "cancelled"};
    return names[state];
}

int sl_tasks_ready(const struct sl_tasks *t, int stage) {
    return t->ready_len[stage];
}

int sl_tasks_ready_in_all(const struct sl_tasks *t) {
    int n = 0;
    for (int s = 0; s < t->plan->n_stages; s++)
        n += t->ready_len[s];
    return n;
}

static int *ring_slot(const struct sl_tasks *t, int stage, int i) {
    return &t->ready_items[(size_t)stage * (size_t)t->max_items +
                           (size_t)((t->ready_head[stage] + i) % t->max_items)];
}

void sl_tasks_make_ready(struct sl_tasks *t, struct sl_task *task) {
    task->state = SL_TASK_READY;
    *ring_slot(t, task->stage, t->ready_len[task->stage]++) = task->item;
}

void sl_tasks_make_ready_again(struct sl_tasks *t, struct sl_task *task) {
    int *head = &t->ready_head[task->stage];
    task->state = SL_TASK_READY;
    *head = (*head + t->max_items - 1) % t->max_items;
    t->ready_len[task->stage]++;
    *ring_slot(t, task->stage, 0) = task->item;
}

struct sl_task *sl_tasks_peek(const struct sl_tasks *t, int stage) {
    return t->ready_len[stage] == 0 ? NULL : sl_task_at(t, *ring_slot(t, stage, 0), stage);
}

struct sl_task *sl_tasks_take(struct sl_tasks *t, int stage) {
    struct sl_task *task = sl_tasks_peek(t, stage);
    if (!task)
        return NULL;
    t->ready_head[stage] = (t->ready_head[stage] + 1) % t->max_items;
    t->ready_len[stage]--;
    task->state = SL_TASK_RUNNING;
    return task;
}

static void remove_ready(struct sl_tasks *t, const struct sl_task *task) {
    int stage = task->stage, kept = 0;
    if (*ring_slot(t, stage, 0) == task->item) { /* a batch that is cancelled goes in this order */
        t->ready_head[stage] = (t->ready_head[stage] + 1) % t->max_items;
        t->ready_len[stage]--;
        return;
    }
    for (int i = 0; i < t->ready_len[stage]; i++) {
        int item = *ring_slot(t, stage, i);
        if (item != task->item)
            *ring_slot(t, stage, kept++) = item;
    }
    t->ready_len[stage] = kept;
}

static void set_settled(struct sl_tasks *t, struct sl_task *task, enum sl_task_state outcome,
                        sl_task_changed *changed, void *ctx) {
    if (task->state == SL_TASK_READY)
        remove_ready(t, task);
    task->state = outcome;
    t->stage_open[task->stage]--;
    if (--t->item_open[task->item] == 0 && t->items[task->item] == SL_ITEM_OPEN)
        t->items[task->item] = SL_ITEM_OK;
    changed(ctx, task);
}

/* A required port of `task` whose source gave nothing, or -1. */
static int empty_required_port(const struct sl_tasks *t, const struct sl_task *task) {
    const struct sl_plan_stage *stage = &t->plan->stages[task->stage];
    for (int i = 0; i < stage->n_inputs; i++) {
        const struct sl_plan_input *in = &stage->inputs[i];
        if (in->from_stage < 0 || in->optional)
            continue;
        const struct sl_task *source = sl_task_at(t, task->item, in->from_stage);
        if (source->state != SL_TASK_DONE || !source->artifacts ||
            !source->artifacts[in->from_port].path)
            return i;
    }
    return -1;
}

static void explain_skip(const struct sl_tasks *t, struct sl_task *task, int port) {
    const struct sl_plan_input *in = &t->plan->stages[task->stage].inputs[port];
    free(task->message);
    task->message = sl_xasprintf("its input \"%s\" is absent because stage \"%s\" gave none",
                                 in->port, t->plan->stages[in->from_stage].name);
}

static void spread(struct sl_tasks *t, const struct sl_task *task, sl_task_changed *changed,
                   void *ctx) {
    for (const int *s = t->takers[task->stage]; *s >= 0; s++) {
        struct sl_task *taker = sl_task_at(t, task->item, *s);
        if (taker->state != SL_TASK_WAITING || --taker->unsettled > 0)
            continue;
        int port = empty_required_port(t, taker);
        if (port < 0) {
            sl_tasks_make_ready(t, taker);
        } else {
            explain_skip(t, taker, port);
            set_settled(t, taker, SL_TASK_SKIPPED, changed, ctx);
            spread(t, taker, changed, ctx);
        }
    }
}

static void end_item(struct sl_tasks *t, int item, enum sl_task_state others,
                     sl_task_changed *changed, void *ctx) {
    for (int s = 0; s < t->plan->n_stages; s++) {
        struct sl_task *task = sl_task_at(t, item, s);
        if (!sl_task_is_settled(task) && task->state != SL_TASK_RUNNING)
            set_settled(t, task, others, changed, ctx);
    }
}

void sl_tasks_settle(struct sl_tasks *t, struct sl_task *task, enum sl_task_state outcome,
                     sl_task_changed *changed, void *ctx) {
    int item = task->item;
    bool ends_item = outcome == SL_TASK_FAILED || outcome == SL_TASK_CANCELLED;
    if (ends_item && t->items[item] == SL_ITEM_OPEN)
        t->items[item] = outcome == SL_TASK_FAILED ? SL_ITEM_FAILED : SL_ITEM_CANCELLED;
    set_settled(t, task, outcome, changed, ctx);
    if (t->items[item] == SL_ITEM_OPEN)
        spread(t, task, changed, ctx);
    else if (ends_item)
        end_item(t, item, outcome == SL_TASK_FAILED ? SL_TASK_SKIPPED : SL_TASK_CANCELLED, changed,
                 ctx);
}

/* ---- After an earlier core ------------------------------------------------------------------- */

static int count_unsettled(const struct sl_tasks *t, const struct sl_task *task) {
    const struct sl_plan_stage *stage = &t->plan->stages[task->stage];
    int n = 0;
    for (int i = 0; i < stage->n_inputs; i++) {
        int source = stage->inputs[i].from_stage;
        bool counted = source < 0;
        for (int k = 0; k < i; k++)
            counted |= stage->inputs[k].from_stage == source;
        n += !counted && !sl_task_is_settled(sl_task_at(t, task->item, source));
    }
    return n;
}

static void restore_task(struct sl_tasks *t, struct sl_task *task, bool item_failed,
                         sl_task_changed *changed, void *ctx) {
    task->unsettled = count_unsettled(t, task);
    task->state = SL_TASK_WAITING;
    int port = task->unsettled == 0 ? empty_required_port(t, task) : -1;
    if (item_failed || port >= 0) {
        if (!item_failed)
            explain_skip(t, task, port);
        task->state = SL_TASK_SKIPPED;
        changed(ctx, task);
    } else if (task->unsettled == 0) {
        sl_tasks_make_ready(t, task);
    }
}

static void restore_item(struct sl_tasks *t, int item, sl_task_changed *changed, void *ctx) {
    bool failed = false;
    for (int s = 0; s < t->plan->n_stages; s++)
        failed |= sl_task_at(t, item, s)->state == SL_TASK_FAILED;
    for (int s = 0; s < t->plan->n_stages; s++) {
        struct sl_task *task = sl_task_at(t, item, s);
        if (!sl_task_is_settled(task))
            restore_task(t, task, failed, changed, ctx);
        if (!sl_task_is_settled(task)) {
            t->item_open[item]++;
            t->stage_open[s]++;
        }
    }
    if (failed)
        t->items[item] = SL_ITEM_FAILED;
    else if (t->item_open[item] == 0)
        t->items[item] = SL_ITEM_OK;
}

void sl_tasks_restore(struct sl_tasks *t, sl_task_changed *changed, void *ctx) {
    size_t n_stages = (size_t)t->plan->n_stages;
    memset(t->ready_head, 0, n_stages * sizeof *t->ready_head);
    memset(t->ready_len, 0, n_stages * sizeof *t->ready_len);
    memset(t->stage_open, 0, n_stages * sizeof *t->stage_open);
    for (int i = 0; i < t->n_items; i++) {
        t->item_open[i] = 0;
        if (t->items[i] == SL_ITEM_OPEN)
            restore_item(t, i, changed, ctx);
        for (int s = 0; t->items[i] != SL_ITEM_OPEN && s < t->plan->n_stages; s++)
            if (!sl_task_is_settled(sl_task_at(t, i, s)))
                sl_task_at(t, i, s)->state = SL_TASK_SKIPPED;
    }
}

/*
 * Items that come in while a run goes on: settled files of the watched folder (inbox.h). They are
 * named, journalled and given tasks; from then on they are items like all others.
 */
#include <string.h>

#include "sched/inbox.h"
#include "sched/run_internal.h"

static void take(struct run *run, const char *path) {
    struct sl_item *item = &run->spec->room[run->tasks.n_items];
    const char *file = sl_arena_strdup(&run->arena, path);
    *item =
        (struct sl_item){.name = sl_item_name(&run->arena, run->item_names, file), .file = file};
    sl_tasks_add(&run->tasks, 1);
    run->open_items++;
}

static void on_settled(void *ctx, const char *const *paths, int n) {
    struct run *run = ctx;
    int from = run->tasks.n_items;
    for (int i = 0; i < n && run->tasks.n_items < run->spec->max_items; i++)
        take(run, paths[i]);
    sl_record_items(run, from, run->tasks.n_items - from);
    if (run->tasks.n_items == run->spec->max_items)
        sl_incoming_stop(run, "this run has all the files that one run takes; start another one");
}

static void on_lost(void *ctx, const char *why) {
    sl_record_note(ctx, SLUICE_LOG_WARN, why);
}

int sl_incoming_start(struct run *run, struct sl_err *err) {
    struct sl_inbox_spec spec = {.folder = run->spec->watch_dir,
                                 .type = run->plan->inputs[0].type,
                                 .loop = run->loop,
                                 .log = &run->log,
                                 .settled = on_settled,
                                 .lost = on_lost,
                                 .ctx = run};
    run->item_names = json_object();
    for (int i = 0; i < run->spec->n_items; i++)
        json_object_set_new_nocheck(run->item_names, run->spec->items[i].name, json_true());
    return sl_inbox_create(&spec, &run->inbox, err);
}

bool sl_incoming_is_open(const struct run *run) {
    return sl_inbox_is_open(run->inbox);
}

bool sl_incoming_stop(struct run *run, const char *why) {
    if (!sl_inbox_is_open(run->inbox))
        return false;
    sl_inbox_close(run->inbox);
    if (why) {
        sl_autofree char *text =
            sl_xasprintf("%s: no more files are taken, %d are being finished%s", why,
                         run->open_items, run->open_items ? " (Ctrl-C cancels)" : "");
        sl_record_note(run, SLUICE_LOG_INFO, text);
    }
    return true;
}

void sl_incoming_finish(struct run *run) {
    sl_inbox_destroy(run->inbox);
    json_decref(run->item_names);
    sl_arena_finish(&run->arena);
}

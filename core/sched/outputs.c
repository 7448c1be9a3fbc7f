/*
 * The files in the user's folder. They are written when the whole item succeeded, each whole; where one cannot be written,
 * those of the item that were are removed again. Items wait in a queue, and a turn of the loop writes a slice of the
 * first: small files are written at once, large ones while other work goes on.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "run/publish.h"
#include "sched/run_internal.h"

#define WRITE_SLICE ((uint64_t)1 << 20) /* bytes a turn of the loop */

/* Name in the output folder of output `port` of a task; owned; NULL: it is not written. */
static char *output_name(const struct run *run, int item, int stage, int port) {
    const struct sl_plan_stage *s = &run->plan->stages[stage];
    if (run->spec->outputs_by_port)
        return sl_xasprintf("%s%s", s->outputs[port].port,
                            sl_type_extension(s->outputs[port].type));
    return s->is_output && port == 0 ? sl_xasprintf("%s.%s", run->spec->items[item].name, s->name)
                                     : NULL;
}

/* The next output of the item that is written, from (*stage, *port) on; its name is owned; NULL: no more. */
static char *next_output(const struct run *run, int item, int *stage, int *port) {
    for (; *stage < run->plan->n_stages; ++*stage, *port = 0) {
        const struct sl_task *task = sl_task_at(&run->tasks, item, *stage);
        for (; task->artifacts && *port < run->plan->stages[*stage].n_outputs; ++*port) {
            char *name = task->artifacts[*port].path ? output_name(run, item, *stage, *port) : NULL;
            if (name)
                return name;
        }
    }
    return NULL;
}

static void remove_written(const struct run *run, int item) {
    int stage = 0, port = 0;
    for (char *name; (name = next_output(run, item, &stage, &port)); port++) {
        sl_autofree char *path = sl_xasprintf("%s/%s", run->spec->out_dir, name);
        sl_publish_clean(path, run->dir->id);
        unlink(path);
        free(name);
    }
}

static int begin_file(struct run *run, struct writing *w, const char *path, struct sl_err *err) {
    const struct sl_artifact *a = &sl_task_at(&run->tasks, w->item, w->stage)->artifacts[w->port];
    int fd, rc = sl_artifact_open(a->path, a->size, a->hash, 0, &fd, err);
    return rc < 0 ? rc
                  : sl_publish_begin(path, run->dir->id, true, fd, a->size, a->hash, &w->file, err);
}

/* Goes on with the item by at most *budget bytes. 1: it is written; 0: there is more. */
static int write_some(struct run *run, struct writing *w, uint64_t *budget, struct sl_err *err) {
    int rc = w->began ? 0 : sl_make_dirs(run->spec->out_dir, err);
    w->began = true;
    for (char *name; rc >= 0 && (name = next_output(run, w->item, &w->stage, &w->port));) {
        sl_autofree char *owned = name, *path = sl_xasprintf("%s/%s", run->spec->out_dir, name);
        uint64_t size = sl_task_at(&run->tasks, w->item, w->stage)->artifacts[w->port].size;
        if (*budget == 0)
            return 0;
        rc = w->file ? 0 : begin_file(run, w, path, err);
        if (rc == 0)
            rc = sl_publish_step(w->file, *budget, err);
        *budget -= size < *budget ? size : *budget;
        if (rc != 1)
            continue;
        sl_publish_destroy(w->file);
        w->file = NULL;
        w->port++;
        w->any = true;
        sl_record_output(run, w->item, owned, path);
    }
    return rc < 0 ? rc : 1;
}

static void end_writing(struct run *run, struct writing *w, int rc, const struct sl_err *err) {
    int item = w->item;
    sl_publish_destroy(w->file);
    if (rc < 0)
        remove_written(run, item);
    else if (w->any) {
        sl_autofree char *inside = sl_path_join(run->spec->out_dir, ".");
        sl_sync_folder_of(inside);
    }
    memmove(&run->writing[0], &run->writing[1], (size_t)--run->n_writing * sizeof *w);
    sl_run_item_written(run, item, rc < 0 ? err->msg : NULL);
}

bool sl_outputs_write_some(struct run *run) {
    uint64_t budget = WRITE_SLICE;
    bool any = run->n_writing > 0; /* also when all are written: others may start now */
    while (run->n_writing > 0 && budget > 0) {
        struct sl_err err = {0};
        int rc = write_some(run, &run->writing[0], &budget, &err);
        if (rc != 0)
            end_writing(run, &run->writing[0], rc, &err);
    }
    return any;
}

void sl_outputs_write(struct run *run, int item) {
    SL_PUSH_ROOM(run->writing, run->n_writing, run->cap_writing);
    run->writing[run->n_writing++] = (struct writing){.item = item};
}

void sl_outputs_drop(struct run *run) {
    for (int i = 0; i < run->n_writing; i++)
        sl_publish_destroy(run->writing[i].file);
    free(run->writing);
}

static uint64_t artifact_bytes(const struct run *run, int item) {
    uint64_t bytes = 0;
    for (int s = 0; s < run->plan->n_stages; s++) {
        const struct sl_task *task = sl_task_at(&run->tasks, item, s);
        for (int o = 0; task->artifacts && o < run->plan->stages[s].n_outputs; o++)
            bytes += task->artifacts[o].path ? task->artifacts[o].size : 0;
    }
    return bytes;
}

void sl_artifacts_remove_later(struct run *run, int item) {
    SL_PUSH_ROOM(run->done_items, run->n_done, run->cap_done);
    run->done_items[run->n_done++] = item;
    run->done_bytes += artifact_bytes(run, item);
}

/* The folder stays where it has logs of the item. */
static void remove_artifacts(const struct run *run, const struct sl_item *item) {
    sl_autofree char *folder = sl_xasprintf("%s/items/%s", run->places.run, item->name);
    for (int s = 0; s < run->plan->n_stages; s++) {
        const struct sl_plan_stage *stage = &run->plan->stages[s];
        for (int o = 0; o < stage->n_outputs; o++) {
            const struct sl_plan_output *out = &stage->outputs[o];
            sl_autofree char *path =
                sl_artifact_path(&run->places, item->name, stage->name, out->port, out->type);
            unlink(path);
        }
    }
    rmdir(folder);
}

void sl_artifacts_remove(struct run *run, uint64_t bytes_to_keep) {
    if (run->done_bytes <= bytes_to_keep && bytes_to_keep > 0)
        return;
    for (int i = 0; i < run->n_done; i++)
        remove_artifacts(run, &run->spec->items[run->done_items[i]]);
    run->n_done = 0;
    run->done_bytes = 0;
}

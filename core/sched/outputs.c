/*
 * The files in the user's folder. They are written when the whole item succeeded, each whole (temporary name, fsync,
 * rename); where one cannot be written, those of the item that were are removed again.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "sched/run_internal.h"

static int write_one(struct run *run, int item, const char *name,
                     const struct sl_artifact *artifact, struct sl_err *err) {
    sl_autofree char *path = sl_xasprintf("%s/%s", run->spec->out_dir, name);
    sl_autoclose int fd = -1;
    int rc = sl_artifact_open(artifact->path, artifact->size, artifact->hash, 1, &fd, err);
    if (rc == 0)
        rc = sl_write_file_from(path, fd, err);
    if (rc == 0)
        sl_record_output(run, item, name, path);
    return rc;
}

/* Name in the output folder of output `port` of a task; owned; NULL: it is not written. */
static char *output_name(const struct run *run, int item, int stage, int port) {
    const struct sl_plan_stage *s = &run->plan->stages[stage];
    if (run->spec->outputs_by_port)
        return sl_xasprintf("%s%s", s->outputs[port].port,
                            sl_type_extension(s->outputs[port].type));
    return s->is_output && port == 0 ? sl_xasprintf("%s.%s", run->spec->items[item].name, s->name)
                                     : NULL;
}

/* Calls `each` for every output of the item that is there; stops at the first that fails. */
static int for_outputs(struct run *run, int item,
                       int (*each)(struct run *run, int item, const char *name,
                                   const struct sl_artifact *artifact, struct sl_err *err),
                       struct sl_err *err) {
    int rc = 0;
    for (int s = 0; s < run->plan->n_stages; s++) {
        const struct sl_task *task = sl_task_at(&run->tasks, item, s);
        for (int o = 0; rc == 0 && task->artifacts && o < run->plan->stages[s].n_outputs; o++) {
            sl_autofree char *name = output_name(run, item, s, o);
            if (name && task->artifacts[o].path)
                rc = each(run, item, name, &task->artifacts[o], err);
        }
    }
    return rc;
}

static int remove_one(struct run *run, int item, const char *name,
                      const struct sl_artifact *artifact, struct sl_err *err) {
    sl_autofree char *path = sl_xasprintf("%s/%s", run->spec->out_dir, name);
    (void)item;
    (void)artifact;
    (void)err;
    unlink(path);
    return 0;
}

int sl_outputs_write(struct run *run, int item, struct sl_err *err) {
    if (!run->spec->out_dir)
        return 0;
    int rc = sl_make_dirs(run->spec->out_dir, err);
    if (rc == 0)
        rc = for_outputs(run, item, write_one, err);
    if (rc < 0)
        for_outputs(run, item, remove_one, NULL);
    return rc;
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

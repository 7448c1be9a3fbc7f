/*
 * The files in the user's folder. They are written when the whole item succeeded, each whole; where
 * one cannot be written, those of the item that were are removed again. An item goes through
 *
 *     COPY     its files, without names, at most a slice a turn of the loop: small ones at once,
 *              large ones while other work goes on
 *     SYNC     they come to the disk (durable.c), then get their names
 *     FOLDER   the names come to the disk; then the item is written, and its record says so
 *
 * While one item waits for the disk the next are copied, so that many are synced together.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "run/publish.h"
#include "sched/run_internal.h"

#define WRITE_SLICE ((uint64_t)1 << 20) /* bytes a turn of the loop */
#define MAX_UNNAMED 120                 /* files that wait for the disk: each is a descriptor */

/* Name in the output folder of output `port` of a task; owned; NULL: it is not written. */
static char *output_name(const struct run *run, int item, int stage, int port) {
    const struct sl_plan_stage *s = &run->plan->stages[stage];
    if (run->spec->outputs_by_port)
        return sl_xasprintf("%s%s", s->outputs[port].port,
                            sl_type_extension(s->outputs[port].type));
    return s->is_output && port == 0 ? sl_xasprintf("%s.%s", run->spec->items[item].name, s->name)
                                     : NULL;
}

/* The next output of the item that is written, from (*stage, *port) on; its name is owned; NULL: no
 * more. */
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

/* ---- One item -------------------------------------------------------------------------------- */

/* A file that is copied. */
struct output_file {
    struct sl_publish *file;
    char *name, *path; /* owned */
    bool is_written;   /* it has its name */
    struct sl_sync_ask ask;
};

struct writing {
    int item, stage, port;      /* outputs before this one are copied, or being so */
    struct output_file **files; /* one for each so far */
    int n_files, cap_files;
    enum { COPY, SYNC, FOLDER } phase;
    bool copying;              /* the last of the files */
    struct sl_sync_ask folder; /* its descriptor is owned */
};

static void writing_destroy(struct writing *w) {
    for (int i = 0; i < w->n_files; i++) {
        sl_publish_destroy(w->files[i]->file);
        free(w->files[i]->name);
        free(w->files[i]->path);
        free(w->files[i]);
    }
    sl_close(&w->folder.fd);
    free(w->files);
    free(w);
}

/* Those that have their names; the others leave nothing behind. */
static void remove_written(const struct writing *w) {
    for (int i = 0; i < w->n_files; i++)
        if (w->files[i]->is_written)
            unlink(w->files[i]->path);
}

static bool is_same_file(const struct stat *a, const char *path) {
    struct stat b;
    return path && *path && stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/* Nobody wants his recording replaced by what was made of it. */
static int check_no_input(const struct run *run, int item, const char *path, struct sl_err *err) {
    struct stat st;
    bool is_input = false;
    if (stat(path, &st) < 0)
        return 0;
    for (int i = 0; run->spec->inputs && i < run->plan->n_inputs; i++)
        is_input |= is_same_file(&st, run->spec->inputs[i]);
    if (!is_input && !is_same_file(&st, run->spec->items[item].file))
        return 0;
    return sl_err_set(err, SLUICE_INPUT,
                      "%s: is an input of this run and is not written over; choose another folder "
                      "with -o",
                      path);
}

/* Takes the name. */
static int begin_file(struct run *run, struct writing *w, char *name, struct sl_err *err) {
    const struct sl_artifact *a = &sl_task_at(&run->tasks, w->item, w->stage)->artifacts[w->port];
    struct output_file *f = sl_xcalloc(1, sizeof *f);
    SL_PUSH_ROOM(w->files, w->n_files, w->cap_files);
    w->files[w->n_files++] = f;
    f->name = name;
    f->path = sl_xasprintf("%s/%s", run->spec->out_dir, name);
    int fd = -1, rc = check_no_input(run, w->item, f->path, err);
    if (rc == 0)
        rc = sl_artifact_open(a->path, a->size, a->hash, 0, &fd, err);
    if (rc == 0)
        rc = sl_publish_begin(f->path, run->dir->id, true, fd, a->size, a->hash, &f->file, err);
    w->copying = rc == 0;
    return rc;
}

/* Copies at most *budget bytes more. 1: all files are copied; 0: there is more. */
static int copy_some(struct run *run, struct writing *w, uint64_t *budget, struct sl_err *err) {
    int rc = w->n_files == 0 ? sl_make_dirs(run->spec->out_dir, err) : 0;
    for (char *name; rc >= 0 && (name = next_output(run, w->item, &w->stage, &w->port));) {
        uint64_t size = sl_task_at(&run->tasks, w->item, w->stage)->artifacts[w->port].size;
        if (*budget == 0 || w->copying)
            free(sl_steal(&name));
        if (*budget == 0)
            return 0;
        rc = w->copying ? 0 : begin_file(run, w, name, err);
        if (rc == 0)
            rc = sl_publish_step(w->files[w->n_files - 1]->file, *budget, err);
        *budget -= size < *budget ? size : *budget;
        w->copying = rc == 0;
        w->port += rc == 1;
    }
    return rc < 0 ? rc : 1;
}

static void ask_for_files(struct run *run, struct writing *w) {
    w->phase = SYNC;
    for (int i = 0; i < w->n_files; i++) {
        struct output_file *f = w->files[i];
        f->ask.fd = sl_publish_fd(f->file);
        sl_durable_ask(run, &f->ask);
    }
    run->n_unnamed += w->n_files;
}

/* 1: all files are on the disk and have their names; 0: call again. */
static int name_files(struct run *run, struct writing *w, struct sl_err *err) {
    int rc = 0;
    for (int i = 0; i < w->n_files; i++)
        if (w->files[i]->ask.state == SL_ASK_OPEN)
            return 0;
    run->n_unnamed -= w->n_files;
    for (int i = 0; rc == 0 && i < w->n_files; i++) {
        struct output_file *f = w->files[i];
        rc = f->ask.state == SL_ASK_FAILED
                 ? sl_err_set(err, SLUICE_RESOURCE, "%s: %s", f->path, sl_durable_why(run))
                 : sl_publish_name(f->file, err);
        f->is_written = rc == 0;
    }
    return rc < 0 ? rc : 1;
}

/* A folder that may not be opened is left to the file system. */
static void ask_for_folder(struct run *run, struct writing *w) {
    w->phase = FOLDER;
    w->folder.fd = w->n_files ? open(run->spec->out_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (w->folder.fd < 0)
        w->folder.state = SL_ASK_DONE;
    else
        sl_durable_ask(run, &w->folder);
}

/* 1: the names are on the disk; 0: call again. */
static int end_folder(const struct run *run, const struct writing *w, struct sl_err *err) {
    if (w->folder.state == SL_ASK_FAILED)
        return sl_err_set(err, SLUICE_RESOURCE, "%s: %s", run->spec->out_dir, sl_durable_why(run));
    return w->folder.state == SL_ASK_DONE;
}

/* Goes on with the item. 1: it is written; 0: there is more to do, or to wait for. */
static int write_some(struct run *run, struct writing *w, uint64_t *budget, struct sl_err *err) {
    int rc = 1;
    if (w->phase == COPY && (rc = copy_some(run, w, budget, err)) == 1)
        ask_for_files(run, w);
    if (rc == 1 && w->phase == SYNC && (rc = name_files(run, w, err)) == 1)
        ask_for_folder(run, w);
    return rc == 1 ? end_folder(run, w, err) : rc;
}

static void end_writing(struct run *run, int at, int rc, const struct sl_err *err) {
    struct writing *w = run->writing[at];
    int item = w->item;
    if (rc < 0)
        remove_written(w);
    for (int i = 0; rc > 0 && i < w->n_files; i++)
        sl_record_output(run, item, w->files[i]->name, w->files[i]->path);
    writing_destroy(w);
    run->n_writing--;
    memmove(&run->writing[at], &run->writing[at + 1],
            (size_t)(run->n_writing - at) * sizeof *run->writing);
    sl_run_item_written(run, item, rc < 0 ? err->msg : NULL);
}

/* ---- The queue ------------------------------------------------------------------------------- */

bool sl_outputs_write_some(struct run *run) {
    uint64_t budget = WRITE_SLICE;
    bool more = false; /* also when an item was written: others may start now */
    for (int i = 0; i < run->n_writing;) {
        struct sl_err err = {0};
        struct writing *w = run->writing[i];
        if (w->phase == COPY && (budget == 0 || run->n_unnamed >= MAX_UNNAMED)) {
            more |= budget == 0;
            break;
        }
        int rc = write_some(run, w, &budget, &err);
        more |= rc != 0 || w->phase == COPY;
        if (rc != 0)
            end_writing(run, i, rc, &err);
        else
            i++;
    }
    return more;
}

void sl_outputs_write(struct run *run, int item) {
    struct writing *w = sl_xcalloc(1, sizeof *w);
    *w = (struct writing){.item = item, .folder.fd = -1};
    SL_PUSH_ROOM(run->writing, run->n_writing, run->cap_writing);
    run->writing[run->n_writing++] = w;
}

void sl_outputs_drop(struct run *run) {
    for (int i = 0; i < run->n_writing; i++)
        writing_destroy(run->writing[i]);
    free(run->writing);
}

/* ---- Artifacts ------------------------------------------------------------------------------- */

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
    uint64_t bytes = artifact_bytes(run, item);
    SL_PUSH_ROOM(run->done, run->n_done, run->cap_done);
    run->done[run->n_done++] = (struct done){item, bytes};
    run->done_bytes += bytes;
}

/* The folder stays where it has logs of the item. */
static void remove_artifacts(struct run *run, const struct sl_item *item) {
    sl_autofree char *folder = sl_xasprintf("items/%s/", item->name);
    for (int s = 0; s < run->plan->n_stages; s++) {
        const struct sl_plan_stage *stage = &run->plan->stages[s];
        for (int o = 0; o < stage->n_outputs; o++) {
            const struct sl_plan_output *out = &stage->outputs[o];
            sl_autofree char *path =
                sl_artifact_path(&run->places, item->name, stage->name, out->port, out->type);
            sl_durable_remove_later(run, path + strlen(run->places.run) + 1);
        }
    }
    sl_durable_remove_later(run, folder);
}

void sl_artifacts_remove(struct run *run, uint64_t bytes_to_keep) {
    if (run->done_bytes <= bytes_to_keep && bytes_to_keep > 0)
        return;
    int n = run->n_done_safe;
    for (int i = 0; i < n; i++) {
        remove_artifacts(run, &run->spec->items[run->done[i].item]);
        run->done_bytes -= run->done[i].bytes;
    }
    run->n_done -= n;
    run->n_done_sent -= n;
    run->n_done_safe = 0;
    if (n > 0)
        memmove(run->done, run->done + n, (size_t)run->n_done * sizeof *run->done);
}

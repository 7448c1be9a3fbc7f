/* One attempt of a task, see attempt.h. */
#include "sched/attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

#define HASH_AT_ONCE (1u << 20) /* bytes; larger artifacts are hashed while their takers work */
#define LOG_TAIL     2048
#define LOG_LINE     200

char *sl_attempt_log_path(const struct sl_places *places, const char *item, const char *stage,
                          int number) {
    return sl_xasprintf("%s/items/%s/%s.%d.log", places->run, item, stage, number);
}

char *sl_artifact_path(const struct sl_places *places, const char *item, const char *stage,
                       const char *port, const char *type) {
    return sl_xasprintf("%s/items/%s/%s.%s%s", places->run, item, stage, port,
                        sl_type_extension(type));
}

static int make_drafts(const struct sl_places *places, struct sl_attempt *a, struct sl_err *err) {
    sl_autofree char *folder = sl_xasprintf("%s/items/%s", places->run, a->item->name);
    int n = a->stage->n_outputs, rc = n ? sl_make_dirs(folder, err) : 0;
    a->outputs = sl_xcalloc((size_t)n, sizeof *a->outputs);
    for (int i = 0; i < n; i++)
        a->outputs[i].draft = (struct sl_draft)SL_DRAFT_NONE;
    for (int i = 0; rc == 0 && i < n; i++)
        rc = sl_draft_create(folder, &a->outputs[i].draft, err);
    return rc;
}

int sl_attempt_create(const struct sl_places *places, struct sl_task *task,
                      const struct sl_plan_stage *stage, const struct sl_item *item, uint32_t job,
                      char *log_path, struct sl_attempt **ret, struct sl_err *err) {
    struct sl_attempt *a = sl_xcalloc(1, sizeof *a);
    a->task = task;
    a->stage = stage;
    a->item = item;
    a->number = task->attempt;
    a->job = job;
    a->log_path = log_path;
    a->log_from = -1;
    a->began_ms = sl_now_ms();
    a->begin_wall_s = sl_wall_s();
    a->scratch = sl_xasprintf("%s/scratch/%u", places->run, job);
    int rc = make_drafts(places, a, err);
    if (rc < 0) {
        sl_attempt_destroy(a);
        return rc;
    }
    *ret = a;
    return 0;
}

void sl_attempt_destroy(struct sl_attempt *a) {
    if (!a)
        return;
    for (int i = 0; a->outputs && i < a->stage->n_outputs; i++)
        sl_draft_discard(&a->outputs[i].draft);
    if (a->scratch)
        sl_remove_tree(a->scratch, NULL);
    free(a->outputs);
    free(a->log_path);
    free(a->scratch);
    free(a->reason);
    json_decref(a->metrics);
    free(a);
}

int sl_start_frame(const struct sl_places *places, const struct sl_plan_stage *stage,
                   const char *params, bool cuda, const struct sl_resources *resources, int cpus,
                   struct sl_frame_out *ret, struct sl_err *err) {
    sl_frame_init(ret, SL_FRAME_START, 0);
    sl_frame_add_text(ret, stage->desc->plugin->path);
    sl_frame_add_text(ret, stage->use);
    sl_frame_add_text(ret, params);
    sl_frame_add_text(ret, places->share_dir);
    sl_frame_add_u64(ret, cuda ? SLUICE_DEVICE_CUDA : SLUICE_DEVICE_CPU);
    sl_frame_add_u64(ret, 0);
    sl_frame_add_u64(ret, (uint64_t)cpus);
    sl_frame_add_u64(ret, resources->memory);
    sl_frame_add_u64(ret, resources->gpu_memory);
    int rc = sl_frame_finish(ret, err);
    return rc < 0 ? sl_err_wrap(err, "stage \"%s\": its parameters", stage->name) : 0;
}

/* Opens what an input of the pipeline names, where its stage wants bytes and not a path. */
static int open_user_file(const char *path, const char *type, int *fds, int *n_fds,
                          struct sl_err *err) {
    if (strcmp(type, SLUICE_TYPE_FILE) == 0)
        return 0;
    fds[*n_fds] = open(path, O_RDONLY | O_CLOEXEC);
    if (fds[*n_fds] < 0)
        return sl_err_sys(err, SLUICE_INPUT, errno, "%s: cannot be opened", path);
    (*n_fds)++;
    return 0;
}

/* One input: adds its fields, and opens its descriptor unless it is a file of the user's. */
static int add_input(const struct sl_places *places, const struct sl_tasks *tasks,
                     struct sl_attempt *a, int i, struct sl_frame_out *ret, int *fds, int *n_fds,
                     struct sl_err *err) {
    const struct sl_plan_input *in = &a->stage->inputs[i];
    const char *path;
    int rc;
    if (in->from_stage < 0) {
        path = in->from_port == 0 ? a->item->file : places->inputs[in->from_port];
        rc = open_user_file(path, in->type, fds, n_fds, err);
    } else {
        struct sl_artifact *art =
            &sl_task_at(tasks, a->task->item, in->from_stage)->artifacts[in->from_port];
        bool check = a->number > 1 || art->held;
        path = art->path;
        rc = check ? sl_artifact_settle(art, UINT64_MAX, err) : 0;
        if (rc >= 0)
            rc = sl_artifact_open(path, art->size, art->hash, check, &fds[*n_fds], err);
        *n_fds += rc == 0;
    }
    sl_frame_add_text(ret, in->port);
    sl_frame_add_text(ret, in->type);
    sl_frame_add_text(ret, path);
    return rc;
}

static bool is_present(const struct sl_tasks *tasks, const struct sl_attempt *a,
                       const struct sl_plan_input *in) {
    if (in->from_stage < 0)
        return true;
    const struct sl_task *source = sl_task_at(tasks, a->task->item, in->from_stage);
    return source->artifacts && source->artifacts[in->from_port].path;
}

static uint64_t count_present(const struct sl_tasks *tasks, const struct sl_attempt *a) {
    uint64_t n = 0;
    for (int i = 0; i < a->stage->n_inputs; i++)
        n += is_present(tasks, a, &a->stage->inputs[i]);
    return n;
}

int sl_job_frame(const struct sl_places *places, const struct sl_tasks *tasks, struct sl_attempt *a,
                 struct sl_frame_out *ret, int *ret_fds, int *ret_n_fds, int *ret_n_owned,
                 struct sl_err *err) {
    int n = 0, rc = 0;
    *ret_n_fds = *ret_n_owned = 0;
    sl_frame_init(ret, SL_FRAME_JOB, a->job);
    sl_frame_add_text(ret, a->item->name);
    sl_frame_add_text(ret, a->scratch);
    sl_frame_add_u64(ret, count_present(tasks, a));
    sl_frame_add_u64(ret, (uint64_t)a->stage->n_outputs);
    for (int i = 0; rc == 0 && i < a->stage->n_inputs; i++)
        if (is_present(tasks, a, &a->stage->inputs[i]))
            rc = add_input(places, tasks, a, i, ret, ret_fds, &n, err);
    *ret_n_owned = *ret_n_fds = n;
    for (int i = 0; rc == 0 && i < a->stage->n_outputs; i++) {
        sl_frame_add_text(ret, a->stage->outputs[i].port);
        sl_frame_add_text(ret, a->stage->outputs[i].type);
        ret_fds[n++] = a->outputs[i].draft.fd;
        *ret_n_fds = n;
    }
    return rc < 0 ? rc : sl_frame_finish(ret, err);
}

int sl_attempt_note_commit(struct sl_attempt *a, const char *port, uint64_t size,
                           struct sl_err *err) {
    for (int i = 0; i < a->stage->n_outputs; i++) {
        if (strcmp(a->stage->outputs[i].port, port) != 0)
            continue;
        if (a->outputs[i].committed)
            return sl_err_set(err, SLUICE_INTERNAL, "output \"%s\" was committed twice", port);
        a->outputs[i].committed = true;
        a->outputs[i].size = size;
        return 0;
    }
    return sl_err_set(err, SLUICE_INTERNAL,
                      "output \"%s\" was committed, but the stage has none of that name", port);
}

void sl_attempt_note_metric(struct sl_attempt *a, const char *name, double value) {
    if (!a->metrics)
        a->metrics = json_object();
    if (json_object_size(a->metrics) < 64)
        sl_json_set(a->metrics, name, json_real(value));
}

int sl_artifact_settle(struct sl_artifact *art, uint64_t max, struct sl_err *err) {
    int rc = art->hasher ? sl_hasher_step(art->hasher, max, &art->hash, err) : 1;
    if (rc == 0)
        return 0;
    sl_hasher_destroy(art->hasher);
    art->hasher = NULL;
    return rc < 0 ? sl_err_wrap(err, "%s", art->path) : 1;
}

int sl_attempt_commit(const struct sl_places *places, struct sl_attempt *a, struct sl_err *err) {
    int n = a->stage->n_outputs;
    for (int i = 0; i < n; i++)
        if (!a->outputs[i].committed && !a->stage->outputs[i].optional)
            return sl_err_set(err, SLUICE_INTERNAL,
                              "the stage said it was done, but did not commit its output \"%s\"",
                              a->stage->outputs[i].port);
    struct sl_artifact *artifacts = sl_xcalloc((size_t)n, sizeof *artifacts);
    a->task->artifacts = artifacts;
    for (int i = 0; i < n; i++) {
        if (!a->outputs[i].committed)
            continue;
        const struct sl_plan_output *out = &a->stage->outputs[i];
        artifacts[i].path =
            sl_artifact_path(places, a->item->name, a->stage->name, out->port, out->type);
        artifacts[i].size = a->outputs[i].size;
        int fd, rc = sl_draft_commit(&a->outputs[i].draft, artifacts[i].path, artifacts[i].size,
                                     &fd, &artifacts[i].held, err);
        if (rc == 0)
            artifacts[i].hasher = sl_hasher_create(fd, artifacts[i].size);
        if (rc == 0 && artifacts[i].size <= HASH_AT_ONCE)
            rc = sl_artifact_settle(&artifacts[i], UINT64_MAX, err);
        if (rc < 0)
            return sl_err_wrap(err, "output \"%s\"", out->port);
    }
    return 0;
}

int sl_attempt_check_inputs(const struct sl_tasks *tasks, const struct sl_attempt *a,
                            bool only_held, struct sl_err *err) {
    for (int i = 0; i < a->stage->n_inputs; i++) {
        const struct sl_plan_input *in = &a->stage->inputs[i];
        if (in->from_stage < 0 || !is_present(tasks, a, in))
            continue;
        struct sl_artifact *art =
            &sl_task_at(tasks, a->task->item, in->from_stage)->artifacts[in->from_port];
        sl_autoclose int fd = -1;
        if (only_held && !art->held)
            continue;
        if (sl_artifact_settle(art, UINT64_MAX, err) < 0 ||
            sl_artifact_open(art->path, art->size, art->hash, 1, &fd, err) < 0) {
            sl_err_wrap(err, "its input \"%s\" changed under it", in->port);
            return err->cls = SLUICE_INTERNAL;
        }
    }
    return 0;
}

char *sl_last_log_line(const char *path) {
    char tail[LOG_TAIL + 1];
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;
    off_t from = st.st_size > LOG_TAIL ? st.st_size - LOG_TAIL : 0;
    ssize_t n = pread(fd, tail, LOG_TAIL, from);
    if (n <= 0)
        return NULL;
    while (n > 0 && (tail[n - 1] == '\n' || tail[n - 1] == ' '))
        n--;
    tail[n] = 0;
    char *line = strrchr(tail, '\n');
    line = line ? line + 1 : tail;
    return *line ? sl_make_printable(sl_xstrndup(line, LOG_LINE)) : NULL;
}

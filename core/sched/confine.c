/* The rules of a stage's sandbox, see confine.h. */
#include "sched/confine.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/confine.h"
#include "base/json.h"
#include "base/io.h"
#include "fetch/models.h"

#define MAX_PATHS 400
#define MAX_BYTES 48000 /* of all paths: they travel in one message */
#define MAX_LINKS 64    /* followed out of one folder */

struct paths {
    struct sl_arena arena;
    const char *items[MAX_PATHS];
    int n;
    size_t bytes;
};

static void add_real(struct paths *p, const char *real) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->items[i], real) == 0)
            return;
    if (p->n == MAX_PATHS || p->bytes + strlen(real) > MAX_BYTES)
        return;
    p->bytes += strlen(real) + 8;
    p->items[p->n++] = sl_arena_strdup(&p->arena, real);
}

/* Adds the real path of something that exists. */
static void add(struct paths *p, const char *path) {
    char real[PATH_MAX];
    if (realpath(path, real) && strcmp(real, "/") != 0)
        add_real(p, real);
}

/* A file, or a folder with what its links lead to. */
static void add_with_links(struct paths *p, const char *path) {
    DIR *dir = opendir(path);
    int n = 0;
    add(p, path);
    for (struct dirent *e; dir && n < MAX_LINKS && (e = readdir(dir));) {
        if (e->d_type != DT_LNK)
            continue;
        sl_autofree char *link = sl_path_join(path, e->d_name);
        add(p, link);
        n++;
    }
    if (dir)
        closedir(dir);
}

/* Whatever text among the parameters is the path of something: models, lexicons, programs. */
static void add_params(struct paths *p, const json_t *value) {
    const char *key, *text = json_string_value(value);
    json_t *one;
    size_t i;
    if (text && *text && strcmp(text, ".") != 0 && strcmp(text, "..") != 0 &&
        strlen(text) < PATH_MAX)
        add_with_links(p, text);
    json_object_foreach((json_t *)value, key, one) add_params(p, one);
    json_array_foreach(value, i, one) add_params(p, one);
}

static char *folder_of(const char *path) {
    const char *base = sl_path_base(path);
    return sl_xstrndup(path, base > path + 1 ? (size_t)(base - path - 1) : 0);
}

/* ---- Folders of items ------------------------------------------------------------------------ */

/* How much of `folder` is also the beginning of `path`, whole names only. */
static size_t common_part(const char *folder, size_t len, const char *path) {
    size_t i = 0, whole = 0;
    for (; i < len && path[i] == folder[i]; i++)
        if (folder[i] == '/')
            whole = i;
    return i == len && (path[i] == '/' || !path[i]) ? len : whole;
}

static const char *above_all(const struct sl_item *items, int n, struct sl_arena *arena) {
    sl_autofree char *first = folder_of(items[0].file);
    size_t len = strlen(first);
    for (int i = 1; i < n; i++)
        len = common_part(first, len, items[i].file);
    return sl_arena_strndup(arena, first, len);
}

static bool is_in(const char *folder, const char *file) {
    size_t len = strlen(folder);
    return strncmp(folder, file, len) == 0 && file[len] == '/' && !strchr(file + len + 1, '/');
}

const char **sl_confine_folders(const struct sl_item *items, int n, struct sl_arena *arena,
                                int *ret_n) {
    const char **folders = sl_arena_alloc(arena, SL_CONFINE_MAX_FOLDERS * sizeof *folders);
    int n_folders = 0, last = 0;
    for (int i = 0; i < n; i++) {
        if (*items[i].file != '/' || (n_folders > 0 && is_in(folders[last], items[i].file)))
            continue;
        for (last = 0; last < n_folders && !is_in(folders[last], items[i].file); last++)
            ;
        if (last < n_folders)
            continue;
        if (n_folders == SL_CONFINE_MAX_FOLDERS) {
            folders[0] = above_all(items, n, arena);
            *ret_n = 1;
            return folders;
        }
        sl_autofree char *folder = folder_of(items[i].file);
        folders[n_folders++] = sl_arena_strdup(arena, folder);
    }
    *ret_n = n_folders;
    return folders;
}

/* ---- What all stages may read ---------------------------------------------------------------- */

const char **sl_confine_shared(const char *share_dir, struct sl_arena *arena, int *ret_n) {
    sl_autofree struct paths *p = sl_xcalloc(1, sizeof *p);
    sl_autofree char *models = sl_models_folder();
    sl_autofree char *installed = sl_path_join(share_dir, "models");
    add_with_links(p, share_dir);
    add_with_links(p, installed);
    if (models)
        add_with_links(p, models);
    const char **shared = sl_arena_alloc(arena, (size_t)p->n * sizeof *shared);
    for (int i = 0; i < p->n; i++)
        shared[i] = sl_arena_strdup(arena, p->items[i]);
    *ret_n = p->n;
    sl_arena_finish(&p->arena);
    return shared;
}

/* ---- The frame ------------------------------------------------------------------------------- */

/* Its process takes one item after the other, or several. */
static bool takes_many(const struct run *run, int stage) {
    return sl_run_keeps(run, stage) || run->plan->stages[stage].max_jobs > 1;
}

/* What other stages made: of all items, where it takes several, else what it takes. */
static void add_artifacts(struct paths *p, const struct run *run, const struct sl_task *task) {
    const struct sl_plan_stage *s = &run->plan->stages[task->stage];
    if (takes_many(run, task->stage)) {
        sl_autofree char *items = sl_path_join(run->places.run, "items");
        add(p, items);
        return;
    }
    for (int i = 0; i < s->n_inputs; i++) {
        const struct sl_plan_input *in = &s->inputs[i];
        const struct sl_task *from =
            in->from_stage < 0 ? NULL : sl_task_at(&run->tasks, task->item, in->from_stage);
        if (from && from->artifacts && from->artifacts[in->from_port].path)
            add(p, from->artifacts[in->from_port].path);
    }
}

/* Files of the user's that the stage reads by their names. */
static void add_inputs(struct paths *p, const struct run *run, int stage,
                       const struct sl_task *task) {
    const struct sl_plan_stage *s = &run->plan->stages[stage];
    for (int i = 0; i < s->n_inputs; i++) {
        const struct sl_plan_input *in = &s->inputs[i];
        if (in->from_stage >= 0)
            continue;
        if (in->from_port > 0)
            add(p, run->places.inputs[in->from_port]);
        else if (takes_many(run, stage))
            for (int k = 0; k < run->n_item_folders; k++)
                add(p, run->item_folders[k]);
        else
            add(p, run->spec->items[task->item].file);
        if (in->from_port == 0 && run->spec->watch_dir)
            add(p, run->spec->watch_dir);
    }
}

static void add_reads(struct paths *p, const struct run *run, int stage, const struct sl_task *task,
                      const char *params) {
    sl_autofree char *plugin = folder_of(run->plan->stages[stage].desc->plugin->path);
    sl_autojson json_t *values = json_loads(params, 0, NULL);
    add(p, plugin);
    add_artifacts(p, run, task);
    for (int i = 0; i < run->n_shared_reads; i++)
        add_real(p, run->shared_reads[i]);
    add_inputs(p, run, stage, task);
    add_params(p, values);
}

bool sl_confine_frame(const struct run *run, const struct sl_task *task, bool on_gpu,
                      const char *params, struct sl_frame_out *ret) {
    int stage = task->stage;
    const struct sl_plan_stage *s = &run->plan->stages[stage];
    if (!s->sandbox || run->spec->wrap || !(run->confinement.landlock || run->confinement.seccomp))
        return false;
    sl_autofree struct paths *reads = sl_xcalloc(1, sizeof *reads);
    sl_autofree char *scratch = sl_path_join(run->places.run, "scratch");
    add_reads(reads, run, stage, task, params);
    sl_frame_init(ret, SL_FRAME_SANDBOX, 0);
    sl_frame_add_u64(ret, (s->network ? SL_SANDBOX_NETWORK : 0) | (on_gpu ? SL_SANDBOX_GPU : 0));
    sl_frame_add_u64(ret, (uint64_t)reads->n);
    sl_frame_add_u64(ret, 1);
    for (int i = 0; i < reads->n; i++)
        sl_frame_add_text(ret, reads->items[i]);
    sl_frame_add_text(ret, scratch);
    sl_arena_finish(&reads->arena);
    return sl_frame_finish(ret, NULL) == 0;
}

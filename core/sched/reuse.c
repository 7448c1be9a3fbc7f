/*
 * Looking for results and keeping them, see reuse.h; what a recipe is made of is in recipe.c. A
 * task goes through
 *
 *     RECIPE --digests are there--> (entry?) --yes--> FETCH --outputs are in place and sound--> hit
 *                                      | no              | damaged: the entry is dropped
 *                                      +-----------------+--> MISSED --attempt went well--> kept
 *
 * Outputs are linked between the run folder and the cache, or copied a slice a turn where these are
 * on different file systems. Their hash is made in either case: nothing is used that is not what
 * was kept.
 */
#include "sched/reuse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/units.h"
#include "run/publish.h"
#include "run/results.h"
#include "sched/recipe.h"
#include "sched/run_internal.h"

#define SLICE       ((uint64_t)1 << 20) /* bytes a turn and task */
#define TURN_MS     5                   /* for all looks of a turn */
#define FREE_SHARE  20 /* nothing is kept where less than this part of the disk is free, */
#define FREE_MOST   ((uint64_t)1 << 30) /* and less than this many bytes */
#define PRUNE_SHARE 8                   /* pruned when this part of what may be kept was added */
#define PRUNE_S     3600.0              /* and at most this long after the last time */

enum step { RECIPE, FETCH, MISSED };

struct look {
    enum step step;
    struct sl_recipe recipe;
    char key[SL_RESULT_KEY_SIZE];
    char *why;                /* MISSED; owned, NULL: it takes no part */
    json_t *entry;            /* FETCH */
    size_t output;            /* of the entry: the one at hand */
    struct sl_hasher *hasher; /* it was linked */
    struct sl_publish *copy;  /* or is copied */
};

/* A result being copied into the cache. */
struct keeping {
    char key[SL_RESULT_KEY_SIZE];
    json_t *entry;
    char *trail;
    struct {
        int fd;
        char *path;
        uint64_t size, hash;
    } files[SL_FRAME_MAX_FDS];
    int n, at;
    struct sl_publish *copy;
};

struct sl_cache_use {
    char *root;
    struct sl_recipes recipes;
    bool *takes_part; /* for each stage */
    uint64_t added;   /* bytes since the last pruning */
    uint64_t max_bytes;
    double max_age_s;
    struct keeping *keeping; /* in order */
    int n_keeping, cap_keeping;
    int64_t turn_end_ms; /* looks of this turn stop here; 0: none was made yet */
    bool waits;          /* a task waits for its next slice */
};

/* ---- Set-up ---------------------------------------------------------------------------------- */

static bool takes_part(const struct sl_plan_stage *stage) {
    return stage->cache == SL_CACHE_AUTO ? stage->desc->flags & SLUICE_STAGE_DETERMINISTIC
                                         : stage->cache == SL_CACHE_ON;
}

void sl_reuse_start(struct run *run) {
    const struct sl_plan *plan = run->plan;
    if (!run->spec->cache || run->spec->wrap || run->spec->n_injections)
        return;
    char *root = sl_results_root();
    uint64_t max_bytes = sl_results_max_bytes();
    if (!root || max_bytes == 0) {
        free(root);
        return;
    }
    struct sl_cache_use *use = sl_xcalloc(1, sizeof *use);
    *use = (struct sl_cache_use){
        .root = root, .max_bytes = max_bytes, .max_age_s = sl_results_max_age_s()};
    use->takes_part = sl_xcalloc((size_t)plan->n_stages, sizeof *use->takes_part);
    for (int s = 0; s < plan->n_stages; s++)
        use->takes_part[s] = takes_part(&plan->stages[s]);
    sl_recipes_init(&use->recipes, run);
    run->cache = use;
}

static void keeping_finish(struct keeping *k) {
    for (int i = 0; i < k->n; i++) {
        sl_close(&k->files[i].fd);
        free(k->files[i].path);
    }
    sl_publish_destroy(k->copy);
    json_decref(k->entry);
    free(k->trail);
}

static void prune(struct sl_cache_use *use) {
    sl_results_prune(use->root, use->max_bytes, use->max_age_s);
    use->added = 0;
}

/* At the end of a run: after much was added, or when the last time is long ago. */
static void prune_if_due(struct sl_cache_use *use) {
    sl_autofree char *mark = sl_path_join(use->root, "pruned");
    struct stat st;
    bool recent = stat(mark, &st) == 0 && sl_wall_s() - (double)st.st_mtim.tv_sec < PRUNE_S;
    if (use->added == 0 || (recent && use->added < use->max_bytes / PRUNE_SHARE))
        return;
    prune(use);
    sl_autoclose int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        futimens(fd, NULL);
}

void sl_reuse_finish(struct run *run) {
    struct sl_cache_use *use = run->cache;
    if (!use)
        return;
    for (int i = 0; i < run->tasks.n_items; i++)
        for (int s = 0; s < run->plan->n_stages; s++)
            sl_reuse_drop(sl_task_at(&run->tasks, i, s));
    for (int i = 0; i < use->n_keeping; i++)
        keeping_finish(&use->keeping[i]);
    prune_if_due(use);
    sl_recipes_finish(&use->recipes);
    free(use->keeping);
    free(use->takes_part);
    free(use->root);
    free(use);
    run->cache = NULL;
}

void sl_reuse_drop(struct sl_task *task) {
    struct look *l = task->look;
    if (!l)
        return;
    sl_recipe_finish(&l->recipe);
    sl_hasher_destroy(l->hasher);
    sl_publish_destroy(l->copy);
    json_decref(l->entry);
    free(l->why);
    free(l);
    task->look = NULL;
}

const char *sl_reuse_why(const struct sl_task *task) {
    const struct look *l = task->look;
    return l && l->step == MISSED ? l->why : NULL;
}

json_t *sl_reuse_found(const struct sl_task *task) {
    const struct look *l = task->look;
    json_t *found = json_object();
    sl_json_set(found, "key", json_string(l->key));
    sl_json_set(found, "from_run", json_incref(json_object_get(l->entry, "run")));
    sl_json_set(found, "sources", json_incref(l->recipe.sources));
    return found;
}

/* ---- Misses ---------------------------------------------------------------------------------- */

/* What the newest result is remembered by: the same stage of the same file. */
static char *trail_of(const struct run *run, const struct sl_task *task) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    return sl_xasprintf("%s\n%s\n%s\n%s", run->plan->name, stage->name, stage->use,
                        run->spec->items[task->item].file);
}

static char *explain(const struct run *run, const struct sl_task *task, const struct look *l) {
    char last[SL_RESULT_KEY_SIZE];
    sl_autofree char *trail = trail_of(run, task);
    if (!sl_result_last(run->cache->root, trail, last))
        return sl_xstrdup("not done before");
    sl_autojson json_t *entry = sl_result_find(run->cache->root, last);
    if (!entry)
        return sl_xstrdup("its kept result was removed");
    char *difference = sl_recipe_difference(json_object_get(entry, "recipe"), l->recipe.all);
    return difference ? difference : sl_xstrdup("its kept result was removed");
}

static enum sl_reuse miss(struct look *l, char *why) {
    l->step = MISSED;
    l->why = why;
    return SL_REUSE_MISS;
}

/* ---- Fetching -------------------------------------------------------------------------------- */

static int find_port(const struct sl_plan_stage *stage, const char *port) {
    for (int o = 0; o < stage->n_outputs; o++)
        if (strcmp(stage->outputs[o].port, port) == 0)
            return o;
    return -1;
}

static char *place_of(const struct run *run, const struct sl_task *task, int port) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    return sl_artifact_path(&run->places, run->spec->items[task->item].name, stage->name,
                            stage->outputs[port].port, stage->outputs[port].type);
}

static int make_item_folder(const struct run *run, const struct sl_task *task, struct sl_err *err) {
    sl_autofree char *folder =
        sl_xasprintf("%s/items/%s", run->places.run, run->spec->items[task->item].name);
    return sl_make_dirs(folder, err);
}

/* Links the output into the run folder, or begins to copy it. */
static int begin_output(struct run *run, struct sl_task *task, struct look *l, const json_t *output,
                        int port, struct sl_err *err) {
    uint64_t size = (uint64_t)json_integer_value(json_object_get(output, "size"));
    uint64_t hash = strtoull(sl_json_str(output, "xxh3", ""), NULL, 16);
    sl_autofree char *from =
        sl_result_path(run->cache->root, l->key, run->plan->stages[task->stage].outputs[port].port);
    struct sl_artifact *a = &task->artifacts[port];
    int fd, rc = sl_artifact_open(from, size, hash, 0, &fd, err);
    if (rc < 0)
        return rc;
    a->path = place_of(run, task, port);
    a->size = size;
    a->hash = hash;
    unlink(a->path);
    if (link(from, a->path) < 0)
        return sl_publish_begin(a->path, run->dir->id, false, fd, size, hash, &l->copy, err);
    l->hasher = sl_hasher_create(fd, size);
    return 0;
}

/* 1: the output is in place and sound. */
static int go_on_with(struct look *l, const struct sl_artifact *a, uint64_t *budget,
                      struct sl_err *err) {
    uint64_t hash, max = *budget;
    int rc =
        l->copy ? sl_publish_step(l->copy, max, err) : sl_hasher_step(l->hasher, max, &hash, err);
    *budget -= a->size < max ? a->size : max;
    if (rc == 1 && !l->copy && hash != a->hash)
        rc = sl_err_set(err, SLUICE_INTERNAL, "it was changed");
    if (rc == 0)
        return 0;
    sl_hasher_destroy(l->hasher);
    sl_publish_destroy(l->copy);
    l->hasher = NULL;
    l->copy = NULL;
    return rc;
}

static bool has_all(const struct run *run, const struct sl_task *task) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    for (int o = 0; o < stage->n_outputs; o++)
        if (!task->artifacts[o].path && !stage->outputs[o].optional)
            return false;
    return true;
}

/* 1: all outputs are there; 0: call again; else the entry cannot be used. */
static int fetch(struct run *run, struct sl_task *task, struct look *l, struct sl_err *err) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    const json_t *outputs = json_object_get(l->entry, "outputs");
    uint64_t budget = SLICE;
    if (!task->artifacts)
        task->artifacts = sl_xcalloc((size_t)stage->n_outputs, sizeof *task->artifacts);
    while (l->output < json_array_size(outputs)) {
        const json_t *output = json_array_get(outputs, l->output);
        int port = find_port(stage, sl_json_str(output, "port", "")), rc = 0;
        if (port < 0)
            return sl_err_set(err, SLUICE_INTERNAL, "it has an output that the stage has not");
        if (budget == 0)
            return 0;
        if (!l->hasher && !l->copy)
            rc = begin_output(run, task, l, output, port, err);
        if (rc == 0)
            rc = go_on_with(l, &task->artifacts[port], &budget, err);
        if (rc < 0)
            return rc;
        l->output += rc == 1;
    }
    return has_all(run, task) ? 1 : sl_err_set(err, SLUICE_INTERNAL, "it lacks an output");
}

static void forget_fetched(struct run *run, struct sl_task *task) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    for (int o = 0; task->artifacts && o < stage->n_outputs; o++)
        if (task->artifacts[o].path)
            unlink(task->artifacts[o].path);
    sl_task_drop_artifacts(task, stage->n_outputs);
}

static enum sl_reuse step_fetch(struct run *run, struct sl_task *task, struct look *l) {
    struct sl_err err = {0};
    int rc = make_item_folder(run, task, &err);
    if (rc == 0)
        rc = fetch(run, task, l, &err);
    if (rc == 0)
        return SL_REUSE_WAIT;
    if (rc > 0) {
        sl_result_use(run->cache->root, l->key);
        return SL_REUSE_HIT;
    }
    forget_fetched(run, task);
    sl_result_remove(run->cache->root, l->key);
    return miss(l, sl_xasprintf("its kept result cannot be used: %s", err.msg));
}

/* ---- Looking --------------------------------------------------------------------------------- */

static enum sl_reuse step_recipe(struct run *run, struct sl_task *task, struct look *l) {
    const char *never = NULL;
    int rc = sl_recipe_make(&run->cache->recipes, task, SLICE, &l->recipe, &never);
    if (rc == 0)
        return SL_REUSE_WAIT;
    if (rc < 0)
        return miss(l, sl_xstrdup(never));
    sl_results_key(l->recipe.all, l->key);
    l->entry = sl_result_find(run->cache->root, l->key);
    if (!l->entry || !json_equal(json_object_get(l->entry, "recipe"), l->recipe.all))
        return miss(l, explain(run, task, l));
    l->step = FETCH;
    return step_fetch(run, task, l);
}

static bool turn_is_over(struct sl_cache_use *use) {
    int64_t now = sl_now_ms();
    if (!use->turn_end_ms)
        use->turn_end_ms = now + TURN_MS;
    return now >= use->turn_end_ms;
}

enum sl_reuse sl_reuse_look(struct run *run, struct sl_task *task) {
    struct sl_cache_use *use = run->cache;
    if (!use || !use->takes_part[task->stage])
        return SL_REUSE_MISS;
    if (!task->look)
        task->look = sl_xcalloc(1, sizeof(struct look));
    struct look *l = task->look;
    if (l->step == MISSED)
        return SL_REUSE_MISS;
    enum sl_reuse found = turn_is_over(use)   ? SL_REUSE_WAIT
                          : l->step == RECIPE ? step_recipe(run, task, l)
                                              : step_fetch(run, task, l);
    use->waits |= found == SL_REUSE_WAIT;
    return found;
}

/* ---- Keeping --------------------------------------------------------------------------------- */

static bool has_room(const struct sl_cache_use *use) {
    struct statvfs fs;
    sl_autofree char *parent = sl_xasprintf("%s/..", use->root);
    return (statvfs(use->root, &fs) < 0 && statvfs(parent, &fs) < 0) ||
           fs.f_bavail >= fs.f_blocks / FREE_SHARE ||
           (uint64_t)fs.f_bavail * fs.f_frsize >= FREE_MOST;
}

static json_t *entry_of(const struct run *run, const struct sl_task *task, const struct look *l) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    json_t *entry = json_object(), *outputs = json_array();
    json_object_set(entry, "recipe", l->recipe.all);
    sl_json_set(entry, "use", json_string(stage->use));
    sl_json_set(entry, "stage", json_string(stage->name));
    sl_json_set(entry, "item", sl_json_text(run->spec->items[task->item].name));
    sl_json_set(entry, "run", json_string(run->dir->id));
    for (int o = 0; o < stage->n_outputs; o++) {
        const struct sl_artifact *a = &task->artifacts[o];
        char hash[20];
        if (!a->path)
            continue;
        json_t *one = json_object();
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)a->hash);
        sl_json_set(one, "port", json_string(stage->outputs[o].port));
        sl_json_set(one, "size", json_integer((json_int_t)a->size));
        sl_json_set(one, "xxh3", json_string(hash));
        json_array_append_new(outputs, one);
    }
    sl_json_set(entry, "outputs", outputs);
    return entry;
}

/* Links an artifact into the cache, or notes that it is to be copied. */
static int keep_output(const struct sl_cache_use *use, struct keeping *k, const char *port,
                       const struct sl_artifact *a, struct sl_err *err) {
    sl_autofree char *path = sl_result_path(use->root, k->key, port);
    int fd, rc;
    unlink(path);
    if (link(a->path, path) == 0)
        return 0;
    if (errno != EXDEV && errno != EPERM && errno != EMLINK)
        return sl_err_sys(err, SLUICE_RESOURCE, errno, "%s", path);
    rc = sl_artifact_open(a->path, a->size, a->hash, 0, &fd, err);
    if (rc < 0)
        return rc;
    k->files[k->n].fd = fd;
    k->files[k->n].path = sl_steal(&path);
    k->files[k->n].size = a->size;
    k->files[k->n++].hash = a->hash;
    return 0;
}

static void finish_keeping(struct sl_cache_use *use, struct keeping *k) {
    const json_t *outputs = json_object_get(k->entry, "outputs");
    if (sl_result_write(use->root, k->key, k->entry, NULL) < 0)
        return;
    sl_result_set_last(use->root, k->trail, k->key);
    for (size_t i = 0; i < json_array_size(outputs); i++)
        use->added +=
            (uint64_t)json_integer_value(json_object_get(json_array_get(outputs, i), "size"));
    if (use->added >= use->max_bytes / PRUNE_SHARE)
        prune(use);
}

/* NULL: it may be kept. */
static const char *reason_against(const struct run *run, const struct sl_task *task,
                                  const struct look *l) {
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    if (task->deviates)
        return "it was made otherwise than its parameters say, after on_oom";
    if (!l->recipe.all)
        return l->why ? l->why : "it takes no part";
    if (!has_room(run->cache))
        return "the disk of the cache is nearly full";
    for (int o = 0; o < stage->n_outputs; o++)
        if (task->artifacts[o].path && task->artifacts[o].held)
            return "its stage still has an output open for writing";
    sl_autojson json_t *now = sl_run_sources(run, task->item, task->stage);
    return now == l->recipe.sources || json_equal(now, l->recipe.sources)
               ? NULL
               : "a file that it was made of has changed";
}

static bool may_be_kept(struct run *run, const struct sl_task *task, const struct look *l) {
    if (!l || l->step != MISSED)
        return false;
    const char *reason = reason_against(run, task, l);
    if (reason)
        sl_log(&run->log, SLUICE_LOG_DEBUG, "%s: %s: its result is not kept for later runs: %s",
               run->spec->items[task->item].name, run->plan->stages[task->stage].name, reason);
    return !reason;
}

void sl_reuse_keep(struct run *run, struct sl_task *task) {
    struct sl_cache_use *use = run->cache;
    const struct look *l = task->look;
    const struct sl_plan_stage *stage = &run->plan->stages[task->stage];
    struct sl_err err = {0};
    if (use && may_be_kept(run, task, l)) {
        struct keeping k = {.entry = entry_of(run, task, l), .trail = trail_of(run, task)};
        memcpy(k.key, l->key, sizeof k.key);
        int rc = sl_result_make_place(use->root, k.key, &err);
        for (int o = 0; rc == 0 && o < stage->n_outputs; o++)
            if (task->artifacts[o].path)
                rc = keep_output(use, &k, stage->outputs[o].port, &task->artifacts[o], &err);
        if (rc == 0 && k.n > 0) {
            SL_PUSH_ROOM(use->keeping, use->n_keeping, use->cap_keeping);
            use->keeping[use->n_keeping++] = k;
        } else {
            if (rc == 0)
                finish_keeping(use, &k);
            else
                sl_log(&run->log, SLUICE_LOG_DEBUG, "a result was not kept: %s", err.msg);
            keeping_finish(&k);
        }
    }
    sl_reuse_drop(task);
}

/* 1: all are copied. */
static int copy_some(struct keeping *k, struct sl_err *err) {
    uint64_t budget = SLICE;
    while (k->at < k->n) {
        int rc = 0;
        if (budget == 0)
            return 0;
        uint64_t size = k->files[k->at].size;
        if (!k->copy)
            rc = sl_publish_begin(k->files[k->at].path, "cache", false,
                                  sl_steal_fd(&k->files[k->at].fd), size, k->files[k->at].hash,
                                  &k->copy, err);
        if (rc == 0)
            rc = sl_publish_step(k->copy, budget, err);
        budget -= size < budget ? size : budget;
        if (rc < 0)
            return rc;
        if (rc == 0)
            continue;
        sl_publish_destroy(k->copy);
        k->copy = NULL;
        k->at++;
    }
    return 1;
}

bool sl_reuse_is_busy(const struct run *run) {
    return run->cache && run->cache->n_keeping > 0 && !run->stopping;
}

bool sl_reuse_some(struct run *run) {
    struct sl_cache_use *use = run->cache;
    struct sl_err err = {0};
    if (!use)
        return false;
    bool waits = use->waits;
    use->waits = false;
    use->turn_end_ms = 0;
    if (use->n_keeping == 0)
        return waits;
    struct keeping *k = &use->keeping[0];
    int rc = copy_some(k, &err);
    if (rc == 0)
        return true;
    if (rc > 0)
        finish_keeping(use, k);
    keeping_finish(k);
    memmove(&use->keeping[0], &use->keeping[1], (size_t)--use->n_keeping * sizeof *k);
    return waits || use->n_keeping > 0;
}

/*
 * Making recipes, see recipe.h. Attempts, resources, timeouts and numbers of threads are no part of
 * one: they do not change what a deterministic stage makes. The path of an artifact is none either;
 * of a user's file the base name is, because a stage that takes a file is given its path and may
 * look at its ending.
 *
 * Files that parameters name count by their content: a text that holds a slash and names a file,
 * and what a parameter `model` names by the rules of fetch/models.h, which may be a folder. Folders
 * that other parameters name are taken as names, since nobody knows what of them is read.
 */
#include "sched/recipe.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "fetch/models.h"
#include "sched/run_internal.h"

#define MODEL_DEPTH 3
#define MODEL_FILES 4096
#define NEVER_HELD  "a process still has an input of it open and could change it"
#define NEVER_READ  "a file that it reads cannot be read"
#define NEVER_MANY  "its model is a folder of too many files"

void sl_recipes_init(struct sl_recipes *rs, const struct run *run) {
    sl_autofree char *cache = sl_cache_folder();
    *rs = (struct sl_recipes){.run = run, .params = json_object()};
    sl_digests_open(cache, &rs->digests);
    rs->builds = sl_xcalloc((size_t)run->plan->n_stages, sizeof *rs->builds);
    for (int s = 0; s < run->plan->n_stages; s++) {
        const struct sl_plugin_desc *plugin = run->plan->stages[s].desc->plugin;
        rs->builds[s] = *plugin->build ? sl_xstrdup(plugin->build) : sl_file_stamp(plugin->path);
    }
}

void sl_recipes_finish(struct sl_recipes *rs) {
    for (int s = 0; s < rs->run->plan->n_stages; s++)
        free(rs->builds[s]);
    free(rs->builds);
    sl_digests_finish(&rs->digests);
    json_decref(rs->params);
}

void sl_recipe_finish(struct sl_recipe *r) {
    json_decref(r->all);
    json_decref(r->sources);
    json_decref(r->known);
    sl_hasher_destroy(r->hasher);
    free(r->path);
    *r = (struct sl_recipe){0};
}

/* ---- Digests --------------------------------------------------------------------------------- */

struct making {
    struct sl_recipes *rs;
    struct sl_recipe *r;
    uint64_t left; /* bytes that may still be read now */
    const char *never;
};

static int fail(struct making *m, const char *why) {
    m->never = why;
    return -1;
}

static void know(struct making *m, const char *path, uint64_t size, uint64_t hash) {
    sl_autofree char *text = sl_digest_text(size, hash);
    json_object_set_new_nocheck(m->r->known, path, json_string(text));
}

static int begin_file(struct making *m, const char *path) {
    struct sl_recipe *r = m->r;
    uint64_t hash;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &r->st) < 0 || !S_ISREG(r->st.st_mode)) {
        sl_close(&fd);
        return fail(m, NEVER_READ);
    }
    if (r->st.st_size > SL_DIGEST_SMALL && sl_digests_find(&m->rs->digests, path, &r->st, &hash)) {
        know(m, path, (uint64_t)r->st.st_size, hash);
        close(fd);
        return 0;
    }
    r->path = sl_xstrdup(path);
    r->hasher = sl_hasher_create(fd, (uint64_t)r->st.st_size);
    return 0;
}

static int go_on_with_file(struct making *m) {
    struct sl_recipe *r = m->r;
    uint64_t hash, size = (uint64_t)r->st.st_size, max = m->left;
    int rc = sl_hasher_step(r->hasher, max, &hash, NULL);
    m->left -= size < max ? size : max;
    if (rc == 0)
        return 0;
    if (rc > 0) {
        know(m, r->path, size, hash);
        if (size > SL_DIGEST_SMALL)
            sl_digests_add(&m->rs->digests, r->path, &r->st, hash);
    }
    sl_hasher_destroy(r->hasher);
    free(r->path);
    r->hasher = NULL;
    r->path = NULL;
    return rc < 0 ? fail(m, NEVER_READ) : 1;
}

/* 1: *ret is the digest, borrowed. */
static int digest_file(struct making *m, const char *path, const char **ret) {
    int rc = 1;
    *ret = json_string_value(json_object_get(m->r->known, path));
    if (*ret)
        return 1;
    if (!m->r->path && m->left > 0)
        rc = begin_file(m, path);
    if (rc >= 0 && m->r->path)
        rc = m->left > 0 && strcmp(m->r->path, path) == 0 ? go_on_with_file(m) : 0;
    *ret = json_string_value(json_object_get(m->r->known, path));
    return rc < 0 ? -1 : *ret != NULL;
}

/* ---- Models that are folders ----------------------------------------------------------------- */

static int visible(const struct dirent *e) {
    return e->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int digest_folder(struct making *m, const char *path, int depth, int *n_files,
                         struct sl_str *all);

static int digest_entry(struct making *m, const char *path, const char *name, int depth,
                        int *n_files, struct sl_str *all) {
    const char *digest;
    struct stat st;
    if (stat(path, &st) < 0)
        return 1; /* a link that leads nowhere */
    if (++*n_files > MODEL_FILES)
        return fail(m, NEVER_MANY);
    sl_str_addf(all, "%zu:%s ", strlen(name), name);
    if (S_ISDIR(st.st_mode))
        return depth < MODEL_DEPTH ? digest_folder(m, path, depth + 1, n_files, all) : 1;
    if (!S_ISREG(st.st_mode))
        return 1;
    int rc = digest_file(m, path, &digest);
    if (rc == 1)
        sl_str_addf(all, "%s\n", digest);
    return rc;
}

/* Adds names and digests of what is in it. */
static int digest_folder(struct making *m, const char *path, int depth, int *n_files,
                         struct sl_str *all) {
    struct dirent **list = NULL;
    int rc = 1, n = scandir(path, &list, visible, by_bytes);
    for (int i = 0; i < n; i++) {
        sl_autofree char *inside = sl_path_join(path, list[i]->d_name);
        if (rc == 1)
            rc = digest_entry(m, inside, list[i]->d_name, depth, n_files, all);
        free(list[i]);
    }
    free(list);
    return rc;
}

/* ---- Parameters ------------------------------------------------------------------------------ */

/* Whether a parameter of this name names a model. */
static bool names_model(const char *param) {
    static const char *const names[] = {"model", "segmentation", "embedding", "plda"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(param, names[i]) == 0)
            return true;
    return false;
}

/* A model, or a file that a text names; owned; NULL: it is only a text. */
static char *named_by(const struct sl_recipes *rs, const char *param, const char *text) {
    struct stat st;
    if (names_model(param) && *text)
        return sl_model_find(text, rs->run->places.share_dir);
    if (!strchr(text, '/') || stat(text, &st) < 0 || !S_ISREG(st.st_mode))
        return NULL;
    return sl_path_absolute(text);
}

/* The digest of a path that a parameter names becomes part of `files`. */
static int add_named(struct making *m, const char *path, json_t *files) {
    json_t *seen = json_object_get(m->rs->params, path);
    const char *digest;
    struct stat st;
    int rc = 1;
    if (!seen && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        sl_autostr struct sl_str all = {0};
        int n_files = 0;
        rc = digest_folder(m, path, 0, &n_files, &all);
        if (rc == 1) {
            sl_autofree char *text = sl_digest_text(all.len, XXH3_64bits(all.data, all.len));
            json_object_set_new_nocheck(m->rs->params, path, json_string(text));
        }
    } else if (!seen) {
        rc = digest_file(m, path, &digest);
        if (rc == 1)
            json_object_set_new_nocheck(m->rs->params, path, json_string(digest));
    }
    if (rc == 1)
        json_object_set_nocheck(files, path, json_object_get(m->rs->params, path));
    return rc;
}

static int add_files(struct making *m, const char *param, json_t *value, json_t *files) {
    const char *key;
    json_t *one;
    size_t i;
    int rc = 1;
    if (json_is_string(value)) {
        sl_autofree char *path = named_by(m->rs, param, json_string_value(value));
        return path ? add_named(m, path, files) : 1;
    }
    json_array_foreach(value, i, one) if (rc == 1) rc = add_files(m, param, one, files);
    json_object_foreach(value, key, one) if (rc == 1) rc = add_files(m, key, one, files);
    return rc;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

static int add_user_file(struct making *m, const struct sl_task *task,
                         const struct sl_plan_input *in, json_t *inputs) {
    const struct run *run = m->rs->run;
    const char *path =
        in->from_port == 0 ? run->spec->items[task->item].file : run->spec->inputs[in->from_port];
    const char *digest;
    int rc = digest_file(m, path, &digest);
    if (rc != 1)
        return rc;
    bool by_path = strcmp(in->type, SLUICE_TYPE_FILE) == 0;
    sl_autofree char *text =
        sl_xasprintf("%s%s%s", digest, by_path ? " " : "", by_path ? sl_path_base(path) : "");
    sl_json_set(inputs, in->port, sl_json_text(text));
    return 1;
}

static int add_artifact(struct making *m, const struct sl_task *task,
                        const struct sl_plan_input *in, json_t *inputs) {
    const struct sl_task *source = sl_task_at(&m->rs->run->tasks, task->item, in->from_stage);
    const struct sl_artifact *a = source->artifacts ? &source->artifacts[in->from_port] : NULL;
    if (!a || !a->path)
        return 1; /* optional, and not there */
    if (a->held)
        return fail(m, NEVER_HELD);
    if (a->hasher)
        return 0;
    sl_autofree char *text = sl_digest_text(a->size, a->hash);
    sl_json_set(inputs, in->port, json_string(text));
    return 1;
}

static int add_inputs(struct making *m, const struct sl_task *task, json_t *inputs) {
    const struct sl_plan_stage *stage = &m->rs->run->plan->stages[task->stage];
    int rc = 1;
    for (int i = 0; rc == 1 && i < stage->n_inputs; i++)
        rc = stage->inputs[i].from_stage < 0 ? add_user_file(m, task, &stage->inputs[i], inputs)
                                             : add_artifact(m, task, &stage->inputs[i], inputs);
    return rc;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static json_t *params_of(const struct run *run, const struct sl_task *task) {
    json_t *params = NULL;
    sl_autofree char *own =
        sl_variants_params(run->spec->variants, run->spec->items[task->item].set, task->stage);
    const char *text = own ? own : run->plan->stages[task->stage].params;
    return sl_json_parse(text, strlen(text), &params, NULL) == 0 ? params : json_object();
}

static json_t *put_together(const struct sl_recipes *rs, const struct sl_task *task, json_t *params,
                            json_t *files, json_t *inputs) {
    const struct sl_plan_stage *stage = &rs->run->plan->stages[task->stage];
    const char *cpu = getenv("SLUICE_CPU");
    json_t *all = json_object();
    sl_json_set(all, "use", json_string(stage->use));
    sl_json_set(all, "version", sl_json_text(stage->desc->version));
    sl_json_set(all, "build", json_string(rs->builds[task->stage]));
    sl_json_set(all, "device", json_string(sl_admission_device(rs->run, task->stage)));
    json_object_set(all, "params", params);
    json_object_set(all, "files", files);
    json_object_set(all, "inputs", inputs);
    sl_json_set(all, "env", cpu ? sl_json_text(cpu) : NULL);
    return all;
}

int sl_recipe_make(struct sl_recipes *rs, const struct sl_task *task, uint64_t max,
                   struct sl_recipe *r, const char **ret_never) {
    struct making m = {.rs = rs, .r = r, .left = max};
    sl_autojson json_t *params = params_of(rs->run, task), *files = json_object(),
                       *inputs = json_object();
    if (!r->known) {
        r->known = json_object();
        r->sources = sl_run_sources(rs->run, task->item, task->stage);
    }
    int rc = add_inputs(&m, task, inputs);
    if (rc == 1)
        rc = add_files(&m, "", params, files);
    if (rc == 1)
        r->all = put_together(rs, task, params, files, inputs);
    else if (rc < 0)
        *ret_never = m.never;
    return rc;
}

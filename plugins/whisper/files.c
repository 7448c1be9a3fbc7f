/*
 * The files of a model: see files.h.
 *
 * Weight files are mapped and stay mapped while the model lives; the pages are the system's, shared
 * between processes and given back under pressure. Tensors of every shard become one sorted list of
 * views. An export of the bare model lacks the prefix "model." in its names; it is put in front.
 */
#include "whisper/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE_FILE "model.safetensors"
#define INDEX_FILE  "model.safetensors.index.json"

/* ---- Views ---------------------------------------------------------------------------------- */

int32_t wh_file_read(const char *folder, const char *file, bool optional, char **ret,
                     size_t *ret_len, struct num_err *err) {
    return num_file_read(folder, file, optional,
                         "a model is a Hugging Face Whisper folder or a .bin file of whisper.cpp",
                         ret, ret_len, err);
}

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* Bytes for the names that need the prefix. */
static size_t names_bytes(const struct num_safetensors *st) {
    size_t n = 0;
    for (size_t i = 0; i < st->n_tensors; i++)
        if (!begins(st->tensors[i].name, "model."))
            n += strlen(st->tensors[i].name) + sizeof "model.";
    return n;
}

static bool is_used(const char *name) {
    return begins(name, "model.encoder.") || begins(name, "model.decoder.") ||
           begins(name, "encoder.") || begins(name, "decoder.");
}

/* Adds the views of one file's tensors; *names is the next free byte. */
static int32_t add_views(struct wh_files *files, const struct num_safetensors *st, const char *path,
                         char **names, struct num_err *err) {
    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct num_tensor *t = &st->tensors[i];
        struct num_weights *w = &files->tensors[files->weights.n_tensors];
        if (!is_used(t->name))
            continue;
        if (!num_tensor_is_float(t))
            return num_fail(err, SLUICE_INPUT,
                            "%s: tensor %s is of type %s; F32, F16 and BF16 can be read", path,
                            t->name, num_dtype_name(t->dtype));
        if (!num_weights_of_tensor(t, w))
            return num_fail(err, SLUICE_INPUT, "%s: tensor %s is empty", path, t->name);
        if (!begins(t->name, "model.")) {
            w->name = *names;
            *names += sprintf(*names, "model.%s", t->name) + 1;
        }
        files->weights.n_tensors++;
    }
    return SLUICE_OK;
}

static int32_t make_views(struct wh_files *files, const char *const *paths, struct num_err *err) {
    size_t n = 0, bytes = 0;
    for (size_t i = 0; i < files->n_shards; i++) {
        n += files->shards[i].n_tensors;
        bytes += names_bytes(&files->shards[i]);
    }
    files->tensors = calloc(n + 1, sizeof *files->tensors);
    files->names = malloc(bytes + 1);
    if (!files->tensors || !files->names)
        return num_fail_memory(err, "the list of tensors", n * sizeof *files->tensors);
    char *names = files->names;
    int32_t status = SLUICE_OK;
    for (size_t i = 0; !status && i < files->n_shards; i++)
        status = add_views(files, &files->shards[i], paths[i], &names, err);
    return status ? status : wh_files_index(files, err);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct num_weights *)a)->name, ((const struct num_weights *)b)->name);
}

int32_t wh_files_index(struct wh_files *files, struct num_err *err) {
    struct wh_weights *w = &files->weights;
    w->tensors = files->tensors;
    w->path = files->path;
    w->mapped = true;
    if (w->n_tensors)
        qsort(files->tensors, w->n_tensors, sizeof *files->tensors, by_name);
    for (size_t i = 1; i < w->n_tensors; i++)
        if (strcmp(w->tensors[i - 1].name, w->tensors[i].name) == 0)
            return num_fail(err, SLUICE_INPUT, "%s: tensor %s is there twice", w->path,
                            w->tensors[i].name);
    return SLUICE_OK;
}

const struct num_weights *wh_weights_get(const struct wh_weights *w, struct num_err *err,
                                         const char *name, const uint64_t *shape) {
    struct num_weights key = {.name = name};
    const struct num_weights *t =
        w->n_tensors ? bsearch(&key, w->tensors, w->n_tensors, sizeof key, by_name) : NULL;
    uint32_t n_dims = 0;
    while (shape[n_dims])
        n_dims++;
    if (!t) {
        num_fail(err, SLUICE_INPUT, "%s has no tensor %s", w->path, name);
        return NULL;
    }
    if (t->n_dims != n_dims || memcmp(t->shape, shape, n_dims * sizeof *shape) != 0) {
        char expected[128], found[128];
        num_shape_text(shape, n_dims, expected, sizeof expected);
        num_shape_text(t->shape, t->n_dims, found, sizeof found);
        num_fail(err, SLUICE_INPUT, "%s: tensor %s has the shape %s where %s asks for %s", w->path,
                 name, found, w->sizes_from, expected);
        return NULL;
    }
    return t;
}

/* ---- A folder ------------------------------------------------------------------------------- */

static int32_t open_shard(struct wh_files *files, const char *folder, const char *file,
                          struct num_err *err) {
    char path[NUM_MAX_PATH];
    void *map = NULL;
    size_t len = 0;
    int32_t status = num_file_join(folder, file, path, err);
    if (!status)
        status = num_file_map(path, &map, &len, err);
    if (!status) {
        struct num_safetensors *st = &files->shards[files->n_shards];
        status = num_safetensors_parse(map, len, path, st, err);
        if (!status) {
            st->map = map;
            st->map_len = len;
            files->n_shards++;
        } else {
            num_file_unmap(map, len);
        }
    }
    return status;
}

/* The view of that tensor, whose name may lack the prefix; NULL where there is none. */
static const struct num_weights *find_view(const struct wh_weights *w, const char *tensor) {
    char name[256];
    snprintf(name, sizeof name, "%s%s", begins(tensor, "model.") ? "" : "model.", tensor);
    struct num_weights key = {.name = name};
    return w->n_tensors ? bsearch(&key, w->tensors, w->n_tensors, sizeof key, by_name) : NULL;
}

/* Every tensor that a model uses lies in the file that the index names. */
static int32_t check_index(const struct wh_files *files, const struct num_shards *shards,
                           struct num_err *err) {
    for (size_t i = 0; i < shards->n_entries; i++) {
        const struct num_shard_entry *e = &shards->entries[i];
        const struct num_safetensors *st = &files->shards[e->file];
        if (!is_used(e->tensor))
            continue;
        const struct num_weights *t = find_view(&files->weights, e->tensor);
        if (!t || (const char *)t->data < (const char *)st->map ||
            (const char *)t->data >= (const char *)st->map + st->map_len)
            return num_fail(err, SLUICE_INPUT,
                            "%s puts tensor %.100s into %s, which does not have it", files->path,
                            e->tensor, shards->files[e->file]);
    }
    return SLUICE_OK;
}

static int32_t open_indexed(struct wh_files *files, const char *folder, const char *text,
                            size_t len, struct num_err *err) {
    struct num_shards shards = {0};
    int32_t status = num_shards_parse(text, len, files->path, &shards, err);
    if (!status && !(files->shards = calloc(shards.n_files, sizeof *files->shards)))
        status = num_fail_memory(err, "the list of files", shards.n_files);
    for (size_t i = 0; !status && i < shards.n_files; i++)
        status = open_shard(files, folder, shards.files[i], err);
    if (!status)
        status = make_views(files, shards.files, err);
    if (!status)
        status = check_index(files, &shards, err);
    num_shards_finish(&shards);
    return status;
}

static int32_t open_single(struct wh_files *files, const char *folder, struct num_err *err) {
    const char *names[] = {files->path};
    files->shards = calloc(1, sizeof *files->shards);
    if (!files->shards)
        return num_fail_memory(err, "the list of files", 1);
    int32_t status = open_shard(files, folder, SINGLE_FILE, err);
    return status ? status : make_views(files, names, err);
}

struct wh_files *wh_files_create(const char *path, const char *sizes_from) {
    struct wh_files *files = calloc(1, sizeof *files);
    if (!files)
        return NULL;
    files->weights.sizes_from = sizes_from;
    files->path = strdup(path);
    if (files->path)
        return files;
    free(files);
    return NULL;
}

int32_t wh_files_open(const char *folder, struct wh_files **ret, struct num_err *err) {
    char path[NUM_MAX_PATH], *index = NULL;
    size_t len = 0;
    int32_t status = SLUICE_OK;
    if (!num_file_exists(folder, SINGLE_FILE))
        status = wh_file_read(folder, INDEX_FILE, true, &index, &len, err);
    if (!status)
        status = num_file_join(folder, index ? INDEX_FILE : SINGLE_FILE, path, err);
    struct wh_files *files = status ? NULL : wh_files_create(path, "config.json");
    if (!status && !files)
        status = num_fail_memory(err, "the list of files", sizeof *files);
    if (!status)
        status =
            index ? open_indexed(files, folder, index, len, err) : open_single(files, folder, err);
    free(index);
    if (status)
        wh_files_close(files);
    else
        *ret = files;
    return status;
}

void wh_files_close(struct wh_files *files) {
    if (!files)
        return;
    for (size_t i = 0; i < files->n_shards; i++)
        num_safetensors_close(&files->shards[i]);
    if (files->map)
        num_file_unmap(files->map, files->map_len);
    free(files->shards);
    free(files->tensors);
    free(files->names);
    free(files->path);
    free(files);
}

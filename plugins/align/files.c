/*
 * Files of a model: see files.h. Weight files are mapped while the model is loaded and closed when
 * its weights are packed.
 */
#include "align/files.h"

#include <stdlib.h>

#define SINGLE_FILE "model.safetensors"
#define INDEX_FILE  "model.safetensors.index.json"

static int32_t open_file(struct al_files *f, const char *folder, const char *name,
                         struct num_err *err) {
    char path[NUM_MAX_PATH];
    int32_t status = num_file_join(folder, name, path, err);
    if (!status)
        status = num_safetensors_open(path, &f->files[f->n_files], err);
    if (!status)
        f->n_files++;
    return status;
}

static int32_t open_shards(struct al_files *f, const char *folder, const struct num_shards *shards,
                           struct num_err *err) {
    int32_t status = SLUICE_OK;
    f->files = calloc(shards->n_files + 1, sizeof *f->files);
    if (!f->files)
        return num_fail_memory(err, "the list of files", shards->n_files * sizeof *f->files);
    for (size_t i = 0; !status && i < shards->n_files; i++)
        status = open_file(f, folder, shards->files[i], err);
    return status;
}

int32_t al_files_open(const char *folder, struct al_files *ret, struct num_err *err) {
    const char *single = SINGLE_FILE;
    struct al_files f = {0};
    struct num_shards shards = {.files = &single, .n_files = 1};
    char *index = NULL;
    size_t len = 0;
    int32_t status = SLUICE_OK;
    if (!num_file_exists(folder, SINGLE_FILE))
        status = num_file_read(folder, INDEX_FILE, true, AL_MODEL_WANTED, &index, &len, err);
    if (!status && index)
        status = num_shards_parse(index, len, INDEX_FILE, &shards, err);
    if (!status)
        status = open_shards(&f, folder, &shards, err);
    if (index && shards.json)
        num_shards_finish(&shards);
    free(index);
    if (status)
        al_files_close(&f);
    else
        *ret = f;
    return status;
}

int32_t al_files_add(struct al_files *files, const char *folder, const char *name,
                     struct num_err *err) {
    size_t n = files->n_files + 1;
    struct num_safetensors *grown = reallocarray(files->files, n, sizeof *grown);
    if (!grown)
        return num_fail_memory(err, "the list of files", n * sizeof *grown);
    files->files = grown;
    return open_file(files, folder, name, err);
}

void al_files_close(struct al_files *files) {
    for (size_t i = 0; i < files->n_files; i++)
        num_safetensors_close(&files->files[i]);
    free(files->files);
    *files = (struct al_files){0};
}

const struct num_tensor *al_files_find(const struct al_files *files, const char *name) {
    const struct num_tensor *found = NULL;
    for (size_t i = files->n_files; !found && i-- > 0;)
        found = num_safetensors_find(&files->files[i], name);
    return found;
}

/* Tensors of a file that was parsed in memory are not its to give back. */
void al_files_forget(const struct al_files *files, const struct num_weights *w) {
    for (size_t i = 0; i < files->n_files; i++) {
        const struct num_safetensors *f = &files->files[i];
        uintptr_t at = (uintptr_t)w->data, map = (uintptr_t)f->map;
        if (f->map && at >= map && at - map < f->map_len)
            num_file_forget(w->data, w->rows * w->row_bytes);
    }
}

/*
 * The files of a model: whole small ones, mapped weight files, and the views of all tensors.
 *
 * Weights in several files ("shards") come with an index, model.safetensors.index.json:
 *     {"weight_map": {tensor name: file name in the same folder, ...}, "metadata": {...}}
 */
#ifndef WH_FILES_H
#define WH_FILES_H

#include "whisper/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WH_MAX_PATH 4096

/* Mapped weight files. `weights` is sorted by name; everything is borrowed until the end. */
struct wh_files {
    struct wh_weights weights;
    struct num_weights *tensors; /* what `weights` points to */
    char *path;                  /* of the file or index, for messages */
    char *names;                 /* names of tensors where a file has others */
    struct num_safetensors *shards;
    size_t n_shards;
    void *map; /* of a whisper.cpp file */
    size_t map_len;
};

/* The whole file FOLDER/FILE, malloc'ed; a missing optional one gives *ret = NULL. */
int32_t wh_file_read(const char *folder, const char *file, bool optional, char **ret,
                     size_t *ret_len, struct num_err *err);
bool wh_file_exists(const char *folder, const char *file);

/* Maps a file read-only and tells the system to read ahead. */
int32_t wh_file_map(const char *path, void **ret_map, size_t *ret_len, struct num_err *err);
void wh_file_unmap(void *map, size_t len);

/* No tensors yet; for the fields see struct wh_weights. NULL without memory. */
struct wh_files *wh_files_create(const char *path, const char *sizes_from);

/* Opens the safetensors of a folder: model.safetensors, or the shards of its index. */
int32_t wh_files_open(const char *folder, struct wh_files **ret, struct num_err *err);
void wh_files_close(struct wh_files *files); /* takes NULL */

/*
 * Sorts the tensors by name and finishes `weights`. SLUICE_INPUT where a name comes twice.
 */
int32_t wh_files_index(struct wh_files *files, struct num_err *err);

/* The distinct file names of an index, and for each tensor the number of its file. */
struct wh_shards {
    const char **files;
    size_t n_files;
    struct wh_shard_entry {
        const char *tensor;
        size_t file;
    } * entries;
    size_t n_entries;
    void *json; /* owns the strings */
};

/*
 * Parses an index; `file` names it in messages. File names that would leave the folder, and more
 * than a thousand files, are refused.
 */
int32_t wh_shards_parse(const char *text, size_t len, const char *file, struct wh_shards *ret,
                        struct num_err *err);
void wh_shards_finish(struct wh_shards *shards); /* takes a zeroed struct too */

#ifdef __cplusplus
}
#endif

#endif

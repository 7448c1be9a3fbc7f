/*
 * The files of a model (num/files.h) and the views of all tensors.
 */
#ifndef WH_FILES_H
#define WH_FILES_H

#include "num/files.h"
#include "whisper/model.h"

#ifdef __cplusplus
extern "C" {
#endif

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

/* num_file_read() whose message says what a model is. */
int32_t wh_file_read(const char *folder, const char *file, bool optional, char **ret,
                     size_t *ret_len, struct num_err *err);

/* No tensors yet; for the fields see struct wh_weights. NULL without memory. */
struct wh_files *wh_files_create(const char *path, const char *sizes_from);

/* Opens the safetensors of a folder: model.safetensors, or the shards of its index. */
int32_t wh_files_open(const char *folder, struct wh_files **ret, struct num_err *err);
void wh_files_close(struct wh_files *files); /* takes NULL */

/*
 * Sorts the tensors by name and finishes `weights`. SLUICE_INPUT where a name comes twice.
 */
int32_t wh_files_index(struct wh_files *files, struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

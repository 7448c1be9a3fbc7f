/*
 * Files of models: whole small ones, mapped large ones, and the index of weights in several files.
 *
 * Weights in several files ("shards") come with an index, model.safetensors.index.json:
 *     {"weight_map": {tensor name: file name in the same folder, ...}, "metadata": {...}}
 */
#ifndef NUM_FILES_H
#define NUM_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_MAX_PATH 4096

/* FOLDER/FILE into `path`; SLUICE_INPUT where it is too long. */
int32_t num_file_join(const char *folder, const char *file, char path[NUM_MAX_PATH],
                      struct num_err *err);

/* The whole file FOLDER/FILE, at most 64 MiB, malloc'ed; a missing optional one gives *ret = NULL.
 * `wanted` ends the message where it cannot be opened: what would be right. */
int32_t num_file_read(const char *folder, const char *file, bool optional, const char *wanted,
                      char **ret, size_t *ret_len, struct num_err *err);
bool num_file_exists(const char *folder, const char *file);

/* Maps a file read-only and tells the system to read ahead. */
int32_t num_file_map(const char *path, void **ret_map, size_t *ret_len, struct num_err *err);
void num_file_unmap(void *map, size_t len);

/* Gives back the memory of whole pages of a read-only mapping whose bytes will not be needed again:
 * beside a copy of them they count twice. Who reads them all the same gets them from the file. */
void num_file_forget(const void *from, size_t len);

/* The distinct file names of an index, and for each tensor the number of its file. */
struct num_shards {
    const char **files;
    size_t n_files;
    struct num_shard_entry {
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
int32_t num_shards_parse(const char *text, size_t len, const char *file, struct num_shards *ret,
                         struct num_err *err);
void num_shards_finish(struct num_shards *shards); /* takes a zeroed struct too */

#ifdef __cplusplus
}
#endif

#endif

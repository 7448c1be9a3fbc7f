/*
 * Safetensors files: named tensors, the one binary format of models and of audio between stages.
 *
 *     8 bytes    header length H, unsigned little-endian
 *     H bytes    JSON: {"__metadata__": {key: string},
 *                       name: {"dtype", "shape", "data_offsets": [begin, end]}, ...}
 *     the rest   tensor data, little-endian; offsets count from here, back to back
 *
 * The reader checks everything that it later relies on: a struct num_tensor that it returns can be
 * read to its end. Format: github.com/huggingface/safetensors, README, section "Format".
 */
#ifndef NUM_SAFETENSORS_H
#define NUM_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_MAX_DIMS 8

enum num_dtype {
    NUM_BOOL,
    NUM_U8,
    NUM_I8,
    NUM_F8_E4M3,
    NUM_F8_E5M2,
    NUM_I16,
    NUM_U16,
    NUM_F16,
    NUM_BF16,
    NUM_I32,
    NUM_U32,
    NUM_F32,
    NUM_I64,
    NUM_U64,
    NUM_F64,
    NUM_N_DTYPES
};

/* "F32", and the size of one element in bytes. */
const char *num_dtype_name(enum num_dtype dtype);
size_t num_dtype_size(enum num_dtype dtype);

struct num_tensor {
    const char *name;
    enum num_dtype dtype;
    uint32_t n_dims;
    uint64_t shape[NUM_MAX_DIMS];
    uint64_t n_elements; /* product of shape; 1 for a scalar */
    /* n_elements * num_dtype_size(dtype) bytes, of any alignment; NULL for a writer */
    const void *data;
};

struct num_meta {
    const char *key, *value;
};

/* A parsed file. Names, metadata and data live until num_safetensors_close(). */
struct num_safetensors {
    struct num_tensor *tensors; /* in the order of their data */
    size_t n_tensors;
    struct num_meta *meta;
    size_t n_meta;
    void *json; /* owns the strings */
    void *map;  /* the mapping of num_safetensors_open(), or NULL */
    size_t map_len;
};

/*
 * Parses the span `data`, which stays borrowed until close. `file` names it in messages. Fails with
 * SLUICE_INPUT and a sentence where the bytes are not a well-formed file.
 */
int32_t num_safetensors_parse(const void *data, size_t len, const char *file,
                              struct num_safetensors *ret, struct num_err *err);

/* Maps the file at `path` read-only and parses it. */
int32_t num_safetensors_open(const char *path, struct num_safetensors *ret, struct num_err *err);

/* Takes a zeroed struct too. */
void num_safetensors_close(struct num_safetensors *st);

/* The tensor, or the metadata string, of that name; NULL where there is none. */
const struct num_tensor *num_safetensors_find(const struct num_safetensors *st, const char *name);
const char *num_safetensors_meta(const struct num_safetensors *st, const char *key);

/* "[1500, 384]" into `text`. */
void num_shape_text(const uint64_t *shape, uint32_t n_dims, char *text, size_t size);

/* Whether num_tensor_to_f32() can convert: F32, F16 and BF16. */
bool num_tensor_is_float(const struct num_tensor *t);

/* Converts all n_elements to float; exact for all three types. The tensor must be
 * num_tensor_is_float(). */
void num_tensor_to_f32(const struct num_tensor *t, float *ret);

/*
 * The header of a file that holds `tensors` back to back in this order (`name`, `dtype`, `n_dims`
 * and `shape` count, the rest is ignored) and the given metadata. The data follow right behind it:
 * the length is a multiple of 8, and at least `min_bytes`, so that a writer that learns the shape
 * last can reserve room first, stream the data behind it and put the final header in front:
 *
 *     num_safetensors_header(&pcm, 1, meta, n_meta, 4096, &header, &len, &err)   -> len is 4096
 *
 * The caller frees *ret_header with free(). Fails on a name used twice, bad UTF-8 and sizes that
 * overflow.
 */
int32_t num_safetensors_header(const struct num_tensor *tensors, size_t n_tensors,
                               const struct num_meta *meta, size_t n_meta, size_t min_bytes,
                               void **ret_header, size_t *ret_len, struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

/*
 * A model on disk: a folder with model.safetensors and config.json, or such a safetensors file,
 * with the config beside it. tools/convert_diarization writes them.
 */
#ifndef DIARIZE_WEIGHTS_H
#define DIARIZE_WEIGHTS_H

#include <jansson.h>

#include "num/safetensors.h"

struct dz_weights {
    struct num_safetensors file;
    json_t *config; /* an object */
};

/* Fails with SLUICE_INPUT where a file is missing or damaged, or where the config's model_type is
 * not `type`. */
int32_t dz_weights_open(const char *path, const char *type, struct dz_weights *ret,
                        struct num_err *err);
/* Takes a zeroed one too. */
void dz_weights_close(struct dz_weights *weights);

/* The bytes of both files; they stay borrowed until close. For tests and fuzzing. */
int32_t dz_weights_parse(const void *data, size_t len, const char *config, size_t config_len,
                         const char *type, struct dz_weights *ret, struct num_err *err);

/* The config's number at `key`, or `otherwise` where there is none; SLUICE_INPUT where it is not
 * within [least, most]. */
int32_t dz_weights_number(const struct dz_weights *weights, const char *key, double least,
                          double most, double otherwise, double *ret, struct num_err *err);

/*
 * The tensor `format`... as floats, the caller's to free. Its shape has to be n_dims sizes of
 * `shape`; a 0 there takes any size from 1 to 65,536 and is set to it.
 */
__attribute__((format(printf, 6, 7))) int32_t dz_weights_take(const struct dz_weights *weights,
                                                              size_t n_dims, size_t *shape,
                                                              float **ret, struct num_err *err,
                                                              const char *format, ...);

/* Whether there is such a tensor. */
__attribute__((format(printf, 2, 3))) int dz_weights_has(const struct dz_weights *weights,
                                                         const char *format, ...);

#endif

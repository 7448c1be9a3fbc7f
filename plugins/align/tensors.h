/*
 * The weights of a network by name, checked against the shapes that its configuration asks for.
 * What packs them for the processor (net_load.c) and what brings them to a card (cuda/net_load.c)
 * read through this.
 */
#ifndef ALIGN_TENSORS_H
#define ALIGN_TENSORS_H

#include "align/config.h"
#include "align/files.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AL_NAME_BYTES 160
/* A shape for the functions below; no size is 0. */
#define AL_SHAPE(...) ((const uint64_t[]){__VA_ARGS__, 0})

struct al_tensors {
    const struct al_files *files;
    bool hubert;
    struct num_err *err;
    int32_t status; /* of the first failure; after it nothing more is read */
};

/* The view of a tensor of that shape; false where something failed. Names are without the prefix of
 * the model's kind. */
bool al_tensors_find(struct al_tensors *t, const char *name, const uint64_t *shape,
                     struct num_weights *ret);

/* All of it as floats. Nothing is written after a failure. */
void al_tensors_floats(struct al_tensors *t, const char *name, const uint64_t *shape, float *to);

/* NAME.weight and NAME.bias of n values each. */
void al_tensors_norm(struct al_tensors *t, const char *name, uint64_t n, float *gamma, float *beta);
void al_tensors_bias(struct al_tensors *t, const char *name, uint64_t n, float *to);

/*
 * The weights of the positional convolution, (D, width, taps), whether they are stored plain or
 * with weight norm (Salimans and Kingma, 2016) under one of the two names that exist; the norm is
 * undone: for every tap, w = g v / |v| over all outputs and inputs.
 */
void al_tensors_positions(struct al_tensors *t, uint64_t D, uint64_t width, uint64_t taps,
                          float *to);

#ifdef __cplusplus
}
#endif

#endif

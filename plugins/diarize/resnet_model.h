/*
 * An embedding model as its file holds it: sizes, checked against each other, and weights in float,
 * the normalisations over the batch folded into them by tools/convert_diarization. What runs it
 * (resnet.h, cuda/resnet.h) makes its own of them.
 */
#ifndef DIARIZE_RESNET_MODEL_H
#define DIARIZE_RESNET_MODEL_H

#include "diarize/weights.h"

#define DZ_RESNET_LAYERS 4
#define DZ_RESNET_BLOCKS 64 /* at most */

struct dz_resnet_conv {
    size_t n_in, n_out, width, stride; /* the kernel is square */
    float *weight, *bias;              /* (n_out, n_in, width, width), (n_out) */
};

struct dz_resnet_block {
    struct dz_resnet_conv first, second, shortcut; /* shortcut: width 0 where there is none */
};

struct dz_resnet_model {
    size_t n_bands;
    struct dz_resnet_conv stem;
    struct dz_resnet_block blocks[DZ_RESNET_BLOCKS];
    size_t n_blocks;
    float *weight, *bias;  /* of the embedding: (size, 2 * n_pooled), (size) */
    size_t size, n_pooled; /* n_pooled: channels * bands */
};

/* SLUICE_INPUT: the weights are not what is expected, and the message says what. They are
 * copied. */
int32_t dz_resnet_model_load(const struct dz_weights *weights, struct dz_resnet_model *ret,
                             struct num_err *err);
/* Frees the floats; sizes stay. Takes a zeroed one too. */
void dz_resnet_model_finish(struct dz_resnet_model *model);

/* n halved `times` times, rounded up. */
size_t dz_resnet_halved(size_t n, size_t times);

/* The mask at frame t of n: its nearest value, as torch's interpolation takes it. */
float dz_resnet_mask_at(const float *mask, size_t n_mask, size_t t, size_t n);

#endif

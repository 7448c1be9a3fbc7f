/*
 * A segmentation model as its file holds it: sizes, checked against each other, and weights in
 * float. What runs it (pyannet.h, cuda/pyannet.h) makes its own of them.
 */
#ifndef DIARIZE_PYANNET_MODEL_H
#define DIARIZE_PYANNET_MODEL_H

#include "diarize/weights.h"

#define DZ_MAX_LOCAL        8 /* local speakers of a window */
#define DZ_PYANNET_CONVS    3
#define DZ_PYANNET_LSTMS    8
#define DZ_PYANNET_LINEARS  5 /* the last one gives the classes */
#define DZ_PYANNET_SETS     128
#define DZ_PYANNET_EPSILON  1e-5  /* of normalisations */
#define DZ_PYANNET_NEGATIVE 0.01f /* slope of the leaky ReLU */
#define DZ_PYANNET_POOL     3     /* outputs of a convolution of which the largest stays */

struct dz_pyannet_shape {
    size_t window;    /* samples, 16 kHz */
    size_t n_frames;  /* of a window */
    size_t frame;     /* samples that a frame sees, */
    size_t step;      /* and from one frame to the next */
    size_t n_local;   /* speakers */
    size_t n_classes; /* sets of them, no one and one of them first */
};

struct dz_pyannet_conv {
    size_t n_in, n_out, width, stride;
    float *weight;        /* (n_out, n_in, width) */
    float *bias;          /* (n_out); NULL: none */
    float *scale, *shift; /* (n_out): of the normalisation behind the pool */
};

struct dz_pyannet_lstm {
    size_t n_in, n_hidden, n_directions;
    /* Forward, backward: (4 n_hidden, n_in), (4 n_hidden, n_hidden), (4 n_hidden); gates in torch's
     * order: input, forget, cell, output. */
    float *input[2], *state[2], *bias[2];
};

struct dz_pyannet_linear {
    size_t n_in, n_out;
    float *weight, *bias; /* (n_out, n_in), (n_out) */
};

struct dz_pyannet_model {
    struct dz_pyannet_shape shape;
    uint8_t sets[DZ_PYANNET_SETS]; /* of each class: the speakers, a bit each */
    float wave_scale, wave_shift;
    struct dz_pyannet_conv convs[DZ_PYANNET_CONVS];
    size_t lengths[DZ_PYANNET_CONVS + 1]; /* samples, and what is left behind each pool */
    struct dz_pyannet_lstm lstms[DZ_PYANNET_LSTMS];
    size_t n_lstms;
    struct dz_pyannet_linear linears[DZ_PYANNET_LINEARS];
    size_t n_linears;
};

/* SLUICE_INPUT: the weights are not what is expected, and the message says what. They are
 * copied. */
int32_t dz_pyannet_model_load(const struct dz_weights *weights, struct dz_pyannet_model *ret,
                              struct num_err *err);
/* Frees the floats; sizes and sets stay. Takes a zeroed one too. */
void dz_pyannet_model_finish(struct dz_pyannet_model *model);

#endif

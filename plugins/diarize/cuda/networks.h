/*
 * Both networks of the neural method on a card: what backend.c creates, and what segment.c and
 * hear.c work on. Everything on the card lies in one block that is taken at create; nothing is
 * allocated after. `type`, BF16 or F32, is that of weights and inputs of products; the
 * segmentation's front, gates, what cells remember, the first convolution of the embedding, pooling
 * and the last layers are float always.
 */
#ifndef DIARIZE_CUDA_NETWORKS_H
#define DIARIZE_CUDA_NETWORKS_H

#include "diarize/backend.h"
#include "diarize/cuda/kernels.h"
#include "diarize/resnet_model.h"
#include "num/cuda/device.h"
#include "num/cuda/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DZ_CUDA_ALIGN      256         /* bytes: start of every part */
#define DZ_CUDA_MAPS       8           /* windows that go through the embedding network at a time */
#define DZ_CUDA_GEMM_BYTES (32u << 20) /* workspace of a product, at most: what cuBLASLt advises */

/* Where parts of the block lie; counts where there is no block yet. */
struct dz_cuda_room {
    char *base;
    size_t used;
};
void *dz_cuda_take(struct dz_cuda_room *room, size_t bytes);

/* n values up to whole 16 bytes in every type. */
static inline size_t dz_cuda_padded(size_t n) {
    return (n + 7) / 8 * 8;
}

/* ---- Segmentation --------------------------------------------------------------------------- */

struct dz_cuda_lstm_layer {
    void *input;  /* (n_directions 4 h, dz_cuda_padded(n_in)) type */
    float *bias;  /* (n_directions 4 h) */
    void *states; /* (n_directions, h, 4 h) type */
};

struct dz_cuda_segmentation {
    float *conv[DZ_PYANNET_CONVS], *conv_bias[DZ_PYANNET_CONVS]; /* (width n_in, n_out) */
    float *scale[DZ_PYANNET_CONVS], *shift[DZ_PYANNET_CONVS];
    struct dz_cuda_lstm_layer lstms[DZ_PYANNET_LSTMS];
    void *linears[DZ_PYANNET_LINEARS]; /* (n_out, dz_cuda_padded(n_in)) dz_cuda_linear_type() */
    float *linear_bias[DZ_PYANNET_LINEARS];
    float *wave;    /* (DZ_BATCH, window): samples; hear.c's too */
    float *maps[2]; /* of the front */
    void *x, *y;    /* (n_frames, DZ_BATCH, widest) type: rows of layers, frames outermost */
    float *gates;   /* (n_frames, DZ_BATCH, n_directions 4 h) and sums of linear layers */
};

/* ---- Embedding ------------------------------------------------------------------------------ */

struct dz_cuda_conv_weights {
    void *w;
    float *bias;
};

struct dz_cuda_embedding {
    struct dz_cuda_bands *bands;
    struct dz_cuda_conv_weights stem, first[DZ_RESNET_BLOCKS], second[DZ_RESNET_BLOCKS],
        shortcut[DZ_RESNET_BLOCKS];
    float *weight, *bias; /* of the last layer */
    float *features;      /* (DZ_CUDA_MAPS, n_bands, n_frames) */
    void *maps[3];        /* of DZ_CUDA_MAPS windows, type */
    unsigned *which;      /* (DZ_CUDA_MAPS DZ_MAX_LOCAL): the map of each voice */
    float *masks;         /* (DZ_CUDA_MAPS DZ_MAX_LOCAL, frames of the last map) */
    float *pooled;        /* (DZ_CUDA_MAPS DZ_MAX_LOCAL, 2 n_pooled) */
    float *rows;          /* (DZ_CUDA_MAPS DZ_MAX_LOCAL, dz_cuda_padded(size)) */
};

/* ---- Both ----------------------------------------------------------------------------------- */

struct dz_cuda {
    struct dz_pyannet_model seg; /* sizes; their floats are gone after create */
    struct dz_resnet_model emb;
    enum num_cuda_type type;
    struct num_cuda_device device;
    struct dz_cuda_segmentation s;
    struct dz_cuda_embedding e;
    char *block, *workspace;
    size_t bytes;
    cudaStream_t stream;
    struct num_cuda_gemm *gemm;
    char *pinned; /* windows on their way to the card; scores, masks and rows */
    size_t pinned_bytes;
};

static inline size_t dz_cuda_frames(const struct dz_cuda *m) { /* of the embedding's features */
    return m->seg.shape.window < 400 ? 0 : (m->seg.shape.window - 400) / 160 + 1;
}

/* What linear layer i multiplies: floats where it gives the classes behind others. */
static inline enum num_cuda_type dz_cuda_linear_type(const struct dz_cuda *m, size_t i) {
    return i > 0 && i + 1 == m->seg.n_linears ? NUM_CUDA_F32 : m->type;
}

/* A call on its way; its first failure stops the steps behind it. */
struct dz_cuda_call {
    struct dz_cuda *m;
    size_t n; /* windows */
    int32_t status;
    struct num_err *err;
};

static inline void dz_cuda_note(struct dz_cuda_call *c, const char *what, cudaError_t error) {
    if (c->status == SLUICE_OK)
        c->status = num_cuda_fail(c->err, what, error);
}

/* ---- load.c */

/* SLUICE_UNSUPPORTED for sizes that the kernels do not take. */
int32_t dz_cuda_check(const struct dz_cuda *m, struct num_err *err);
/* Places of everything from m->block on (NULL: only counts); returns the bytes. */
size_t dz_cuda_place(struct dz_cuda *m);
int32_t dz_cuda_load(struct dz_cuda *m, struct num_err *err);

/* ---- segment.c, hear.c: the functions of struct dz_backend. */
int32_t dz_cuda_segment(void *self, const float *const *windows, size_t n, float *ret,
                        struct num_err *err);
int32_t dz_cuda_hear(void *self, const float *const *windows, size_t n,
                     const struct dz_heard *heard, size_t n_heard, struct num_err *err);

/* Queues the copy of n windows, at most DZ_BATCH, to s.wave. */
cudaError_t dz_cuda_send_windows(struct dz_cuda *m, const float *const *windows, size_t n);

#ifdef __cplusplus
}
#endif

#endif

/*
 * The encoder's buffers on a CUDA device: sizes and places, without a CUDA type. Letters for sizes
 * as in model.h; B is config.n_windows. Buffers whose lives do not meet share their place.
 */
#ifndef WH_CUDA_ENCODER_PLAN_H
#define WH_CUDA_ENCODER_PLAN_H

#include "whisper/cuda/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `type` is the config's. */
struct wh_cuda_encoder_work {
    float *mel[2];  /* (B, 2 T, M): as it comes from the host; one is filled while one is read */
    float *x;       /* (B, T, D): the residual stream */
    void *norm;     /* (B, T, D) type: what a product reads: normed rows, what attention found */
    void *wide;     /* (B, 2 T, D) type: conv1's output; then ... */
    void *qkv;      /* ... (B, T, 3 D) type: queries, keys, values; then ... */
    void *add;      /* ... (B, T, D) type: what is added to the stream next */
    void *cols;     /* (B, 2 T, 3 M), then (B, T, 3 D) type: rows of the convolutions; then ... */
    void *hidden;   /* ... (B, T, F) type: of the MLP */
    void *qkv_bias; /* (layers, 3 D) type: as the library's epilogue wants it */
    size_t bytes;
};

/* Gives every buffer its place from `base` on (NULL: only counts). */
void wh_cuda_encoder_place(struct wh_cuda_encoder_work *work, const struct wh_cuda_config *c,
                           void *base);

#ifdef __cplusplus
}
#endif

#endif

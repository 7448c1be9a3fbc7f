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

/* Samples of a window: those that its 2 T frames see, in whole lines. */
static inline size_t wh_cuda_window_samples(const struct wh_cuda_config *c) {
    return ((size_t)c->dims.n_audio_ctx * 320 + 400 + 63) / 64 * 64;
}

#define WH_CUDA_PIECE_BYTES 256 /* room for what describes a window of samples */

/* Bytes of what a pass brings from the host: mel frames, or descriptions and samples. */
size_t wh_cuda_feed_bytes(const struct wh_cuda_config *c);

#define WH_CUDA_MEL_TABLES(n_mels) (8192 + 16 * (size_t)(n_mels)) /* bytes, at least those needed */

/* `type` is the config's. */
struct wh_cuda_encoder_work {
    void *feed[2];    /* wh_cuda_feed_bytes(): one is filled while one is read */
    void *mel_tables; /* num_cuda_mel_tables_fill() */
    float *mel_max;   /* (n_slots): the largest mel power of the audio that a slot listens to */
    float *mel;       /* (B, 2 T, M): of samples; then ... */
    float *x;         /* ... (B, T, D): the residual stream */
    void *norm;       /* (B, T, D) type: what a product reads: normed rows, what attention found */
    void *wide;       /* (B, 2 T, D) type: conv1's output; then ... */
    void *qkv;        /* ... (B, T, 3 D) type: queries, keys, values; then ... */
    void *add;        /* ... (B, T, D) type: what is added to the stream next */
    void *cols;       /* (B, 2 T, 3 M), then (B, T, 3 D) type: rows of the convolutions; then ... */
    void *hidden;     /* ... (B, T, F) type: of the MLP */
    void *qkv_bias;   /* (layers, 3 D) type: as the library's epilogue wants it */
    size_t bytes;
};

/* Gives every buffer its place from `base` on (NULL: only counts). */
void wh_cuda_encoder_place(struct wh_cuda_encoder_work *work, const struct wh_cuda_config *c,
                           void *base);

#ifdef __cplusplus
}
#endif

#endif

/*
 * Inside of the encoder on a CUDA device: what encoder.c (passes) and encoder_feed.c (what a pass
 * reads, from mel frames or from samples) share.
 */
#ifndef WH_CUDA_ENCODER_H
#define WH_CUDA_ENCODER_H

#include "num/cuda/conv.h"
#include "whisper/cuda/cuda.h"
#include "whisper/cuda/encoder_plan.h"

/* Numbers of windows that have a graph, beside n_windows: at most a third of a pass is wasted. */
#define WH_CUDA_ENCODER_SIZES                                                                      \
    { 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64 }
#define WH_CUDA_N_SIZES 12

/* Kernels of one size. */
struct wh_cuda_body {
    bool ran;
    cudaGraphExec_t graph; /* NULL: not yet */
};

struct wh_cuda_encoder {
    struct wh_cuda_encoder_work work;
    struct num_cuda_conv *conv;
    cudaStream_t copy_stream;
    void *pinned[2]; /* wh_cuda_feed_bytes() */
    cudaEvent_t copied[2], consumed[2];
    cudaEvent_t decoded; /* the decoder has done what was queued before a pass */
    int next;            /* feed of the next pass */
    struct wh_cuda_body bodies[WH_CUDA_N_SIZES + 1];
};

/* A pass on its way; its first failure stops the steps behind it. */
struct wh_cuda_pass {
    struct wh_cuda *m;
    const struct wh_cuda_encoder_work *work;
    uint32_t n; /* windows */
    int feed;   /* which of the two */
    int32_t status;
    struct num_err *err;
};

static inline void wh_cuda_check(struct wh_cuda_pass *p, const char *what, cudaError_t error) {
    if (!p->status)
        p->status = num_cuda_fail(p->err, what, error);
}

/* ---- encoder_feed.c ------------------------------------------------------------------------- */

int32_t wh_cuda_feed_create(struct wh_cuda *m, struct num_err *err);
void wh_cuda_feed_destroy(struct wh_cuda_encoder *e);

/* Bring the mel frames (n, 2 T, M) of a pass's windows to the device; return where they lie once
 * encode_stream comes to what is queued next. */
const float *wh_cuda_feed_mel(struct wh_cuda_pass *p, const float *const *mel);
const float *wh_cuda_feed_audio(struct wh_cuda_pass *p, const struct wh_excerpt *windows,
                                const uint32_t *slots);

#endif

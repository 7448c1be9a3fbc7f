/*
 * What the networks of diarization do on a card beside products (num/cuda/gemm.h). Pointers are the
 * card's, 16-byte aligned, borrowed until the stream has passed.
 */
#ifndef DIARIZE_CUDA_KERNELS_H
#define DIARIZE_CUDA_KERNELS_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#include "num/cuda/type.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Segmentation: front.cu, lstm.cu. As cells.h and pyannet.c of the processor compute it. -- */

/* x (n_windows, n): each window to mean 0 and variance 1, times scale, plus shift; what is no
 * number as 0. */
cudaError_t dz_cuda_wave(float *x, size_t n_windows, size_t n, float scale, float shift,
                         cudaStream_t stream);

/*
 * A convolution over time and the maximum over three of its outputs, of their magnitudes with
 * `magnitudes`; plus bias. `bias` may be NULL.
 *     x (n_windows, n, n_in), w (width * n_in, n_out), ret (n_windows, n_ret, n_out), all float
 */
struct dz_cuda_pooled {
    const float *x, *w, *bias;
    float *ret;
    size_t n_windows, n, n_in, n_out, width, stride, n_ret;
    int magnitudes;
};
cudaError_t dz_cuda_pooled_run(const struct dz_cuda_pooled *pooled, cudaStream_t stream);
/* Bytes of shared memory of a block. */
size_t dz_cuda_pooled_shared(size_t n_in, size_t width, size_t stride);

/*
 * Each channel of each window to mean 0 and variance 1 over time, then scale, shift and leaky ReLU.
 *     x (n_windows, n, n_channels) float
 * ret gets the value of window b, time t and channel c at (b window + t step) + c, in the type, and
 * zeros from n_channels up to `width`. With F32 it may be x where the layout is the same.
 */
struct dz_cuda_normal {
    const float *x, *scale, *shift;
    void *ret;
    size_t n_windows, n, n_channels, window, step, width;
};
cudaError_t dz_cuda_normal_run(const struct dz_cuda_normal *normal, enum num_cuda_type type,
                               cudaStream_t stream);

/*
 * All steps of an LSTM in each direction, several sequences a block.
 *     gates (n_steps, n, n_directions, 4 h) float: what inputs and biases make of them
 *     w     (n_directions, h, 4 h) in the type: of states, the state's value outermost
 *     ret   (n_steps, n, n_directions h) in the type
 */
struct dz_cuda_lstm {
    const float *gates;
    const void *w;
    void *ret;
    size_t n_steps, n, n_hidden, n_directions;
    size_t shared_bytes; /* that a block may take: decides whether weights stay there */
};
cudaError_t dz_cuda_lstm_run(const struct dz_cuda_lstm *lstm, enum num_cuda_type type,
                             cudaStream_t stream);

/* ret = leaky(x + bias) in the type: rows of n values, in both `ld` apart; zeros behind them in
 * ret. */
cudaError_t dz_cuda_leaky(const float *x, const float *bias, size_t rows, size_t n, size_t ld,
                          void *ret, enum num_cuda_type type, cudaStream_t stream);

/* ---- Embedding: conv.cu, voice.cu. As fbank.h and resnet.c of the processor compute it. ------ */

/* Tables of filter banks of n_bands bands, as fbank.c makes them. */
struct dz_cuda_bands {
    float wave[512];             /* a period of the cosine */
    float window[400];           /* of a frame */
    unsigned first[128], n[128]; /* bins of each band */
    float weights[128 * 256];    /* (n_bands, 256): of each bin */
};

/* Filter banks of n_windows windows of n samples in [-1, 1], x (n_windows, n), without their means
 * over time: ret (n_windows, n_bands, n_frames) float. */
struct dz_cuda_fbank {
    const float *x;
    const struct dz_cuda_bands *bands;
    float *ret;
    size_t n_windows, n, n_bands, n_frames;
};
cudaError_t dz_cuda_fbank_run(const struct dz_cuda_fbank *fbank, cudaStream_t stream);

/* Whether convolutions run on tensor cores: half types and widths of 32 channels. Decides the order
 * of weights. */
int dz_cuda_conv_tiled(enum num_cuda_type type, size_t n_in, size_t n_out);

/*
 * ret = relu(conv(x) + bias + more), relu and more where asked for; a square kernel of 1 or 3,
 * zeros around x.
 *     x (n_maps, n_bands, n_frames, n_in), float with x_float, else in the type
 *     w (n_out, width, width, n_in) in the type where tiled, else (width, width, n_in, n_out) float
 *     ret, more (n_maps, n_bands / stride, n_frames / stride, n_out), rounded up, in the type
 */
struct dz_cuda_conv {
    const void *x, *w;
    const float *bias;
    const void *more; /* or NULL */
    void *ret;
    size_t n_maps, n_bands, n_frames, n_in, n_out, width, stride;
    int relu, x_float;
};
cudaError_t dz_cuda_conv_run(const struct dz_cuda_conv *conv, enum num_cuda_type type,
                             cudaStream_t stream);

/*
 * For each of n voices the weighted mean and deviation over time of each channel of each band of a
 * map.
 *     x (maps, n_bands, n_frames, n_channels) in the type; which [n]: the map of each voice
 *     weights (n, n_frames); ret (n, 2, n_channels, n_bands) float: means, then deviations
 */
struct dz_cuda_pool {
    const void *x;
    const unsigned *which;
    const float *weights;
    float *ret;
    size_t n, n_bands, n_frames, n_channels;
};
cudaError_t dz_cuda_pool_run(const struct dz_cuda_pool *pool, enum num_cuda_type type,
                             cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

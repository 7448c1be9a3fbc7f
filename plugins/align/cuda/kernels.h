/*
 * What the networks of align/words do on a card beside products, norms and attention (num/cuda).
 * `type` is that of the model's matrices. Pointers are the card's, 16-byte aligned, borrowed until
 * the stream has passed.
 */
#ifndef ALIGN_CUDA_KERNELS_H
#define ALIGN_CUDA_KERNELS_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#include "num/cuda/type.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ret[t, o] = bias[o] + sum over i < taps of samples[stride t + i] w[i, o]: the convolution of the
 * sound. */
struct al_cuda_first {
    const float *samples, *w; /* w (taps, n_out) */
    const float *bias;        /* (n_out), or NULL */
    void *ret;                /* (rows, n_out) type */
    size_t rows, n_out, taps, stride;
};
cudaError_t al_cuda_first_run(const struct al_cuda_first *first, enum num_cuda_type type,
                              cudaStream_t stream);

/*
 * What the positional convolution reads for frames [first, first + rows): for each group of
 * channels and each frame its `taps` neighbours from `before` frames earlier on, zeros outside of
 * x.
 *     x (n, groups * width) float; ret (groups, rows, taps, width) type
 */
struct al_cuda_unfold {
    const float *x;
    void *ret;
    size_t n, groups, width, taps, before, first, rows;
};
cudaError_t al_cuda_unfold_run(const struct al_cuda_unfold *unfold, enum num_cuda_type type,
                               cudaStream_t stream);

/* ret = x, n values, in the type; not for F32. */
cudaError_t al_cuda_convert(const float *x, size_t n, void *ret, enum num_cuda_type type,
                            cudaStream_t stream);

/* x = max(x, 0), n values. */
cudaError_t al_cuda_relu(float *x, size_t n, cudaStream_t stream);

/* ret[r] = x[r] - log(sum of exp(x[r])): rows of n values, ld apart in x, side by side in ret. */
cudaError_t al_cuda_log_softmax(const float *x, size_t rows, size_t n, size_t ld, float *ret,
                                cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

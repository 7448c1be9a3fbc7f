/*
 * Convolutions of width 3 over time as matrix products: the rows that a product reads.
 */
#ifndef NUM_CUDA_UNFOLD_H
#define NUM_CUDA_UNFOLD_H

#include <cuda_runtime.h>
#include <stddef.h>

#include "num/cuda/type.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * ret[b, t] = x[b, s t - 1], x[b, s t], x[b, s t + 1] side by side, zeros outside of x; s is the
 * stride, 1 or 2.
 *     x (n_batch, n, n_channels) in type `from`, which is F32 or `to`
 *     ret (n_batch, n / stride, 3 n_channels) in type `to`
 * n_channels is a multiple of 8, n of the stride. Pointers are the device's, 16-byte aligned.
 */
struct num_cuda_unfold {
    const void *x;
    void *ret;
    size_t n_batch, n, n_channels, stride;
};

cudaError_t num_cuda_unfold_run(const struct num_cuda_unfold *unfold, enum num_cuda_type from,
                                enum num_cuda_type to, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

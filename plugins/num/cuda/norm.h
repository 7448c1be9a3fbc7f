/*
 * Rows of a residual stream: sums and layer norms in one pass over memory.
 */
#ifndef NUM_CUDA_NORM_H
#define NUM_CUDA_NORM_H

#include <cuda_runtime.h>
#include <stddef.h>

#include "num/cuda/type.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_CUDA_NORM_MAX 2048 /* most values of a row */

/*
 * For each row r of `rows` rows of n values, n a multiple of 8 and at most NUM_CUDA_NORM_MAX:
 *     x = base[r % period] + add[r] + bias   (each may be NULL)
 *     ret_sum[r] = x                         where ret_sum is not NULL; it may be base
 *     ret[r] = norm(x) * gamma + beta        where ret is not NULL; it may be add
 * All pointers are the device's, 16-byte aligned, borrowed until the stream has passed the launch.
 */
struct num_cuda_norm {
    size_t rows, n;
    const float *base;         /* (period, n) */
    size_t period;             /* rows for a residual stream; fewer for positions that repeat */
    const void *add;           /* (rows, n) in the type */
    const float *bias;         /* (n): of the product that made add */
    float *ret_sum;            /* (rows, n) */
    const float *gamma, *beta; /* (n) */
    void *ret;                 /* (rows, n) in the type */
};

/* Variance in two passes with 1e-5 added, as torch.nn.LayerNorm; sums in a fixed order. */
cudaError_t num_cuda_norm_run(const struct num_cuda_norm *norm, enum num_cuda_type type,
                              cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

/*
 * Attention without a mask: every query of a window meets all its keys.
 */
#ifndef NUM_CUDA_ATTENTION_H
#define NUM_CUDA_ATTENTION_H

#include <cuda_runtime.h>
#include <stddef.h>

#include "num/cuda/type.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_CUDA_HEAD 64 /* values of a head */

/*
 * ret[b, i, h] = sum over j of softmax_j(scale q[b, i, h] . k[b, j, h]) v[b, j, h]
 * for n_batch windows of n queries, keys and values and n_heads heads of NUM_CUDA_HEAD values each.
 * Row i of window b starts ld x (b n + i) values after the pointer (ld_ret for ret), head h at
 * NUM_CUDA_HEAD x h in it: queries, keys and values may be columns of one product. Pointers are the
 * device's, 16-byte aligned as are rows, and borrowed until the stream has passed the launch.
 */
struct num_cuda_attention {
    const void *q, *k, *v;
    void *ret;
    size_t ld, ld_ret;
    size_t n, n_heads, n_batch;
    float scale;
};

/*
 * F16 and BF16 use tensor cores: scores and sums are floats, weights are rounded to the type before
 * they meet the values. F32 uses none, and adds in an order that is the same in every run. n_heads
 * and n_batch are at most 65535.
 */
cudaError_t num_cuda_attention_run(const struct num_cuda_attention *attention,
                                   enum num_cuda_type type, cudaStream_t stream);

/* The F32 form alone: attention_exact.cu. */
cudaError_t num_cuda_attention_exact(const struct num_cuda_attention *attention,
                                     cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

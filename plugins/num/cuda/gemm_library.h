/*
 * The library of matrix products behind gemm.c: cuBLASLt (gemm_lt.c), or plain loops on the
 * emulated card.
 */
#ifndef NUM_CUDA_GEMM_LIBRARY_H
#define NUM_CUDA_GEMM_LIBRARY_H

#include "num/cuda/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

struct num_cuda_library;

int32_t num_cuda_library_open(struct num_cuda_library **ret_library, struct num_err *err);
void num_cuda_library_close(struct num_cuda_library *library);
const char *num_cuda_library_name(const struct num_cuda_library *library);

/*
 * The product as in gemm.h, with leading dimensions, n_batch and strides filled in, and of its ends
 * only what the library can do: bias_typed (or bias, where ret_type is F32), residual, and
 * GELU_TANH.
 */
int32_t num_cuda_library_run(struct num_cuda_library *library,
                             const struct num_cuda_product *product, void *workspace,
                             size_t workspace_bytes, cudaStream_t stream, struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

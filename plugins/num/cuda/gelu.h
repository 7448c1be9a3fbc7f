/*
 * The exact GELU, x Phi(x), for products whose library only offers its approximation by tanh.
 */
#ifndef NUM_CUDA_GELU_H
#define NUM_CUDA_GELU_H

#include <cuda_runtime.h>
#include <stddef.h>

#include "num/cuda/type.h"

#ifdef __cplusplus
extern "C" {
#endif

/* n values in place, n a multiple of 8; x on the device, 16-byte aligned. Within 1e-6 of the exact
 * function before the result is rounded to the type; F32 uses the math library's erf. */
cudaError_t num_cuda_gelu(void *x, size_t n, enum num_cuda_type type, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

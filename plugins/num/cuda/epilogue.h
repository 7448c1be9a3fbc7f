/*
 * What is done to a product's result where the library has no epilogue for it.
 */
#ifndef NUM_CUDA_EPILOGUE_H
#define NUM_CUDA_EPILOGUE_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#include "num/cuda/type.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * ret[r] = act(ret[r] + bias) + residual[r] for `rows` rows of n values, ld values apart in both;
 * act is the exact GELU (within 1e-6, before the rounding to the type) or nothing. Pointers are the
 * card's.
 */
struct num_cuda_epilogue {
    enum num_cuda_type type; /* of ret and residual */
    size_t rows, n, ld;
    void *ret;
    const float *bias;    /* (n), or NULL */
    const void *residual; /* or NULL; may be ret's neighbour, not ret */
    int gelu;
};

cudaError_t num_cuda_epilogue_run(const struct num_cuda_epilogue *epilogue, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

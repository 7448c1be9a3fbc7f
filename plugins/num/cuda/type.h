/*
 * What a matrix on the device is made of. Sums are floats whatever it is.
 */
#ifndef NUM_CUDA_TYPE_H
#define NUM_CUDA_TYPE_H

#include <stddef.h>

enum num_cuda_type { NUM_CUDA_F32, NUM_CUDA_F16, NUM_CUDA_BF16 };

/* Bytes of one value. */
static inline size_t num_cuda_type_bytes(enum num_cuda_type type) {
    return type == NUM_CUDA_F32 ? 4 : 2;
}

#endif

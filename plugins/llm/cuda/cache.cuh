/* Where keys and values of a position lie, and how they are put there and read: see cuda.h. */
#ifndef LM_CUDA_CACHE_CUH
#define LM_CUDA_CACHE_CUH

#include "llm/cuda/cuda.h"
#include "num/cuda/vec8.cuh"

namespace lm {

template <typename T> __device__ inline T narrow(float x);

template <> __device__ inline float narrow<float>(float x) {
    return x;
}

template <> __device__ inline __half narrow<__half>(float x) {
    return __float2half_rn(x);
}

/* The head's part of the page that holds `position`. */
__device__ inline char *block_of(const lm_cuda_cache &c, unsigned table, unsigned head,
                                 unsigned position) {
    const size_t page = c.tables[(size_t)table * c.max_pages + position / LM_PAGE];
    return c.pages + page * c.page_bytes + c.layer + head * c.head_bytes;
}

/* Numbers of the key (`value` false) or the value of a position. */
template <typename T>
__device__ inline T *entry(char *block, unsigned d, unsigned position, bool value) {
    return (T *)block + ((size_t)value * LM_PAGE + position % LM_PAGE) * d;
}

/* The scale of a key or value of bytes. */
__device__ inline float *scale_of(char *block, unsigned d, unsigned position, bool value) {
    return (float *)(block + (size_t)2 * LM_PAGE * d) + (size_t)value * LM_PAGE +
           position % LM_PAGE;
}

} // namespace lm

#endif

/*
 * Products of long rows by tensor cores, sixteen bytes of a row at a time: what the kernels that
 * read the encoder's output share. Half types.
 */
#ifndef WH_CUDA_CROSS_ABSORBED_CUH
#define WH_CUDA_CROSS_ABSORBED_CUH

#include "num/cuda/mma.cuh"

namespace wh {

/* Two neighbours of eight that lie `at`, one word each. */
__device__ inline uint32_t word_of(const uint4 &eight, int i) {
    return i == 0 ? eight.x : i == 1 ? eight.y : i == 2 ? eight.z : eight.w;
}

/* Adds 32 columns: a lane holds columns [8 quad, 8 quad + 8) of two rows and of a column of the
 * result. The sum's terms are in another order than the instruction's, the same on both sides. */
template <typename T>
__device__ inline void multiply_32(float (&c)[4], const uint4 &low, const uint4 &high,
                                   const uint4 &b) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        const uint32_t rows[4] = {word_of(low, i), word_of(high, i), word_of(low, i + 1),
                                  word_of(high, i + 1)};
        const uint32_t columns[2] = {word_of(b, i), word_of(b, i + 1)};
        num::mma_m16n8k16<T>(c, rows, columns);
    }
}

} // namespace wh

#endif

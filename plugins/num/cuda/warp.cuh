/*
 * What the threads of a warp or of a block compute together: sums and maxima.
 *
 * A warp of 32 lanes sums by a butterfly of five shuffles: every lane ends with the same value,
 * added in the same order whatever runs when. block_* add the warps' results in the order of the
 * warps; every thread of the block calls them (they hold barriers), with a block of whole warps,
 * and gets the result.
 */
#ifndef NUM_CUDA_WARP_CUH
#define NUM_CUDA_WARP_CUH

#include "num/cuda/launch.cuh"

namespace num {

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

/* Over groups of `Width` lanes (a power of two). */
template <int Width = WARP> __device__ static __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int by = Width / 2; by > 0; by /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, by);
    return x;
}

template <int Width = WARP> __device__ static __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int by = Width / 2; by > 0; by /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, by));
    return x;
}

/* Threads: a multiple of 32, up to 1024. `scratch`: 32 floats of shared memory that nobody else
 * uses between the barrier before this call and the next one after it. */
template <int Threads> __device__ static __forceinline__ float block_sum(float x, float *scratch) {
    constexpr int warps = Threads / WARP;
    static_assert(Threads % WARP == 0 && warps <= WARP, "whole warps");
    x = warp_sum(x);
    if constexpr (warps > 1) {
        if (threadIdx.x % WARP == 0)
            scratch[threadIdx.x / WARP] = x;
        __syncthreads();
        x = scratch[0];
#pragma unroll
        for (int i = 1; i < warps; i++)
            x += scratch[i];
    }
    return x;
}

template <int Threads> __device__ static __forceinline__ float block_max(float x, float *scratch) {
    constexpr int warps = Threads / WARP;
    static_assert(Threads % WARP == 0 && warps <= WARP, "whole warps");
    x = warp_max(x);
    if constexpr (warps > 1) {
        if (threadIdx.x % WARP == 0)
            scratch[threadIdx.x / WARP] = x;
        __syncthreads();
        x = scratch[0];
#pragma unroll
        for (int i = 1; i < warps; i++)
            x = fmaxf(x, scratch[i]);
    }
    return x;
}

} /* namespace num */

#endif

/*
 * What the decoder's kernels share: how one follows another, and rows that heads of 64 are read in.
 *
 * A step is some 260 kernels of a few microseconds, each of which waits for the one before. Each is
 * launched early (programmatic dependent launch): it fetches what does not depend on the one
 * before, above all its weights, then waits for it with after_previous(), and only then lets the
 * next one start. So a kernel's start may read what was complete when the kernel before its
 * predecessor ended, and memory is busy across the borders between kernels.
 */
#ifndef WH_CUDA_DECODER_CUH
#define WH_CUDA_DECODER_CUH

#include "num/cuda/fast.cuh"
#include "num/cuda/launch.cuh"
#include "num/cuda/vec8.cuh"
#include "whisper/cuda/decoder.h"

namespace wh {

/* Every thread of every block calls it, once. */
__device__ inline void after_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    cudaGridDependencySynchronize();
    cudaTriggerProgrammaticLaunchCompletion();
#endif
}

/* num::launch(), and the kernel may start before the one before it on the stream has ended: it must
 * call after_previous(). `early` off: an ordinary launch, for cards and places without it. */
template <typename... P, typename... A>
inline cudaError_t launch_early(bool early, void (*kernel)(P...), dim3 grid, dim3 block,
                                size_t shared, cudaStream_t stream, A &&...args) {
#ifndef SLUICE_CUDA_EMU
    if (early) {
        cudaError_t error = num::allow_shared((const void *)kernel, shared);
        if (error != cudaSuccess)
            return error;
        cudaLaunchAttribute attribute = {};
        attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attribute.val.programmaticStreamSerializationAllowed = 1;
        cudaLaunchConfig_t config = {};
        config.gridDim = grid;
        config.blockDim = block;
        config.dynamicSmemBytes = shared;
        config.stream = stream;
        config.attrs = &attribute;
        config.numAttrs = 1;
        return cudaLaunchKernelEx(&config, kernel, P(args)...);
    }
#endif
    (void)early;
    return num::launch(kernel, grid, block, shared, stream, P(args)...);
}

template <typename T> __device__ inline T from_float(float x);

template <> __device__ inline float from_float<float>(float x) {
    return x;
}

template <> __device__ inline __half from_float<__half>(float x) {
    return __float2half_rn(x);
}

template <> __device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
    return __float2bfloat16_rn(x);
}

/* The exact GELU; in half types as precise as those need. */
template <typename T> __device__ inline float gelu(float x) {
    return num::fast_gelu(x);
}

template <> __device__ inline float gelu<float>(float x) {
    return 0.5f * x * (1 + erff(x * 0.70710678f));
}

constexpr int HEAD = WH_CUDA_HEAD;
constexpr int LANES = HEAD / 8; /* that read a head's row together, eight values each */

__device__ inline float dot8(const float *a, const float *b, float sum) {
    for (int i = 0; i < 8; i++)
        sum = fmaf(a[i], b[i], sum);
    return sum;
}

/* Where keys of a cell's position lie, in a layer's cells; values lie D behind. */
__device__ inline size_t cell_at(unsigned cell, unsigned position, unsigned n_positions,
                                 unsigned D) {
    return ((size_t)cell * n_positions + position) * 2 * D;
}

} // namespace wh

#endif

/*
 * Eight values side by side: how kernels that are bound by memory read and write rows. Half types
 * travel as one 16-byte access, floats as two; in registers they are floats. Addresses are
 * multiples of 16 bytes.
 */
#ifndef NUM_CUDA_VEC8_CUH
#define NUM_CUDA_VEC8_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

namespace num {

__device__ inline float to_float(float x) {
    return x;
}

__device__ inline float to_float(__half x) {
    return __half2float(x);
}

__device__ inline float to_float(__nv_bfloat16 x) {
    return __bfloat162float(x);
}

/* Two floats rounded to nearest even, in one word; the first in the lower half. */
template <typename T> __device__ inline uint32_t pack2(float low, float high);

template <> __device__ inline uint32_t pack2<__half>(float low, float high) {
    __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&pair);
}

template <> __device__ inline uint32_t pack2<__nv_bfloat16>(float low, float high) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&pair);
}

__device__ inline void load8(const float *from, float *v) {
    float4 a = reinterpret_cast<const float4 *>(from)[0];
    float4 b = reinterpret_cast<const float4 *>(from)[1];
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
    v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

template <typename T> __device__ inline void load8(const T *from, float *v) {
    uint4 raw = *reinterpret_cast<const uint4 *>(from);
    const T *values = reinterpret_cast<const T *>(&raw);
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] = to_float(values[i]);
}

__device__ inline void store8(float *to, const float *v) {
    reinterpret_cast<float4 *>(to)[0] = make_float4(v[0], v[1], v[2], v[3]);
    reinterpret_cast<float4 *>(to)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

template <typename T> __device__ inline void store8(T *to, const float *v) {
    *reinterpret_cast<uint4 *>(to) = make_uint4(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]),
                                                pack2<T>(v[4], v[5]), pack2<T>(v[6], v[7]));
}

} // namespace num

#endif

/*
 * Keys and values of a window as they are kept (WH_CUDA_KEPT_*), eight of a head's row at a time.
 *
 * Plain: (T, 2 D) in the type. In bytes: (T, 2 D) bytes, then a scale for each head of each row, (2
 * H, T) bfloat16: heads of keys, then of values. A kernel multiplies a score by its key's scale,
 * and a weight by its value's, so that scales cost one product for each head and position.
 *
 * kept_x<...>::fetch() starts to read columns [column, column + 8) of row `key`; widen() makes
 * floats of them, which scale() is still to multiply.
 */
#ifndef WH_CUDA_KEPT_CUH
#define WH_CUDA_KEPT_CUH

#include <cuda_fp8.h>

#include "whisper/cuda/decoder.cuh"

namespace wh {

/* A slot's keys and values. */
struct kept {
    const char *at;
    unsigned n_keys, D;
};

template <typename T> struct kept_plain {
    struct eight {
        uint4 words[sizeof(T) / 2];
    };

    static __device__ eight fetch(const kept &k, unsigned key, unsigned column) {
        const uint4 *from = (const uint4 *)((const T *)k.at + (size_t)key * 2 * k.D + column);
        eight ret;
#pragma unroll
        for (unsigned i = 0; i < sizeof(T) / 2; i++)
            ret.words[i] = __ldg(from + i);
        return ret;
    }
    static __device__ void widen(const eight &from, float (&to)[8]) {
        num::load8((const T *)from.words, to);
    }
    static __device__ float scale(const eight &) {
        return 1;
    }
};

/* What both kinds of bytes have in common. */
struct kept_eight {
    uint2 words;
    uint16_t scale;
};

__device__ inline kept_eight fetch_bytes(const kept &k, unsigned key, unsigned column) {
    const uint16_t *scales = (const uint16_t *)(k.at + (size_t)k.n_keys * 2 * k.D);
    kept_eight ret;
    ret.words = __ldg((const uint2 *)(k.at + (size_t)key * 2 * k.D + column));
    ret.scale = __ldg(scales + (size_t)(column / HEAD) * k.n_keys + key);
    return ret;
}

/* The upper half of a float. */
__device__ inline float widen_scale(uint16_t scale) {
    return __uint_as_float((uint32_t)scale << 16);
}

/* e4m3. */
struct kept_fp8 {
    static constexpr float MOST = 448;
    typedef kept_eight eight;

    static __device__ eight fetch(const kept &k, unsigned key, unsigned column) {
        return fetch_bytes(k, key, column);
    }
    static __device__ void widen(const eight &from, float (&to)[8]) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t word = i < 2 ? from.words.x : from.words.y;
            const __half2_raw raw =
                __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)(word >> i % 2 * 16), __NV_E4M3);
            const float2 two = __half22float2(*(const __half2 *)&raw);
            to[2 * i] = two.x;
            to[2 * i + 1] = two.y;
        }
    }
    static __device__ float scale(const eight &from) {
        return widen_scale(from.scale);
    }
    static __device__ uint32_t byte(float x) {
        return __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
    }
};

struct kept_int8 {
    static constexpr float MOST = 127;
    typedef kept_eight eight;

    static __device__ eight fetch(const kept &k, unsigned key, unsigned column) {
        return fetch_bytes(k, key, column);
    }
    static __device__ void widen(const eight &from, float (&to)[8]) {
#pragma unroll
        for (int i = 0; i < 8; i++)
            to[i] = (float)(int8_t)((i < 4 ? from.words.x : from.words.y) >> i % 4 * 8);
    }
    static __device__ float scale(const eight &from) {
        return widen_scale(from.scale);
    }
    static __device__ uint32_t byte(float x) {
        return (uint8_t)(int8_t)rintf(x);
    }
};

} // namespace wh

#endif

/*
 * Numbers of 8 bits of CUDA for the emulated card: e4m3 and e5m2, rounded to nearest even, too
 * large ones to the largest finite number.
 */
#ifndef EMU_CUDA_FP8_H
#define EMU_CUDA_FP8_H

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "emu_float16.h"

typedef unsigned char __nv_fp8_storage_t;
typedef unsigned short __nv_fp8x2_storage_t;
typedef unsigned int __nv_fp8x4_storage_t;
typedef enum { __NV_NOSAT, __NV_SATFINITE } __nv_saturation_t;
typedef enum { __NV_E4M3, __NV_E5M2 } __nv_fp8_interpretation_t;

static inline __nv_fp8_storage_t __nv_cvt_float_to_fp8(float x, __nv_saturation_t saturate,
                                                       __nv_fp8_interpretation_t as) {
    if (saturate == __NV_NOSAT)
        emu_die("__NV_NOSAT is not emulated");
    return as == __NV_E4M3 ? emu_e4m3_bits(x) : emu_e5m2_bits(x);
}
static inline __nv_fp8x2_storage_t __nv_cvt_float2_to_fp8x2(float2 x, __nv_saturation_t saturate,
                                                            __nv_fp8_interpretation_t as) {
    return (__nv_fp8x2_storage_t)(__nv_cvt_float_to_fp8(x.y, saturate, as) << 8 |
                                  __nv_cvt_float_to_fp8(x.x, saturate, as));
}
static inline __half_raw __nv_cvt_fp8_to_halfraw(__nv_fp8_storage_t x,
                                                 __nv_fp8_interpretation_t as) {
    return __half(as == __NV_E4M3 ? emu_e4m3_value(x) : emu_e5m2_value(x)); /* exact */
}
struct __half2_raw {
    unsigned short x, y;
};
static inline __half2_raw __nv_cvt_fp8x2_to_halfraw2(__nv_fp8x2_storage_t x,
                                                     __nv_fp8_interpretation_t as) {
    return {__nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)(x & 0xff), as).x,
            __nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)(x >> 8), as).x};
}

#define EMU_FP8(name, name2, name4, round, value)                                                  \
    struct name {                                                                                  \
        __nv_fp8_storage_t __x;                                                                    \
        name() = default;                                                                          \
        explicit name(float v) : __x(round(v)) {                                                   \
        }                                                                                          \
        explicit name(__half v) : __x(round((float)v)) {                                           \
        }                                                                                          \
        explicit name(__nv_bfloat16 v) : __x(round((float)v)) {                                    \
        }                                                                                          \
        explicit operator float() const {                                                          \
            return value(__x);                                                                     \
        }                                                                                          \
        explicit operator __half() const {                                                         \
            return __half(value(__x));                                                             \
        }                                                                                          \
    };                                                                                             \
    struct alignas(2) name2 {                                                                      \
        __nv_fp8x2_storage_t __x;                                                                  \
        name2() = default;                                                                         \
        explicit name2(float2 v) : __x((__nv_fp8x2_storage_t)(round(v.y) << 8 | round(v.x))) {     \
        }                                                                                          \
        explicit operator float2() const {                                                         \
            return make_float2(value((uint8_t)__x), value((uint8_t)(__x >> 8)));                   \
        }                                                                                          \
    };                                                                                             \
    struct alignas(4) name4 {                                                                      \
        __nv_fp8x4_storage_t __x;                                                                  \
        name4() = default;                                                                         \
        explicit name4(float4 v)                                                                   \
            : __x((unsigned)round(v.w) << 24 | (unsigned)round(v.z) << 16 |                        \
                  (unsigned)round(v.y) << 8 | round(v.x)) {                                        \
        }                                                                                          \
        explicit operator float4() const {                                                         \
            return make_float4(value((uint8_t)__x), value((uint8_t)(__x >> 8)),                    \
                               value((uint8_t)(__x >> 16)), value((uint8_t)(__x >> 24)));          \
        }                                                                                          \
    };
EMU_FP8(__nv_fp8_e4m3, __nv_fp8x2_e4m3, __nv_fp8x4_e4m3, emu_e4m3_bits, emu_e4m3_value)
EMU_FP8(__nv_fp8_e5m2, __nv_fp8x2_e5m2, __nv_fp8x4_e5m2, emu_e5m2_bits, emu_e5m2_value)
#undef EMU_FP8

#endif

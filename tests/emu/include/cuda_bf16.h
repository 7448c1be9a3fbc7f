/*
 * bfloat16 numbers of CUDA for the emulated card: the part that kernels here use. Arithmetic is
 * done in float and rounded once to nearest even, which is exact for + - * / (a float holds more
 * than twice the digits and two).
 */
#ifndef EMU_CUDA_BF16_H
#define EMU_CUDA_BF16_H

#include "emu_float16.h"

struct __nv_bfloat16_raw {
    unsigned short x;
};

struct alignas(2) __nv_bfloat16 {
    unsigned short __x;
    __nv_bfloat16() = default;
    __nv_bfloat16(__nv_bfloat16_raw r) : __x(r.x) {
    }
    __nv_bfloat16(float v) : __x(emu_bf16_bits(v)) {
    }
    __nv_bfloat16(double v) : __x(emu_bf16_bits((float)v)) {
    }
    __nv_bfloat16(int v) : __x(emu_bf16_bits((float)v)) {
    }
    operator float() const {
        return emu_bf16_value(__x);
    }
    operator __nv_bfloat16_raw() const {
        return __nv_bfloat16_raw{__x};
    }
};
typedef __nv_bfloat16 nv_bfloat16;

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
    __nv_bfloat162() = default;
    __nv_bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) : x(a), y(b) {
    }
};
typedef __nv_bfloat162 nv_bfloat162;

static inline float __bfloat162float(__nv_bfloat16 v) {
    return emu_bf16_value(v.__x);
}
static inline __nv_bfloat16 __float2bfloat16(float v) {
    return __nv_bfloat16(v);
}
static inline __nv_bfloat16 __float2bfloat16_rn(float v) {
    return __nv_bfloat16(v);
}
static inline __nv_bfloat16 __double2bfloat16(double v) {
    return __nv_bfloat16(v);
}
static inline __nv_bfloat16 __int2bfloat16_rn(int v) {
    return __nv_bfloat16(v);
}
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
    return __nv_bfloat16(__nv_bfloat16_raw{bits});
}
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 v) {
    return v.__x;
}
static inline short __bfloat16_as_short(__nv_bfloat16 v) {
    return (short)v.__x;
}
static inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat162(a, b);
}
static inline __nv_bfloat162 make_bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat162(a, b);
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) {
    return __nv_bfloat162(__nv_bfloat16(a), __nv_bfloat16(b));
}
static inline __nv_bfloat162 __float22bfloat162_rn(float2 v) {
    return __nv_bfloat162(__nv_bfloat16(v.x), __nv_bfloat16(v.y));
}
static inline __nv_bfloat162 __float2bfloat162_rn(float v) {
    return __nv_bfloat162(__nv_bfloat16(v), __nv_bfloat16(v));
}
static inline __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 v) {
    return __nv_bfloat162(v, v);
}
static inline float2 __bfloat1622float2(__nv_bfloat162 v) {
    return make_float2(__bfloat162float(v.x), __bfloat162float(v.y));
}
static inline float __low2float(__nv_bfloat162 v) {
    return __bfloat162float(v.x);
}
static inline float __high2float(__nv_bfloat162 v) {
    return __bfloat162float(v.y);
}
static inline __nv_bfloat16 __low2bfloat16(__nv_bfloat162 v) {
    return v.x;
}
static inline __nv_bfloat16 __high2bfloat16(__nv_bfloat162 v) {
    return v.y;
}

static inline __nv_bfloat16 __hadd(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16((float)a + (float)b);
}
static inline __nv_bfloat16 __hsub(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16((float)a - (float)b);
}
static inline __nv_bfloat16 __hmul(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16((float)a * (float)b);
}
static inline __nv_bfloat16 __hdiv(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16((float)a / (float)b);
}
static inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c) {
    return __nv_bfloat16(fmaf(a, b, c));
}
static inline __nv_bfloat16 __hneg(__nv_bfloat16 a) {
    return __nv_bfloat16(__nv_bfloat16_raw{(unsigned short)(a.__x ^ 0x8000)});
}
static inline __nv_bfloat16 __habs(__nv_bfloat16 a) {
    return __nv_bfloat16(__nv_bfloat16_raw{(unsigned short)(a.__x & 0x7fff)});
}
static inline __nv_bfloat16 __hmax(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16(fmaxf(a, b));
}
static inline __nv_bfloat16 __hmin(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16(fminf(a, b));
}
static inline bool __hgt(__nv_bfloat16 a, __nv_bfloat16 b) {
    return (float)a > (float)b;
}
static inline bool __hisnan(__nv_bfloat16 a) {
    return (float)a != (float)a;
}
static inline __nv_bfloat162 __hadd2(__nv_bfloat162 a, __nv_bfloat162 b) {
    return __nv_bfloat162(__hadd(a.x, b.x), __hadd(a.y, b.y));
}
static inline __nv_bfloat162 __hsub2(__nv_bfloat162 a, __nv_bfloat162 b) {
    return __nv_bfloat162(__hsub(a.x, b.x), __hsub(a.y, b.y));
}
static inline __nv_bfloat162 __hmul2(__nv_bfloat162 a, __nv_bfloat162 b) {
    return __nv_bfloat162(__hmul(a.x, b.x), __hmul(a.y, b.y));
}
static inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c) {
    return __nv_bfloat162(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y));
}
static inline __nv_bfloat162 __hmax2(__nv_bfloat162 a, __nv_bfloat162 b) {
    return __nv_bfloat162(__hmax(a.x, b.x), __hmax(a.y, b.y));
}
static inline __nv_bfloat16 operator+(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __hadd(a, b);
}
static inline __nv_bfloat16 operator-(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __hsub(a, b);
}
static inline __nv_bfloat16 operator*(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __hmul(a, b);
}
static inline __nv_bfloat16 operator/(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __hdiv(a, b);
}

#endif

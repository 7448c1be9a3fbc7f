/*
 * binary16 numbers of CUDA for the emulated card: the part that kernels here use. Arithmetic is
 * done in float and rounded once to nearest even, which is exact for + - * / (a float holds more
 * than twice the digits and two).
 */
#ifndef EMU_CUDA_FP16_H
#define EMU_CUDA_FP16_H

#include "emu_float16.h"

struct __half_raw {
    unsigned short x;
};

struct alignas(2) __half {
    unsigned short __x;
    __half() = default;
    __half(__half_raw r) : __x(r.x) {
    }
    __half(float v) : __x(emu_f16_bits(v)) {
    }
    __half(double v) : __x(emu_f16_bits((float)v)) {
    }
    __half(int v) : __x(emu_f16_bits((float)v)) {
    }
    operator float() const {
        return emu_f16_value(__x);
    }
    operator __half_raw() const {
        return __half_raw{__x};
    }
};
typedef __half half;

struct alignas(4) __half2 {
    __half x, y;
    __half2() = default;
    __half2(__half a, __half b) : x(a), y(b) {
    }
};
typedef __half2 half2;

static inline float __half2float(__half v) {
    return emu_f16_value(v.__x);
}
static inline __half __float2half(float v) {
    return __half(v);
}
static inline __half __float2half_rn(float v) {
    return __half(v);
}
static inline __half __double2half(double v) {
    return __half(v);
}
static inline __half __int2half_rn(int v) {
    return __half(v);
}
static inline __half __ushort_as_half(unsigned short bits) {
    return __half(__half_raw{bits});
}
static inline unsigned short __half_as_ushort(__half v) {
    return v.__x;
}
static inline short __half_as_short(__half v) {
    return (short)v.__x;
}
static inline __half2 __halves2half2(__half a, __half b) {
    return __half2(a, b);
}
static inline __half2 make_half2(__half a, __half b) {
    return __half2(a, b);
}
static inline __half2 __floats2half2_rn(float a, float b) {
    return __half2(__half(a), __half(b));
}
static inline __half2 __float22half2_rn(float2 v) {
    return __half2(__half(v.x), __half(v.y));
}
static inline __half2 __float2half2_rn(float v) {
    return __half2(__half(v), __half(v));
}
static inline __half2 __half2half2(__half v) {
    return __half2(v, v);
}
static inline float2 __half22float2(__half2 v) {
    return make_float2(__half2float(v.x), __half2float(v.y));
}
static inline float __low2float(__half2 v) {
    return __half2float(v.x);
}
static inline float __high2float(__half2 v) {
    return __half2float(v.y);
}
static inline __half __low2half(__half2 v) {
    return v.x;
}
static inline __half __high2half(__half2 v) {
    return v.y;
}

static inline __half __hadd(__half a, __half b) {
    return __half((float)a + (float)b);
}
static inline __half __hsub(__half a, __half b) {
    return __half((float)a - (float)b);
}
static inline __half __hmul(__half a, __half b) {
    return __half((float)a * (float)b);
}
static inline __half __hdiv(__half a, __half b) {
    return __half((float)a / (float)b);
}
static inline __half __hfma(__half a, __half b, __half c) {
    return __half(fmaf(a, b, c));
}
static inline __half __hneg(__half a) {
    return __half(__half_raw{(unsigned short)(a.__x ^ 0x8000)});
}
static inline __half __habs(__half a) {
    return __half(__half_raw{(unsigned short)(a.__x & 0x7fff)});
}
static inline __half __hmax(__half a, __half b) {
    return __half(fmaxf(a, b));
}
static inline __half __hmin(__half a, __half b) {
    return __half(fminf(a, b));
}
static inline bool __hgt(__half a, __half b) {
    return (float)a > (float)b;
}
static inline bool __hisnan(__half a) {
    return (float)a != (float)a;
}
static inline __half2 __hadd2(__half2 a, __half2 b) {
    return __half2(__hadd(a.x, b.x), __hadd(a.y, b.y));
}
static inline __half2 __hsub2(__half2 a, __half2 b) {
    return __half2(__hsub(a.x, b.x), __hsub(a.y, b.y));
}
static inline __half2 __hmul2(__half2 a, __half2 b) {
    return __half2(__hmul(a.x, b.x), __hmul(a.y, b.y));
}
static inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
    return __half2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y));
}
static inline __half2 __hmax2(__half2 a, __half2 b) {
    return __half2(__hmax(a.x, b.x), __hmax(a.y, b.y));
}
static inline __half operator+(__half a, __half b) {
    return __hadd(a, b);
}
static inline __half operator-(__half a, __half b) {
    return __hsub(a, b);
}
static inline __half operator*(__half a, __half b) {
    return __hmul(a, b);
}
static inline __half operator/(__half a, __half b) {
    return __hdiv(a, b);
}

#endif

/*
 * Roundings of float to the small formats, nearest even, exact; and back. For cuda_fp16.h,
 * cuda_bf16.h, cuda_fp8.h.
 */
#ifndef EMU_FLOAT16_H
#define EMU_FLOAT16_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cuda_runtime.h"

/* A number of e exponent and m mantissa bits with IEEE encoding of zero, subnormals and normals.
 * `top`: the largest finite magnitude; above it (after rounding), and for NaN, the caller decides.
 * Returns magnitude bits. */
static inline uint32_t emu_round_magnitude(float magnitude, int m, int bias) {
    int exponent;
    frexpf(magnitude, &exponent); /* magnitude = f x 2^exponent, 0.5 <= f < 1 */
    int e = exponent - 1;
    int least = 1 - bias; /* of normal numbers */
    if (magnitude == 0.0f)
        return 0;
    int scale = (e < least ? least : e) - m; /* one unit in the last place is 2^scale */
    uint32_t units = (uint32_t)lrint(ldexp((double)magnitude, -scale)); /* nearest even */
    if (e < least)
        return units; /* a carry makes the least normal number: the same bits */
    return ((uint32_t)(e + bias) << m) + (units - (1u << m));
}

static inline uint16_t emu_f16_bits(float x) {
    uint32_t bits = emu_bits<uint32_t>(x);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (x != x)
        return 0x7fff;
    uint32_t rest = bits & 0x7fffffffu;
    if (rest >= 0x47800000u) /* 2^16 and more */
        return (uint16_t)(sign | 0x7c00);
    if (rest >= 0x38800000u) { /* normal: 2^-14 and more; a carry reaches infinity by itself */
        uint32_t odd = rest >> 13 & 1;
        return (uint16_t)(sign | (((rest + 0xfff + odd) >> 13) - (112u << 10)));
    }
    return (uint16_t)(sign | emu_round_magnitude(fabsf(x), 10, 15));
}

static inline float emu_f16_value(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = (uint32_t)(h & 0x7fffu) << 13;
    if (rest >= 0x7c00u << 13)
        return emu_bits<float>(sign | 0x7f800000u | rest);
    float value = emu_bits<float>(rest) * 0x1p112f;
    return sign ? -value : value;
}

static inline uint16_t emu_bf16_bits(float x) {
    uint32_t bits = emu_bits<uint32_t>(x);
    if (x != x)
        return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float emu_bf16_value(uint16_t h) {
    return emu_bits<float>((uint32_t)h << 16);
}

/* e4m3 (no infinity, 0x7f is NaN, up to 448) and e5m2; what is too large becomes the largest finite
 * number. */
static inline uint8_t emu_e4m3_bits(float x) {
    uint8_t sign = signbit(x) ? 0x80 : 0;
    if (x != x)
        return 0x7f;
    if (fabsf(x) >= 448.0f)
        return sign | 0x7e;
    uint32_t bits = emu_round_magnitude(fabsf(x), 3, 7);
    return (uint8_t)(sign | (bits > 0x7e ? 0x7e : bits));
}

static inline float emu_e4m3_value(uint8_t b) {
    int e = b >> 3 & 15, mantissa = b & 7;
    if ((b & 0x7f) == 0x7f)
        return NAN;
    float value = e ? ldexpf((float)(8 + mantissa), e - 10) : ldexpf((float)mantissa, -9);
    return b & 0x80 ? -value : value;
}

static inline uint8_t emu_e5m2_bits(float x) {
    uint8_t sign = signbit(x) ? 0x80 : 0;
    if (x != x)
        return 0x7f;
    if (fabsf(x) >= 57344.0f)
        return sign | 0x7b;
    uint32_t bits = emu_round_magnitude(fabsf(x), 2, 15);
    return (uint8_t)(sign | (bits > 0x7b ? 0x7b : bits));
}

static inline float emu_e5m2_value(uint8_t b) {
    return emu_f16_value((uint16_t)(b << 8));
}

#endif

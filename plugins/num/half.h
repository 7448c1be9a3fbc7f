/*
 * Half-precision numbers to float and back: pure, exact, branch-light. IEEE 754 binary16 and
 * bfloat16.
 */
#ifndef NUM_HALF_H
#define NUM_HALF_H

#include <stdint.h>
#include <string.h>

static inline float num_bits_to_f32(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* bfloat16 is the upper half of a float. */
static inline float num_bf16_to_f32(uint16_t h) {
    return num_bits_to_f32((uint32_t)h << 16);
}

/* Rounded to nearest even; a NaN stays one, quiet, with its upper bits. */
static inline uint16_t num_f32_to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1);
    return (uint16_t)(((bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : rounded) >> 16);
}

static inline float num_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t rest = (uint32_t)(h & 0x7fffu) << 13; /* exponent and mantissa at their float places */
    if (rest >= 0x7c00u << 13)                     /* infinity, NaN */
        return num_bits_to_f32(sign | 0x7f800000u | rest);
    /* The exponent bias differs by 112. Scaling by 2^112 does that and makes subnormals normal. */
    float value = num_bits_to_f32(rest) * 0x1p112f;
    return sign ? -value : value;
}

/* Rounded to nearest even; what is too large becomes the largest finite number, NaN zero. */
static inline uint16_t num_f32_to_f16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u)
        return sign;
    if (rest >= 0x477ff000u) /* 65520: would round to infinity */
        return sign | 0x7bffu;
    if (rest < 0x38800000u) { /* 2^-14: subnormal; the sum rounds at 2^-24 */
        float sum = num_bits_to_f32(rest) + 0.5f;
        memcpy(&bits, &sum, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    return (uint16_t)(sign | ((rest - 0x38000000u + 0xfffu + (rest >> 13 & 1)) >> 13));
}

#endif

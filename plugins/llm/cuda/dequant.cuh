/*
 * Weights in registers: what a lane loads of a group of 32, and its numbers eight at a time. A
 * number is scale * q + offset, where scale and offset belong to the eight: sums are made of q, and
 * scaled once. One struct for each way that numbers are stored; types that differ in their scales
 * alone share it.
 */
#ifndef LM_CUDA_DEQUANT_CUH
#define LM_CUDA_DEQUANT_CUH

#include "llm/cuda/matrix.h"
#include "num/cuda/vec8.cuh"

namespace lm {

/* The planes of one row, at its first group. */
struct row {
    const char *low, *high, *meta, *super;
    unsigned groups;
};

__device__ inline row row_of(const lm_cuda_matrix &m, const lm_cuda_planes &p, unsigned out) {
    const size_t first = (size_t)out * m.groups;
    row r;
    r.low = m.low + first * p.low;
    r.high = m.high + first * p.high;
    r.meta = m.meta + first * p.meta;
    r.super = m.super + first / 8 * p.super;
    r.groups = m.groups;
    return r;
}

/* Piece `piece` of group g. */
template <int PIECES> __device__ inline uint4 load_piece(const row &r, unsigned g, unsigned piece) {
    const unsigned tile = g / LM_CUDA_TILE * LM_CUDA_TILE;
    const unsigned wide = min(r.groups - tile, (unsigned)LM_CUDA_TILE);
    const size_t at = (size_t)tile * PIECES + piece * wide + (g - tile);
    return __ldg((const uint4 *)r.low + at);
}

__device__ inline float half_bits(uint32_t bits) {
    return __half2float(__ushort_as_half((unsigned short)bits));
}

__device__ inline uint32_t word_of(const uint4 &v, int i) {
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/* A small whole number as a float, without a conversion: 2^23 + q, less 2^23. */
__device__ inline float small(uint32_t q) {
    return __uint_as_float(0x4b000000u | q) - 8388608.0f;
}

/* Floats and halves. */
template <typename T> struct plain {
    static constexpr int PIECES = 2 * sizeof(T);
    uint4 pieces[PIECES];

    __device__ void load(const row &r, unsigned g) {
#pragma unroll
        for (int i = 0; i < PIECES; i++)
            pieces[i] = load_piece<PIECES>(r, g, i);
    }
    __device__ void eight(int i, float *q) const {
        if (sizeof(T) == 4) {
            const uint4 a = pieces[(2 * i) % PIECES], b = pieces[(2 * i + 1) % PIECES];
            q[0] = __uint_as_float(a.x), q[1] = __uint_as_float(a.y);
            q[2] = __uint_as_float(a.z), q[3] = __uint_as_float(a.w);
            q[4] = __uint_as_float(b.x), q[5] = __uint_as_float(b.y);
            q[6] = __uint_as_float(b.z), q[7] = __uint_as_float(b.w);
            return;
        }
        const T *values = reinterpret_cast<const T *>(&pieces[i % PIECES]);
#pragma unroll
        for (int j = 0; j < 8; j++)
            q[j] = num::to_float(values[j]);
    }
    __device__ float scale(int) const {
        return 1;
    }
    __device__ float offset(int) const {
        return 0;
    }
    static constexpr bool OFFSET = false;
};

/* Q8_0. */
struct bytes {
    static constexpr bool OFFSET = false;
    uint4 pieces[2];
    uint32_t d;

    __device__ void load(const row &r, unsigned g) {
        pieces[0] = load_piece<2>(r, g, 0);
        pieces[1] = load_piece<2>(r, g, 1);
        d = __ldg((const unsigned short *)r.meta + g);
    }
    __device__ void eight(int i, float *q) const {
        const uint4 v = pieces[i / 2];
        const uint32_t words[2] = {i % 2 ? v.z : v.x, i % 2 ? v.w : v.y};
#pragma unroll
        for (int j = 0; j < 8; j++)
            q[j] = small((words[j / 4] ^ 0x80808080u) >> 8 * (j % 4) & 0xff) - 128;
    }
    __device__ float scale(int) const {
        return half_bits(d);
    }
    __device__ float offset(int) const {
        return 0;
    }
};

/* 4, 5 and 6 bits. HIGH: words of the high plane of a group. */
template <int HIGH> struct nibbles {
    static constexpr bool OFFSET = true;
    uint4 low;
    uint32_t high[HIGH ? HIGH : 1];

    __device__ void load_bits(const row &r, unsigned g) {
        low = load_piece<1>(r, g, 0);
#pragma unroll
        for (int i = 0; i < HIGH; i++)
            high[i] = __ldg((const uint32_t *)r.high + (size_t)g * HIGH + i);
    }
    __device__ void eight(int i, float *q) const {
        const uint32_t word = word_of(low, i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            uint32_t bits = word >> 4 * j & 15;
            if (HIGH == 1)
                bits |= (high[0] >> (8 * i + j) & 1) << 4;
            if (HIGH == 2)
                bits |= (high[i / 2 % (HIGH ? HIGH : 1)] >> 2 * ((8 * i + j) % 16) & 3) << 4;
            q[j] = small(bits);
        }
    }
};

/* Q4_0 and Q5_0: d, and numbers around MIDDLE. */
template <int HIGH, int MIDDLE> struct even : nibbles<HIGH> {
    uint32_t d;

    __device__ void load(const row &r, unsigned g) {
        this->load_bits(r, g);
        d = __ldg((const unsigned short *)r.meta + g);
    }
    __device__ float scale(int) const {
        return half_bits(d);
    }
    __device__ float offset(int) const {
        return -MIDDLE * half_bits(d);
    }
};

/* Q4_1 and Q5_1: d and m. */
template <int HIGH> struct uneven : nibbles<HIGH> {
    uint32_t dm;

    __device__ void load(const row &r, unsigned g) {
        this->load_bits(r, g);
        dm = __ldg((const uint32_t *)r.meta + g);
    }
    __device__ float scale(int) const {
        return half_bits(dm & 0xffff);
    }
    __device__ float offset(int) const {
        return half_bits(dm >> 16);
    }
};

/* Q4_K and Q5_K. */
template <int HIGH> struct super : nibbles<HIGH> {
    uint32_t meta, dm;

    __device__ void load(const row &r, unsigned g) {
        this->load_bits(r, g);
        meta = __ldg((const unsigned short *)r.meta + g);
        dm = __ldg((const uint32_t *)r.super + g / 8);
    }
    __device__ float scale(int) const {
        return half_bits(dm & 0xffff) * (float)(meta & 0xff);
    }
    __device__ float offset(int) const {
        return -(half_bits(dm >> 16) * (float)(meta >> 8));
    }
};

/* Q6_K: a scale for each half of the group. */
struct six : nibbles<2> {
    uint32_t meta, d;

    __device__ void load(const row &r, unsigned g) {
        load_bits(r, g);
        meta = __ldg((const unsigned short *)r.meta + g);
        d = __ldg((const uint32_t *)r.super + g / 8);
    }
    __device__ float scale(int i) const {
        return half_bits(d & 0xffff) * (float)(int8_t)(meta >> 8 * (i / 2));
    }
    __device__ float offset(int i) const {
        return -32 * scale(i);
    }
};

} // namespace lm

#endif

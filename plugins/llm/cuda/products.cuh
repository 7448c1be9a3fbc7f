/*
 * What the kernels of products share (products.cu: few rows, products_many.cu: more): which outputs
 * belong together, and what becomes of sums.
 */
#ifndef LM_CUDA_PRODUCTS_CUH
#define LM_CUDA_PRODUCTS_CUH

#include <math.h>

#include "llm/cuda/cache.cuh"
#include "llm/cuda/dequant.cuh"

namespace lm {

struct product {
    lm_cuda_matrix parts[LM_CUDA_PARTS];
    unsigned n_parts, pairs[LM_CUDA_PARTS], columns[LM_CUDA_PARTS]; /* of y: first of a part */
    lm_cuda_planes planes;
    const float *x, *gamma;
    float *y;
    unsigned ldx, ldy, n, k, groups, form, first_head;
    float eps;
    lm_cuda_place place;
};

/* Two outputs of a warp or lane. */
struct pair {
    unsigned part, out[2]; /* of the part; GATE: out[1] is of the second part */
    bool there, second;    /* second: out[1] is there */
};

__device__ inline pair find_pair(const product &p, unsigned index) {
    pair ret = {};
    if (p.form == LM_CUDA_GATE) {
        ret.there = ret.second = index < p.parts[0].n_out;
        ret.out[0] = ret.out[1] = index;
        return ret;
    }
    while (ret.part + 1 < p.n_parts && index >= p.pairs[ret.part])
        index -= p.pairs[ret.part++];
    ret.there = index < p.pairs[ret.part];
    if (p.form == LM_CUDA_PLACE) {
        const unsigned d = p.place.cache.d, half = d / 2;
        ret.out[0] = index / half * d + index % half;
        ret.out[1] = ret.out[0] + half;
        ret.second = ret.there;
    } else {
        ret.out[0] = 2 * index;
        ret.out[1] = 2 * index + 1;
        ret.second = ret.there && ret.out[1] < p.parts[ret.part].n_out;
    }
    return ret;
}

/* ---- Results --------------------------------------------------------------------------------- */

__device__ inline float bias_of(const lm_cuda_matrix &m, unsigned out) {
    return m.bias ? m.bias[out] : 0;
}

/* Two numbers of a head of queries, keys or values, turned and put where they belong. */
__device__ inline void put_pair(const product &p, unsigned item, const pair &at, float a, float b) {
    const lm_cuda_place &place = p.place;
    const unsigned d = place.cache.d, half = d / 2, e = at.out[0] % d;
    const unsigned column = p.columns[at.part] + at.out[0];
    const unsigned head = p.first_head + column / d; /* over queries, keys and values */
    const unsigned G = place.cache.n_kv_heads;
    const lm_cuda_item it = place.items[item];
    if (it.position < 0)
        return;
    if (head < place.n_heads + G) {
        const float c = place.cosines[(size_t)item * half + e];
        const float s = place.sines[(size_t)item * half + e], x = a, y = b;
        a = x * c - y * s;
        b = y * c + x * s;
    }
    if (head < place.n_heads) {
        float *to = p.y + (size_t)item * p.ldy + head * d + e;
        to[0] = a;
        to[half] = b;
        return;
    }
    const bool value = head >= place.n_heads + G;
    char *block = block_of(place.cache, it.table, (head - place.n_heads) % G, it.position);
    if (place.cache.type == NUM_CACHE_F32) {
        float *to = entry<float>(block, d, it.position, value) + e;
        to[0] = a;
        to[half] = b;
    } else {
        __half *to = entry<__half>(block, d, it.position, value) + e;
        to[0] = __float2half_rn(a);
        to[half] = __float2half_rn(b);
    }
}

__device__ inline void finish(const product &p, unsigned item, const pair &at, float a, float b) {
    const lm_cuda_matrix &m = p.parts[at.part];
    float *to = p.y + (size_t)item * p.ldy + p.columns[at.part] + at.out[0];
    a += bias_of(m, at.out[0]);
    if (at.second)
        b += bias_of(p.form == LM_CUDA_GATE ? p.parts[1] : m, at.out[1]);
    switch (p.form) {
    case LM_CUDA_GATE:
        to[0] = a / (1 + expf(-a)) * b;
        break;
    case LM_CUDA_PLACE:
        put_pair(p, item, at, a, b);
        break;
    case LM_CUDA_ADD:
        to[0] += a;
        if (at.second)
            to[1] += b;
        break;
    default:
        to[0] = a;
        if (at.second)
            to[1] = b;
        break;
    }
}

/* ---- Launches -------------------------------------------------------------------------------- */

static inline product product_of(const lm_cuda_product &a) {
    product p = {};
    unsigned column = 0;
    p.n_parts = a.form == LM_CUDA_GATE ? 1 : a.n_parts;
    for (unsigned i = 0; i < a.n_parts; i++) {
        p.parts[i] = *a.parts[i];
        p.columns[i] = column;
        p.pairs[i] = a.form == LM_CUDA_GATE ? p.parts[0].n_out : (p.parts[i].n_out + 1) / 2;
        column += p.parts[i].n_out;
    }
    p.planes = lm_cuda_planes_of(p.parts[0].type);
    p.x = a.x;
    p.gamma = a.gamma;
    p.y = a.y;
    p.ldx = a.ldx;
    p.ldy = a.ldy;
    p.n = a.n;
    p.k = p.parts[0].k;
    p.groups = p.parts[0].groups;
    p.form = a.form;
    p.first_head = a.first_head;
    p.eps = a.eps;
    if (a.place)
        p.place = *a.place;
    return p;
}

/* Calls RUN with the struct that reads matrices of the type, and how many of its groups a lane has
 * under way. */
#define FOR_TYPE(type, RUN)                                                                        \
    switch (type) {                                                                                \
    case NUM_WEIGHT_F32:                                                                           \
        RUN(lm::plain<float>, 1)                                                                   \
    case NUM_WEIGHT_F16:                                                                           \
        RUN(lm::plain<__half>, 1)                                                                  \
    case NUM_WEIGHT_BF16:                                                                          \
        RUN(lm::plain<__nv_bfloat16>, 1)                                                           \
    case NUM_WEIGHT_Q8_0:                                                                          \
        RUN(lm::bytes, 2)                                                                          \
    case NUM_WEIGHT_Q4_0:                                                                          \
        RUN(LM_ARGUMENT(lm::even<0, 8>), 4)                                                        \
    case NUM_WEIGHT_Q4_1:                                                                          \
        RUN(lm::uneven<0>, 4)                                                                      \
    case NUM_WEIGHT_Q5_0:                                                                          \
        RUN(LM_ARGUMENT(lm::even<1, 16>), 4)                                                       \
    case NUM_WEIGHT_Q5_1:                                                                          \
        RUN(lm::uneven<1>, 4)                                                                      \
    case NUM_WEIGHT_Q4_K:                                                                          \
        RUN(lm::super<0>, 4)                                                                       \
    case NUM_WEIGHT_Q5_K:                                                                          \
        RUN(lm::super<1>, 4)                                                                       \
    case NUM_WEIGHT_Q6_K:                                                                          \
        RUN(lm::six, 4)                                                                            \
    default:                                                                                       \
        return cudaErrorInvalidValue;                                                              \
    }
#define LM_ARGUMENT(...) __VA_ARGS__

} // namespace lm

#endif

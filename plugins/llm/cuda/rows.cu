/*
 * What stands between the products of a prompt, row by row, and heads where a product cannot turn
 * them itself: norms in each head, and keys and values of bytes, whose scale wants the whole head.
 * See cuda.h. All are bound by memory.
 */
#include <math.h>

#include "llm/cuda/cache.cuh"
#include "num/cuda/launch.cuh"
#include "num/cuda/warp.cuh"

namespace {

constexpr int WARPS = 4, THREADS = 32 * WARPS; /* a warp a row, or a head */

/* Grid: n / WARPS. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    norm_rows(const float *x, unsigned n, unsigned k, unsigned width, const float *gamma, float eps,
              T *ret) {
    const unsigned row = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= n)
        return;
    float sum = 0, scale = 1, v[8], g[8];
    x += (size_t)row * width;
    for (unsigned i = lane * 4; gamma && i < width; i += 128) {
        const float4 f = *(const float4 *)(x + i);
        sum += (f.x * f.x + f.y * f.y) + (f.z * f.z + f.w * f.w);
    }
    if (gamma)
        scale = 1 / sqrtf(num::warp_sum(sum) / k + eps);
    for (unsigned i = lane * 8; i < width; i += 256) {
        num::load8(x + i, v);
        if (gamma) {
            num::load8(gamma + i, g);
#pragma unroll
            for (int j = 0; j < 8; j++)
                v[j] *= scale * g[j];
        }
        num::store8(ret + (size_t)row * width + i, v);
    }
}

/* Grid: eights / THREADS. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    gate_rows(const float *gate, const float *up, size_t eights, T *ret) {
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= eights)
        return;
    float a[8], b[8];
    num::load8(gate + i * 8, a);
    num::load8(up + i * 8, b);
#pragma unroll
    for (int j = 0; j < 8; j++)
        a[j] = a[j] / (1 + expf(-a[j])) * b[j];
    num::store8(ret + i * 8, a);
}

/* ---- Heads ----------------------------------------------------------------------------------- */

/* Of a lane: e and e + d / 2 for e = lane, lane + 32, ... */
constexpr int PAIRS = LM_CUDA_MAX_HEAD / 64;

/* A lane's pairs of a head, normed where gamma is given, turned where `turn`. Whole warp. */
__device__ void read_head(const lm_cuda_place &p, unsigned item, const float *x, const float *gamma,
                          bool turn, float (&a)[PAIRS], float (&b)[PAIRS]) {
    const unsigned lane = threadIdx.x % 32, half = p.cache.d / 2;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        const unsigned e = i * 32 + lane;
        a[i] = e < half ? x[e] : 0;
        b[i] = e < half ? x[e + half] : 0;
        sum += a[i] * a[i] + b[i] * b[i];
    }
    const float scale = gamma ? 1 / sqrtf(num::warp_sum(sum) / p.cache.d + p.eps) : 1;
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        const unsigned e = i * 32 + lane;
        if (e >= half)
            continue;
        if (gamma) {
            a[i] *= scale * gamma[e];
            b[i] *= scale * gamma[e + half];
        }
        if (turn) {
            const float c = p.cosines[(size_t)item * half + e],
                        s = p.sines[(size_t)item * half + e];
            const float u = a[i], v = b[i];
            a[i] = u * c - v * s;
            b[i] = v * c + u * s;
        }
    }
}

template <typename T>
__device__ void write_head(T *to, unsigned half, const float (&a)[PAIRS], const float (&b)[PAIRS]) {
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        const unsigned e = i * 32 + threadIdx.x % 32;
        if (e >= half)
            continue;
        to[e] = lm::narrow<T>(a[i]);
        to[e + half] = lm::narrow<T>(b[i]);
    }
}

/* Bytes with one scale: the largest is 127. */
__device__ void write_bytes(char *block, unsigned d, unsigned position, bool value,
                            float (&a)[PAIRS], float (&b)[PAIRS]) {
    int8_t *to = lm::entry<int8_t>(block, d, position, value);
    float most = 0;
#pragma unroll
    for (int i = 0; i < PAIRS; i++)
        most = fmaxf(most, fmaxf(fabsf(a[i]), fabsf(b[i])));
    most = num::warp_max(most);
    const float by = most > 0 ? 127 / most : 0;
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        const unsigned e = i * 32 + threadIdx.x % 32;
        if (e >= d / 2)
            continue;
        to[e] = (int8_t)rintf(a[i] * by);
        to[e + d / 2] = (int8_t)rintf(b[i] * by);
    }
    if (threadIdx.x % 32 == 0)
        *lm::scale_of(block, d, position, value) = most / 127;
}

/* Grid: (heads of queries, keys and values / WARPS, n). */
__global__ void __launch_bounds__(THREADS) place_heads(lm_cuda_place p, float *y, unsigned ldy) {
    const unsigned head = blockIdx.x * WARPS + threadIdx.x / 32, item = blockIdx.y;
    const unsigned H = p.n_heads, G = p.cache.n_kv_heads, d = p.cache.d;
    const lm_cuda_item it = p.items[item];
    if (head >= H + 2 * G || it.position < 0)
        return;
    const bool value = head >= H + G;
    float a[PAIRS], b[PAIRS], *x = y + (size_t)item * ldy + head * d;
    read_head(p, item, x, head < H ? p.q_norm : value ? NULL : p.k_norm, !value, a, b);
    if (head < H) {
        write_head(x, d / 2, a, b);
        return;
    }
    char *block = lm::block_of(p.cache, it.table, (head - H) % G, it.position);
    if (p.cache.type == NUM_CACHE_F32)
        write_head(lm::entry<float>(block, d, it.position, value), d / 2, a, b);
    else if (p.cache.type == NUM_CACHE_F16)
        write_head(lm::entry<__half>(block, d, it.position, value), d / 2, a, b);
    else
        write_bytes(block, d, it.position, value, a, b);
}

unsigned blocks(size_t n, unsigned of) {
    return (unsigned)((n + of - 1) / of);
}

} // namespace

cudaError_t lm_cuda_rows(const float *x, uint32_t n, uint32_t k, uint32_t width, const float *gamma,
                         float eps, enum num_cuda_type type, void *ret, cudaStream_t stream) {
    const dim3 grid(blocks(n, WARPS)), block(THREADS);
    if (type == NUM_CUDA_F32)
        return num::launch(norm_rows<float>, grid, block, 0, stream, x, n, k, width, gamma, eps,
                           (float *)ret);
    return num::launch(norm_rows<__nv_bfloat16>, grid, block, 0, stream, x, n, k, width, gamma, eps,
                       (__nv_bfloat16 *)ret);
}

cudaError_t lm_cuda_gate(const float *gate, const float *up, uint32_t n, uint32_t width,
                         enum num_cuda_type type, void *ret, cudaStream_t stream) {
    const size_t eights = (size_t)n * width / 8;
    const dim3 grid(blocks(eights, THREADS)), block(THREADS);
    if (type == NUM_CUDA_F32)
        return num::launch(gate_rows<float>, grid, block, 0, stream, gate, up, eights,
                           (float *)ret);
    return num::launch(gate_rows<__nv_bfloat16>, grid, block, 0, stream, gate, up, eights,
                       (__nv_bfloat16 *)ret);
}

cudaError_t lm_cuda_heads(const struct lm_cuda_place *place, float *y, uint32_t ldy, uint32_t n,
                          cudaStream_t stream) {
    const dim3 grid(blocks(place->n_heads + 2 * place->cache.n_kv_heads, WARPS), n);
    return num::launch(place_heads, grid, dim3(THREADS), 0, stream, *place, y, ldy);
}

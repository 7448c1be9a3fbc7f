/*
 * Attention of floats: see attention.h. No tensor cores and no rounding but a float's, each sum in
 * one order whatever the card does.
 *
 * A block owns TILE queries of a head and walks over the keys, TILE at a time, with a running
 * softmax (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al.,
 * "FlashAttention", 2022). Thread (i, j) of 16 x 16 has the scores of queries 4 i ... 4 i + 3 with
 * keys 4 j ... 4 j + 3, then values 4 j ... 4 j + 3 of the same queries' results; 16 lanes side by
 * side share a row, so its maximum is found by shuffles.
 *
 * Bound by arithmetic: 11.5 GFLOP for a layer and a window of large-v3, with four 16-byte reads of
 * shared memory for 64 multiply-adds. 25 TFLOP/s expected: 0.46 ms a layer.
 */
#include "num/cuda/attention.h"

#include <math.h>

#include "num/cuda/launch.cuh"
#include "num/cuda/warp.cuh"

namespace {

constexpr int HEAD = NUM_CUDA_HEAD, TILE = 64, THREADS = 256;
constexpr int LD = TILE + 4; /* floats: rows apart stay 16-byte aligned and change banks */

/* Shared memory of a block: 69 KB. */
struct workspace {
    float q[HEAD][LD];       /* [element][query], scaled */
    float k[HEAD][LD];       /* [element][key] */
    float v[TILE][LD];       /* [key][element] */
    float weights[TILE][LD]; /* [key][query] */
};

/* Rows [first, first + TILE) of one head, zeros behind row n, as to[element][row] times scale. */
__device__ void load_transposed(const float *from, size_t ld, size_t first, size_t n, float scale,
                                float (*to)[LD]) {
    for (int i = threadIdx.x; i < TILE * HEAD; i += THREADS) {
        const int row = i / HEAD, element = i % HEAD;
        to[element][row] = first + row < n ? from[(first + row) * ld + element] * scale : 0;
    }
}

__device__ void load(const float *from, size_t ld, size_t first, size_t n, float (*to)[LD]) {
    for (int i = threadIdx.x; i < TILE * HEAD; i += THREADS) {
        const int row = i / HEAD, element = i % HEAD;
        to[row][element] = first + row < n ? from[(first + row) * ld + element] : 0;
    }
}

__device__ void load4(const float *from, float (&v)[4]) {
    const float4 x = *reinterpret_cast<const float4 *>(from);
    v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
}

/* to[r][c] += sum over e of a[e][4 i + r] b[e][4 j + c]. */
__device__ void multiply(const float (*a)[LD], const float (*b)[LD], int i, int j,
                         float (&to)[4][4]) {
#pragma unroll 8
    for (int e = 0; e < TILE; e++) {
        float x[4], y[4];
        load4(&a[e][4 * i], x);
        load4(&b[e][4 * j], y);
#pragma unroll
        for (int r = 0; r < 4; r++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                to[r][c] = fmaf(x[r], y[c], to[r][c]);
    }
}

/* Turns a row of scores into weights and corrects what was added before by the new maximum. */
__device__ void soften(float (&scores)[4], float (&out)[4], float &max, float &sum) {
    float top = max;
#pragma unroll
    for (int c = 0; c < 4; c++)
        top = fmaxf(top, scores[c]);
    top = num::warp_max<16>(top);
    const float fix = expf(max - top);
    float added = 0;
#pragma unroll
    for (int c = 0; c < 4; c++) {
        scores[c] = expf(scores[c] - top);
        added += scores[c];
        out[c] *= fix;
    }
    sum = sum * fix + num::warp_sum<16>(added);
    max = top;
}

/* Grid: (queries / TILE, heads, windows). */
__global__ void __launch_bounds__(THREADS) attend_exact(num_cuda_attention a) {
    workspace &s = *num::dynamic_shared<workspace>();
    const int i = threadIdx.x / 16, j = threadIdx.x % 16;
    const size_t first = (size_t)blockIdx.x * TILE, head = (size_t)blockIdx.y * HEAD;
    const size_t window = blockIdx.z * a.n;
    const float *k = (const float *)a.k + window * a.ld + head;
    const float *v = (const float *)a.v + window * a.ld + head;
    float out[4][4] = {{0}}, max[4], sum[4] = {0};
#pragma unroll
    for (int r = 0; r < 4; r++)
        max[r] = -INFINITY;
    load_transposed((const float *)a.q + window * a.ld + head, a.ld, first, a.n, a.scale, s.q);
    for (size_t at = 0; at < a.n; at += TILE) {
        float scores[4][4] = {{0}};
        load_transposed(k, a.ld, at, a.n, 1, s.k);
        load(v, a.ld, at, a.n, s.v);
        __syncthreads();
        multiply(s.q, s.k, i, j, scores);
#pragma unroll
        for (int r = 0; r < 4; r++) {
#pragma unroll
            for (int c = 0; c < 4; c++)
                scores[r][c] = at + 4 * j + c < a.n ? scores[r][c] : -INFINITY;
            soften(scores[r], out[r], max[r], sum[r]);
#pragma unroll
            for (int c = 0; c < 4; c++)
                s.weights[4 * j + c][4 * i + r] = scores[r][c];
        }
        __syncthreads();
        multiply(s.weights, s.v, i, j, out);
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const size_t row = first + 4 * i + r;
        if (row < a.n)
            *reinterpret_cast<float4 *>((float *)a.ret + (window + row) * a.ld_ret + head + 4 * j) =
                make_float4(out[r][0] / sum[r], out[r][1] / sum[r], out[r][2] / sum[r],
                            out[r][3] / sum[r]);
    }
}

} // namespace

cudaError_t num_cuda_attention_exact(const struct num_cuda_attention *a, cudaStream_t stream) {
    const dim3 grid((unsigned)((a->n + TILE - 1) / TILE), (unsigned)a->n_heads,
                    (unsigned)a->n_batch);
    return num::launch(attend_exact, grid, dim3(THREADS), sizeof(workspace), stream, *a);
}

/*
 * Products of up to 64 rows with matrix instructions: see cuda.h. Weights are read once, and become
 * bfloat16 in registers, with their scales.
 *
 * A warp owns eight pairs of outputs (products.cuh), a matrix instruction has the eight first ones
 * and the eight second ones as its 16 rows, 8 rows of inputs as its columns. Which 16 inputs meet
 * in an instruction is free, as long as both sides agree: a lane brings a whole group of 32 inputs
 * of both of its outputs, as it is stored, and the four lanes of an output four groups; so a weight
 * goes from memory to the instruction without a shuffle. A lane ends with both sums of its pair,
 * and what follows a product needs no other lane.
 *
 * Inputs lie in shared memory, 16 groups of 32 at a time: 80 bytes from group to group and 64 more
 * a row, so that the eight lanes that read 16 bytes together have different banks. Where a matrix
 * has too few outputs for all multiprocessors, warps of a block share outputs and take different
 * groups, 2 or 4 of them; their sums are added in order. How depends on the matrix and the card, so
 * a row's result does not depend on how many rows there are.
 *
 * For Llama-3-8B and 64 rows the 7.5e9 weights take 2048 at a time 64 instructions and 32 reads of
 * 512 bytes from shared memory: 2.0 ms of 132 multiprocessors at 1.75 GHz, beside 3.5 ms for
 * reading bfloat16, and 1.0 ms for 4 bits.
 */
#include "llm/cuda/products.cuh"
#include "num/cuda/launch.cuh"
#include "num/cuda/mma.cuh"

namespace {

using lm::pair;
using lm::product;

constexpr int WARPS = 8, THREADS = 32 * WARPS;
constexpr int SPAN = 16;                /* groups in shared memory */
constexpr int SLOT = LM_CUDA_GROUP + 8; /* halves from group to group */
constexpr int ROW = SPAN * SLOT + 32;   /* ... and from row to row */

/* Groups [base, base + SPAN) of 8 N rows to shared memory; zeros behind rows and groups. */
template <int N>
__device__ void stage(const product &p, const __nv_bfloat16 *x, unsigned base, __nv_bfloat16 *to) {
    for (unsigned i = threadIdx.x; i < 8 * N * SPAN * 4; i += THREADS) {
        const unsigned piece = i % 4, group = i / 4 % SPAN, row = i / 4 / SPAN;
        const bool there = row < p.n && base + group < p.groups;
        const size_t at = (size_t)row * p.ldx + (base + group) * LM_CUDA_GROUP + piece * 8;
        num::cp_async_16(to + row * ROW + group * SLOT + piece * 8, there ? x + at : x, there);
    }
    num::cp_async_commit();
}

/* Eight numbers of both outputs, i-th of the group, as operands of two instructions. */
template <typename W> __device__ void operands(const W (&w)[2], int i, uint32_t (&a)[2][4]) {
#pragma unroll
    for (int o = 0; o < 2; o++) {
        const float scale = w[o].scale(i), offset = w[o].offset(i);
        float q[8];
        w[o].eight(i, q);
#pragma unroll
        for (int j = 0; j < 4; j++)
            a[j / 2][j % 2 * 2 + o] = num::pack2<__nv_bfloat16>(fmaf(scale, q[2 * j], offset),
                                                                fmaf(scale, q[2 * j + 1], offset));
    }
}

/* Adds four groups, one of each lane of four; `x`: that group of the lane's first row. */
template <typename W, int N>
__device__ void add_groups(const W (&w)[2], const __nv_bfloat16 *x, float (&sums)[N][4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t a[2][4];
        operands(w, i, a);
#pragma unroll
        for (int c = 0; c < N; c++) {
            const uint4 v = *(const uint4 *)(x + c * 8 * ROW + i * 8);
            const uint32_t b[4] = {v.x, v.y, v.z, v.w};
            num::mma_m16n8k16<__nv_bfloat16>(sums[c], a[0], b);
            num::mma_m16n8k16<__nv_bfloat16>(sums[c], a[1], b + 2);
        }
    }
}

/* Adds the sums of the warps that share outputs to those of the first of them. All threads. */
template <int N> __device__ void add_slices(float (&sums)[N][4], unsigned n_slices, float *work) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, n_sets = WARPS / n_slices;
    __syncthreads(); /* nobody reads inputs */
#pragma unroll
    for (int c = 0; c < N; c++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            work[((warp * N + c) * 4 + i) * 32 + lane] = sums[c][i];
    __syncthreads();
    for (unsigned s = 1; warp < n_sets && s < n_slices; s++)
#pragma unroll
        for (int c = 0; c < N; c++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                sums[c][i] += work[(((warp + s * n_sets) * N + c) * 4 + i) * 32 + lane];
}

/* Grid: sets of 8 pairs / (WARPS / n_slices). Shared: 8 N rows of inputs, or all sums. */
template <typename W, int N>
__global__ void __launch_bounds__(THREADS)
    many_rows(product p, const __nv_bfloat16 *x, unsigned n_slices) {
    __nv_bfloat16 *inputs = num::dynamic_shared<__nv_bfloat16>();
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, t = lane % 4;
    const unsigned n_sets = WARPS / n_slices, slice = warp / n_sets, span = SPAN / n_slices;
    const pair at = lm::find_pair(p, (blockIdx.x * n_sets + warp % n_sets) * 8 + lane / 4);
    float sums[N][4] = {};
    lm::row rows[2] = {};
    if (at.there) {
        rows[0] = lm::row_of(p.parts[at.part], p.planes, at.out[0]);
        rows[1] = lm::row_of(p.parts[p.form == LM_CUDA_GATE ? 1 : at.part], p.planes,
                             at.second ? at.out[1] : at.out[0]);
    }
    for (unsigned base = 0; base < p.groups; base += SPAN) {
        if (base)
            __syncthreads(); /* nobody reads the last groups' inputs */
        stage<N>(p, x, base, inputs);
        num::cp_async_wait<0>();
        __syncthreads();
        for (unsigned g = slice * span + t; g < (slice + 1) * span; g += 4) {
            W w[2] = {};
            if (at.there && base + g < p.groups) {
                w[0].load(rows[0], base + g);
                w[1].load(rows[1], base + g);
            }
            add_groups<W, N>(w, inputs + lane / 4 * ROW + g * SLOT, sums);
        }
    }
    if (n_slices > 1)
        add_slices<N>(sums, n_slices, (float *)inputs);
    if (slice > 0 || !at.there)
        return;
#pragma unroll
    for (int c = 0; c < N; c++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const unsigned item = c * 8 + 2 * t + i;
            if (item < p.n)
                lm::finish(p, item, at, sums[c][i], sums[c][2 + i]);
        }
}

template <typename W, int N>
cudaError_t launch_many(const product &p, const __nv_bfloat16 *x, unsigned n_processors,
                        cudaStream_t stream) {
    unsigned pairs = 0, n_slices = 1;
    for (unsigned i = 0; i < p.n_parts; i++)
        pairs += p.pairs[i];
    const unsigned sets = (pairs + 7) / 8;
    while (n_slices < 4 && (sets * n_slices + WARPS - 1) / WARPS < n_processors * 3 / 4)
        n_slices *= 2;
    const size_t inputs = (size_t)8 * N * ROW * sizeof(__nv_bfloat16);
    const size_t sums = (size_t)THREADS * N * 4 * sizeof(float);
    const dim3 grid((sets * n_slices + WARPS - 1) / WARPS);
    return num::launch(many_rows<W, N>, grid, dim3(THREADS), inputs > sums ? inputs : sums, stream,
                       p, x, n_slices);
}

template <typename W>
cudaError_t launch_rows(const product &p, const __nv_bfloat16 *x, unsigned n_processors,
                        cudaStream_t stream) {
    if (p.n <= 16)
        return launch_many<W, 2>(p, x, n_processors, stream);
    if (p.n <= 32)
        return launch_many<W, 4>(p, x, n_processors, stream);
    return p.n <= LM_CUDA_MANY ? launch_many<W, 8>(p, x, n_processors, stream)
                               : cudaErrorInvalidValue;
}

} // namespace

cudaError_t lm_cuda_product_many(const struct lm_cuda_product *a, const void *x,
                                 uint32_t n_processors, cudaStream_t stream) {
    const product p = lm::product_of(*a);
#define RUN(W, ROUNDS) return launch_rows<W>(p, (const __nv_bfloat16 *)x, n_processors, stream);
    FOR_TYPE(p.parts[0].type, RUN)
#undef RUN
}

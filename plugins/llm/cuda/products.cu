/*
 * Products of few rows: see cuda.h. Bound by reading the weights once, in the bits that they are
 * stored in.
 *
 * A warp owns two outputs, its lanes groups of 32 inputs of both: gate and up of the same place,
 * the two numbers of a pair that a position turns, or neighbours. So what follows a product, up to
 * the cache, needs no other warp. Weights of the next groups are loaded before the block waits for
 * its inputs, which lie in shared memory as groups of 36 floats: 32 inputs, and the sums of each
 * eight, which meet what is added to numbers of those (dequant.cuh). 36 floats from group to group:
 * lanes read 16 bytes each from different banks.
 *
 * Inputs are normed as they are brought to shared memory; each block finds the rows' sums of
 * squares itself (16 KB of the second cache for a row of 4096). Up to 8 rows at a time: more rows
 * read the weights again.
 *
 * Llama-3-8B has 7.5e9 weights in layers: 4 instructions for each (shift, or, subtract,
 * multiply-add) are 1.1 ms of 132 multiprocessors at 1.75 GHz, 4.7e9 bytes of Q4_K the same at 4.3
 * TB/s; bytes and halves are bound by memory.
 */
#include "llm/cuda/products.cuh"
#include "num/cuda/launch.cuh"
#include "num/cuda/warp.cuh"

namespace {

using lm::pair;
using lm::product;

constexpr int WARPS = 8, THREADS = 32 * WARPS;
constexpr int MOST_ROWS = 8;
constexpr int SLOT = LM_CUDA_GROUP + 4; /* floats of a group in shared memory */

/* ---- Inputs ---------------------------------------------------------------------------------- */

/* What rows are multiplied by to be normed. All threads; ends with a barrier. */
__device__ void measure(const product &p, unsigned first, unsigned n, float *ret) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (unsigned r = warp; r < n; r += WARPS) {
        const float *x = p.x + (size_t)(first + r) * p.ldx;
        float sum = 0;
        for (unsigned i = lane * 4; i < p.groups * LM_CUDA_GROUP; i += 128) {
            const float4 v = *(const float4 *)(x + i);
            sum += (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
        }
        sum = num::warp_sum(sum);
        if (lane == 0)
            ret[r] = 1 / sqrtf(sum / p.k + p.eps);
    }
    __syncthreads();
}

/* Groups [base, base + n_groups) of n rows to shared memory. */
__device__ void stage(const product &p, unsigned first, unsigned n, unsigned base,
                      unsigned n_groups, const float *scales, float *to) {
    for (unsigned i = threadIdx.x; i < n * n_groups * 4; i += THREADS) {
        const unsigned eight = i % 4, group = i / 4 % n_groups, r = i / 4 / n_groups;
        const unsigned at = (base + group) * LM_CUDA_GROUP + eight * 8;
        float *slot = to + (r * n_groups + group) * SLOT, x[8];
        num::load8(p.x + (size_t)(first + r) * p.ldx + at, x);
        if (p.gamma) {
            float gamma[8];
            num::load8(p.gamma + at, gamma);
#pragma unroll
            for (int j = 0; j < 8; j++)
                x[j] *= scales[r] * gamma[j];
        }
        num::store8(slot + eight * 8, x);
        slot[LM_CUDA_GROUP + eight] =
            ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
    }
}

/* ---- Sums ------------------------------------------------------------------------------------ */

/* Adds a group of both outputs, for R rows whose inputs lie `row` floats apart. */
template <typename W, int R>
__device__ void add_group(const W (&w)[2], const float *x, unsigned row, unsigned n,
                          float (&sums)[2][R]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float q[2][8];
        w[0].eight(i, q[0]);
        w[1].eight(i, q[1]);
        const float scale[2] = {w[0].scale(i), w[1].scale(i)};
        const float offset[2] = {w[0].offset(i), w[1].offset(i)};
#pragma unroll
        for (unsigned r = 0; r < R; r++) {
            if (r >= n)
                continue;
            float v[8], dot[2] = {0, 0};
            num::load8(x + r * row + i * 8, v);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                dot[0] = fmaf(q[0][j], v[j], dot[0]);
                dot[1] = fmaf(q[1][j], v[j], dot[1]);
            }
#pragma unroll
            for (int o = 0; o < 2; o++) {
                sums[o][r] = fmaf(scale[o], dot[o], sums[o][r]);
                if (W::OFFSET)
                    sums[o][r] = fmaf(offset[o], x[r * row + LM_CUDA_GROUP + i], sums[o][r]);
            }
        }
    }
}

/* Grid: (pairs / WARPS, rows / R). ROUNDS: groups of a lane that are under way at the same time.
 * Shared: R floats, and R rows of 32 ROUNDS groups. */
template <typename W, int R, int ROUNDS>
__global__ void __launch_bounds__(THREADS) few_rows(product p) {
    float *scales = num::dynamic_shared<float>(), *inputs = scales + MOST_ROWS;
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = blockIdx.y * R;
    const unsigned n = min(p.n - first, (unsigned)R);
    const pair at = lm::find_pair(p, blockIdx.x * WARPS + warp);
    float sums[2][R] = {};
    lm::row rows[2] = {};
    if (at.there) {
        rows[0] = lm::row_of(p.parts[at.part], p.planes, at.out[0]);
        rows[1] = lm::row_of(p.parts[p.form == LM_CUDA_GATE ? 1 : at.part], p.planes,
                             at.second ? at.out[1] : at.out[0]);
    }
    if (p.gamma)
        measure(p, first, n, scales);
    for (unsigned base = 0; base < p.groups; base += 32 * ROUNDS) {
        const unsigned n_groups = min(p.groups - base, (unsigned)(32 * ROUNDS));
        W w[ROUNDS][2] = {};
#pragma unroll
        for (int i = 0; i < ROUNDS; i++)
            if (at.there && i * 32 + lane < n_groups) {
                w[i][0].load(rows[0], base + i * 32 + lane);
                w[i][1].load(rows[1], base + i * 32 + lane);
            }
        if (base)
            __syncthreads(); /* nobody reads the last groups' inputs */
        stage(p, first, n, base, n_groups, scales, inputs);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < ROUNDS; i++)
            if (at.there && i * 32 + lane < n_groups)
                add_group<W, R>(w[i], inputs + (i * 32 + lane) * SLOT, n_groups * SLOT, n, sums);
    }
    if (!at.there)
        return;
#pragma unroll
    for (unsigned r = 0; r < R; r++) {
        if (r >= n)
            continue;
        const float a = num::warp_sum(sums[0][r]), b = num::warp_sum(sums[1][r]);
        if (lane == 0)
            lm::finish(p, first + r, at, a, b);
    }
}

/* ---- Whole matrices -------------------------------------------------------------------------- */

/* Grid: groups / THREADS; a thread a group. */
template <typename W, typename T>
__global__ void __launch_bounds__(THREADS) unpack(lm_cuda_matrix m, lm_cuda_planes planes, T *ret) {
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= (size_t)m.n_out * m.groups)
        return;
    W w;
    w.load(lm::row_of(m, planes, (unsigned)(i / m.groups)), (unsigned)(i % m.groups));
#pragma unroll
    for (int e = 0; e < 4; e++) {
        float q[8];
        w.eight(e, q);
#pragma unroll
        for (int j = 0; j < 8; j++)
            q[j] = fmaf(w.scale(e), q[j], w.offset(e));
        num::store8(ret + i * LM_CUDA_GROUP + e * 8, q);
    }
}

/* ---- Launches -------------------------------------------------------------------------------- */

template <typename W, int R, int ROUNDS>
cudaError_t launch_few(const product &p, cudaStream_t stream) {
    unsigned pairs = 0;
    for (unsigned i = 0; i < p.n_parts; i++)
        pairs += p.pairs[i];
    const unsigned groups = p.groups < 32 * ROUNDS ? p.groups : 32 * ROUNDS;
    const dim3 grid((pairs + WARPS - 1) / WARPS, (p.n + R - 1) / R);
    const size_t shared = (MOST_ROWS + (size_t)R * groups * SLOT) * sizeof(float);
    return num::launch(few_rows<W, R, ROUNDS>, grid, dim3(THREADS), shared, stream, p);
}

template <typename W, int ROUNDS> cudaError_t launch_rows(const product &p, cudaStream_t stream) {
    if (p.n == 1)
        return launch_few<W, 1, ROUNDS>(p, stream);
    if (p.n <= 4)
        return launch_few<W, 4, 1>(p, stream);
    return launch_few<W, MOST_ROWS, 1>(p, stream);
}

template <typename W>
cudaError_t launch_unpack(const lm_cuda_matrix &m, enum num_cuda_type type, void *ret,
                          cudaStream_t stream) {
    const size_t groups = (size_t)m.n_out * m.groups;
    const dim3 grid((unsigned)((groups + THREADS - 1) / THREADS)), block(THREADS);
    const lm_cuda_planes planes = lm_cuda_planes_of(m.type);
    if (type == NUM_CUDA_F32)
        return num::launch(unpack<W, float>, grid, block, 0, stream, m, planes, (float *)ret);
    return num::launch(unpack<W, __nv_bfloat16>, grid, block, 0, stream, m, planes,
                       (__nv_bfloat16 *)ret);
}

} // namespace

cudaError_t lm_cuda_product_run(const struct lm_cuda_product *a, cudaStream_t stream) {
    const product p = lm::product_of(*a);
#define RUN(W, ROUNDS) return launch_rows<W, ROUNDS>(p, stream);
    FOR_TYPE(p.parts[0].type, RUN)
#undef RUN
}

cudaError_t lm_cuda_unpack(const struct lm_cuda_matrix *m, enum num_cuda_type type, void *ret,
                           cudaStream_t stream) {
#define RUN(W, ROUNDS) return launch_unpack<W>(*m, type, ret, stream);
    FOR_TYPE(m->type, RUN)
#undef RUN
}

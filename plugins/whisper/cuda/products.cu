/*
 * Matrix products of few rows: see products.h. They are bound by reading the weights once: 46 MB of
 * a layer of large-v3 in half types, 10.7 us at 4.3 TB/s, 431 us for a step of one item with the
 * logits and the cross-attention.
 *
 * few_rows, half types, up to 32 items. A block owns 16 outputs and cuts the inputs among its
 * warps. A lane loads 16 bytes of a weight row at a time; those eight values stand for eight of the
 * inputs of two matrix instructions (m16n8k16), and the items' values are taken in the same order,
 * so that the sum is right although the inputs are not where the instruction's layout has them.
 * Weights are the 16 rows, items the 8 columns: one to eight items cost the same. Nothing passes
 * through shared memory but the warps' sums, which are added in their order: the same numbers
 * whatever n is. Weights of the first steps are fetched before the kernel waits for the one before
 * it.
 *
 *     In flight: 8 warps x 5 steps x 1 KB = 40 KB a block, all of it for n_in = 1280; 3 MB are
 *     wanted (4.3 TB/s x 0.7 us). n_out / 16 blocks: 80 for 1280 outputs, on 132 multiprocessors,
 *     which is enough since one can take in three times its share.
 *
 * Weights of 8 or 4 bits take the same way and become the type in registers.
 *
 * exact_rows, floats: a warp owns two outputs, its lanes the inputs; eight items at a time. Sums in
 * a fixed order that does not depend on n.
 */
#include "whisper/cuda/products.h"

#include <math.h>

#include "num/cuda/fast.cuh"
#include "num/cuda/mma.cuh"
#include "num/cuda/norm.h"
#include "num/cuda/warp.cuh"
#include "whisper/cuda/decoder.cuh"

namespace {

constexpr int ROWS = 16; /* outputs of a block */
constexpr int STEP = 32; /* inputs of two matrix instructions */

/* Loads of a warp that are under way at the same time. A thread of 16 warps has 128 registers, for
 * twice as many loads (of `words` registers) and the sums of NB x 8 items; what has parts needs room
 * to become the type, too. With one more, registers spill (ptxas -v, sm_90). */
__host__ __device__ constexpr int fetched(int words, int n_parts, int NB, int warps) {
    return warps <= 8 || words < 8 ? 5 : n_parts > 1 ? (NB > 1 ? 3 : 4) : NB > 2 ? 4 : 5;
}

/* Blocks of a multiprocessor that the registers are to suffice for. */
__host__ __device__ constexpr int beside(int n_parts, int NB, int warps) {
    return warps > 8 ? 1 : NB > 1 || n_parts > 1 ? 2 : 3;
}

/* A product as the kernels see it. */
struct product {
    const void *w;
    const float *scales, *bias, *gamma, *beta;
    const void *x;
    void *y;
    void *cells;
    const struct wh_cuda_item *items;
    unsigned n, n_in, n_out, form;
    unsigned n_positions, n_state;
};

/* Mean and inverse deviation of rows of x, one warp each; all threads call it. */
__device__ void measure_rows(const product &p, unsigned first, unsigned n, float2 *ret) {
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warps = blockDim.x / 32;
    for (unsigned r = warp; r < n; r += n_warps) {
        const float *x = (const float *)p.x + (size_t)(first + r) * p.n_in;
        float sum = 0, squares = 0;
        for (unsigned k = lane * 4; k < p.n_in; k += 128) {
            const float4 v = *(const float4 *)(x + k);
            sum += (v.x + v.y) + (v.z + v.w);
        }
        const float mean = num::warp_sum(sum) / p.n_in;
        for (unsigned k = lane * 4; k < p.n_in; k += 128) {
            const float4 v = *(const float4 *)(x + k);
            const float a = v.x - mean, b = v.y - mean, c = v.z - mean, d = v.w - mean;
            squares += (a * a + b * b) + (c * c + d * d);
        }
        squares = num::warp_sum(squares);
        if (lane == 0)
            ret[r] = make_float2(mean, rsqrtf(squares / p.n_in + 1e-5f));
    }
    __syncthreads();
}

/* Puts one result where it belongs. */
template <typename T>
__device__ void finish(const product &p, unsigned item, unsigned out, float v) {
    if (p.bias)
        v += p.bias[out];
    switch (p.form) {
    case WH_CUDA_TO_CELLS: {
        if (out < p.n_state) {
            ((float *)p.y)[(size_t)item * p.n_out + out] = v;
            break;
        }
        const wh_cuda_item it = p.items[item];
        T *cell = (T *)p.cells + wh::cell_at(it.cell, it.position, p.n_positions, p.n_state);
        if (it.row >= 0)
            cell[out - p.n_state] = wh::from_float<T>(v);
        break;
    }
    case WH_CUDA_TO_FLOATS:
        ((float *)p.y)[(size_t)item * p.n_out + out] = v;
        break;
    case WH_CUDA_TO_HIDDEN:
        ((T *)p.y)[(size_t)item * p.n_out + out] = wh::from_float<T>(wh::gelu<T>(v));
        break;
    case WH_CUDA_ADD:
        ((float *)p.y)[(size_t)item * p.n_out + out] += v;
        break;
    }
}

/* ---- Half types ----------------------------------------------------------------------------- */

/* A lane's eight inputs of a step, of one item, as four packed words; zeros behind the last
 * item. */
template <typename T>
__device__ uint4 input_words(const product &p, unsigned item, unsigned k, const float2 *rows) {
    if (item >= p.n)
        return make_uint4(0, 0, 0, 0);
    if (!p.gamma)
        return *(const uint4 *)((const T *)p.x + (size_t)item * p.n_in + k);
    float x[8], gamma[8], beta[8];
    num::load8((const float *)p.x + (size_t)item * p.n_in + k, x);
    num::load8(p.gamma + k, gamma);
    num::load8(p.beta + k, beta);
    const float2 row = rows[item];
    for (int i = 0; i < 8; i++)
        x[i] = (x[i] - row.x) * row.y * gamma[i] + beta[i];
    return make_uint4(num::pack2<T>(x[0], x[1]), num::pack2<T>(x[2], x[3]),
                      num::pack2<T>(x[4], x[5]), num::pack2<T>(x[6], x[7]));
}

/* A lane's weights of one step: eight values of two rows. */
struct plain_step {
    uint4 low, high;
};

template <typename T> struct plain_weights {
    typedef plain_step step;
    static constexpr int N = 1; /* steps of 32 inputs that one load covers */

    /* `row` and `row + 8` of the block's outputs; rows behind the last are read as the last. */
    static __device__ step load(const product &p, unsigned low, unsigned high, unsigned at,
                                unsigned quad) {
        const T *w = (const T *)p.w + at * STEP + quad * 8;
        step s;
        s.low = __ldg((const uint4 *)(w + (size_t)low * p.n_in));
        s.high = __ldg((const uint4 *)(w + (size_t)high * p.n_in));
        return s;
    }
    static __device__ plain_step part(const product &, const step &s, unsigned, unsigned, unsigned,
                                      int) {
        return s;
    }
    static __device__ float scale(const product &, unsigned) {
        return 1;
    }
    static __device__ unsigned input(unsigned at, unsigned quad, int) {
        return at * STEP + quad * 8;
    }
};

/* Eight signed bytes, in two words, as packed values. */
template <typename T> __device__ uint4 widen(uint32_t a, uint32_t b, float scale) {
    float x[8];
    for (int i = 0; i < 4; i++) {
        x[i] = (float)(int8_t)(a >> 8 * i) * scale;
        x[4 + i] = (float)(int8_t)(b >> 8 * i) * scale;
    }
    return make_uint4(num::pack2<T>(x[0], x[1]), num::pack2<T>(x[2], x[3]),
                      num::pack2<T>(x[4], x[5]), num::pack2<T>(x[6], x[7]));
}

/* A byte each, with a scale for each output. A lane's 16 bytes are two steps. */
template <typename T> struct byte_weights {
    typedef plain_step step;
    static constexpr int N = 2;

    static __device__ step load(const product &p, unsigned low, unsigned high, unsigned at,
                                unsigned quad) {
        const char *w = (const char *)p.w + at * (2 * STEP) + quad * 16;
        step s;
        s.low = __ldg((const uint4 *)(w + (size_t)low * p.n_in));
        s.high = __ldg((const uint4 *)(w + (size_t)high * p.n_in));
        return s;
    }
    static __device__ plain_step part(const product &, const step &s, unsigned, unsigned, unsigned,
                                      int part) {
        plain_step ret;
        ret.low = part ? widen<T>(s.low.z, s.low.w, 1) : widen<T>(s.low.x, s.low.y, 1);
        ret.high = part ? widen<T>(s.high.z, s.high.w, 1) : widen<T>(s.high.x, s.high.y, 1);
        return ret;
    }
    static __device__ float scale(const product &p, unsigned out) {
        return p.scales[out];
    }
    static __device__ unsigned input(unsigned at, unsigned quad, int part) {
        return at * (2 * STEP) + quad * 16 + part * 8;
    }
};

/* Half a byte each, with a scale for each 64 inputs of an output: those of one load. */
template <typename T> struct nibble_weights {
    struct step {
        uint2 low, high;
    };
    static constexpr int N = 2;

    static __device__ step load(const product &p, unsigned low, unsigned high, unsigned at,
                                unsigned quad) {
        const char *w = (const char *)p.w + at * STEP + quad * 8;
        step s;
        s.low = __ldg((const uint2 *)(w + (size_t)low * (p.n_in / 2)));
        s.high = __ldg((const uint2 *)(w + (size_t)high * (p.n_in / 2)));
        return s;
    }
    /* Eight values of four bits, each stored plus 8. */
    static __device__ uint4 spread(uint32_t word, float scale) {
        uint32_t even = word & 0x0f0f0f0fu, odd = word >> 4 & 0x0f0f0f0fu;
        float x[8];
        for (int i = 0; i < 4; i++) {
            x[2 * i] = ((float)(even >> 8 * i & 15) - 8) * scale;
            x[2 * i + 1] = ((float)(odd >> 8 * i & 15) - 8) * scale;
        }
        return make_uint4(num::pack2<T>(x[0], x[1]), num::pack2<T>(x[2], x[3]),
                          num::pack2<T>(x[4], x[5]), num::pack2<T>(x[6], x[7]));
    }
    static __device__ plain_step part(const product &p, const step &s, unsigned low, unsigned high,
                                      unsigned at, int part) {
        const unsigned n_groups = p.n_in / WH_CUDA_GROUP;
        plain_step ret;
        ret.low = spread(part ? s.low.y : s.low.x, __ldg(p.scales + low * n_groups + at));
        ret.high = spread(part ? s.high.y : s.high.x, __ldg(p.scales + high * n_groups + at));
        return ret;
    }
    static __device__ float scale(const product &, unsigned) {
        return 1;
    }
    static __device__ unsigned input(unsigned at, unsigned quad, int part) {
        return at * (2 * STEP) + quad * 16 + part * 8;
    }
};

/* Multiplies one step into the sums of NB x 8 items. */
template <typename T, int NB>
__device__ void multiply(const product &p, const plain_step &w, unsigned k, unsigned column,
                         const float2 *rows, float (&sums)[NB][4]) {
    const uint32_t first[4] = {w.low.x, w.high.x, w.low.y, w.high.y};
    const uint32_t second[4] = {w.low.z, w.high.z, w.low.w, w.high.w};
#pragma unroll
    for (int b = 0; b < NB; b++) {
        const uint4 x = input_words<T>(p, b * 8 + column, k, rows);
        const uint32_t x1[2] = {x.x, x.y}, x2[2] = {x.z, x.w};
        num::mma_m16n8k16<T>(sums[b], first, x1);
        num::mma_m16n8k16<T>(sums[b], second, x2);
    }
}

/* Starts to load the steps from `at` on, as many as there are. */
template <typename W, int N>
__device__ void fetch(const product &p, unsigned low, unsigned high, unsigned quad, unsigned at,
                      unsigned end, typename W::step (&ret)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++)
        if (at + i < end)
            ret[i] = W::load(p, low, high, at + i, quad);
}

/*
 * Grid: n_out / 16. Block: WARPS warps; with 16 of them a warp has more steps than it can hold, and
 * loads the next while it multiplies. Shared: the rows' norms and the warps' sums. NB: eights of
 * items. W: how weights are stored.
 */
template <typename T, typename W, int NB, int WARPS>
__global__ void __launch_bounds__(32 * WARPS, beside(W::N, NB, WARPS)) few_rows(product p) {
    constexpr bool LONG = WARPS > 8;
    constexpr int FETCHED = fetched(sizeof(typename W::step) / 4, W::N, NB, WARPS);
    struct shared {
        float2 rows[8 * NB];
        float sums[WARPS][8 * NB][ROWS + 1];
    };
    shared &s = *num::dynamic_shared<shared>();
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned group = lane / 4, quad = lane % 4, last_row = p.n_out - 1;
    const unsigned out = blockIdx.x * ROWS;
    const unsigned low = min(out + group, last_row), high = min(out + group + 8, last_row);
    const unsigned n_steps = p.n_in / (STEP * W::N);
    unsigned at = n_steps * warp / WARPS;
    const unsigned end = n_steps * (warp + 1) / WARPS;
    typename W::step now[FETCHED], next[FETCHED];
    fetch<W, FETCHED>(p, low, high, quad, at, end, now);
    wh::after_previous();
    if (p.gamma)
        measure_rows(p, 0, p.n, s.rows);
    float sums[NB][4] = {};
    for (; at < end; at += FETCHED) {
        if (LONG)
            fetch<W, FETCHED>(p, low, high, quad, at + FETCHED, end, next);
#pragma unroll
        for (int i = 0; i < FETCHED; i++)
            if (at + i < end)
#pragma unroll
                for (int part = 0; part < W::N; part++)
                    multiply<T, NB>(p, W::part(p, now[i], low, high, at + i, part),
                                    W::input(at + i, quad, part), group, s.rows, sums);
        if (LONG) {
#pragma unroll
            for (int i = 0; i < FETCHED; i++)
                now[i] = next[i];
        } else
            fetch<W, FETCHED>(p, low, high, quad, at + FETCHED, end, now);
    }
#pragma unroll
    for (int b = 0; b < NB; b++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s.sums[warp][b * 8 + quad * 2 + i % 2][group + i / 2 * 8] = sums[b][i];
    __syncthreads();
    for (unsigned i = threadIdx.x; i < 8 * NB * ROWS; i += 32 * WARPS) {
        const unsigned item = i / ROWS, row = i % ROWS;
        float sum = 0;
        for (int w = 0; w < WARPS; w++)
            sum += s.sums[w][item][row];
        if (item < p.n && out + row < p.n_out)
            finish<T>(p, item, out + row, sum * W::scale(p, out + row));
    }
}

/* ---- Floats --------------------------------------------------------------------------------- */

constexpr int EXACT_WARPS = 8, EXACT_OUTPUTS = 2, EXACT_ITEMS = 8;

/* Grid: (n_out / 16, n / 8). Block: 8 warps, two outputs each. Shared: the rows' norms. */
__global__ void __launch_bounds__(32 * EXACT_WARPS) exact_rows(product p) {
    float2 *rows = num::dynamic_shared<float2>();
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned out = (blockIdx.x * EXACT_WARPS + warp) * EXACT_OUTPUTS;
    const unsigned first = blockIdx.y * EXACT_ITEMS, n = min(p.n - first, (unsigned)EXACT_ITEMS);
    float sums[EXACT_OUTPUTS][EXACT_ITEMS] = {};
    wh::after_previous();
    if (p.gamma)
        measure_rows(p, first, n, rows);
    for (unsigned k = lane * 4; k < p.n_in; k += 128) {
        float4 w[EXACT_OUTPUTS], gamma = make_float4(1, 1, 1, 1), beta = make_float4(0, 0, 0, 0);
#pragma unroll
        for (int o = 0; o < EXACT_OUTPUTS; o++) {
            const unsigned row = min(out + o, p.n_out - 1);
            w[o] = __ldg((const float4 *)((const float *)p.w + (size_t)row * p.n_in + k));
        }
        if (p.gamma) {
            gamma = *(const float4 *)(p.gamma + k);
            beta = *(const float4 *)(p.beta + k);
        }
#pragma unroll
        for (unsigned i = 0; i < EXACT_ITEMS; i++) {
            if (i >= n)
                continue;
            float4 x = *(const float4 *)((const float *)p.x + (size_t)(first + i) * p.n_in + k);
            if (p.gamma) {
                const float2 row = rows[i];
                x.x = (x.x - row.x) * row.y * gamma.x + beta.x;
                x.y = (x.y - row.x) * row.y * gamma.y + beta.y;
                x.z = (x.z - row.x) * row.y * gamma.z + beta.z;
                x.w = (x.w - row.x) * row.y * gamma.w + beta.w;
            }
#pragma unroll
            for (int o = 0; o < EXACT_OUTPUTS; o++)
                sums[o][i] =
                    fmaf(x.x, w[o].x,
                         fmaf(x.y, w[o].y, fmaf(x.z, w[o].z, fmaf(x.w, w[o].w, sums[o][i]))));
        }
    }
#pragma unroll
    for (int o = 0; o < EXACT_OUTPUTS; o++)
#pragma unroll
        for (unsigned i = 0; i < EXACT_ITEMS; i++) {
            if (i >= n)
                continue;
            const float sum = num::warp_sum(sums[o][i]);
            if (lane == 0 && out + o < p.n_out)
                finish<float>(p, first + i, out + o, sum);
        }
}

} // namespace

namespace {

/* ---- Choice --------------------------------------------------------------------------------- */

struct launcher {
    cudaStream_t stream;
    bool early;
};

template <typename T, typename W, int NB>
cudaError_t launch_few(const launcher &l, const product &p) {
    const dim3 grid((p.n_out + ROWS - 1) / ROWS);
    const size_t rows = 8 * NB * sizeof(float2), sums = 8 * NB * (ROWS + 1) * sizeof(float);
    if (p.n_in >= 2048)
        return wh::launch_early(l.early, few_rows<T, W, NB, 16>, grid, dim3(512), rows + 16 * sums,
                                l.stream, p);
    return wh::launch_early(l.early, few_rows<T, W, NB, 8>, grid, dim3(256), rows + 8 * sums,
                            l.stream, p);
}

template <typename T, typename W> cudaError_t launch_eights(const launcher &l, const product &p) {
    if (p.n <= 8)
        return launch_few<T, W, 1>(l, p);
    return p.n <= 16 ? launch_few<T, W, 2>(l, p) : launch_few<T, W, 4>(l, p);
}

template <typename T>
cudaError_t launch_packed(const launcher &l, const product &p, enum wh_cuda_packing packing) {
    switch (packing) {
    case WH_CUDA_INT8:
        return launch_eights<T, byte_weights<T>>(l, p);
    case WH_CUDA_INT4:
        return launch_eights<T, nibble_weights<T>>(l, p);
    default:
        return launch_eights<T, plain_weights<T>>(l, p);
    }
}

cudaError_t launch_exact(const launcher &l, const product &p) {
    const dim3 grid((p.n_out + ROWS - 1) / ROWS, (p.n + EXACT_ITEMS - 1) / EXACT_ITEMS);
    return wh::launch_early(l.early, exact_rows, grid, dim3(32 * EXACT_WARPS),
                            EXACT_ITEMS * sizeof(float2), l.stream, p);
}

product describe(const struct wh_cuda *m, const struct wh_cuda_product *p) {
    product d = {};
    d.w = p->matrix->w;
    d.scales = p->matrix->scales;
    d.bias = p->matrix->bias;
    d.gamma = p->norm ? p->norm->gamma : NULL;
    d.beta = p->norm ? p->norm->beta : NULL;
    d.x = p->x;
    d.y = p->y;
    d.cells = p->cells;
    d.items = m->decoder->work.items;
    d.n = p->n;
    d.n_in = p->matrix->n_in;
    d.n_out = p->matrix->n_out;
    d.form = p->form;
    d.n_positions = m->c.dims.n_text_ctx;
    d.n_state = m->c.dims.n_state;
    return d;
}

/* Rows [first, first + n) of the product. */
product slice(const product &p, unsigned first, unsigned n, size_t value) {
    product s = p;
    s.n = n;
    s.items += first;
    s.x = (const char *)p.x + (size_t)first * p.n_in * (p.gamma ? sizeof(float) : value);
    s.y = (char *)p.y +
          (size_t)first * p.n_out * (p.form == WH_CUDA_TO_HIDDEN ? value : sizeof(float));
    return s;
}

cudaError_t run_few(struct wh_cuda *m, const struct wh_cuda_product *q) {
    const launcher l = {m->decode_stream, wh_cuda_early(m)};
    const product p = describe(m, q);
    if (m->c.type == NUM_CUDA_F32)
        return launch_exact(l, p);
    cudaError_t error = cudaSuccess;
    for (unsigned at = 0; !error && at < p.n; at += WH_CUDA_FEW) {
        const unsigned n = p.n - at < WH_CUDA_FEW ? p.n - at : WH_CUDA_FEW;
        const product s = slice(p, at, n, num_cuda_type_bytes(m->c.type));
        error = m->c.type == NUM_CUDA_F16 ? launch_packed<__half>(l, s, q->matrix->packing)
                                          : launch_packed<__nv_bfloat16>(l, s, q->matrix->packing);
    }
    return error;
}

/* ---- Many rows ------------------------------------------------------------------------------ */

/* Keys and values of qkv (n, 3 D) to the items' cells. Grid: n. Block: 128, eight values each. */
template <typename T> __global__ void store_cells(product p) {
    wh::after_previous();
    const wh_cuda_item item = p.items[blockIdx.x];
    if (item.row < 0)
        return;
    const float *from = (const float *)p.y + (size_t)blockIdx.x * p.n_out + p.n_state;
    T *cell = (T *)p.cells + wh::cell_at(item.cell, item.position, p.n_positions, p.n_state);
    for (unsigned at = threadIdx.x * 8; at < 2 * p.n_state; at += blockDim.x * 8) {
        float v[8];
        num::load8(from + at, v);
        num::store8(cell + at, v);
    }
}

template <typename T> cudaError_t launch_store(struct wh_cuda *m, const product &p) {
    return wh::launch_early(wh_cuda_early(m), store_cells<T>, dim3(p.n), dim3(128), 0,
                            m->decode_stream, p);
}

/* The library's product; `x` is (n, n_in) in the type. */
int32_t run_library(struct wh_cuda *m, const struct wh_cuda_product *p, const void *x,
                    struct num_err *err) {
    struct num_cuda_product q = {};
    const bool hidden = p->form == WH_CUDA_TO_HIDDEN;
    q.type = m->c.type;
    q.ret_type = hidden ? m->c.type : NUM_CUDA_F32;
    q.m = p->n;
    q.n = p->matrix->n_out;
    q.k = p->matrix->n_in;
    q.x = x;
    q.w = p->matrix->w;
    q.ret = p->y;
    q.bias = p->matrix->bias;
    q.bias_typed = hidden ? NULL : p->matrix->bias;
    q.residual = p->form == WH_CUDA_ADD ? p->y : NULL;
    q.act = hidden ? NUM_CUDA_ACT_GELU : NUM_CUDA_ACT_NONE;
    return num_cuda_gemm_run(m->gemm, &q, m->block + m->plan.gemm_work[1],
                             wh_cuda_gemm_bytes(&m->c), m->decode_stream, err);
}

int32_t run_many(struct wh_cuda *m, const struct wh_cuda_product *p, struct num_err *err) {
    const void *x = p->x;
    cudaError_t error = cudaSuccess;
    if (p->norm) {
        struct num_cuda_norm norm = {};
        norm.rows = norm.period = p->n;
        norm.n = p->matrix->n_in;
        norm.base = (const float *)p->x;
        norm.gamma = p->norm->gamma;
        norm.beta = p->norm->beta;
        norm.ret = m->decoder->work.norm;
        x = norm.ret;
        error = num_cuda_norm_run(&norm, m->c.type, m->decode_stream);
    }
    int32_t status = num_cuda_fail(err, "a norm of the decoder", error);
    if (!status)
        status = run_library(m, p, x, err);
    if (!status && p->form == WH_CUDA_TO_CELLS)
        error = m->c.type == NUM_CUDA_F16 ? launch_store<__half>(m, describe(m, p))
                                          : launch_store<__nv_bfloat16>(m, describe(m, p));
    return status ? status : num_cuda_fail(err, "keys and values of tokens", error);
}

} // namespace

int32_t wh_cuda_product_run(struct wh_cuda *m, const struct wh_cuda_product *p,
                            struct num_err *err) {
    if (p->n > WH_CUDA_FEW && m->c.type != NUM_CUDA_F32 && p->matrix->packing == WH_CUDA_PLAIN)
        return run_many(m, p, err);
    return num_cuda_fail(err, "a product of the decoder", run_few(m, p));
}

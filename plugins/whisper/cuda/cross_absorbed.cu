/*
 * Attention to windows without their keys and values: see cross_absorbed.h. The keys and values of
 * all layers are linear maps of the same encoder output X (T, D), so for head h
 *
 *     scores = (q_h W_k,h) X^T        found = (weights X) W_v,h^T + b_v
 *
 * and one reading of X serves for both: 3.8 MB a layer and window of large-v3 instead of 7.7 MB,
 * and what is held of a window is X alone, 3.8 MB instead of 246 MB. (Weight absorption as in
 * DeepSeek-V2, arXiv 2405.04434, 2.1.2, of the encoder's output itself.) It costs products: 154
 * MFLOP a layer, item and window, 40 for each byte, so tensor cores do them; and 6.6 MB of W_k and
 * W_v a layer and step.
 *
 *     absorb_queries    (n, D) to (n, H, D): q_h W_k,h
 *     attend_absorbed   a chunk of positions, and 24 queries (heads of items) of a window
 *     project_found     adds the chunks up, and multiplies by W_v,h
 *
 * attend_absorbed cuts D among its warps, 160 columns each: a warp copies its columns of 16
 * positions to its own part of shared memory, multiplies them with its columns of the queries,
 * which stay in registers, and later the same 16 positions with the weights: X passes through
 * shared memory once, and no warp reads what another one copied. Scores are sums over warps; so a
 * tile has one barrier: before it, warps leave their parts of the next tile's scores, and make
 * weights of this one's; behind it they gather. A row's maximum may move from tile to tile; what is
 * gathered is scaled then.
 *
 * Expected on an H200 for 256 windows: 0.98 GB a layer, 229 us at 4.3 TB/s; 39 GFLOP by mma.sync,
 * 90 us; shared memory 150 KB for each 41 KB of X, 190 us. Not measured.
 */
#include "whisper/cuda/cross_absorbed.h"

#include <math.h>

#include "num/cuda/warp.cuh"
#include "whisper/cuda/cross_absorbed.cuh"
#include "whisper/cuda/decoder.cuh"

namespace {

using wh::HEAD;

constexpr float SCALE = 0.125f * 1.44269504f; /* 1 / sqrt(HEAD), for powers of two */

/* ---- Queries -------------------------------------------------------------------------------- */

struct absorb {
    const float *q; /* (n, D) */
    const void *w;  /* (D, D): keys' matrix */
    void *ret;      /* (n, heads of the grid, D) */
    unsigned n, first_head, D;
};

constexpr int COLUMNS = 64, COLUMNS_LD = COLUMNS + 8; /* of a block */

/* Two inputs of an item as a word; zeros behind the last item. */
template <typename T> __device__ uint32_t query_word(const absorb &a, unsigned item, unsigned at) {
    if (item >= a.n)
        return 0;
    const float2 two = *(const float2 *)(a.q + (size_t)item * a.D + at);
    return num::pack2<T>(two.x, two.y);
}

/* Grid: (D / COLUMNS, heads). Block: 4 warps, 16 columns each. Shared: (HEAD, COLUMNS_LD). */
template <typename T> __global__ void __launch_bounds__(128) absorb_queries(absorb a) {
    T *tile = num::dynamic_shared<T>();
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned group = lane / 4, quad = lane % 4;
    const unsigned head = a.first_head + blockIdx.y, column = blockIdx.x * COLUMNS;
    const T *w = (const T *)a.w + (size_t)head * HEAD * a.D + column;
    for (unsigned i = threadIdx.x; i < HEAD * COLUMNS / 8; i += 128)
        num::cp_async_16(tile + i / 8 * COLUMNS_LD + i % 8 * 8,
                         w + (size_t)(i / 8) * a.D + i % 8 * 8);
    num::cp_async_commit();
    wh::after_previous();
    num::cp_async_wait<0>();
    __syncthreads();
    uint32_t b[HEAD / 16][4];
#pragma unroll
    for (int k = 0; k < HEAD / 16; k++)
        num::ldmatrix_x4_trans(b[k], tile + (k * 16 + lane % 16) * COLUMNS_LD + warp * 16 +
                                         lane / 16 * 8);
    for (unsigned at = 0; at < a.n; at += 16) {
        float c[2][4] = {};
#pragma unroll
        for (int k = 0; k < HEAD / 16; k++) {
            const unsigned low = at + group, from = head * HEAD + k * 16 + quad * 2;
            const uint32_t q[4] = {query_word<T>(a, low, from), query_word<T>(a, low + 8, from),
                                   query_word<T>(a, low, from + 8),
                                   query_word<T>(a, low + 8, from + 8)};
            num::mma_m16n8k16<T>(c[0], q, b[k]);
            num::mma_m16n8k16<T>(c[1], q, b[k] + 2);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const unsigned item = at + group + i / 2 * 8;
            T *to = (T *)a.ret + ((size_t)item * gridDim.y + blockIdx.y) * a.D + column;
            if (item < a.n)
                *(uint32_t *)(to + warp * 16 + i % 2 * 8 + quad * 2) =
                    num::pack2<T>(c[i % 2][i / 2 * 2], c[i % 2][i / 2 * 2 + 1]);
        }
    }
}

/* ---- Attention ------------------------------------------------------------------------------ */

constexpr int KEYS = 16;                    /* positions of a tile */
constexpr int ROWS = 24, EIGHTS = ROWS / 8; /* queries of a block */
constexpr int STEPS = 10;                   /* sixteens of columns of a warp */
constexpr int SLICE = STEPS * 16, SLICE_LD = SLICE + 8;
constexpr int MAX_WARPS = 8, MAX_STAGES = 4;

static_assert(KEYS == 16 && ROWS % 2 == 0, "half a warp makes a row's weights of a tile");

struct attention {
    const void *q; /* (n, H, D) */
    const void *x; /* (n_slots, T, D) */
    const struct wh_cuda_group *groups;
    float *found; /* (chunks, n, H, D) ... */
    float2 *sums; /* ... and (chunks, n, H): the maximum of scores and the sum of weights */
    unsigned n, n_keys, chunk, H, D, n_stages;
};

template <typename T> struct attention_shared {
    float scores[2][MAX_WARPS][KEYS][ROWS + 1]; /* a warp's part of them */
    float max[ROWS], sum[ROWS], factor[2][ROWS];
    T weights[2][ROWS][KEYS + 8];
    alignas(16) T x[1]; /* (stages, warps, KEYS, SLICE_LD) */
};

/* A warp's share: sixteens of columns from `column` on. */
struct share {
    unsigned lane, warp, n_warps, n_steps, column;
};

template <typename T>
__device__ T *stage_of(attention_shared<T> &s, const share &w, unsigned tile, unsigned n_stages) {
    return s.x + ((size_t)(tile % n_stages) * w.n_warps + w.warp) * KEYS * SLICE_LD;
}

/* Waits until at most `younger` copies of the warp, 0 to MAX_STAGES - 1, are under way. */
__device__ void wait_for_tile(unsigned younger) {
    if (younger == 0)
        num::cp_async_wait<0>();
    else if (younger == 1)
        num::cp_async_wait<1>();
    else if (younger == 2)
        num::cp_async_wait<2>();
    else
        num::cp_async_wait<3>();
    __syncwarp();
}

/* Starts to copy a tile of the n positions that x begins with; zeros behind them. */
template <typename T>
__device__ void copy_tile(const attention &a, const share &w, const T *x, unsigned n, unsigned tile,
                          T *to) {
#pragma unroll
    for (unsigned i = w.lane; i < KEYS * SLICE / 8; i += 32) {
        const unsigned key = i / (SLICE / 8), eight = i % (SLICE / 8), t = tile * KEYS + key;
        if (eight < 2 * w.n_steps)
            num::cp_async_16(to + key * SLICE_LD + eight * 8,
                             x + (size_t)(t < n ? t : 0) * a.D + w.column + eight * 8, t < n);
    }
}

/* The warp's part of a tile's scores. */
template <typename T>
__device__ void score_tile(const share &w, const T *tile, const uint32_t (&q)[STEPS][EIGHTS][2],
                           float (&ret)[KEYS][ROWS + 1]) {
    float c[EIGHTS][4] = {};
    const unsigned group = w.lane / 4, quad = w.lane % 4;
#pragma unroll
    for (unsigned step = 0; step < STEPS; step++) {
        uint32_t x[4];
        if (step >= w.n_steps)
            continue;
        num::ldmatrix_x4(x, tile + w.lane % 16 * SLICE_LD + step * 16 + w.lane / 16 * 8);
#pragma unroll
        for (int j = 0; j < EIGHTS; j++)
            num::mma_m16n8k16<T>(c[j], x, q[step][j]);
    }
#pragma unroll
    for (int j = 0; j < EIGHTS; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            ret[group + i / 2 * 8][j * 8 + quad * 2 + i % 2] = c[j][i];
}

/* Weights of a tile, of which n positions count: half a warp a row, each time the same one. */
template <typename T>
__device__ void soften_tile(attention_shared<T> &s, const share &w, unsigned buffer, unsigned n) {
    const unsigned key = w.lane % KEYS;
    for (unsigned row = w.warp * 2 + w.lane / KEYS; row < ROWS; row += w.n_warps * 2) {
        float score = 0;
        for (unsigned i = 0; i < w.n_warps; i++)
            score += s.scores[buffer][i][key][row];
        score = key < n ? score * SCALE : -INFINITY;
        const float before = s.max[row], max = fmaxf(before, num::warp_max<KEYS>(score));
        const float weight = num::fast_exp2(score - max), sum = num::warp_sum<KEYS>(weight);
        const float factor = num::fast_exp2(before - max);
        s.weights[buffer][row][key] = wh::from_float<T>(weight);
        __syncwarp();
        if (key == 0) {
            s.max[row] = max;
            s.sum[row] = s.sum[row] * factor + sum;
            s.factor[buffer][row] = factor;
        }
    }
}

/* Adds a tile's positions by their weights. */
template <typename T>
__device__ void gather_tile(attention_shared<T> &s, const share &w, unsigned buffer, const T *tile,
                            float (&found)[STEPS][EIGHTS][4]) {
    uint32_t p[EIGHTS][2];
    float factor[EIGHTS][2];
    const unsigned group = w.lane / 4, quad = w.lane % 4;
#pragma unroll
    for (int j = 0; j < EIGHTS; j++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            p[j][i] = *(const uint32_t *)&s.weights[buffer][j * 8 + group][quad * 2 + i * 8];
            factor[j][i] = s.factor[buffer][j * 8 + quad * 2 + i];
        }
#pragma unroll
    for (unsigned step = 0; step < STEPS; step++) {
        uint32_t x[4];
        if (step >= w.n_steps)
            continue;
        num::ldmatrix_x4_trans(x, tile + (w.lane / 16 * 8 + w.lane % 8) * SLICE_LD + step * 16 +
                                      w.lane / 8 % 2 * 8);
#pragma unroll
        for (int j = 0; j < EIGHTS; j++) {
#pragma unroll
            for (int i = 0; i < 4; i++)
                found[step][j][i] *= factor[j][i % 2];
            num::mma_m16n8k16<T>(found[step][j], x, p[j]);
        }
    }
}

/* The warp's columns of the block's queries; rows behind the last are zeros. */
template <typename T>
__device__ void load_queries(const attention &a, const share &w, size_t first, unsigned n_rows,
                             uint32_t (&ret)[STEPS][EIGHTS][2]) {
    const unsigned group = w.lane / 4, quad = w.lane % 4;
#pragma unroll
    for (unsigned step = 0; step < STEPS; step++)
#pragma unroll
        for (int j = 0; j < EIGHTS; j++) {
            const unsigned row = j * 8 + group;
            const T *q = (const T *)a.q + (first + row) * a.D + w.column + step * 16 + quad * 2;
            const bool there = row < n_rows && step < w.n_steps;
            ret[step][j][0] = there ? *(const uint32_t *)q : 0;
            ret[step][j][1] = there ? *(const uint32_t *)(q + 8) : 0;
        }
}

template <typename T>
__device__ void store_found(const attention &a, const attention_shared<T> &s, const share &w,
                            size_t first, unsigned n_rows, const float (&found)[STEPS][EIGHTS][4]) {
    const size_t to = (size_t)blockIdx.x * a.n * a.H + first;
    const unsigned group = w.lane / 4, quad = w.lane % 4;
#pragma unroll
    for (unsigned step = 0; step < STEPS; step++)
#pragma unroll
        for (int j = 0; j < EIGHTS; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const unsigned row = j * 8 + quad * 2 + i % 2;
                if (row < n_rows && step < w.n_steps)
                    a.found[(to + row) * a.D + w.column + step * 16 + group + i / 2 * 8] =
                        found[step][j][i];
            }
    if (threadIdx.x < n_rows)
        a.sums[to + threadIdx.x] = make_float2(s.max[threadIdx.x], s.sum[threadIdx.x]);
}

/* Grid: (chunks, rows of a group / ROWS, groups). Block: a warp for each SLICE of D. */
template <typename T>
__global__ void __launch_bounds__(32 * MAX_WARPS) attend_absorbed(attention a) {
    attention_shared<T> &s = *num::dynamic_shared<attention_shared<T>>();
    share w = {threadIdx.x % 32, threadIdx.x / 32, blockDim.x / 32, 0, 0};
    w.column = w.warp * SLICE;
    w.n_steps = min((unsigned)STEPS, (a.D - w.column) / 16);
    const wh_cuda_group group = a.groups[blockIdx.z];
    const unsigned before = blockIdx.y * ROWS, rows = group.n * a.H;
    const unsigned n_rows = rows > before ? min(rows - before, (unsigned)ROWS) : 0;
    const size_t first_row = (size_t)group.first * a.H + before;
    const unsigned first = blockIdx.x * a.chunk, n = min(a.chunk, a.n_keys - first);
    const unsigned n_tiles = n_rows ? (n + KEYS - 1) / KEYS : 0;
    const T *x = (const T *)a.x + ((size_t)group.slot * a.n_keys + first) * a.D;
    for (unsigned i = 0; i < a.n_stages; i++) {
        if (i < n_tiles)
            copy_tile<T>(a, w, x, n, i, stage_of(s, w, i, a.n_stages));
        num::cp_async_commit();
    }
    wh::after_previous();
    if (n_rows == 0)
        return;
    uint32_t q[STEPS][EIGHTS][2];
    float found[STEPS][EIGHTS][4] = {};
    load_queries<T>(a, w, first_row, n_rows, q);
    if (threadIdx.x < ROWS) {
        s.max[threadIdx.x] = -INFINITY;
        s.sum[threadIdx.x] = 0;
    }
    wait_for_tile(a.n_stages - 1);
    score_tile<T>(w, stage_of(s, w, 0, a.n_stages), q, s.scores[0][w.warp]);
    __syncthreads();
    for (unsigned i = 0; i < n_tiles; i++) {
        if (i + 1 < n_tiles) {
            wait_for_tile(a.n_stages - 2);
            score_tile<T>(w, stage_of(s, w, i + 1, a.n_stages), q, s.scores[(i + 1) % 2][w.warp]);
        }
        soften_tile<T>(s, w, i % 2, n - i * KEYS);
        __syncthreads();
        T *const tile = stage_of(s, w, i, a.n_stages);
        gather_tile<T>(s, w, i % 2, tile, found);
        __syncwarp();
        if (i + a.n_stages < n_tiles)
            copy_tile<T>(a, w, x, n, i + a.n_stages, tile);
        num::cp_async_commit();
    }
    store_found<T>(a, s, w, first_row, n_rows, found);
}

/* ---- What was found ------------------------------------------------------------------------- */

constexpr int ITEMS = 16; /* of a block */

struct projection {
    const float *found;
    const float2 *sums;
    const void *w;     /* (D, D): values' matrix */
    const float *bias; /* (D) */
    const struct wh_cuda_item *items;
    void *mixed; /* (n, D) */
    unsigned n, n_chunks, H, D;
};

/* Rows of D, for loads of 16 bytes by eight lanes, four of a row: they meet in no bank. */
__host__ __device__ constexpr unsigned found_ld(unsigned D) {
    return D + 32;
}

/* How much each chunk of an item counts: a warp for two items, a lane for a chunk. */
__device__ void weigh_chunks(const projection &p, unsigned head, unsigned first,
                             float (&ret)[ITEMS][WH_CUDA_CHUNKS]) {
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (unsigned i = warp; i < ITEMS; i += 8) {
        const unsigned item = first + i;
        const bool there = item < p.n && p.items[item].row >= 0;
        float2 sum = make_float2(-INFINITY, 0);
        if (there && lane < p.n_chunks)
            sum = __ldcg(p.sums + ((size_t)lane * p.n + item) * p.H + head);
        const float max = num::warp_max(sum.x);
        const float scale = there ? num::fast_exp2(sum.x - max) : 0;
        const float all = num::warp_sum(scale * sum.y);
        ret[i][lane] = there ? scale / all : 0;
    }
}

/* Grid: (H, n / ITEMS). Block: 8 warps, 8 outputs each. Shared: the chunks' shares, then (ITEMS,
 * found_ld(D)) of what was found, in the type. */
template <typename T> __global__ void __launch_bounds__(256) project_found(projection p) {
    struct shared {
        float chunks[ITEMS][WH_CUDA_CHUNKS];
        alignas(16) T rows[1];
    };
    shared &s = *num::dynamic_shared<shared>();
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned group = lane / 4, quad = lane % 4, ld = found_ld(p.D);
    const unsigned head = blockIdx.x, first = blockIdx.y * ITEMS, out = head * HEAD + warp * 8;
    wh::after_previous();
    weigh_chunks(p, head, first, s.chunks);
    __syncthreads();
    for (unsigned i = threadIdx.x; i < ITEMS * p.D / 8; i += 256) {
        const unsigned row = i / (p.D / 8), at = i % (p.D / 8) * 8;
        float sum[8] = {0};
        for (unsigned c = 0; c < p.n_chunks; c++) {
            const float share = s.chunks[row][c];
            float v[8];
            if (share == 0)
                continue;
            num::load8(p.found + (((size_t)c * p.n + first + row) * p.H + head) * p.D + at, v);
#pragma unroll
            for (int e = 0; e < 8; e++)
                sum[e] = fmaf(share, v[e], sum[e]);
        }
        num::store8(s.rows + row * ld + at, sum);
    }
    __syncthreads();
    float c[4] = {};
    const T *w = (const T *)p.w + (size_t)(out + group) * p.D + quad * 8;
    const T *low = s.rows + group * ld + quad * 8;
#pragma unroll 4
    for (unsigned at = 0; at < p.D; at += 32)
        wh::multiply_32<T>(c, *(const uint4 *)(low + at), *(const uint4 *)(low + 8 * ld + at),
                           __ldg((const uint4 *)(w + at)));
    const float2 bias = *(const float2 *)(p.bias + out + quad * 2);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const unsigned item = first + group + i * 8;
        if (item < p.n)
            *(uint32_t *)((T *)p.mixed + (size_t)item * p.D + out + quad * 2) =
                num::pack2<T>(c[2 * i] + bias.x, c[2 * i + 1] + bias.y);
    }
}

/* ---- Launches ------------------------------------------------------------------------------- */

/* W_k, and W_v below it. */
const void *matrix_of(const struct wh_cuda *m, uint32_t layer, bool values) {
    const size_t D = m->c.dims.n_state;
    return (const char *)m->w.decoder[layer].cross_kv.w +
           (values ? D * D * num_cuda_type_bytes(m->c.type) : 0);
}

template <typename T>
cudaError_t launch_absorb(struct wh_cuda *m, uint32_t layer, uint32_t n, uint32_t first_head,
                          uint32_t n_heads) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const unsigned D = m->c.dims.n_state;
    const absorb a = {w->qkv, matrix_of(m, layer, false), w->absorbed, n, first_head, D};
    return wh::launch_early(wh_cuda_early(m), absorb_queries<T>, dim3(D / COLUMNS, n_heads),
                            dim3(128), HEAD * COLUMNS_LD * sizeof(T), m->decode_stream, a);
}

template <typename T> size_t attention_bytes(unsigned n_warps, unsigned n_stages) {
    return sizeof(attention_shared<T>) + (size_t)n_stages * n_warps * KEYS * SLICE_LD * sizeof(T);
}

unsigned warps_for(const struct wh_cuda_config *c) {
    return (unsigned)num::div_up((int)c->dims.n_state, SLICE);
}

template <typename T>
cudaError_t launch_attention(struct wh_cuda *m, const attention &a, uint32_t n_groups,
                             uint32_t n_rows) {
    const unsigned n_warps = warps_for(&m->c);
    attention with = a;
    with.n_stages = MAX_STAGES;
    while (with.n_stages > 2 && attention_bytes<T>(n_warps, with.n_stages) > m->device.shared_bytes)
        with.n_stages--;
    const dim3 grid((a.n_keys + a.chunk - 1) / a.chunk, n_rows, n_groups);
    return wh::launch_early(wh_cuda_early(m), attend_absorbed<T>, grid, dim3(32 * n_warps),
                            attention_bytes<T>(n_warps, with.n_stages), m->decode_stream, with);
}

template <typename T> cudaError_t launch_projection(struct wh_cuda *m, const projection &p) {
    const size_t rows = ITEMS * (size_t)found_ld(p.D) * sizeof(T);
    return wh::launch_early(
        wh_cuda_early(m), project_found<T>, dim3(p.H, (p.n + ITEMS - 1) / ITEMS), dim3(256),
        ITEMS * WH_CUDA_CHUNKS * sizeof(float) + 16 + rows, m->decode_stream, p);
}

template <typename T>
cudaError_t run(struct wh_cuda *m, uint32_t layer, uint32_t n, uint32_t n_groups, uint32_t shared) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const unsigned D = m->c.dims.n_state, H = m->c.dims.n_text_heads, T_ = m->c.dims.n_audio_ctx;
    const unsigned n_rows = (unsigned)num::div_up((int)(shared * H), ROWS);
    const unsigned chunk = wh_cuda_absorbed_chunk(&m->c, n, n_groups * n_rows, m->device.sm_count);
    const attention a = {w->absorbed,
                         wh_cuda_encoded(m, 0),
                         w->groups,
                         w->found,
                         (float2 *)w->found_sums,
                         n,
                         T_,
                         chunk,
                         H,
                         D,
                         0};
    const projection p = {w->found,
                          (const float2 *)w->found_sums,
                          matrix_of(m, layer, true),
                          m->w.decoder[layer].cross_kv.bias + D,
                          w->items,
                          w->mixed,
                          n,
                          (T_ + chunk - 1) / chunk,
                          H,
                          D};
    cudaError_t error = launch_absorb<T>(m, layer, n, 0, H);
    if (!error)
        error = launch_attention<T>(m, a, n_groups, n_rows);
    return error ? error : launch_projection<T>(m, p);
}

} // namespace

bool wh_cuda_absorbed_fits(const struct wh_cuda_config *c, size_t shared_bytes) {
    const unsigned n_warps = warps_for(c);
    return n_warps <= MAX_WARPS && attention_bytes<__half>(n_warps, 2) <= shared_bytes;
}

cudaError_t wh_cuda_absorbed_run(struct wh_cuda *m, uint32_t layer, uint32_t n, uint32_t n_groups,
                                 uint32_t shared) {
    return m->c.type == NUM_CUDA_F16 ? run<__half>(m, layer, n, n_groups, shared)
                                     : run<__nv_bfloat16>(m, layer, n, n_groups, shared);
}

cudaError_t wh_cuda_absorb(struct wh_cuda *m, uint32_t layer, uint32_t n, uint32_t first_head,
                           uint32_t n_heads) {
    return m->c.type == NUM_CUDA_F16
               ? launch_absorb<__half>(m, layer, n, first_head, n_heads)
               : launch_absorb<__nv_bfloat16>(m, layer, n, first_head, n_heads);
}

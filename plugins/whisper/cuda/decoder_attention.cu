/*
 * The decoder's attention: see decoder_attention.h. Bound by reading keys and values; heads are 64
 * wide, so eight lanes read a head's part of a row with 16 bytes each (half types), and a warp reads
 * four heads of a row, 512 bytes side by side.
 *
 * attend_self    one block for a head of an item: its row's cells, at most 448 positions
 * attend_cross   blocks of four heads, a chunk of the keys and a group of up to 8 items that read
 *                the same window: keys and values are read once for all of them. Scores stay in
 *                shared memory; a chunk leaves its sums, its maximum and the sum of its weights, and
 *                the block that finishes last adds the chunks up, in their order, whoever it is.
 *                (Split keys: "Flash-Decoding", Dao, Haziza, Massa, Sizov 2023.)
 * capture        the weights themselves, for word times
 *
 * attend_cross of large-v3: 7.7 MB a layer and window, 1.8 us at 4.3 TB/s; 246 MB and 57 us for the
 * 32 layers of a step. For one window the chunks are 64 keys, a block's 64 KB are all under way
 * before it waits for the queries.
 */
#include "whisper/cuda/decoder_attention.h"

#include <math.h>

#include "num/cuda/warp.cuh"
#include "whisper/cuda/decoder.cuh"

namespace {

using wh::HEAD;
using wh::LANES;

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr float SCALE = 0.125f; /* 1 / sqrt(HEAD) */

/* Eight values of a row, as they are read. */
template <typename T> struct eight { uint4 words[sizeof(T) / 2]; };

template <typename T> __device__ eight<T> fetch(const T *from) {
    eight<T> ret;
#pragma unroll
    for (unsigned i = 0; i < sizeof(T) / 2; i++)
        ret.words[i] = __ldg((const uint4 *)from + i);
    return ret;
}

template <typename T> __device__ void widen(const eight<T> &from, float (&to)[8]) {
    num::load8((const T *)from.words, to);
}

/* ---- Self-attention ------------------------------------------------------------------------- */

struct self {
    const float *qkv;
    const void *cells; /* the layer's */
    const uint16_t *table;
    const struct wh_cuda_item *items;
    void *mixed;
    unsigned n_positions, D;
};

constexpr int TEAMS = THREADS / LANES; /* of eight lanes, a position each */
constexpr int AHEAD = 4;               /* positions of a team under way */

struct self_shared {
    float red[32];
    float sums[TEAMS][HEAD];
    float scores[1]; /* (C) */
};

/* Sum over teams of sums[team][e], divided; the first HEAD threads store it. */
template <typename T> __device__ void store_head(const self_shared &s, float sum, T *to) {
    if (threadIdx.x >= HEAD)
        return;
    float v = 0;
    for (int team = 0; team < TEAMS; team++)
        v += s.sums[team][threadIdx.x];
    to[threadIdx.x] = wh::from_float<T>(v / sum);
}

/* Grid: (H, n). Block: 32 teams of 8 lanes. Shared: scores and the teams' sums. */
template <typename T> __global__ void __launch_bounds__(THREADS) attend_self(self a) {
    self_shared &s = *num::dynamic_shared<self_shared>();
    const unsigned head = blockIdx.x, lane = threadIdx.x % LANES, team = threadIdx.x / LANES;
    const wh_cuda_item item = a.items[blockIdx.y];
    const unsigned len = item.row < 0 ? 0 : item.position + 1;
    const uint16_t *table = a.table + (size_t)(item.row < 0 ? 0 : item.row) * a.n_positions;
    const T *keys = (const T *)a.cells + head * HEAD + lane * 8;
    float q[8], out[8] = {0}, max = -INFINITY, sum = 0;
    wh::after_previous();
    num::load8(a.qkv + (size_t)blockIdx.y * 3 * a.D + head * HEAD + lane * 8, q);
    for (unsigned at = 0; at < len; at += TEAMS * AHEAD) {
        eight<T> k[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * TEAMS + team;
            if (t < len)
                k[i] = *(const eight<T> *)(keys + wh::cell_at(table[t], t, a.n_positions, a.D));
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * TEAMS + team;
            float key[8] = {0};
            if (t < len)
                widen(k[i], key);
            const float score = num::warp_sum<LANES>(wh::dot8(q, key, 0)) * SCALE;
            if (t < len && lane == 0)
                s.scores[t] = score;
        }
    }
    __syncthreads();
    for (unsigned t = threadIdx.x; t < len; t += THREADS)
        max = fmaxf(max, s.scores[t]);
    max = num::block_max<THREADS>(max, s.red);
    __syncthreads();
    for (unsigned t = threadIdx.x; t < len; t += THREADS) {
        s.scores[t] = expf(s.scores[t] - max);
        sum += s.scores[t];
    }
    sum = num::block_sum<THREADS>(sum, s.red);
    for (unsigned at = 0; at < len; at += TEAMS * AHEAD) {
        eight<T> v[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * TEAMS + team;
            if (t < len)
                v[i] =
                    *(const eight<T> *)(keys + a.D + wh::cell_at(table[t], t, a.n_positions, a.D));
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * TEAMS + team;
            if (t >= len)
                continue;
            float value[8];
            widen(v[i], value);
#pragma unroll
            for (int e = 0; e < 8; e++)
                out[e] = fmaf(s.scores[t], value[e], out[e]);
        }
    }
    num::store8(s.sums[team] + lane * 8, out);
    __syncthreads();
    if (len)
        store_head(s, sum, (T *)a.mixed + (size_t)blockIdx.y * a.D + head * HEAD);
}

/* ---- Cross-attention ------------------------------------------------------------------------ */

struct cross {
    const float *q;    /* (n, D) */
    const void *kv;    /* the layer's: (n_slots, T, 2 D) */
    const float *bias; /* (D): of the values */
    const struct wh_cuda_group *groups;
    float *partial;
    uint32_t *arrived;
    void *mixed;
    unsigned n_keys, chunk, n_chunks, H, D;
};

constexpr int HEADS = 4; /* of a warp, and so of a block */

/* Weights of a block's keys, the warps' sums, and what each item and head adds up to. */
struct cross_shared {
    float max[WH_CUDA_SHARED * HEADS], sum[WH_CUDA_SHARED * HEADS];
    float sums[WARPS][HEADS * HEAD];
    unsigned last;
    float scores[1]; /* (items, HEADS, chunk) */
};

/* Scores to weights, in place: one warp an item and head. */
__device__ void soften(const cross &a, cross_shared &s, unsigned n_items, unsigned n) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (unsigned pair = warp; pair < n_items * HEADS; pair += WARPS) {
        float *scores = s.scores + pair * a.chunk, max = -INFINITY, sum = 0;
        for (unsigned t = lane; t < n; t += 32)
            max = fmaxf(max, scores[t]);
        max = num::warp_max(max);
        for (unsigned t = lane; t < n; t += 32) {
            scores[t] = expf(scores[t] - max);
            sum += scores[t];
        }
        sum = num::warp_sum(sum);
        if (lane == 0) {
            s.max[pair] = max;
            s.sum[pair] = sum;
        }
    }
    __syncthreads();
}

/* Where a chunk leaves what it found of an item and a head: HEAD sums, the maximum, the sum. */
__device__ float *part_of(const cross &a, unsigned item, unsigned head, unsigned chunk) {
    return a.partial + (((size_t)item * a.n_chunks + chunk) * a.H + head) * (HEAD + 2);
}

/* Adds an item's chunks up; thread: one of the block's four heads and an element. */
template <typename T> __device__ void add_chunks(const cross &a, unsigned item) {
    const unsigned head = blockIdx.y * HEADS + threadIdx.x / HEAD, e = threadIdx.x % HEAD;
    if (head >= a.H)
        return;
    float max = -INFINITY, sum = 0, v = 0;
    for (unsigned c = 0; c < a.n_chunks; c++)
        max = fmaxf(max, __ldcg(part_of(a, item, head, c) + HEAD));
    for (unsigned c = 0; c < a.n_chunks; c++) {
        const float *part = part_of(a, item, head, c);
        const float scale = expf(__ldcg(part + HEAD) - max);
        v += __ldcg(part + e) * scale;
        sum += __ldcg(part + HEAD + 1) * scale;
    }
    const unsigned out = head * HEAD + e;
    ((T *)a.mixed)[(size_t)item * a.D + out] = wh::from_float<T>(v / sum + a.bias[out]);
}

/*
 * Grid: (chunks, H / 4, groups). Block: 8 warps; a warp takes every eighth key, a lane eight
 * elements of one of four heads. R: most items of a group; AHEAD: keys of a warp under way.
 */
template <typename T, unsigned R, int AHEAD>
__global__ void __launch_bounds__(THREADS) attend_cross(cross a) {
    cross_shared &s = *num::dynamic_shared<cross_shared>();
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned head = blockIdx.y * HEADS + lane / LANES,
                   column = blockIdx.y * HEADS * HEAD + lane * 8;
    const wh_cuda_group group = a.groups[blockIdx.z];
    const unsigned n_items = group.n, first = blockIdx.x * a.chunk;
    const unsigned n = min(a.chunk, a.n_keys - first);
    const bool there = head < a.H && n_items > 0;
    const T *keys = (const T *)a.kv + ((size_t)group.slot * a.n_keys + first) * 2 * a.D + column;
    const size_t ld = 2 * (size_t)a.D;
    eight<T> k[AHEAD], v[AHEAD];
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {
        const unsigned t = i * WARPS + warp;
        if (there && t < n) {
            k[i] = fetch(keys + t * ld);
            v[i] = fetch(keys + t * ld + a.D);
        }
    }
    wh::after_previous();
    if (n_items == 0)
        return;
    float q[R][8] = {};
#pragma unroll
    for (unsigned r = 0; r < R; r++)
        if (there && r < n_items)
            num::load8(a.q + (size_t)(group.first + r) * a.D + column, q[r]);
    for (unsigned at = 0; at < n; at += AHEAD * WARPS) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * WARPS + warp;
            float key[8] = {0};
            if (there && t < n)
                widen(k[i], key);
            if (there && t + AHEAD * WARPS < n)
                k[i] = fetch(keys + (t + AHEAD * WARPS) * ld);
#pragma unroll
            for (unsigned r = 0; r < R; r++) {
                if (r >= n_items)
                    continue;
                const float score = num::warp_sum<LANES>(wh::dot8(q[r], key, 0)) * SCALE;
                if (t < n && lane % LANES == 0)
                    s.scores[(r * HEADS + lane / LANES) * a.chunk + t] = score;
            }
        }
    }
    __syncthreads();
    soften(a, s, n_items, n);
    float out[R][8] = {};
    for (unsigned at = 0; at < n; at += AHEAD * WARPS) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * WARPS + warp;
            if (!there || t >= n)
                continue;
            float value[8];
            widen(v[i], value);
            if (t + AHEAD * WARPS < n)
                v[i] = fetch(keys + (t + AHEAD * WARPS) * ld + a.D);
#pragma unroll
            for (unsigned r = 0; r < R; r++) {
                if (r >= n_items)
                    continue;
                const float weight = s.scores[(r * HEADS + lane / LANES) * a.chunk + t];
#pragma unroll
                for (int e = 0; e < 8; e++)
                    out[r][e] = fmaf(weight, value[e], out[r][e]);
            }
        }
    }
#pragma unroll
    for (unsigned r = 0; r < R; r++) {
        if (r >= n_items)
            continue;
        __syncthreads();
        num::store8(s.sums[warp] + lane * 8, out[r]);
        __syncthreads();
        const unsigned own = threadIdx.x / HEAD, e = threadIdx.x % HEAD;
        const unsigned own_head = blockIdx.y * HEADS + own;
        if (own_head >= a.H)
            continue;
        float sum = 0;
        for (int w = 0; w < WARPS; w++)
            sum += s.sums[w][threadIdx.x];
        const unsigned item = group.first + r, pair = r * HEADS + own;
        if (a.n_chunks == 1) {
            const unsigned to = own_head * HEAD + e;
            ((T *)a.mixed)[(size_t)item * a.D + to] =
                wh::from_float<T>(sum / s.sum[pair] + a.bias[to]);
            continue;
        }
        float *part = part_of(a, item, own_head, blockIdx.x);
        part[e] = sum;
        if (e == 0) {
            part[HEAD] = s.max[pair];
            part[HEAD + 1] = s.sum[pair];
        }
    }
    if (a.n_chunks == 1)
        return;
    __threadfence();
    __syncthreads();
    uint32_t *arrived = a.arrived + blockIdx.z * gridDim.y + blockIdx.y;
    if (threadIdx.x == 0)
        s.last = atomicAdd(arrived, 1) == a.n_chunks - 1;
    __syncthreads();
    if (!s.last)
        return;
    __threadfence();
    for (unsigned r = 0; r < n_items; r++)
        add_chunks<T>(a, group.first + r);
    if (threadIdx.x == 0)
        *arrived = 0;
}

/* ---- Weights of one head -------------------------------------------------------------------- */

struct capture {
    const float *q; /* (n, D) */
    const void *kv;
    const struct wh_cuda_item *items;
    float *ret; /* (n, T) */
    unsigned n_keys, head, D;
};

/* Grid: n. Block: 32 teams of 8 lanes, a key each. Shared: 32 floats. */
template <typename T> __global__ void __launch_bounds__(THREADS) capture_weights(capture a) {
    float *red = num::dynamic_shared<float>();
    const unsigned lane = threadIdx.x % LANES, team = threadIdx.x / LANES;
    const wh_cuda_item item = a.items[blockIdx.x];
    const T *keys =
        (const T *)a.kv + (size_t)item.slot * a.n_keys * 2 * a.D + a.head * HEAD + lane * 8;
    float *ret = a.ret + (size_t)blockIdx.x * a.n_keys;
    float q[8], max = -INFINITY, sum = 0;
    wh::after_previous();
    num::load8(a.q + (size_t)blockIdx.x * a.D + a.head * HEAD + lane * 8, q);
    for (unsigned at = 0; at < a.n_keys; at += TEAMS) {
        const unsigned t = at + team;
        float key[8] = {0};
        if (t < a.n_keys)
            num::load8(keys + (size_t)t * 2 * a.D, key);
        const float score = num::warp_sum<LANES>(wh::dot8(q, key, 0)) * SCALE;
        if (t < a.n_keys && lane == 0)
            ret[t] = score;
    }
    __syncthreads();
    for (unsigned t = threadIdx.x; t < a.n_keys; t += THREADS)
        max = fmaxf(max, ret[t]);
    max = num::block_max<THREADS>(max, red);
    __syncthreads();
    for (unsigned t = threadIdx.x; t < a.n_keys; t += THREADS) {
        ret[t] = expf(ret[t] - max);
        sum += ret[t];
    }
    sum = num::block_sum<THREADS>(sum, red);
    for (unsigned t = threadIdx.x; t < a.n_keys; t += THREADS)
        ret[t] /= sum;
}

/* ---- Launches ------------------------------------------------------------------------------- */

template <typename T> cudaError_t launch_self(struct wh_cuda *m, const self &a, uint32_t n) {
    const size_t shared = sizeof(self_shared) + a.n_positions * sizeof(float);
    return wh::launch_early(wh_cuda_early(m), attend_self<T>, dim3(m->c.dims.n_text_heads, n),
                            dim3(THREADS), shared, m->decode_stream, a);
}

template <typename T>
cudaError_t launch_cross(struct wh_cuda *m, const cross &a, uint32_t n_groups, uint32_t shared) {
    const dim3 grid(a.n_chunks, (a.H + HEADS - 1) / HEADS, n_groups);
    const size_t bytes = sizeof(cross_shared) + (size_t)shared * HEADS * a.chunk * sizeof(float);
    const cudaStream_t stream = m->decode_stream;
    if (shared == 1)
        return wh::launch_early(wh_cuda_early(m), attend_cross<T, 1, 8>, grid, dim3(THREADS), bytes,
                                stream, a);
    if (shared <= 4)
        return wh::launch_early(wh_cuda_early(m), attend_cross<T, 4, 4>, grid, dim3(THREADS), bytes,
                                stream, a);
    return wh::launch_early(wh_cuda_early(m), attend_cross<T, 8, 2>, grid, dim3(THREADS), bytes,
                            stream, a);
}

template <typename T> cudaError_t launch_capture(struct wh_cuda *m, const capture &a, uint32_t n) {
    return wh::launch_early(wh_cuda_early(m), capture_weights<T>, dim3(n), dim3(THREADS),
                            32 * sizeof(float), m->decode_stream, a);
}

/* fn<T>(...) with the model's type for T. */
#define BY_TYPE(m, fn, ...)                                                                        \
    ((m)->c.type == NUM_CUDA_F32   ? fn<float>(m, __VA_ARGS__)                                     \
     : (m)->c.type == NUM_CUDA_F16 ? fn<__half>(m, __VA_ARGS__)                                    \
                                   : fn<__nv_bfloat16>(m, __VA_ARGS__))

} // namespace

int32_t wh_cuda_attend_self(struct wh_cuda *m, uint32_t layer, uint32_t n, struct num_err *err) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const unsigned D = m->c.dims.n_state, C = m->c.dims.n_text_ctx;
    const self a = {w->qkv, wh_cuda_cells(m, layer), w->cells, w->items, w->mixed, C, D};
    return num_cuda_fail(err, "attention of the tokens", BY_TYPE(m, launch_self, a, n));
}

int32_t wh_cuda_attend_cross(struct wh_cuda *m, uint32_t layer, uint32_t n_groups, uint32_t shared,
                             struct num_err *err) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const unsigned D = m->c.dims.n_state, T = m->c.dims.n_audio_ctx;
    const unsigned chunk = wh_cuda_chunk_keys(&m->c, n_groups, shared, m->device.sm_count);
    const cross a = {w->qkv,
                     wh_cuda_cross_kv(m, layer, 0),
                     m->w.decoder[layer].cross_kv.bias + D,
                     w->groups,
                     w->partial,
                     w->arrived,
                     w->mixed,
                     T,
                     chunk,
                     (T + chunk - 1) / chunk,
                     m->c.dims.n_text_heads,
                     D};
    return num_cuda_fail(err, "attention to the window",
                         BY_TYPE(m, launch_cross, a, n_groups, shared));
}

int32_t wh_cuda_attend_capture(struct wh_cuda *m, uint32_t layer, uint32_t head, uint32_t n,
                               float *ret, struct num_err *err) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const capture a = {
        w->qkv,           wh_cuda_cross_kv(m, layer, 0), w->items, ret, m->c.dims.n_audio_ctx, head,
        m->c.dims.n_state};
    return num_cuda_fail(err, "attention of the words", BY_TYPE(m, launch_capture, a, n));
}

/*
 * The decoder's attention: see decoder_attention.h. Bound by reading keys and values; heads are 64
 * wide, so eight lanes read a head's part of a row with 16 bytes each (half types), and a warp
 * reads four heads of a row, 512 bytes side by side.
 *
 * attend_self    one block for a head of an item: its row's cells, at most 448 positions
 * attend_cross   blocks of four heads, a chunk of the keys and a group of up to 8 items that read
 *                the same window: keys and values are read once for all of them. Scores stay in
 *                shared memory; a chunk leaves its sums, its maximum and the sum of its weights,
 *                and the block that finishes last adds the chunks up, in their order, whoever it
 *                is. (Split keys: "Flash-Decoding", Dao, Haziza, Massa, Sizov 2023.)
 *
 * Where keys and values are not stored: cross_absorbed.cu. The weights themselves, for word times:
 * decoder_capture.cu.
 *
 * attend_cross of large-v3: 7.7 MB a layer and window, 1.8 us at 4.3 TB/s; 246 MB and 57 us for the
 * 32 layers of a step. For one window the chunks are 64 keys, a block's 64 KB are all under way
 * before it waits for the queries.
 */
#include "whisper/cuda/decoder_attention.h"

#include <math.h>

#include "num/cuda/warp.cuh"
#include "whisper/cuda/cross_absorbed.h"
#include "whisper/cuda/decoder.cuh"
#include "whisper/cuda/kept.cuh"

namespace {

using wh::HEAD;
using wh::LANES;

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr float SCALE = 0.125f; /* 1 / sqrt(HEAD) */

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
    typedef typename wh::kept_plain<T>::eight eight;
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
        eight k[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * TEAMS + team;
            if (t < len)
                k[i] = *(const eight *)(keys + wh::cell_at(table[t], t, a.n_positions, a.D));
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * TEAMS + team;
            float key[8] = {0};
            if (t < len)
                wh::kept_plain<T>::widen(k[i], key);
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
        eight v[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * TEAMS + team;
            if (t < len)
                v[i] = *(const eight *)(keys + a.D + wh::cell_at(table[t], t, a.n_positions, a.D));
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * TEAMS + team;
            if (t >= len)
                continue;
            float value[8];
            wh::kept_plain<T>::widen(v[i], value);
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
    const char *kv;    /* the layer's, of slot 0 */
    size_t slot_bytes; /* from one slot to the next */
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

/* What the block found of an item, the r-th of its group: the result where there is one chunk, else
 * a part of it. Thread: one of the block's four heads and an element. */
template <typename T>
__device__ void leave_sums(const cross &a, const cross_shared &s, unsigned item, unsigned r) {
    const unsigned own = threadIdx.x / HEAD, e = threadIdx.x % HEAD;
    const unsigned head = blockIdx.y * HEADS + own, pair = r * HEADS + own, to = head * HEAD + e;
    if (head >= a.H)
        return;
    float sum = 0;
    for (int w = 0; w < WARPS; w++)
        sum += s.sums[w][threadIdx.x];
    if (a.n_chunks == 1) {
        ((T *)a.mixed)[(size_t)item * a.D + to] = wh::from_float<T>(sum / s.sum[pair] + a.bias[to]);
        return;
    }
    float *part = part_of(a, item, head, blockIdx.x);
    part[e] = sum;
    if (e == 0) {
        part[HEAD] = s.max[pair];
        part[HEAD + 1] = s.sum[pair];
    }
}

/* Counts the block as finished; the one that is last adds the chunks up. */
template <typename T>
__device__ void count_in(const cross &a, cross_shared &s, const wh_cuda_group &group) {
    __threadfence();
    __syncthreads();
    uint32_t *arrived = a.arrived + blockIdx.z * gridDim.y + blockIdx.y;
    if (threadIdx.x == 0)
        s.last = atomicAdd(arrived, 1) == a.n_chunks - 1;
    __syncthreads();
    if (!s.last)
        return;
    __threadfence();
    for (unsigned r = 0; r < group.n; r++)
        add_chunks<T>(a, group.first + r);
    if (threadIdx.x == 0)
        *arrived = 0;
}

/*
 * Grid: (chunks, H / 4, groups). Block: 8 warps; a warp takes every eighth key, a lane eight
 * elements of one of four heads. K: how keys and values are kept; R: most items of a group; AHEAD:
 * keys of a warp under way.
 */
template <typename T, typename K, unsigned R, int AHEAD>
__global__ void __launch_bounds__(THREADS) attend_cross(cross a) {
    cross_shared &s = *num::dynamic_shared<cross_shared>();
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned head = blockIdx.y * HEADS + lane / LANES,
                   column = blockIdx.y * HEADS * HEAD + lane * 8;
    const wh_cuda_group group = a.groups[blockIdx.z];
    const unsigned n_items = group.n, first = blockIdx.x * a.chunk;
    const unsigned n = min(a.chunk, a.n_keys - first);
    const bool there = head < a.H && n_items > 0;
    const wh::kept kv = {a.kv + group.slot * a.slot_bytes, a.n_keys, a.D};
    typename K::eight k[AHEAD], v[AHEAD];
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {
        const unsigned t = i * WARPS + warp;
        if (there && t < n) {
            k[i] = K::fetch(kv, first + t, column);
            v[i] = K::fetch(kv, first + t, a.D + column);
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
            float key[8] = {0}, scale = SCALE;
            if (there && t < n) {
                K::widen(k[i], key);
                scale = K::scale(k[i]) * SCALE;
            }
            if (there && t + AHEAD * WARPS < n)
                k[i] = K::fetch(kv, first + t + AHEAD * WARPS, column);
#pragma unroll
            for (unsigned r = 0; r < R; r++) {
                if (r >= n_items)
                    continue;
                const float score = num::warp_sum<LANES>(wh::dot8(q[r], key, 0)) * scale;
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
            K::widen(v[i], value);
            const float scale = K::scale(v[i]);
            if (t + AHEAD * WARPS < n)
                v[i] = K::fetch(kv, first + t + AHEAD * WARPS, a.D + column);
#pragma unroll
            for (unsigned r = 0; r < R; r++) {
                if (r >= n_items)
                    continue;
                const float weight = s.scores[(r * HEADS + lane / LANES) * a.chunk + t] * scale;
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
        leave_sums<T>(a, s, group.first + r, r);
    }
    if (a.n_chunks > 1)
        count_in<T>(a, s, group);
}

/* ---- Launches ------------------------------------------------------------------------------- */

template <typename T> cudaError_t launch_self(struct wh_cuda *m, const self &a, uint32_t n) {
    const size_t shared = sizeof(self_shared) + a.n_positions * sizeof(float);
    return wh::launch_early(wh_cuda_early(m), attend_self<T>, dim3(m->c.dims.n_text_heads, n),
                            dim3(THREADS), shared, m->decode_stream, a);
}

template <typename T, typename K>
cudaError_t launch_kept(struct wh_cuda *m, const cross &a, uint32_t n_groups, uint32_t shared) {
    const dim3 grid(a.n_chunks, (a.H + HEADS - 1) / HEADS, n_groups);
    const size_t bytes = sizeof(cross_shared) + (size_t)shared * HEADS * a.chunk * sizeof(float);
    const cudaStream_t stream = m->decode_stream;
    if (shared == 1)
        return wh::launch_early(wh_cuda_early(m), attend_cross<T, K, 1, 8>, grid, dim3(THREADS),
                                bytes, stream, a);
    if (shared <= 4)
        return wh::launch_early(wh_cuda_early(m), attend_cross<T, K, 4, 4>, grid, dim3(THREADS),
                                bytes, stream, a);
    return wh::launch_early(wh_cuda_early(m), attend_cross<T, K, 8, 2>, grid, dim3(THREADS), bytes,
                            stream, a);
}

/* By how keys and values are kept; floats always as they are. */
template <typename T> struct by_kept {
    static cudaError_t cross_of(struct wh_cuda *m, const cross &a, uint32_t n, uint32_t shared) {
        switch (m->c.kept) {
        case WH_CUDA_KEPT_FP8:
            return launch_kept<T, wh::kept_fp8>(m, a, n, shared);
        case WH_CUDA_KEPT_INT8:
            return launch_kept<T, wh::kept_int8>(m, a, n, shared);
        default:
            return launch_kept<T, wh::kept_plain<T>>(m, a, n, shared);
        }
    }
};

template <> struct by_kept<float> {
    static cudaError_t cross_of(struct wh_cuda *m, const cross &a, uint32_t n, uint32_t shared) {
        return launch_kept<float, wh::kept_plain<float>>(m, a, n, shared);
    }
};

template <typename T>
cudaError_t launch_cross(struct wh_cuda *m, const cross &a, uint32_t n_groups, uint32_t shared) {
    return by_kept<T>::cross_of(m, a, n_groups, shared);
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

int32_t wh_cuda_attend_cross(struct wh_cuda *m, uint32_t layer, uint32_t n, uint32_t n_groups,
                             uint32_t shared, struct num_err *err) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const unsigned D = m->c.dims.n_state, T = m->c.dims.n_audio_ctx;
    if (wh_cuda_absorbs(&m->c, n_groups, shared))
        return num_cuda_fail(err, "attention to the window",
                             wh_cuda_absorbed_run(m, layer, n, n_groups, shared));
    const unsigned chunk = wh_cuda_chunk_keys(&m->c, n_groups, shared, m->device.sm_count);
    const cross a = {w->qkv,
                     wh_cuda_cross_kv(m, layer, 0),
                     wh_cuda_cross_bytes(&m->c),
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

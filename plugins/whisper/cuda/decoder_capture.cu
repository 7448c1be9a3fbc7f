/*
 * The weights with which a head looks at a window, for word times: see decoder_attention.h. Scores
 * of all positions, from stored keys by lanes, or from the encoder's output by tensor cores, with
 * queries that cross_absorbed.cu makes; then a kernel makes weights of them, a block for each item.
 */
#include <math.h>

#include "num/cuda/warp.cuh"
#include "whisper/cuda/cross_absorbed.cuh"
#include "whisper/cuda/cross_absorbed.h"
#include "whisper/cuda/decoder.cuh"
#include "whisper/cuda/decoder_attention.h"
#include "whisper/cuda/kept.cuh"

namespace {

using wh::HEAD;
using wh::LANES;

constexpr int THREADS = 256, TEAMS = THREADS / LANES; /* of eight lanes, a key each */
constexpr float SCALE = 0.125f;                       /* 1 / sqrt(HEAD) */

/* ---- Stored keys ---------------------------------------------------------------------------- */

struct stored {
    const float *q; /* (n, D) */
    const char *kv; /* the layer's, of slot 0 */
    size_t slot_bytes;
    const struct wh_cuda_item *items;
    float *ret; /* (n, T) */
    unsigned n_keys, head, D;
};

/* Grid: n. K: how keys are kept. */
template <typename K> __global__ void __launch_bounds__(THREADS) score_stored(stored a) {
    const unsigned lane = threadIdx.x % LANES, team = threadIdx.x / LANES;
    const wh_cuda_item item = a.items[blockIdx.x];
    const wh::kept kv = {a.kv + item.slot * a.slot_bytes, a.n_keys, a.D};
    float *ret = a.ret + (size_t)blockIdx.x * a.n_keys, q[8];
    wh::after_previous();
    num::load8(a.q + (size_t)blockIdx.x * a.D + a.head * HEAD + lane * 8, q);
    for (unsigned at = 0; at < a.n_keys; at += TEAMS) {
        const unsigned t = at + team;
        float key[8] = {0}, scale = SCALE;
        if (t < a.n_keys) {
            const typename K::eight k = K::fetch(kv, t, a.head * HEAD + lane * 8);
            K::widen(k, key);
            scale = K::scale(k) * SCALE;
        }
        const float score = num::warp_sum<LANES>(wh::dot8(q, key, 0)) * scale;
        if (t < a.n_keys && lane == 0)
            ret[t] = score;
    }
}

/* ---- The encoder's output ------------------------------------------------------------------- */

struct absorbed {
    const void *q; /* (n, D): absorbed */
    const void *x; /* (n_slots, T, D) */
    const struct wh_cuda_group *groups;
    float *ret; /* (n, T) */
    unsigned n_keys, D;
};

constexpr int WARPS = 4;

/* Grid: (positions / 16 / WARPS, groups). A warp: 16 positions, up to 8 items. */
template <typename T> __global__ void __launch_bounds__(32 * WARPS) score_absorbed(absorbed a) {
    const unsigned lane = threadIdx.x % 32, group = lane / 4, quad = lane % 4;
    const unsigned key = (blockIdx.x * WARPS + threadIdx.x / 32) * 16 + group;
    wh::after_previous();
    const wh_cuda_group items = a.groups[blockIdx.y];
    const size_t slot = (size_t)items.slot * a.n_keys, last = a.n_keys - 1;
    const T *low = (const T *)a.x + (slot + min(key, (unsigned)last)) * a.D + quad * 8;
    const T *high = (const T *)a.x + (slot + min(key + 8, (unsigned)last)) * a.D + quad * 8;
    const T *q = (const T *)a.q + (size_t)(items.first + group) * a.D + quad * 8;
    const uint4 none = make_uint4(0, 0, 0, 0);
    float c[4] = {};
    for (unsigned at = 0; at < a.D; at += 32)
        wh::multiply_32<T>(c, __ldg((const uint4 *)(low + at)), __ldg((const uint4 *)(high + at)),
                           group < items.n ? *(const uint4 *)(q + at) : none);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const unsigned t = key + i / 2 * 8, item = quad * 2 + i % 2;
        if (t < a.n_keys && item < items.n)
            a.ret[(size_t)(items.first + item) * a.n_keys + t] = c[i] * SCALE;
    }
}

/* ---- Weights -------------------------------------------------------------------------------- */

/* Scores to weights, in place. Grid: n. Shared: 32 floats. */
__global__ void __launch_bounds__(THREADS) soften(float *scores, unsigned n_keys) {
    float *red = num::dynamic_shared<float>();
    wh::after_previous();
    float *row = scores + (size_t)blockIdx.x * n_keys, max = -INFINITY, sum = 0;
    for (unsigned t = threadIdx.x; t < n_keys; t += THREADS)
        max = fmaxf(max, row[t]);
    max = num::block_max<THREADS>(max, red);
    __syncthreads();
    for (unsigned t = threadIdx.x; t < n_keys; t += THREADS) {
        row[t] = expf(row[t] - max);
        sum += row[t];
    }
    sum = num::block_sum<THREADS>(sum, red);
    for (unsigned t = threadIdx.x; t < n_keys; t += THREADS)
        row[t] /= sum;
}

/* ---- Launches ------------------------------------------------------------------------------- */

template <typename K> cudaError_t launch_stored(struct wh_cuda *m, const stored &a, uint32_t n) {
    return wh::launch_early(wh_cuda_early(m), score_stored<K>, dim3(n), dim3(THREADS), 0,
                            m->decode_stream, a);
}

cudaError_t run_stored(struct wh_cuda *m, uint32_t layer, uint32_t head, uint32_t n, float *ret) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const stored a = {w->qkv,
                      wh_cuda_cross_kv(m, layer, 0),
                      wh_cuda_cross_bytes(&m->c),
                      w->items,
                      ret,
                      m->c.dims.n_audio_ctx,
                      head,
                      m->c.dims.n_state};
    if (m->c.kept == WH_CUDA_KEPT_FP8)
        return launch_stored<wh::kept_fp8>(m, a, n);
    if (m->c.kept == WH_CUDA_KEPT_INT8)
        return launch_stored<wh::kept_int8>(m, a, n);
    return m->c.type == NUM_CUDA_F32   ? launch_stored<wh::kept_plain<float>>(m, a, n)
           : m->c.type == NUM_CUDA_F16 ? launch_stored<wh::kept_plain<__half>>(m, a, n)
                                       : launch_stored<wh::kept_plain<__nv_bfloat16>>(m, a, n);
}

template <typename T>
cudaError_t launch_absorbed(struct wh_cuda *m, const absorbed &a, uint32_t n_groups) {
    const dim3 grid((unsigned)num::div_up((int)a.n_keys, 16 * WARPS), n_groups);
    return wh::launch_early(wh_cuda_early(m), score_absorbed<T>, grid, dim3(32 * WARPS), 0,
                            m->decode_stream, a);
}

cudaError_t run_absorbed(struct wh_cuda *m, uint32_t layer, uint32_t head, uint32_t n,
                         uint32_t n_groups, float *ret) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const absorbed a = {w->absorbed, wh_cuda_encoded(m, 0), w->groups,
                        ret,         m->c.dims.n_audio_ctx, m->c.dims.n_state};
    cudaError_t error = wh_cuda_absorb(m, layer, n, head, 1);
    if (error)
        return error;
    return m->c.type == NUM_CUDA_F16 ? launch_absorbed<__half>(m, a, n_groups)
                                     : launch_absorbed<__nv_bfloat16>(m, a, n_groups);
}

} // namespace

int32_t wh_cuda_attend_capture(struct wh_cuda *m, uint32_t layer, uint32_t head, uint32_t n,
                               uint32_t n_groups, float *ret, struct num_err *err) {
    cudaError_t error = m->c.cross == WH_CUDA_ABSORBED
                            ? run_absorbed(m, layer, head, n, n_groups, ret)
                            : run_stored(m, layer, head, n, ret);
    if (!error)
        error = wh::launch_early(wh_cuda_early(m), soften, dim3(n), dim3(THREADS),
                                 32 * sizeof(float), m->decode_stream, ret, m->c.dims.n_audio_ctx);
    return num_cuda_fail(err, "attention of the words", error);
}

/*
 * Keys and values to bytes: see kept.h and kept.cuh. Bound by memory: for a window of large-v3, 7.7
 * MB a layer are read and 3.9 MB written, 2.7 us at 4.3 TB/s.
 *
 * A scale is the head's largest value by the largest of the format, rounded up to a bfloat16, and
 * the values are divided by what it was rounded to: it adds no error of its own.
 */
#include "whisper/cuda/kept.h"

#include "num/cuda/warp.cuh"
#include "whisper/cuda/kept.cuh"

namespace {

using wh::HEAD;
using wh::LANES;

/* Of eight lanes, a head of a row each. */
constexpr unsigned THREADS = 256, TEAMS = THREADS / LANES;

/* `n` slots, one behind the other on both sides. */
struct keeping {
    const void *from; /* (n, T, 2 D) in the type */
    char *to;
    size_t slot_bytes; /* from one slot to the next in `to` */
    unsigned n_keys, D;
};

/* Rounded up to what a bfloat16 can say; 1 for a head of zeros. */
__device__ uint16_t scale_for(float most, float largest) {
    const float scale = most > 0 ? most / largest : 1;
    return (uint16_t)((__float_as_uint(scale) + 0xffffu) >> 16);
}

/* Grid: (heads of all rows / TEAMS, slots). */
template <typename T, typename K> __global__ void __launch_bounds__(THREADS) to_bytes(keeping a) {
    const unsigned lane = threadIdx.x % LANES, team = blockIdx.x * TEAMS + threadIdx.x / LANES;
    const unsigned heads = 2 * a.D / HEAD, key = team / heads, head = team % heads;
    const unsigned column = head * HEAD + lane * 8;
    const size_t row = (size_t)blockIdx.y * a.n_keys + key;
    char *to = a.to + blockIdx.y * a.slot_bytes;
    float v[8] = {0}, most = 0;
    if (key < a.n_keys)
        num::load8((const T *)a.from + row * 2 * a.D + column, v);
#pragma unroll
    for (int i = 0; i < 8; i++)
        most = fmaxf(most, fabsf(v[i]));
    const uint16_t scale = scale_for(num::warp_max<LANES>(most), K::MOST);
    const float by = wh::widen_scale(scale);
    if (key >= a.n_keys)
        return;
    uint32_t words[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < 8; i++)
        words[i / 4] |= K::byte(v[i] / by) << i % 4 * 8;
    *(uint2 *)(to + (size_t)key * 2 * a.D + column) = make_uint2(words[0], words[1]);
    if (lane == 0)
        ((uint16_t *)(to + (size_t)a.n_keys * 2 * a.D))[(size_t)head * a.n_keys + key] = scale;
}

template <typename T>
cudaError_t launch(const struct wh_cuda *m, const keeping &a, uint32_t n, cudaStream_t stream) {
    const dim3 grid(num::div_up((int)(a.n_keys * (2 * a.D / HEAD)), (int)TEAMS), n);
    if (m->c.kept == WH_CUDA_KEPT_FP8)
        return num::launch(to_bytes<T, wh::kept_fp8>, grid, dim3(THREADS), 0, stream, a);
    return num::launch(to_bytes<T, wh::kept_int8>, grid, dim3(THREADS), 0, stream, a);
}

} // namespace

cudaError_t wh_cuda_keep(const struct wh_cuda *m, uint32_t layer, uint32_t slot, uint32_t n,
                         const void *from, cudaStream_t stream) {
    const keeping a = {from, wh_cuda_cross_kv(m, layer, slot), wh_cuda_cross_bytes(&m->c),
                       m->c.dims.n_audio_ctx, m->c.dims.n_state};
    return m->c.type == NUM_CUDA_F16 ? launch<__half>(m, a, n, stream)
                                     : launch<__nv_bfloat16>(m, a, n, stream);
}

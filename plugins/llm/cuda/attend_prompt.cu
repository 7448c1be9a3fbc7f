/*
 * Attention of a prompt's tokens with tensor cores: see cuda.h. The walk over the keys is that of
 * num/cuda/attention.cu, with a mask, and keys and values from pages.
 *
 * A block of four warps owns 64 tokens and one head of queries, a warp 16 of them, and takes 64
 * positions (two pages) a step, from the first that any of its tokens sees to its last token. Keys
 * and values of the next step are copied to shared memory while this one is computed. Heads that
 * share keys and values run side by side and find them in the second cache. Queries are rounded to
 * halves, as keys and values have been; scores and sums are floats.
 *
 * Steps begin at multiples of 64 positions, so what a token yields does not depend on where its
 * piece of the prompt begins. A warp leaves out steps of which its tokens see nothing; they would
 * change nothing.
 *
 * A prompt of 4096 tokens and 32 heads of 128 has 137 GFLOP a layer, half of it behind the mask and
 * left out; 16 rows a warp make shared memory the limit, at some 200 TFLOP/s: 0.4 ms a layer
 * expected.
 */
#include <math.h>

#include "llm/cuda/cache.cuh"
#include "num/cuda/attention_flash.cuh"

namespace {

constexpr int WARPS = 4, THREADS = 32 * WARPS;
constexpr int WARP_ROWS = 16, ROWS = WARPS * WARP_ROWS; /* tokens */
constexpr int KEYS = 64;                                /* of a step */

/* Shared memory of a block: 40 KB where HEAD is 64, 80 KB where it is 128. */
template <int HEAD> struct workspace {
    __half q[ROWS * HEAD];
    __half k[2][KEYS * HEAD], v[2][KEYS * HEAD];
};

/* What a block works on. */
struct part {
    unsigned first, n;   /* of the items */
    unsigned position;   /* of the first */
    unsigned table, kv;  /* kv: head of keys and values */
    unsigned begin, end; /* positions [begin, end) of its steps */
};

__device__ part part_of(const lm_cuda_attention &a) {
    part p;
    p.first = blockIdx.x * ROWS;
    p.n = min(a.n - p.first, (unsigned)ROWS);
    p.position = (unsigned)a.items[p.first].position;
    p.table = a.items[p.first].table;
    p.kv = blockIdx.y / (a.n_heads / a.cache.n_kv_heads);
    const unsigned seen = p.position + 1;
    p.begin = (a.window && seen > a.window ? seen - a.window : 0) / KEYS * KEYS;
    p.end = p.position + p.n;
    return p;
}

/* Queries as halves; zeros behind the last item and behind a head's numbers. */
template <int HEAD>
__device__ void stage_queries(const lm_cuda_attention &a, const part &p, __half *to) {
    constexpr int PIECES = HEAD / 8;
    for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
        const unsigned row = i / PIECES, piece = i % PIECES;
        float x[8] = {};
        if (row < p.n && piece * 8 < a.cache.d)
            num::load8(a.q + (size_t)(p.first + row) * a.ldq + blockIdx.y * a.cache.d + piece * 8,
                       x);
        num::store8(to + num::flash_place<HEAD>(row, piece), x);
    }
}

/* Starts to copy the keys or values of positions [at, at + KEYS); zeros from the part's end on. */
template <int HEAD>
__device__ void stage_step(const lm_cuda_attention &a, const part &p, unsigned at, bool value,
                           __half *to) {
    constexpr int PIECES = HEAD / 8;
#pragma unroll
    for (int i = 0; i < KEYS * PIECES / THREADS; i++) {
        const unsigned row = (i * THREADS + threadIdx.x) / PIECES, piece = threadIdx.x % PIECES;
        const unsigned t = at + row;
        const bool there = t < p.end && piece * 8 < a.cache.d;
        const __half *from = (const __half *)a.cache.pages;
        if (there)
            from = lm::entry<__half>(lm::block_of(a.cache, p.table, p.kv, t), a.cache.d, t, value) +
                   piece * 8;
        num::cp_async_16(to + num::flash_place<HEAD>(row, piece), from, there);
    }
}

/* Positions of a warp's tokens, of a step that begins at `at`. */
__device__ inline bool hides_some(const lm_cuda_attention &a, unsigned first, unsigned last,
                                  unsigned at) {
    return at + KEYS > first + 1 || (a.window && at + a.window <= last);
}

template <int HEAD>
__device__ void take_step(const lm_cuda_attention &a, num::flash<__half, HEAD, 1, KEYS> &w,
                          unsigned first, unsigned at, const __half *k, const __half *v) {
    const int lane = threadIdx.x % 32;
    const unsigned last = first + WARP_ROWS - 1; /* of the warp */
    if (at > last || (a.window && at + KEYS + a.window <= first + 1))
        return;
    w.multiply_keys(k, lane);
    if (hides_some(a, first, last, at)) {
        int low[1][2], high[1][2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int seen = (int)(first + h * 8 + lane / 4 + 1) - (int)at;
            low[0][h] = a.window ? seen - (int)a.window : 0;
            high[0][h] = seen;
        }
        w.hide(low, high, lane);
    }
    w.soften(1 / sqrtf((float)a.cache.d) * num::LOG2_E);
    w.multiply_values(v, lane);
}

template <int HEAD>
__device__ void store(const lm_cuda_attention &a, const part &p,
                      const num::flash<__half, HEAD, 1, KEYS> &w, unsigned row) {
    const unsigned lane = threadIdx.x % 32;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float scale = w.weight(0, h);
        const unsigned item = row + h * 8 + lane / 4;
        float *to = a.ret + (size_t)(p.first + item) * a.ld_ret + blockIdx.y * a.cache.d;
#pragma unroll
        for (int c = 0; c < HEAD / 8; c++)
            if (item < p.n && c * 8 < (int)a.cache.d)
                *(float2 *)(to + c * 8 + lane % 4 * 2) =
                    make_float2(w.out[0][c][2 * h] * scale, w.out[0][c][2 * h + 1] * scale);
    }
}

/* Grid: (items / ROWS, heads of queries). */
template <int HEAD>
__global__ void __launch_bounds__(THREADS, 2) attend_prompt(lm_cuda_attention a) {
    workspace<HEAD> &s = *num::dynamic_shared<workspace<HEAD>>();
    const part p = part_of(a);
    const unsigned row = threadIdx.x / 32 * WARP_ROWS;
    num::flash<__half, HEAD, 1, KEYS> w;
    stage_step<HEAD>(a, p, p.begin, false, s.k[0]);
    stage_step<HEAD>(a, p, p.begin, true, s.v[0]);
    num::cp_async_commit();
    stage_queries<HEAD>(a, p, s.q);
    w.begin();
    for (unsigned at = p.begin; at < p.end; at += KEYS) {
        const int now = at / KEYS % 2 ^ p.begin / KEYS % 2;
        num::cp_async_wait<0>();
        __syncthreads(); /* this step's rows are there, and nobody reads the last step's */
        if (at + KEYS < p.end) {
            stage_step<HEAD>(a, p, at + KEYS, false, s.k[1 - now]);
            stage_step<HEAD>(a, p, at + KEYS, true, s.v[1 - now]);
        }
        num::cp_async_commit();
        if (at == p.begin)
            w.load_queries(s.q, row, threadIdx.x % 32);
        take_step<HEAD>(a, w, p.position + row, at, s.k[now], s.v[now]);
    }
    store<HEAD>(a, p, w, row);
}

template <int HEAD> cudaError_t launch(const lm_cuda_attention &a, cudaStream_t stream) {
    const dim3 grid((a.n + ROWS - 1) / ROWS, a.n_heads);
    return num::launch(attend_prompt<HEAD>, grid, dim3(THREADS), sizeof(workspace<HEAD>), stream,
                       a);
}

} // namespace

bool lm_cuda_attends_prompts(const struct lm_cuda_cache *cache) {
    return cache->type == NUM_CACHE_F16 && cache->d <= 128;
}

cudaError_t lm_cuda_attend_prompt(const struct lm_cuda_attention *a, cudaStream_t stream) {
    if (!lm_cuda_attends_prompts(&a->cache))
        return cudaErrorInvalidValue;
    return a->cache.d <= 64 ? launch<64>(*a, stream) : launch<128>(*a, stream);
}

/*
 * Causal attention over pages of keys and values: see cuda.h. A block is one head of keys and
 * values, an item, and one part of its text: the queries that share the head meet 256 positions at
 * a time with a running softmax (Milakov and Gimelshein, 2018), so a position is read once for up
 * to 8 of them. Lanes read a head's numbers eight at a time, 16 bytes of halves: a team of d / 8
 * lanes (up to a power of two) has a position, several of them under way. Each part leaves its
 * sums, its maximum and the sum of its weights, and the block that finishes last adds the parts up,
 * in their order, whoever it is. ("Flash-Decoding", Dao, Haziza, Massa, Sizov, 2023.)
 *
 * Steps of 256 begin at multiples of 256, whatever an item sees, so that its sums have one order.
 *
 * A step's reading is bound by memory. Items of a prompt read the same keys one after another, from
 * the second cache, and multiply without tensor cores: of a prompt of 4096 tokens and 32 heads of
 * 128 a layer's attention is 137 GFLOP beside 1.8 TFLOP of its products.
 */
#include <math.h>

#include "llm/cuda/cache.cuh"
#include "num/cuda/launch.cuh"
#include "num/cuda/warp.cuh"

namespace {

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int SPAN = 256; /* positions of a step */
constexpr int AHEAD = 4;  /* positions of a team under way */
constexpr int MOST = 8;   /* queries that share a reading */

/* Eight numbers of a key or a value, as they are stored and as floats. */
template <typename T> struct eight;

template <> struct eight<float> {
    float4 a, b;
    __device__ void fetch(char *block, unsigned d, unsigned t, bool value, unsigned e) {
        const float4 *from = (const float4 *)(lm::entry<float>(block, d, t, value) + e);
        a = from[0];
        b = from[1];
    }
    __device__ float widen(float *x) const {
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
        x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
        return 1;
    }
};

template <> struct eight<__half> {
    uint4 raw;
    __device__ void fetch(char *block, unsigned d, unsigned t, bool value, unsigned e) {
        raw = *(const uint4 *)(lm::entry<__half>(block, d, t, value) + e);
    }
    __device__ float widen(float *x) const {
        const __half *h = reinterpret_cast<const __half *>(&raw);
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[i] = __half2float(h[i]);
        return 1;
    }
};

template <> struct eight<int8_t> {
    uint2 raw;
    float scale;
    __device__ void fetch(char *block, unsigned d, unsigned t, bool value, unsigned e) {
        raw = *(const uint2 *)(lm::entry<int8_t>(block, d, t, value) + e);
        scale = *lm::scale_of(block, d, t, value);
    }
    __device__ float widen(float *x) const {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[i] = (float)(int8_t)(raw.x >> 8 * i);
            x[4 + i] = (float)(int8_t)(raw.y >> 8 * i);
        }
        return scale;
    }
};

struct running {
    float max, sum, fix;
};

/* Shared memory; rows are the queries of the block. */
struct workspace {
    float sums[THREADS * 8]; /* of teams, of one row: [team][element] */
    float q[MOST * LM_CUDA_MAX_HEAD];
    float scores[MOST * SPAN];
    running rows[MOST];
    unsigned last;
};

struct lanes {
    /* lanes of a team; its number; teams; a lane's first element */
    unsigned width, team, n_teams, e;
    bool there;
};

__device__ inline lanes lanes_of(unsigned d) {
    lanes l;
    l.width = 1;
    while (l.width * 8 < d)
        l.width *= 2;
    l.team = threadIdx.x / l.width;
    l.n_teams = THREADS / l.width;
    l.e = threadIdx.x % l.width * 8;
    l.there = l.e < d;
    return l;
}

/* ---- A step ---------------------------------------------------------------------------------- */

struct walk {
    const lm_cuda_attention *a;
    lanes l;
    unsigned table, head, low, high; /* positions [low, high) are seen */
    unsigned first_query, n;         /* of the H; queries of this block */
};

__device__ inline float dot8(const float *a, const float *b) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 8; i++)
        sum = fmaf(a[i], b[i], sum);
    return sum;
}

/* Begins to read what the lane has of its team's next AHEAD positions in [at, to): keys or
 * values. */
template <typename T>
__device__ inline void fetch(const walk &w, unsigned at, unsigned to, bool value,
                             eight<T> (&ret)[AHEAD]) {
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {
        const unsigned t = at + i * w.l.n_teams + w.l.team;
        if (w.l.there && t < to)
            ret[i].fetch(lm::block_of(w.a->cache, w.table, w.head, t), w.a->cache.d, t, value,
                         w.l.e);
    }
}

/* Scores of positions [from, to) of the step at `base`, in powers of 2. */
template <typename T>
__device__ void score(const walk &w, workspace &s, unsigned base, unsigned from, unsigned to) {
    const unsigned d = w.a->cache.d;
    const float scale = 1.44269504f / sqrtf((float)d);
    for (unsigned at = from; at < to; at += w.l.n_teams * AHEAD) {
        eight<T> k[AHEAD];
        fetch(w, at, to, false, k);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * w.l.n_teams + w.l.team;
            const bool there = w.l.there && t < to;
            float key[8] = {0}, by = 0;
            if (there)
                by = k[i].widen(key) * scale;
            for (unsigned r = 0; r < w.n; r++) {
                float x = there ? dot8(s.q + r * d + w.l.e, key) * by : 0;
                for (unsigned m = w.l.width / 2; m > 0; m /= 2)
                    x += __shfl_xor_sync(num::ALL_LANES, x, m);
                if (t < to && w.l.e == 0)
                    s.scores[r * SPAN + t - base] = x;
            }
        }
    }
}

/* Scores to weights; a warp a row. */
__device__ void soften(const walk &w, workspace &s, unsigned base, unsigned from, unsigned to) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (unsigned r = warp; r < w.n; r += WARPS) {
        float *x = s.scores + r * SPAN - base, max = -INFINITY, sum = 0;
        for (unsigned t = from + lane; t < to; t += 32)
            max = fmaxf(max, x[t]);
        const running before = s.rows[r];
        max = fmaxf(before.max, num::warp_max(max));
        for (unsigned t = from + lane; t < to; t += 32) {
            x[t] = exp2f(x[t] - max);
            sum += x[t];
        }
        sum = num::warp_sum(sum);
        const float fix = exp2f(before.max - max);
        __syncwarp(); /* all lanes have read the row's state */
        if (lane == 0)
            s.rows[r] = {max, before.sum * fix + sum, fix};
    }
}

/* Weights times values. */
template <typename T>
__device__ void mix(const walk &w, const workspace &s, unsigned base, unsigned from, unsigned to,
                    float (&out)[MOST][8]) {
#pragma unroll
    for (unsigned r = 0; r < MOST; r++)
        for (int e = 0; r < w.n && e < 8; e++)
            out[r][e] *= s.rows[r].fix;
    for (unsigned at = from; at < to; at += w.l.n_teams * AHEAD) {
        eight<T> v[AHEAD];
        fetch(w, at, to, true, v);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const unsigned t = at + i * w.l.n_teams + w.l.team;
            if (!w.l.there || t >= to)
                continue;
            float value[8];
            const float by = v[i].widen(value);
#pragma unroll
            for (unsigned r = 0; r < MOST; r++) {
                if (r >= w.n)
                    continue;
                const float weight = s.scores[r * SPAN + t - base] * by;
#pragma unroll
                for (int e = 0; e < 8; e++)
                    out[r][e] = fmaf(weight, value[e], out[r][e]);
            }
        }
    }
}

/* ---- Results --------------------------------------------------------------------------------- */

__device__ inline float *part_of(const lm_cuda_attention &a, unsigned item, unsigned query,
                                 unsigned split) {
    return a.partial + (((size_t)item * a.n_heads + query) * a.n_splits + split) * (a.cache.d + 2);
}

/* Sums of all teams, of each row: the result, or what a part leaves. */
__device__ void leave(const walk &w, workspace &s, unsigned item, const float (&out)[MOST][8]) {
    const lm_cuda_attention &a = *w.a;
    const unsigned d = a.cache.d, stride = w.l.width * 8;
#pragma unroll
    for (unsigned r = 0; r < MOST; r++) {
        if (r >= w.n)
            continue;
        __syncthreads(); /* nobody reads the last row's sums */
        num::store8(s.sums + w.l.team * stride + w.l.e, out[r]);
        __syncthreads();
        const unsigned query = w.first_query + r;
        float *part = a.n_splits > 1 ? part_of(a, item, query, blockIdx.y) : NULL;
        for (unsigned e = threadIdx.x; e < d; e += THREADS) {
            float sum = 0;
            for (unsigned team = 0; team < w.l.n_teams; team++)
                sum += s.sums[team * stride + e];
            if (part)
                part[e] = sum;
            else
                a.ret[(size_t)item * a.ld_ret + query * d + e] = sum / s.rows[r].sum;
        }
        if (part && threadIdx.x == 0) {
            part[d] = s.rows[r].max;
            part[d + 1] = s.rows[r].sum;
        }
    }
}

/* Adds up the parts of an item's queries of one head. */
__device__ void add_parts(const lm_cuda_attention &a, unsigned item, unsigned head) {
    const unsigned d = a.cache.d, n_rep = a.n_heads / a.cache.n_kv_heads;
    for (unsigned i = threadIdx.x; i < n_rep * d; i += THREADS) {
        const unsigned query = head * n_rep + i / d, e = i % d;
        float max = -INFINITY, sum = 0, v = 0;
        for (unsigned p = 0; p < a.n_splits; p++)
            max = fmaxf(max, __ldcg(part_of(a, item, query, p) + d));
        for (unsigned p = 0; p < a.n_splits; p++) {
            const float *part = part_of(a, item, query, p);
            const float weight = __ldcg(part + d + 1);
            if (!(weight > 0)) /* it saw nothing */
                continue;
            const float scale = exp2f(__ldcg(part + d) - max);
            v += __ldcg(part + e) * scale;
            sum += weight * scale;
        }
        a.ret[(size_t)item * a.ld_ret + query * d + e] = v / sum;
    }
}

/* The last block of an item's head adds up. */
__device__ void arrive(const lm_cuda_attention &a, workspace &s, unsigned item, unsigned head) {
    uint32_t *arrived = a.arrived + (size_t)item * a.cache.n_kv_heads + head;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        s.last = atomicAdd(arrived, 1) == a.n_splits - 1;
    __syncthreads();
    if (!s.last)
        return;
    __threadfence();
    add_parts(a, item, head);
    if (threadIdx.x == 0)
        *arrived = 0;
}

/* Grid: (heads of keys and values, parts, items). */
template <typename T> __global__ void __launch_bounds__(THREADS) attend(lm_cuda_attention a) {
    workspace &s = *num::dynamic_shared<workspace>();
    const unsigned item = blockIdx.z, n_rep = a.n_heads / a.cache.n_kv_heads, d = a.cache.d;
    const lm_cuda_item it = a.items[item];
    if (it.position < 0)
        return;
    const unsigned seen = it.position + 1;
    walk w = {&a, lanes_of(d), it.table, blockIdx.x, 0, 0, 0, 0};
    w.low = a.window && seen > a.window ? seen - a.window : 0;
    w.low = max(w.low, a.n_splits > 1 ? blockIdx.y * a.split : 0);
    w.high = a.n_splits > 1 ? min(seen, (blockIdx.y + 1) * a.split) : seen;
    for (unsigned done = 0; done < n_rep; done += MOST) {
        float out[MOST][8] = {};
        w.first_query = blockIdx.x * n_rep + done;
        w.n = min(n_rep - done, (unsigned)MOST);
        __syncthreads(); /* the queries before these are done with */
        for (unsigned i = threadIdx.x; i < w.n * d; i += THREADS)
            s.q[i] = a.q[(size_t)item * a.ldq + w.first_query * d + i];
        for (unsigned r = threadIdx.x; r < w.n; r += THREADS)
            s.rows[r] = {-INFINITY, 0, 1};
        for (unsigned base = w.low / SPAN * SPAN; w.low < w.high && base < w.high; base += SPAN) {
            const unsigned from = max(base, w.low), to = min(base + SPAN, w.high);
            __syncthreads(); /* queries are there; nobody reads the last step's weights */
            score<T>(w, s, base, from, to);
            __syncthreads();
            soften(w, s, base, from, to);
            __syncthreads();
            mix<T>(w, s, base, from, to, out);
        }
        leave(w, s, item, out);
    }
    if (a.n_splits > 1)
        arrive(a, s, item, blockIdx.x);
}

template <typename T> cudaError_t launch_attend(const lm_cuda_attention &a, cudaStream_t stream) {
    const dim3 grid(a.cache.n_kv_heads, a.n_splits, a.n);
    return num::launch(attend<T>, grid, dim3(THREADS), sizeof(workspace), stream, a);
}

} // namespace

cudaError_t lm_cuda_attend(const struct lm_cuda_attention *a, cudaStream_t stream) {
    switch (a->cache.type) {
    case NUM_CACHE_F32:
        return launch_attend<float>(*a, stream);
    case NUM_CACHE_F16:
        return launch_attend<__half>(*a, stream);
    case NUM_CACHE_Q8:
        return launch_attend<int8_t>(*a, stream);
    }
    return cudaErrorInvalidValue;
}

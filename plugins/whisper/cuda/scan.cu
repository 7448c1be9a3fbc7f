/*
 * The kernels of the search that look at whole rows of logits: see search.h. The rules are those of
 * ../rules.h, whose loops over the vocabulary are shared by the threads here; sums over it have a
 * fixed order.
 */
#include "whisper/cuda/choose.cuh"

namespace {

using namespace wh;

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int QUADS = WH_CUDA_PART / THREADS / 4; /* a thread's values: four neighbours each */
constexpr int OWN = 4 * QUADS;

/* Of the block. `scratch` is not used again before another barrier has passed. */
__device__ pick block_first(pick x, pick *scratch) {
    x = warp_first(x);
    if (threadIdx.x % 32 == 0)
        scratch[threadIdx.x / 32] = x;
    __syncthreads();
    x = scratch[0];
    for (int i = 1; i < WARPS; i++)
        if (is_before(scratch[i], x))
            x = scratch[i];
    return x;
}

/* The part of a row that a block looks at, and what its threads tell each other. */
struct scan_shared {
    float x[WH_CUDA_PART];
    float red[CLASSES][2][32];
    pick firsts[2][WARPS];
};

/* Penalties for what the row has said already. Each text is looked after where it is said first, so
 * one thread writes its logit. */
__device__ void weigh_history(const wh_rules &r, const int32_t *tokens, int n, int base, int count,
                              float *x) {
    for (int i = threadIdx.x; i < n; i += THREADS) {
        const int at = tokens[i] - base;
        if (at < 0 || at >= count || tokens[i] >= r.eot || wh_is_again(tokens, i))
            continue;
        if (wh_has_penalty(&r))
            x[at] = wh_penalised(&r, x[at]);
        for (int k = i; r.no_repeat_ngram > 0 && k < n; k++)
            if (tokens[k] == tokens[i] && wh_would_repeat(&r, tokens, n, k))
                x[at] = -INFINITY;
    }
}

/* What is listed has never been said: nobody else writes to it. */
__device__ void forbid_listed(const wh_rules &r, const wh_history &h, int base, int count,
                              float *x) {
    const int n_first = h.n == 0 && r.suppress_blank ? r.n_begin_suppress : 0;
    for (int i = threadIdx.x; i < r.n_suppress + n_first; i += THREADS) {
        const int token = i < r.n_suppress ? r.suppress[i] : r.begin_suppress[i - r.n_suppress];
        if (token >= base && token < base + count)
            x[token - base] = -INFINITY;
    }
}

/* The token of a thread's value i. */
__device__ int token_of(int base, int i) {
    return base + i / 4 * 4 * THREADS + threadIdx.x * 4 + i % 4;
}

/* The first of the thread's values behind `last`. */
__device__ pick next_best(const float (&x)[OWN], int base, pick last) {
    pick best = no_pick();
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        const pick own = {x[i], token_of(base, i)};
        if (is_before(last, own) && is_before(own, best))
            best = own;
    }
    return best;
}

/* As wh_sample(), among the thread's values. */
__device__ pick draw(const float (&x)[OWN], int base, const wh_cuda_search &s, unsigned number,
                     unsigned step) {
    pick best = no_pick();
#pragma unroll
    for (int quad = 0; quad < QUADS; quad++) {
        struct num_philox bits = {};
        bool drawn = false;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int token = token_of(base, 4 * quad + i);
            float key = x[4 * quad + i] / s.temperature;
            if (!(key + WH_MAX_GUMBEL > best.key))
                continue;
            if (!drawn)
                bits = wh_noise_bits(s.noise, number, step, token / 4);
            drawn = true;
            key += wh_gumbel(bits.v[i]);
            if (key > best.key)
                best = {key, token};
        }
    }
    return best;
}

/* Loads the block's part of the row, and applies what is said of single tokens. */
__device__ void load_part(const wh_cuda_choice &a, const wh_cuda_search &s,
                          const wh_cuda_seat &seat, int base, int count, scan_shared &shared) {
    const wh_cuda_row &row = s.rows[seat.number];
    const float *logits = a.logits + (size_t)seat.logits * a.V + base;
    for (int i = threadIdx.x; i < WH_CUDA_PART; i += THREADS)
        shared.x[i] = i < count ? logits[i] : -INFINITY;
    __syncthreads();
    if (wh_has_penalty(&s.rules) || s.rules.no_repeat_ngram > 0)
        weigh_history(s.rules, a.texts + (size_t)row.row * (a.C + 1), row.history.n, base, count,
                      shared.x);
    forbid_listed(s.rules, row.history, base, count, shared.x);
    __syncthreads();
}

/* The thread's values among the texts, or among the timestamps, that may come next. */
__device__ void take_class(const wh_rules &r, const wh_history &h, const scan_shared &shared,
                           int base, int kind, float (&ret)[OWN]) {
    wh_range ranges[WH_MAX_RANGES];
    const int n = wh_forbidden(&r, h, ranges);
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        const int token = token_of(base, i);
        const bool of_kind = (token >= r.timestamp_begin) == (kind == TIMES);
        ret[i] = of_kind && !wh_is_forbidden(ranges, n, token) ? shared.x[token - base] : -INFINITY;
    }
}

__device__ float sum_of_exp(const float (&x)[OWN], float max, float *scratch) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < OWN; i++)
        sum += expf(x[i] - max);
    return num::block_sum<THREADS>(sum, scratch);
}

__device__ float max_of(const float (&x)[OWN], float *scratch) {
    float max = -INFINITY;
#pragma unroll
    for (int i = 0; i < OWN; i++)
        max = fmaxf(max, x[i]);
    return num::block_max<THREADS>(max, scratch);
}

/* Grid: (P, seats). */
__global__ void __launch_bounds__(THREADS) scan(wh_cuda_choice a) {
    __shared__ scan_shared shared;
    wh::after_previous();
    const wh_cuda_seat seat = a.seats[blockIdx.y];
    if (seat.search < 0 || !(a.searches[seat.search].alive >> seat.number & 1))
        return;
    const wh_cuda_search &s = a.searches[seat.search];
    const wh_history h = s.rows[seat.number].history;
    const int base = blockIdx.x * WH_CUDA_PART, count = min(WH_CUDA_PART, (int)a.V - base);
    const size_t at = (size_t)blockIdx.y * a.n_parts + blockIdx.x;
    const int n_offers = s.beams ? s.n_rows + 1 : 1;
    int turn = 0;
    load_part(a, s, seat, base, count, shared);
    for (int kind = TEXT; kind < CLASSES; kind++) {
        float x[OWN];
        take_class(s.rules, h, shared, base, kind, x);
        const float max = max_of(x, shared.red[kind][0]);
        const bool some = max != -INFINITY;
        const float sum = some ? sum_of_exp(x, max, shared.red[kind][1]) : 0;
        wh_cuda_offer *offers = a.offers + (at * CLASSES + kind) * WH_CUDA_OFFERS;
        pick own = s.temperature > 0 ? draw(x, base, s, seat.number, h.n)
                                     : next_best(x, base, {INFINITY, -1});
        int n = 0;
        for (; some && n < n_offers; n++) {
            const pick first = block_first(own, shared.firsts[turn++ & 1]);
            if (first.key == -INFINITY)
                break;
            if (threadIdx.x == 0)
                offers[n] = {first.key, shared.x[first.token - base], first.token};
            if (own.token == first.token)
                own = next_best(x, base, first);
        }
        if (threadIdx.x == 0) {
            wh_cuda_part &part = a.parts[at];
            part.max[kind] = max;
            part.sum[kind] = sum;
            part.n[kind] = n;
        }
    }
}

/* ---- Silence -------------------------------------------------------------------------------- */

/* Grid: rows of the logits. Block: THREADS. */
__global__ void __launch_bounds__(THREADS) judge_silence(wh_cuda_choice a, const int32_t *targets) {
    __shared__ float red[2][32];
    const int search = targets[blockIdx.x];
    if (search < 0)
        return;
    wh_cuda_search &s = a.searches[search];
    const float *row = a.logits + (size_t)blockIdx.x * a.V;
    float max = -INFINITY, sum = 0;
    for (unsigned v = threadIdx.x; v < a.V; v += THREADS)
        max = fmaxf(max, row[v]);
    max = num::block_max<THREADS>(max, red[0]);
    for (unsigned v = threadIdx.x; v < a.V; v += THREADS)
        sum += expf(row[v] - max);
    sum = num::block_sum<THREADS>(sum, red[1]);
    if (threadIdx.x == 0)
        s.no_speech_prob = exp(row[s.no_speech] - (max + log((double)sum)));
}

} // namespace

cudaError_t wh::scan_seats(struct wh_cuda *m, const wh_cuda_choice &a, uint32_t n) {
    return launch_early(wh_cuda_early(m), scan, dim3(a.n_parts, n), dim3(THREADS), 0,
                        m->decode_stream, a);
}

cudaError_t wh_cuda_judge_silence(struct wh_cuda *m, uint32_t n) {
    return num::launch(judge_silence, dim3(n), dim3(THREADS), 0, m->decode_stream, choice_of(m),
                       (const int32_t *)m->decoder->work.targets);
}

/*
 * The kernels of the search: see search.h. The rules are those of ../rules.h, whose loops over the
 * vocabulary are shared by the threads here; sums over it have a fixed order.
 */
#include "whisper/cuda/choose.h"

#include <limits.h>
#include <math.h>

#include "num/cuda/warp.cuh"
#include "whisper/cuda/decoder.cuh"

namespace {

using num::ALL_LANES;

constexpr int THREADS = 256, WARPS = THREADS / 32; /* of scan */
constexpr int QUADS = WH_CUDA_PART / THREADS / 4;  /* a thread's values: four neighbours each */
constexpr int OWN = 4 * QUADS;
constexpr int DECIDERS = 128;
enum { TEXT, TIMES, CLASSES };

/* ---- The likeliest -------------------------------------------------------------------------- */

/* A token that could be chosen; none has the key minus infinity and comes last. */
struct pick {
    float key;
    int token;
};

__device__ bool is_before(pick a, pick b) {
    return a.key > b.key || (a.key == b.key && a.token < b.token);
}

__device__ pick no_pick() {
    return {-INFINITY, INT_MAX};
}

__device__ pick warp_first(pick x) {
    for (int by = 16; by > 0; by /= 2) {
        const pick other = {__shfl_xor_sync(ALL_LANES, x.key, by),
                            __shfl_xor_sync(ALL_LANES, x.token, by)};
        if (is_before(other, x))
            x = other;
    }
    return x;
}

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

/* ---- Scan ----------------------------------------------------------------------------------- */

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
    if (wh_has_penalty(&s.rules) || s.rules.no_repeat_ngram > 0) {
        weigh_history(s.rules, a.texts + (size_t)row.row * (a.C + 1), row.history.n, base, count,
                      shared.x);
        __syncthreads();
    }
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

/* ---- Decide --------------------------------------------------------------------------------- */

/* What the rows of a request may choose from, best first, and what is decided. */
struct decide_shared {
    float logits[WH_MAX_CANDIDATES][WH_CUDA_OFFERS];
    int tokens[WH_MAX_CANDIDATES][WH_CUDA_OFFERS];
    int n[WH_MAX_CANDIDATES];
    double all[WH_MAX_CANDIDATES]; /* log of the sum of exponentials of all that it may choose */

    /* Beams: number i was `from[i]` and has `next[i]` behind it; moved: some are not what they were. */
    unsigned n_beams, from[WH_MAX_CANDIDATES];
    int next[WH_MAX_CANDIDATES];
    bool moved;
    /* Texts to store: of a number as it was, and then as it is; -1: none. */
    int ended, unfinished;
};

/* The offers of a seat's parts, as lane `lane` keeps those of one part. */
struct heads {
    const wh_cuda_offer *offers[CLASSES];
    unsigned n[CLASSES], at[CLASSES];
};

__device__ pick head_of(const heads &h, int kind) {
    if (h.at[kind] >= h.n[kind])
        return no_pick();
    const wh_cuda_offer &offer = h.offers[kind][h.at[kind]];
    return {offer.key, offer.token};
}

/* Merges the parts' offers into the row's; the warp that calls it has a lane for each part. */
__device__ void merge_offers(heads h, int n_offers, unsigned number, decide_shared &d) {
    int n = 0;
    for (; n < n_offers; n++) {
        const pick text = head_of(h, TEXT), time = head_of(h, TIMES);
        const int kind = is_before(time, text) ? TIMES : TEXT;
        const pick own = kind == TIMES ? time : text, first = warp_first(own);
        if (first.key == -INFINITY)
            break;
        if (own.token == first.token) {
            d.tokens[number][n] = own.token;
            d.logits[number][n] = h.offers[kind][h.at[kind]].logit;
            h.at[kind]++;
        }
    }
    if (threadIdx.x % 32 == 0)
        d.n[number] = n;
}

/* Adds the parts of a seat up, as a warp. */
__device__ void merge_parts(const wh_cuda_choice &a, const wh_cuda_search &s, unsigned seat,
                            unsigned number, decide_shared &d) {
    const unsigned lane = threadIdx.x % 32;
    const size_t at = (size_t)seat * a.n_parts + lane;
    float max[CLASSES], sum[CLASSES];
    heads h = {};
    for (int kind = TEXT; kind < CLASSES; kind++) {
        const float own = lane < a.n_parts ? a.parts[at].max[kind] : -INFINITY;
        max[kind] = num::warp_max(own);
        sum[kind] =
            num::warp_sum(own == -INFINITY ? 0 : a.parts[at].sum[kind] * expf(own - max[kind]));
        if (lane < a.n_parts)
            h.n[kind] = a.parts[at].n[kind];
        h.offers[kind] = a.offers + (at * CLASSES + kind) * WH_CUDA_OFFERS;
    }
    if (s.rules.timestamps && max[TIMES] != -INFINITY &&
        wh_timestamps_win(max[TIMES], sum[TIMES], max[TEXT])) {
        max[TEXT] = -INFINITY;
        h.n[TEXT] = 0;
    }
    const float top = fmaxf(max[TEXT], max[TIMES]);
    float total = 0;
    for (int kind = TEXT; kind < CLASSES; kind++)
        total += max[kind] == -INFINITY ? 0 : sum[kind] * expf(max[kind] - top);
    if (lane == 0)
        d.all[number] = top == -INFINITY ? -INFINITY : top + log((double)total);
    merge_offers(h, s.beams ? s.n_rows + 1 : 1, number, d);
}

__device__ double warp_best(double x, int *ret_lane) {
    int lane = threadIdx.x % 32;
    for (int by = 16; by > 0; by /= 2) {
        const double other = __shfl_xor_sync(ALL_LANES, x, by);
        const int other_lane = __shfl_xor_sync(ALL_LANES, lane, by);
        if (other > x || (other == x && other_lane < lane)) {
            x = other;
            lane = other_lane;
        }
    }
    *ret_lane = lane;
    return x;
}

/* Takes a text of n tokens as the request's best where it ranks above what is there; one thread. */
__device__ bool offer(wh_cuda_search &s, double *best_score, unsigned n, double sum) {
    const double score = wh_rank(s.length_penalty, n, sum);
    if (!(score > *best_score))
        return false;
    *best_score = score;
    if (threadIdx.x == 0) {
        s.best_n = n;
        s.best_sum = sum;
    }
    return true;
}

/* Each row for itself, a lane each. Returns the rows that go on. */
__device__ unsigned decide_rows(const wh_cuda_choice &a, wh_cuda_search &s, decide_shared &d) {
    const unsigned lane = threadIdx.x, alive = s.alive;
    const bool there = lane < s.n_rows;
    wh_cuda_row row = s.rows[there ? lane : 0];
    bool goes_on = false;
    if (there && (alive >> lane & 1)) {
        const int token = d.n[lane] ? d.tokens[lane][0] : s.rules.eot;
        row.sum += d.n[lane] ? d.logits[lane][0] - d.all[lane] : 0;
        if (token != s.rules.eot) {
            a.texts[(size_t)row.row * (a.C + 1) + row.history.n] = token;
            row.history = wh_history_push(&s.rules, row.history, token);
            goes_on = (uint32_t)row.history.n < s.max_tokens;
        }
        s.rows[lane] = row;
    }
    const unsigned left = __ballot_sync(ALL_LANES, goes_on);
    if (left)
        return left;
    int best;
    const double score =
        warp_best(there ? wh_rank(s.length_penalty, row.history.n, row.sum) : -INFINITY, &best);
    if (score > -INFINITY && lane == (unsigned)best) {
        s.best_n = row.history.n;
        s.best_sum = row.sum;
        d.unfinished = best;
    }
    return 0;
}

/* A beam's next token and log-probability; a lane each. */
struct beam {
    unsigned from;
    int token;
    double sum;
};

/* What the beam's lane knows of its history, from the lane of the beam that it continues. */
__device__ wh_history history_of(const wh_history &own, unsigned from) {
    wh_history h = own;
    h.last_timestamp = __shfl_sync(ALL_LANES, own.last_timestamp, from);
    h.last_is_timestamp = __shfl_sync(ALL_LANES, (int)own.last_is_timestamp, from);
    h.previous_is_timestamp = __shfl_sync(ALL_LANES, (int)own.previous_is_timestamp, from);
    return h;
}

/* Beams: see ../beam.c. The lists of all beams are merged from their heads, best first, by the whole
 * warp at once; every lane knows what is taken. Returns the beams that go on. */
__device__ unsigned decide_beams(wh_cuda_search &s, decide_shared &d) {
    const unsigned lane = threadIdx.x, n_alive = __popc(s.alive);
    const bool there = lane < n_alive;
    const wh_cuda_row before = s.rows[there ? lane : 0];
    const double below = there ? before.sum - d.all[lane] : 0;
    const unsigned n_old = __shfl_sync(ALL_LANES, before.history.n, 0);
    double best_score = s.best_score;
    unsigned n_finished = s.n_finished, n_new = 0, taken = 0;
    int ended = -1, unfinished = -1;
    beam own = {lane, 0, before.sum};
    while (n_new < s.n_rows) {
        const bool more = there && taken < (unsigned)d.n[lane];
        int from;
        const double sum = warp_best(more ? d.logits[lane][taken] + below : -INFINITY, &from);
        if (sum == -INFINITY)
            break;
        const int token = d.tokens[from][__shfl_sync(ALL_LANES, taken, from)];
        taken += lane == (unsigned)from;
        if (token != s.rules.eot) {
            if (lane == n_new)
                own = {(unsigned)from, token, sum};
            n_new++;
        } else if (n_finished < s.n_wanted) {
            n_finished++;
            if (offer(s, &best_score, n_old, sum))
                ended = from;
        }
    }
    const unsigned n_beams = n_new ? n_new : n_alive;
    wh_cuda_row row = {s.rows[lane < s.n_rows ? lane : 0].row, history_of(before.history, own.from),
                       own.sum};
    if (n_new)
        row.history = wh_history_push(&s.rules, row.history, own.token);
    const unsigned n = n_old + (n_new > 0);
    const bool over = n_finished >= s.n_wanted || n_new == 0 || n >= s.max_tokens;
    if (over && n_finished < s.n_rows) { /* of equal length, so the likeliest ranks best */
        int best;
        const double sum = warp_best(lane < n_beams ? row.sum : -INFINITY, &best);
        if (offer(s, &best_score, n, sum))
            unfinished = best;
    }
    const bool moved = __any_sync(ALL_LANES, lane < n_new && own.from != lane);
    if (lane < n_new) {
        s.rows[lane] = row;
        d.from[lane] = own.from;
        d.next[lane] = own.token;
    }
    if (lane == 0) {
        s.n_finished = n_finished;
        s.best_score = best_score;
        d.n_beams = n_new;
        d.moved = moved;
        d.ended = ended;
        d.unfinished = unfinished;
    }
    return over ? 0 : n_new == 32 ? ALL_LANES : (1u << n_new) - 1;
}

__device__ int32_t *text_of(const wh_cuda_choice &a, const wh_cuda_search &s, unsigned number) {
    return a.texts + (size_t)s.rows[number].row * (a.C + 1);
}

__device__ uint16_t *cells_of(const wh_cuda_choice &a, const wh_cuda_search &s, unsigned number) {
    return a.cells + (size_t)s.rows[number].row * a.C + s.n_prompt;
}

/* The beams take over the texts, of n tokens, and the cells of those that they continue. A thread
 * looks after its positions in all beams. */
__device__ void move_beams(const wh_cuda_choice &a, const wh_cuda_search &s, unsigned n,
                           const decide_shared &d) {
    int32_t tokens[WH_MAX_CANDIDATES];
    uint16_t cells[WH_MAX_CANDIDATES];
    for (unsigned i = threadIdx.x; d.moved && i < n; i += DECIDERS) {
        for (unsigned b = 0; b < d.n_beams; b++) {
            tokens[b] = text_of(a, s, d.from[b])[i];
            cells[b] = cells_of(a, s, d.from[b])[i];
        }
        for (unsigned b = 0; b < d.n_beams; b++) {
            text_of(a, s, b)[i] = tokens[b];
            cells_of(a, s, b)[i] = cells[b];
        }
    }
}

/* The first n tokens of a row, to the result; a thread has the positions that it has above. */
__device__ void store_text(const wh_cuda_choice &a, const wh_cuda_search &s, int number,
                           unsigned n) {
    const int32_t *text = text_of(a, s, number);
    for (unsigned i = threadIdx.x; i < n; i += DECIDERS)
        s.found_tokens[i] = text[i];
}

__device__ wh_cuda_item item_of(const wh_cuda_choice &a, const wh_cuda_search &s, unsigned number,
                                int token) {
    const wh_cuda_row &row = s.rows[number];
    const int position = s.n_prompt + row.history.n - 1;
    return {(int32_t)row.row, position, token, s.slot, a.own[(size_t)row.row * a.C + position]};
}

__device__ void empty_groups(const wh_cuda_choice &a, const wh_cuda_search &s,
                             const wh_cuda_seat &seat) {
    for (unsigned i = 0; i * WH_CUDA_SHARED < s.n_rows; i++)
        a.groups[seat.group + i].n = 0;
}

/* The items of a request whose first seat is blockIdx.x, from what was decided. */
__device__ void write_items(const wh_cuda_choice &a, const wh_cuda_search &s,
                            const wh_cuda_seat &seat, unsigned alive, const decide_shared &d) {
    const unsigned lane = threadIdx.x;
    if (lane < s.n_rows && (alive >> lane & 1))
        a.items[blockIdx.x + lane] =
            item_of(a, s, lane, s.beams ? d.next[lane] : d.tokens[lane][0]);
    else if (lane < s.n_rows)
        a.items[blockIdx.x + lane] = {-1, 0, 0, 0, 0};
    if (lane == 0 && !alive)
        empty_groups(a, s, seat);
}

/* Grid: seats, of which those of a request's first row work. */
__global__ void __launch_bounds__(DECIDERS) decide(wh_cuda_choice a) {
    __shared__ decide_shared d;
    wh::after_previous();
    const wh_cuda_seat seat = a.seats[blockIdx.x];
    if (seat.search < 0 || seat.number > 0 || !a.searches[seat.search].alive)
        return;
    wh_cuda_search &s = a.searches[seat.search];
    const unsigned alive = s.alive, n_old = s.rows[0].history.n;
    for (unsigned number = threadIdx.x / 32; number < s.n_rows; number += DECIDERS / 32)
        if (alive >> number & 1)
            merge_parts(a, s, blockIdx.x + number, number, d);
    if (threadIdx.x == 0) {
        d.n_beams = 0;
        d.moved = false;
        d.ended = d.unfinished = -1;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        const unsigned left = s.beams ? decide_beams(s, d) : decide_rows(a, s, d);
        if (a.items)
            write_items(a, s, seat, left, d);
        if (threadIdx.x == 0)
            s.alive = left;
    }
    __syncthreads();
    if (d.ended >= 0)
        store_text(a, s, d.ended, n_old);
    move_beams(a, s, n_old, d);
    if (threadIdx.x == n_old % DECIDERS)
        for (unsigned b = 0; b < d.n_beams; b++)
            text_of(a, s, b)[n_old] = d.next[b];
    if (d.unfinished >= 0)
        store_text(a, s, d.unfinished, s.best_n);
    if (threadIdx.x == 0 && !s.alive) {
        *s.found = {s.best_n, s.best_sum, s.no_speech_prob};
        a.over[seat.search] = s.ticket;
    }
}

/* ---- Silence, and how requests come --------------------------------------------------------- */

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

/* Grid: requests. Block: 128. */
__global__ void admit(wh_cuda_choice a, wh_cuda_search_host host, int32_t *listed, uint16_t *own) {
    const uint32_t first = host.admitted[blockIdx.x];
    const wh_cuda_search &s = host.searches[first];
    const uint32_t *words = (const uint32_t *)&s;
    for (unsigned i = threadIdx.x; i < sizeof s / sizeof *words; i += blockDim.x)
        ((uint32_t *)(a.searches + first))[i] = words[i];
    const size_t list = (size_t)first * WH_CUDA_LISTED;
    const int n_listed = s.rules.n_suppress + s.rules.n_begin_suppress;
    for (int i = threadIdx.x; i < n_listed; i += blockDim.x)
        listed[list + i] = host.listed[list + i];
    for (unsigned number = 0; number < s.n_rows; number++) {
        const size_t table = (size_t)s.rows[number].row * a.C;
        for (unsigned i = threadIdx.x; i < a.C; i += blockDim.x)
            own[table + i] = a.cells[table + i] = host.own[table + i];
    }
}

/* Grid: n / 128, rounded up. Block: 128. */
__global__ void seat_items(wh_cuda_choice a, unsigned n) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n || a.seats[i].search < 0)
        return;
    const wh_cuda_seat seat = a.seats[i];
    const wh_cuda_search &s = a.searches[seat.search];
    a.items[i] = {-1, 0, 0, 0, 0};
    if (s.alive >> seat.number & 1)
        a.items[i] = item_of(a, s, seat.number,
                             text_of(a, s, seat.number)[s.rows[seat.number].history.n - 1]);
    if (seat.number == 0 && !s.alive)
        empty_groups(a, s, seat);
}

/* ---- Launches ------------------------------------------------------------------------------- */

wh_cuda_choice choice_of(const struct wh_cuda *m) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const struct wh_dims *s = &m->c.dims;
    return {w->seats,
            w->searches,
            w->own,
            w->cells,
            w->texts,
            w->over,
            w->parts,
            w->offers,
            wh_cuda_logits(m),
            w->items,
            w->groups,
            s->n_vocab,
            s->n_text_ctx,
            wh_cuda_parts_of(s->n_vocab)};
}

} // namespace

cudaError_t wh_cuda_admit(struct wh_cuda *m, uint32_t n) {
    const struct wh_cuda_decoder *d = m->decoder;
    return num::launch(admit, dim3(n), dim3(128), 0, m->decode_stream, choice_of(m), d->search.host,
                       d->work.listed, d->work.own);
}

cudaError_t wh_cuda_judge_silence(struct wh_cuda *m, uint32_t n) {
    return num::launch(judge_silence, dim3(n), dim3(THREADS), 0, m->decode_stream, choice_of(m),
                       (const int32_t *)m->decoder->work.targets);
}

cudaError_t wh_cuda_choose(struct wh_cuda *m, uint32_t n, bool first) {
    wh_cuda_choice a = choice_of(m);
    if (first)
        a.items = NULL;
    cudaError_t error = wh::launch_early(wh_cuda_early(m), scan, dim3(a.n_parts, n), dim3(THREADS),
                                         0, m->decode_stream, a);
    if (!error)
        error = wh::launch_early(wh_cuda_early(m), decide, dim3(n), dim3(DECIDERS), 0,
                                 m->decode_stream, a);
    return error;
}

cudaError_t wh_cuda_seat_items(struct wh_cuda *m, uint32_t n) {
    return num::launch(seat_items, dim3((n + 127) / 128), dim3(128), 0, m->decode_stream,
                       choice_of(m), n);
}

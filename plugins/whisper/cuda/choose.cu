/*
 * The kernels of the search that take what scan.cu finds, and those that let requests in: see
 * search.h.
 */
#include "whisper/cuda/choose.cuh"

namespace {

using namespace wh;
using num::ALL_LANES;

constexpr int DECIDERS = 128;

/* ---- Decide --------------------------------------------------------------------------------- */

/* What the rows of a request may choose from, best first, and what is decided. */
struct decide_shared {
    float logits[WH_MAX_CANDIDATES][WH_CUDA_OFFERS];
    int tokens[WH_MAX_CANDIDATES][WH_CUDA_OFFERS];
    int n[WH_MAX_CANDIDATES];
    double all[WH_MAX_CANDIDATES]; /* log of the sum of exponentials of all that it may choose */

    /* Beams: number i was `from[i]` and has `next[i]` behind it; moved: some are not what they
     * were. */
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

/* Adds the parts of a seat up, as a warp. Where a logit is no number, nothing may be chosen: lanes
 * could not agree on what comes first. */
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
    merge_offers(h, isnan(total) ? 0 : s.beams ? s.n_rows + 1 : 1, number, d);
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

/* What the request was before the step, as every thread has read it before any writes. */
struct earlier {
    unsigned alive, n_finished, n;
    double best_score;
};

/* Each row for itself, a lane each. Returns the rows that go on. */
__device__ unsigned decide_rows(const wh_cuda_choice &a, wh_cuda_search &s, const earlier &before,
                                decide_shared &d) {
    const unsigned lane = threadIdx.x;
    const bool there = lane < s.n_rows;
    wh_cuda_row row = {};
    if (there)
        row = s.rows[lane];
    bool goes_on = false;
    if (there && (before.alive >> lane & 1)) {
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

/* Beams: see ../beam.c. The lists of all beams are merged from their heads, best first, by the
 * whole warp at once; every lane knows what is taken. Returns the beams that go on. */
__device__ unsigned decide_beams(wh_cuda_search &s, const earlier &before, decide_shared &d) {
    const unsigned lane = threadIdx.x, n_alive = __popc(before.alive), n_old = before.n;
    const bool there = lane < n_alive;
    wh_cuda_row row = {};
    if (lane < s.n_rows)
        row = s.rows[lane];
    const double below = there ? row.sum - d.all[lane] : 0;
    double best_score = before.best_score;
    unsigned n_finished = before.n_finished, n_new = 0, taken = 0;
    int ended = -1, unfinished = -1;
    beam own = {lane, 0, row.sum};
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
    row.history = history_of(row.history, own.from);
    row.history.n = n_old;
    row.sum = own.sum;
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
    const earlier before = {s.alive, s.n_finished, (unsigned)s.rows[0].history.n, s.best_score};
    for (unsigned number = threadIdx.x / 32; number < s.n_rows; number += DECIDERS / 32)
        if (before.alive >> number & 1)
            merge_parts(a, s, blockIdx.x + number, number, d);
    if (threadIdx.x == 0) {
        d.n_beams = 0;
        d.moved = false;
        d.ended = d.unfinished = -1;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        const unsigned left = s.beams ? decide_beams(s, before, d) : decide_rows(a, s, before, d);
        if (a.items)
            write_items(a, s, seat, left, d);
        if (threadIdx.x == 0)
            s.alive = left;
    }
    __syncthreads();
    if (d.ended >= 0)
        store_text(a, s, d.ended, before.n);
    move_beams(a, s, before.n, d);
    if (threadIdx.x == before.n % DECIDERS)
        for (unsigned b = 0; b < d.n_beams; b++)
            text_of(a, s, b)[before.n] = d.next[b];
    if (d.unfinished >= 0)
        store_text(a, s, d.unfinished, s.best_n);
    if (threadIdx.x == 0 && !s.alive) {
        *s.found = {s.best_n, s.best_sum, s.no_speech_prob};
        a.over[seat.search] = s.ticket;
    }
}

/* ---- How requests come ---------------------------------------------------------------------- */

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

} // namespace

cudaError_t wh_cuda_admit(struct wh_cuda *m, uint32_t n) {
    const struct wh_cuda_decoder *d = m->decoder;
    return num::launch(admit, dim3(n), dim3(128), 0, m->decode_stream, choice_of(m), d->search.host,
                       d->work.listed, d->work.own);
}

cudaError_t wh_cuda_choose(struct wh_cuda *m, uint32_t n, bool first) {
    wh_cuda_choice a = choice_of(m);
    if (first)
        a.items = NULL;
    cudaError_t error = scan_seats(m, a, n);
    if (!error)
        error =
            launch_early(wh_cuda_early(m), decide, dim3(n), dim3(DECIDERS), 0, m->decode_stream, a);
    return error;
}

cudaError_t wh_cuda_seat_items(struct wh_cuda *m, uint32_t n) {
    return num::launch(seat_items, dim3((n + 127) / 128), dim3(128), 0, m->decode_stream,
                       choice_of(m), n);
}

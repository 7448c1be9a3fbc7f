/*
 * The search on the device, the host's side: see search.h.
 *
 * A run launches some steps, then waits for those of the run before: the device always has work,
 * and is told of finished requests a run later, when their rows have been idle for as long. Cells
 * of rows are settled when a request starts: every row has one of its own for each token to come
 * (rows.h), and the device only changes which of them its rows read.
 */
#include <stdlib.h>
#include <string.h>

#include "whisper/cuda/choose.h"
#include "whisper/cuda/pass.cuh"

namespace {

using wh::pass;

/* A run of steps of few rows takes no longer than it takes to hear of it; with many rows a step is
 * long, and an idle row costs more. */
constexpr uint32_t FEW_ROWS = 16, FEW_ROWS_STEPS = 2;

/* ---- Requests ------------------------------------------------------------------------------- */

bool search_takes(void *self, const struct wh_request *q) {
    const struct wh_dims *s = &((const struct wh_cuda *)self)->c.dims;
    return q->max_tokens > 0 && (uint32_t)q->rules.n_vocab == s->n_vocab &&
           wh_cuda_parts_of(s->n_vocab) <= WH_CUDA_PARTS &&
           q->rules.n_suppress + q->rules.n_begin_suppress <= WH_CUDA_LISTED;
}

/* Appends those of `ids` that are tokens and not in the list yet; returns its length. */
int32_t add_listed(int32_t *list, int32_t n, const int32_t *ids, int32_t n_ids, int32_t n_vocab) {
    for (int32_t i = 0; i < n_ids; i++) {
        list[n] = ids[i];
        if (ids[i] >= 0 && ids[i] < n_vocab && !wh_is_again(list, n))
            n++;
    }
    return n;
}

/* The request's rules, with lists on the device; they go by way of pinned memory. */
struct wh_rules move_lists(struct wh_cuda_decoder *d, const struct wh_rules *rules,
                           uint32_t first) {
    struct wh_rules r = *rules;
    const size_t at = (size_t)first * WH_CUDA_LISTED;
    int32_t *list = d->search.host.listed + at;
    r.n_suppress = add_listed(list, 0, r.suppress, r.n_suppress, r.n_vocab);
    r.n_begin_suppress =
        add_listed(list, r.n_suppress, r.begin_suppress, r.n_begin_suppress, r.n_vocab) -
        r.n_suppress;
    r.suppress = d->work.listed + at;
    r.begin_suppress = r.suppress + r.n_suppress;
    return r;
}

/* The request as it starts. */
struct wh_cuda_search describe(struct wh_cuda *m, const struct wh_taken *t) {
    struct wh_cuda_decoder *d = m->decoder;
    const struct wh_request *q = t->request;
    const uint32_t first = t->rows[0];
    struct wh_cuda_search s = {};
    s.rules = move_lists(d, &q->rules, first);
    s.noise = q->noise;
    s.temperature = q->temperature;
    s.length_penalty = q->length_penalty;
    s.n_rows = wh_request_rows(q);
    s.n_prompt = q->n_prompt;
    s.max_tokens = q->max_tokens;
    s.slot = q->slot;
    s.n_wanted = wh_texts_wanted(q);
    s.ticket = ++d->search.n_tickets;
    s.no_speech = t->no_speech;
    s.beams = wh_is_beam_search(q);
    s.found = d->search.host.found + first;
    s.found_tokens = d->search.host.found_tokens + (size_t)first * (m->c.dims.n_text_ctx + 1);
    s.alive = s.beams || s.n_rows == 1 ? 1 : 0xffffffffu >> (32 - s.n_rows);
    s.best_score = -INFINITY;
    for (uint32_t i = 0; i < s.n_rows; i++)
        s.rows[i] = {t->rows[i], wh_history_start(), 0};
    return s;
}

/* Takes the rows of a request, and puts what the device needs to know into pinned memory. */
int32_t prepare(struct wh_cuda *m, const struct wh_taken *t, struct num_err *err) {
    struct wh_cuda_decoder *d = m->decoder;
    const struct wh_request *q = t->request;
    const uint32_t C = m->c.dims.n_text_ctx, n = wh_request_rows(q);
    if (q->n_prompt + q->max_tokens > C + 1)
        return num_fail(err, SLUICE_INTERNAL, "%u tokens behind a prompt of %u do not fit %u",
                        q->max_tokens, q->n_prompt, C);
    for (uint32_t i = 0; i < n; i++)
        if (t->rows[i] >= m->c.n_rows)
            return num_fail(err, SLUICE_INTERNAL, "the search was given row %u", t->rows[i]);
    int32_t status = wh::start_row(m, t->rows[0], q->slot, q->prompt, q->n_prompt, err);
    if (status)
        return status;
    wh_cuda_rows_reserve(&d->rows, t->rows, n, q->slot, q->n_prompt, q->max_tokens - 1);
    for (uint32_t i = 0; i < n; i++)
        memcpy(d->search.host.own + (size_t)t->rows[i] * C, d->rows.cells + (size_t)t->rows[i] * C,
               C * sizeof(uint16_t));
    d->search.host.searches[t->rows[0]] = describe(m, t);
    return SLUICE_OK;
}

/* ---- Prompts -------------------------------------------------------------------------------- */

/* Rows of the logits that a pass is to make, and the seats that choose from them. */
struct wishes {
    uint32_t n_logits, n_seats;
};

void wish(struct pass *p, struct wishes *w, uint32_t item, int32_t silence_of) {
    p->d->host.wanted[w->n_logits] = item;
    p->d->host.targets[w->n_logits++] = silence_of;
}

/* The seats of a request that chooses its first tokens: beams have one row yet. */
void seat_first(struct pass *p, struct wishes *w, const struct wh_taken *t) {
    const struct wh_request *q = t->request;
    const uint32_t n = wh_is_beam_search(q) ? 1 : wh_request_rows(q);
    for (uint32_t i = 0; i < n; i++)
        p->d->host.seats[w->n_seats++] = {(int32_t)t->rows[0], i, w->n_logits, 0};
}

void choose_first(struct pass *p, const struct wishes *w) {
    struct wh_cuda *m = p->m;
    choose_rows(p, w->n_logits);
    run_logits(p, p->d->work.chosen, w->n_logits);
    if (!p->status)
        check(p, "silence", wh_cuda_judge_silence(m, w->n_logits));
    if (!p->status && w->n_seats)
        check(p, "the first tokens", wh_cuda_choose(m, w->n_seats, true));
}

/* Runs what was pushed. */
void flush(struct pass *p, struct wishes *w) {
    if (p->shape.n == 0 || p->status)
        return;
    group_items(p);
    upload(p);
    run_layers(p);
    if (w->n_logits)
        choose_first(p, w);
    release_inputs(p);
    p->shape.n = 0;
    *w = {};
}

/* Passes for the prompts. What is wanted of one stays within the room of a pass. */
void run_prompts(struct pass *p, const struct wh_taken *taken, uint32_t n) {
    const uint32_t most = wh_cuda_logits_rows(&p->m->c), C = p->m->c.dims.n_text_ctx;
    struct wishes w = {};
    for (uint32_t i = 0; i < n; i++) {
        const struct wh_taken *t = &taken[i];
        const struct wh_request *q = t->request;
        const uint16_t *cells = p->d->rows.cells + (size_t)t->rows[0] * C;
        if (w.n_logits + 2 > most || w.n_seats + wh_request_rows(q) > most)
            flush(p, &w);
        for (uint32_t k = 0; k < q->n_prompt; k++) {
            if (p->shape.n == p->m->c.n_tokens)
                flush(p, &w);
            if (p->shape.n == 0)
                claim_inputs(p);
            if (k == q->sot_index && t->no_speech >= 0)
                wish(p, &w, p->shape.n, (int32_t)t->rows[0]);
            if (k + 1 == q->n_prompt) {
                seat_first(p, &w, t);
                wish(p, &w, p->shape.n, -1);
            }
            p->d->host.items[p->shape.n++] = {(int32_t)t->rows[0], (int32_t)k, q->prompt[k],
                                              q->slot, cells[k]};
        }
    }
    flush(p, &w);
}

int32_t search_start(void *self, const struct wh_taken *taken, uint32_t n, struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    struct wh_cuda_decoder *d = m->decoder;
    struct pass p;
    begin(&p, m, err);
    for (uint32_t i = 0; !p.status && i < n; i++) {
        p.status = prepare(m, &taken[i], err);
        d->search.host.admitted[i] = taken[i].rows[0];
    }
    if (!p.status)
        check(&p, "the requests", wh_cuda_admit(m, n));
    if (!p.status)
        run_prompts(&p, taken, n);
    for (uint32_t i = 0; !p.status && i < n; i++)
        d->search.live[d->search.n_live++] = taken[i].rows[0];
    return p.status;
}

/* ---- Steps ---------------------------------------------------------------------------------- */

/* Gives every row of the requests an item, side by side. */
void seat_all(struct pass *p) {
    struct wh_cuda_decoder *d = p->d;
    struct wh_cuda_shape shape = {0, 0, 1};
    for (uint32_t i = 0; i < d->search.n_live; i++) {
        const struct wh_cuda_search *s = &d->search.host.searches[d->search.live[i]];
        const uint32_t group = shape.n_groups;
        for (uint32_t k = 0; k < s->n_rows; k++) {
            const uint32_t left = s->n_rows - k < WH_CUDA_SHARED ? s->n_rows - k : WH_CUDA_SHARED;
            if (k % WH_CUDA_SHARED == 0)
                d->host.groups[shape.n_groups++] = {shape.n, left, s->slot};
            shape.shared = left > shape.shared ? left : shape.shared;
            d->host.seats[shape.n] = {(int32_t)d->search.live[i], k, shape.n, group};
            shape.n++;
        }
    }
    const uint32_t n = shape.n;
    p->shape = shape;
    round_shape(p);
    for (uint32_t i = n; i < p->shape.n; i++)
        d->host.seats[i] = {-1, 0, 0, 0};
}

/* Lays the items out, where they are not. */
void lay_out(struct pass *p, struct wh_cuda *m, struct num_err *err) {
    struct wh_cuda_decoder *d = m->decoder;
    if (d->search.laid_out) {
        resume(p, m, err);
        p->shape = d->search.shape;
        return;
    }
    begin(p, m, err);
    seat_all(p);
    upload(p);
    if (!p->status)
        check(p, "the rows of a step", wh_cuda_seat_items(m, p->shape.n));
    release_inputs(p);
    d->search.shape = p->shape;
    d->search.laid_out = true;
}

void run_search_step(struct pass *p) {
    run_layers(p);
    run_logits(p, p->d->work.x, p->shape.n);
    if (!p->status)
        check(p, "the next tokens", wh_cuda_choose(p->m, p->shape.n, false));
}

/* Steps, and behind them what is over by then. */
void launch_steps(struct pass *p, uint32_t turn) {
    struct wh_cuda_decoder *d = p->d;
    const uint32_t n = p->shape.n > FEW_ROWS ? 1 : FEW_ROWS_STEPS;
    for (uint32_t i = 0; i < n; i++)
        launch_recorded(p, run_search_step);
    if (!p->status)
        check(p, "what is finished",
              cudaMemcpyAsync(d->search.host.over[turn], d->work.over,
                              p->m->c.n_rows * sizeof(uint32_t), cudaMemcpyDeviceToHost,
                              p->m->decode_stream));
    if (!p->status)
        check(p, "what is finished",
              cudaEventRecord(d->search.run_over[turn], p->m->decode_stream));
}

/* Takes the requests that were over behind a run; the others stay. */
uint32_t collect(struct wh_cuda *m, const uint32_t *over, struct wh_found *ret_found) {
    struct wh_cuda_decoder *d = m->decoder;
    uint32_t n_found = 0, n_live = 0;
    for (uint32_t i = 0; i < d->search.n_live; i++) {
        const uint32_t row = d->search.live[i];
        const struct wh_cuda_search *s = &d->search.host.searches[row];
        if (over[row] == s->ticket)
            ret_found[n_found++] = {row, s->found->n_tokens, s->found_tokens, s->found->sum_logprob,
                                    s->found->no_speech_prob};
        else
            d->search.live[n_live++] = row;
    }
    d->search.n_live = n_live;
    d->search.laid_out = d->search.laid_out && n_found == 0;
    return n_found;
}

int32_t search_run(void *self, struct wh_found *ret_found, uint32_t *ret_n, struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    struct wh_cuda_decoder *d = m->decoder;
    const uint32_t turn = d->search.turn;
    struct pass p;
    *ret_n = 0;
    if (d->search.n_live == 0) {
        d->search.under_way = false;
        return SLUICE_OK;
    }
    lay_out(&p, m, err);
    launch_steps(&p, turn);
    if (!p.status && d->search.under_way) {
        check(&p, "the search", cudaEventSynchronize(d->search.run_over[turn ^ 1]));
        if (!p.status)
            *ret_n = collect(m, d->search.host.over[turn ^ 1], ret_found);
    }
    d->search.turn ^= 1;
    d->search.under_way = true;
    return p.status;
}

void search_drop(void *self, uint32_t row) {
    struct wh_cuda_decoder *d = ((struct wh_cuda *)self)->decoder;
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->search.n_live; i++)
        if (d->search.live[i] != row)
            d->search.live[n++] = d->search.live[i];
    d->search.laid_out = d->search.laid_out && n == d->search.n_live;
    d->search.n_live = n;
}

} // namespace

int32_t wh_cuda_search_create(struct wh_cuda *m, struct num_err *err) {
    struct wh_cuda_decoder *d = m->decoder;
    const size_t bytes = wh_cuda_search_place(&d->search.host, &m->c, NULL);
    void *base = NULL;
    d->search.live = (uint32_t *)calloc(m->c.n_rows, sizeof(uint32_t));
    if (!d->search.live)
        return num_fail_memory(err, "the search", m->c.n_rows * sizeof(uint32_t));
    cudaError_t error = cudaHostAlloc(&base, bytes, cudaHostAllocDefault);
    wh_cuda_search_place(&d->search.host, &m->c, base);
    if (!error)
        memset(base, 0, bytes);
    for (int i = 0; !error && i < 2; i++)
        error = cudaEventCreateWithFlags(&d->search.run_over[i], cudaEventDisableTiming);
    return num_cuda_fail(err, "pinned memory for the search", error);
}

void wh_cuda_search_destroy(struct wh_cuda *m) {
    struct wh_cuda_decoder *d = m->decoder;
    for (int i = 0; i < 2; i++)
        if (d->search.run_over[i])
            cudaEventDestroy(d->search.run_over[i]);
    if (d->search.host.admitted)
        cudaFreeHost(d->search.host.admitted);
    free(d->search.live);
}

extern "C" const struct wh_backend_search wh_cuda_search_table = {search_takes, search_start,
                                                                  search_run, search_drop};

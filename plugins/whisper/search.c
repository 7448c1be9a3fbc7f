/*
 * Search over a batch of requests: see search.h.
 *
 * Each request is a group of rows of the backend: one for the likeliest token, several for beams
 * (beam.c) or samples. All rows that are not finished take one step together, so rows of different
 * windows and files share the work of a step; a finished row drops out and costs nothing. A row's
 * choice is made from its own logits only, and nothing is allocated after wh_search_create().
 */
#include "whisper/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "whisper/rows.h"

int32_t wh_search_create(struct wh_model *model, struct wh_search **ret, struct num_err *err) {
    struct wh_search *s = calloc(1, sizeof *s);
    size_t rows = model->limits.n_rows, V = model->dims.n_vocab, C = model->dims.n_text_ctx;
    if (!s)
        return num_fail_memory(err, "the search", sizeof *s);
    *s = (struct wh_search){.model = model, .kernels = num_kernels()};
    struct {
        void *ret;
        size_t n, size;
    } wanted[] = {
        {&s->rows, rows, sizeof *s->rows},
        {&s->next_rows, rows, sizeof *s->next_rows},
        {&s->tokens, rows * (C + 1), sizeof *s->tokens},
        {&s->next_tokens, rows * (C + 1), sizeof *s->next_tokens},
        {&s->groups, rows, sizeof *s->groups},
        {&s->steps, rows, sizeof *s->steps},
        {&s->next_steps, rows, sizeof *s->next_steps},
        {&s->to, rows, sizeof *s->to},
        {&s->from, rows, sizeof *s->from},
        {&s->candidates, WH_MAX_CANDIDATES * (WH_MAX_CANDIDATES + 1), sizeof *s->candidates},
        {&s->logits, rows * V, sizeof *s->logits},
        {&s->prompt_logits, C * V, sizeof *s->prompt_logits},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *p = calloc(wanted[i].n + 1, wanted[i].size);
        memcpy(wanted[i].ret, &p, sizeof p);
        if (!p) {
            wh_search_destroy(s);
            return num_fail_memory(err, "the search", wanted[i].n * wanted[i].size);
        }
    }
    *ret = s;
    return SLUICE_OK;
}

void wh_search_destroy(struct wh_search *search) {
    if (!search)
        return;
    void *blocks[] = {search->rows,        search->next_rows, search->tokens,
                      search->next_tokens, search->groups,    search->steps,
                      search->next_steps,  search->to,        search->from,
                      search->candidates,  search->logits,    search->prompt_logits};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
    free(search);
}

double wh_log_sum_exp(const struct wh_search *s, const float *logits, size_t n) {
    float max = s->kernels->max(logits, n);
    if (!isfinite(max))
        return -INFINITY;
    return max + log((double)s->kernels->sum_exp(logits, n, max));
}

/* How a text ranks: its log-probability, weakened by its length. */
static double rank(const struct wh_request *request, uint32_t n, double sum) {
    if (request->length_penalty >= 0)
        return sum / pow((5 + (double)n) / 6, request->length_penalty);
    return sum / (n ? n : 1);
}

void wh_group_offer(struct wh_group *group, const int32_t *tokens, uint32_t n, double sum) {
    double score = rank(group->request, n, sum);
    if (!(score > group->best_score))
        return;
    group->best_score = score;
    group->result->n_tokens = n;
    group->result->sum_logprob = sum;
    memcpy(group->result->tokens, tokens, n * sizeof *tokens);
}

/* ---- Greedy choice and samples ----------------------------------------------------------------
 */

/* The next token of a row whose logits the rules have passed; the end of text where all are
 * forbidden. */
static int32_t choose(const struct wh_search *s, const struct wh_request *request, uint32_t sample,
                      const struct wh_row *row, const float *logits) {
    const struct wh_rules *rules = &request->rules;
    int32_t best = 0;
    if (request->temperature > 0)
        best = wh_sample(logits, rules->n_vocab, request->temperature, request->noise, sample,
                         (uint32_t)row->history.n);
    else {
        float max = s->kernels->max(logits, (size_t)rules->n_vocab);
        while (best < rules->n_vocab && logits[best] != max)
            best++;
    }
    bool none = best < 0 || best >= rules->n_vocab || logits[best] == -INFINITY;
    return none ? rules->eot : best;
}

/* Continues one row by one token; false where that ended it, and its text was offered. */
static bool extend(struct wh_search *s, struct wh_group *g, uint32_t row, const float *logits) {
    const struct wh_request *request = g->request;
    struct wh_row *r = &s->rows[row];
    int32_t *tokens = wh_row_tokens(s, s->tokens, row);
    int32_t token = choose(s, request, row - g->base, r, logits);
    double all = wh_log_sum_exp(s, logits, (size_t)request->rules.n_vocab);
    r->sum += isfinite(all) ? logits[token] - all : 0;
    if (token != request->rules.eot) {
        tokens[r->history.n] = token;
        r->history = wh_history_push(&request->rules, r->history, token);
        if ((uint32_t)r->history.n < request->max_tokens)
            return true;
    }
    return false;
}

/* ---- Groups -----------------------------------------------------------------------------------
 */

static bool is_beam_search(const struct wh_request *request) {
    return request->temperature <= 0 && wh_request_rows(request) > 1;
}

static double no_speech_prob(const struct wh_search *s, const float *logits) {
    int32_t token = s->model->tokens.no_speech;
    if (token < 0)
        return 0;
    return exp(logits[token] - wh_log_sum_exp(s, logits, s->model->dims.n_vocab));
}

static int32_t check(const struct wh_search *s, const struct wh_request *q, uint32_t base,
                     struct num_err *err) {
    const struct wh_model *m = s->model;
    if (q->n_prompt <= q->sot_index || q->n_prompt > m->dims.n_text_ctx ||
        q->n_prompt + q->max_tokens > m->dims.n_text_ctx + 1)
        return num_fail(err, SLUICE_INTERNAL,
                        "a prompt of %u tokens and %u more do not fit the decoder's %u",
                        q->n_prompt, q->max_tokens, m->dims.n_text_ctx);
    if (q->n_candidates > WH_MAX_CANDIDATES || base + wh_request_rows(q) > m->limits.n_rows)
        return num_fail(err, SLUICE_INTERNAL, "%u beams do not fit the %u rows of the model",
                        q->n_candidates, m->limits.n_rows);
    return SLUICE_OK;
}

/* The backend has to see `row`'s last token next. */
static void push(struct wh_search *s, uint32_t row) {
    int32_t last = wh_row_tokens(s, s->tokens, row)[s->rows[row].history.n - 1];
    s->next_steps[s->n_next++] = (struct wh_step){row, last};
}

static void push_beams(struct wh_search *s, const struct wh_group *g) {
    for (uint32_t b = 0; b < g->n_alive; b++)
        push(s, g->base + b);
}

/* Every sample takes its first token from the same logits; those that go on become copies of the
 * first row. */
static int32_t start_samples(struct wh_search *s, struct wh_group *g, float *logits,
                             struct num_err *err) {
    const struct wh_request *q = g->request;
    uint32_t n = 0;
    wh_rules_apply(&q->rules, s->rows[g->base].history, NULL, logits);
    for (uint32_t i = 0; i < wh_request_rows(q); i++) {
        uint32_t row = g->base + i;
        s->rows[row] = (struct wh_row){wh_history_start(), 0};
        if (!extend(s, g, row, logits))
            continue;
        push(s, row);
        s->to[n] = row;
        s->from[n] = g->base;
        n += i > 0;
    }
    return n ? s->model->backend->reorder(s->model->self, s->to, s->from, n, err) : SLUICE_OK;
}

/* Runs the prompt and chooses the first tokens. */
static int32_t start_group(struct wh_search *s, struct wh_group *g, struct num_err *err) {
    const struct wh_request *q = g->request;
    size_t V = s->model->dims.n_vocab;
    struct wh_prompt prompt = {g->base,     q->slot,      q->prompt,
                               q->n_prompt, q->sot_index, s->prompt_logits};
    int32_t status = check(s, q, g->base, err);
    if (!status)
        status = s->model->backend->prefill(s->model->self, &prompt, 1, err);
    if (status)
        return status;
    *g->result = (struct wh_result){.tokens = g->result->tokens};
    g->result->no_speech_prob = no_speech_prob(s, s->prompt_logits);
    if (q->max_tokens == 0)
        return SLUICE_OK;
    float *logits = s->prompt_logits + (q->n_prompt - 1 - q->sot_index) * V;
    s->rows[g->base] = (struct wh_row){wh_history_start(), 0};
    if (!is_beam_search(q))
        return start_samples(s, g, logits, err);
    g->n_alive = 1;
    status = wh_beam_advance(s, g, logits, err);
    if (!status)
        push_beams(s, g);
    return status;
}

/* The group that the row belongs to. */
static struct wh_group *group_of(const struct wh_search *s, uint32_t row) {
    struct wh_group *g = s->groups;
    while (row >= g->base + wh_request_rows(g->request))
        g++;
    return g;
}

/* Chooses behind a step of the n rows in `steps`; pushes those that go on. */
static int32_t advance_all(struct wh_search *s, uint32_t n, struct num_err *err) {
    size_t V = s->model->dims.n_vocab;
    for (uint32_t i = 0; i < n;) {
        uint32_t row = s->steps[i].row;
        struct wh_group *g = group_of(s, row);
        float *logits = s->logits + i * V;
        if (is_beam_search(g->request)) {
            i += g->n_alive;
            int32_t status = wh_beam_advance(s, g, logits, err);
            if (status)
                return status;
            push_beams(s, g);
            continue;
        }
        i++;
        wh_rules_apply(&g->request->rules, s->rows[row].history, wh_row_tokens(s, s->tokens, row),
                       logits);
        if (extend(s, g, row, logits))
            push(s, row);
    }
    return SLUICE_OK;
}

/* Makes what was pushed the next step; returns its rows. */
static uint32_t next_step(struct wh_search *s) {
    struct wh_step *steps = s->steps;
    uint32_t n = s->n_next;
    s->steps = s->next_steps;
    s->next_steps = steps;
    s->n_next = 0;
    return n;
}

/* Takes the best of a request's samples, in their order. */
static void finish_group(struct wh_search *s, struct wh_group *g) {
    const struct wh_request *q = g->request;
    for (uint32_t i = 0; q->max_tokens && !is_beam_search(q) && i < wh_request_rows(q); i++) {
        const struct wh_row *row = &s->rows[g->base + i];
        wh_group_offer(g, wh_row_tokens(s, s->tokens, g->base + i), (uint32_t)row->history.n,
                       row->sum);
    }
    g->result->avg_logprob = g->result->sum_logprob / (g->result->n_tokens + 1);
}

int32_t wh_search_run(struct wh_search *search, const struct wh_request *requests, uint32_t n,
                      const struct wh_watch *watch, struct wh_result *results,
                      struct num_err *err) {
    struct wh_search *s = search;
    uint32_t base = 0;
    s->n_next = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (wh_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        s->groups[i] = (struct wh_group){
            .request = &requests[i], .result = &results[i], .base = base, .best_score = -INFINITY};
        int32_t status = start_group(s, &s->groups[i], err);
        if (status)
            return status;
        base += wh_request_rows(&requests[i]);
    }
    for (uint32_t n_steps; (n_steps = next_step(s)) > 0;) {
        if (wh_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        int32_t status = s->model->backend->step(s->model->self, s->steps, n_steps, s->logits, err);
        if (!status)
            status = advance_all(s, n_steps, err);
        if (status)
            return status;
    }
    for (uint32_t i = 0; i < n; i++)
        finish_group(s, &s->groups[i]);
    return SLUICE_OK;
}

int32_t wh_search_start_logits(struct wh_search *search, uint32_t slot, const float **ret_logits,
                               struct num_err *err) {
    struct wh_model *m = search->model;
    struct wh_prompt prompt = {0, slot, &m->tokens.sot, 1, 0, search->prompt_logits};
    int32_t status = m->backend->prefill(m->self, &prompt, 1, err);
    if (!status)
        *ret_logits = search->prompt_logits;
    return status;
}

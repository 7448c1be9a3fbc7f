/*
 * Search over a changing set of requests: see search.h.
 *
 * Each request is a group of rows of the backend: one for the likeliest token, several for beams
 * (beam.c) or samples. All rows that are not finished take one step together, so rows of different
 * windows and files share the work of a step; a finished request frees its rows for the next one. A
 * row's choice is made from its own logits only, and nothing is allocated after wh_search_create().
 *
 * Where the backend runs a request itself (request.h), the search only keeps its rows and takes its
 * result.
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
    *s = (struct wh_search){
        .model = model, .kernels = num_kernels(), .n_free = model->limits.n_rows};
    struct {
        void *ret;
        size_t n, size;
    } wanted[] = {
        {&s->rows, rows, sizeof *s->rows},
        {&s->next_rows, rows, sizeof *s->next_rows},
        {&s->tokens, rows * (C + 1), sizeof *s->tokens},
        {&s->next_tokens, rows * (C + 1), sizeof *s->next_tokens},
        {&s->groups, rows, sizeof *s->groups},
        {&s->added, rows, sizeof(struct wh_group *)},
        {&s->taken, rows, sizeof *s->taken},
        {&s->found, rows, sizeof *s->found},
        {&s->prompts, rows, sizeof *s->prompts},
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
    void *blocks[] = {
        search->rows,    search->next_rows,  search->tokens,     search->next_tokens,
        search->groups,  search->added,      search->taken,      search->found,
        search->prompts, search->steps,      search->next_steps, search->to,
        search->from,    search->candidates, search->logits,     search->prompt_logits};
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

void wh_group_offer(struct wh_group *group, const int32_t *tokens, uint32_t n, double sum) {
    double score = wh_rank(group->request->length_penalty, n, sum);
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
static int32_t choose(const struct wh_search *s, const struct wh_row *row, const float *logits) {
    const struct wh_request *request = row->group->request;
    const struct wh_rules *rules = &request->rules;
    int32_t best = 0;
    if (request->temperature > 0)
        best = wh_sample(logits, rules->n_vocab, request->temperature, request->noise, row->number,
                         (uint32_t)row->history.n);
    else {
        float max = s->kernels->max(logits, (size_t)rules->n_vocab);
        while (best < rules->n_vocab && logits[best] != max)
            best++;
    }
    bool none = best < 0 || best >= rules->n_vocab || logits[best] == -INFINITY;
    return none ? rules->eot : best;
}

/* The backend has to see `row`'s last token next. */
static void push(struct wh_search *s, uint32_t row) {
    int32_t last = wh_row_tokens(s, s->tokens, row)[s->rows[row].history.n - 1];
    s->next_steps[s->n_next++] = (struct wh_step){row, last};
}

/* Continues one row by one token, and pushes it; false where that ended it. */
static bool extend(struct wh_search *s, uint32_t row, const float *logits) {
    struct wh_row *r = &s->rows[row];
    const struct wh_request *request = r->group->request;
    int32_t token = choose(s, r, logits);
    double all = wh_log_sum_exp(s, logits, (size_t)request->rules.n_vocab);
    r->sum += isfinite(all) ? logits[token] - all : 0;
    if (token != request->rules.eot) {
        wh_row_tokens(s, s->tokens, row)[r->history.n] = token;
        r->history = wh_history_push(&request->rules, r->history, token);
        if ((uint32_t)r->history.n < request->max_tokens) {
            push(s, row);
            return true;
        }
    }
    return false;
}

/* ---- Groups -----------------------------------------------------------------------------------
 */

bool wh_search_has_room(const struct wh_search *search, uint32_t n_rows) {
    return n_rows <= search->n_free;
}

uint32_t wh_search_spare_row(const struct wh_search *search) {
    uint32_t row = 0;
    while (search->rows[row].group)
        row++;
    return row;
}

void wh_search_spare_rows(const struct wh_search *search, uint32_t n, uint32_t *ret_rows) {
    for (uint32_t i = 0, row = 0; i < n; row++)
        if (!search->rows[row].group)
            ret_rows[i++] = row;
}

static int32_t check(const struct wh_search *s, const struct wh_request *q, struct num_err *err) {
    const struct wh_model *m = s->model;
    if (q->n_prompt <= q->sot_index || q->n_prompt > m->dims.n_text_ctx ||
        q->n_prompt + q->max_tokens > m->dims.n_text_ctx + 1)
        return num_fail(err, SLUICE_INTERNAL,
                        "a prompt of %u tokens and %u more do not fit the decoder's %u",
                        q->n_prompt, q->max_tokens, m->dims.n_text_ctx);
    if (q->n_candidates > WH_MAX_CANDIDATES || !wh_search_has_room(s, wh_request_rows(q)))
        return num_fail(err, SLUICE_INTERNAL, "%u beams do not fit the %u free rows of the model",
                        q->n_candidates, s->n_free);
    return SLUICE_OK;
}

int32_t wh_search_add(struct wh_search *search, const struct wh_request *request,
                      struct wh_result *result, struct num_err *err) {
    struct wh_search *s = search;
    const struct wh_backend *backend = s->model->backend;
    struct wh_group *g = s->groups;
    int32_t status = check(s, request, err);
    if (status)
        return status;
    while (g->request)
        g++;
    *g = (struct wh_group){.request = request,
                           .result = result,
                           .taken =
                               backend->search && backend->search->takes(s->model->self, request),
                           .best_score = -INFINITY};
    *result = (struct wh_result){.tokens = result->tokens};
    for (uint32_t i = 0; i < wh_request_rows(request); i++) {
        uint32_t row = g->rows[i] = wh_search_spare_row(s);
        s->rows[row] = (struct wh_row){.group = g, .number = i, .history = wh_history_start()};
        s->n_free--;
    }
    s->added[s->n_added++] = g;
    return SLUICE_OK;
}

static void free_group(struct wh_search *s, struct wh_group *g) {
    for (uint32_t i = 0; i < wh_request_rows(g->request); i++)
        s->rows[g->rows[i]].group = NULL;
    s->n_free += wh_request_rows(g->request);
    g->request = NULL;
}

/* The result is there: frees the request's rows. */
static void hand_over(struct wh_search *s, struct wh_group *g) {
    g->result->avg_logprob = g->result->sum_logprob / (g->result->n_tokens + 1);
    g->result->finished = true;
    free_group(s, g);
}

/* Takes the best of a request's samples, in their order. */
static void finish_group(struct wh_search *s, struct wh_group *g) {
    const struct wh_request *q = g->request;
    for (uint32_t i = 0; q->max_tokens && !wh_is_beam_search(q) && i < wh_request_rows(q); i++) {
        const struct wh_row *row = &s->rows[g->rows[i]];
        wh_group_offer(g, wh_row_tokens(s, s->tokens, g->rows[i]), (uint32_t)row->history.n,
                       row->sum);
    }
    hand_over(s, g);
}

void wh_search_drop(struct wh_search *search, const struct wh_result *result) {
    struct wh_search *s = search;
    uint32_t n_added = 0, n_next = 0;
    for (uint32_t i = 0; i < s->model->limits.n_rows; i++) {
        struct wh_group *g = &s->groups[i];
        if (!g->request || (result && g->result != result))
            continue;
        if (g->taken)
            s->model->backend->search->drop(s->model->self, g->rows[0]);
        free_group(s, g);
    }
    for (uint32_t i = 0; i < s->n_added; i++)
        if (s->added[i]->request)
            s->added[n_added++] = s->added[i];
    for (uint32_t i = 0; i < s->n_next; i++)
        if (s->rows[s->next_steps[i].row].group)
            s->next_steps[n_next++] = s->next_steps[i];
    s->n_added = n_added;
    s->n_next = n_next;
}

/* ---- Prompts ----------------------------------------------------------------------------------
 */

static double no_speech_prob(const struct wh_search *s, const float *logits) {
    int32_t token = s->model->tokens.no_speech;
    if (token < 0)
        return 0;
    return exp(logits[token] - wh_log_sum_exp(s, logits, s->model->dims.n_vocab));
}

/* Every sample takes its first token from the same logits; those that go on become copies of the
 * first row. */
static int32_t start_samples(struct wh_search *s, struct wh_group *g, float *logits,
                             struct num_err *err) {
    uint32_t n = 0;
    wh_rules_apply(&g->request->rules, s->rows[g->rows[0]].history, NULL, logits);
    for (uint32_t i = 0; i < wh_request_rows(g->request); i++) {
        if (!extend(s, g->rows[i], logits))
            continue;
        g->n_alive++;
        s->to[n] = g->rows[i];
        s->from[n] = g->rows[0];
        n += i > 0;
    }
    return n ? s->model->backend->reorder(s->model->self, s->to, s->from, n, err) : SLUICE_OK;
}

static int32_t advance_beams(struct wh_search *s, struct wh_group *g, float *logits,
                             struct num_err *err) {
    int32_t status = wh_beam_advance(s, g, logits, err);
    for (uint32_t b = 0; !status && b < g->n_alive; b++)
        push(s, g->rows[b]);
    return status;
}

/* Chooses the first tokens behind a prompt. */
static int32_t start_group(struct wh_search *s, struct wh_group *g, float *logits,
                           struct num_err *err) {
    const struct wh_request *q = g->request;
    int32_t status = SLUICE_OK;
    g->result->no_speech_prob = no_speech_prob(s, logits);
    logits += (q->n_prompt - 1 - q->sot_index) * (size_t)s->model->dims.n_vocab;
    if (q->max_tokens && wh_is_beam_search(q)) {
        g->n_alive = 1;
        status = advance_beams(s, g, logits, err);
    } else if (q->max_tokens)
        status = start_samples(s, g, logits, err);
    if (!status && g->n_alive == 0)
        finish_group(s, g);
    return status;
}

/* Prefills as many of the groups from `first` on as prompt_logits holds; returns how many. */
static uint32_t make_prompts(struct wh_search *s, uint32_t first) {
    size_t n_logits = 0;
    uint32_t n = 0;
    for (; first + n < s->n_added; n++) {
        const struct wh_group *g = s->added[first + n];
        const struct wh_request *q = g->request;
        uint32_t wanted = q->n_prompt - q->sot_index;
        if (n_logits + wanted > s->model->dims.n_text_ctx)
            break;
        s->prompts[n] = (struct wh_prompt){
            g->rows[0],  q->slot,      q->prompt,
            q->n_prompt, q->sot_index, s->prompt_logits + n_logits * s->model->dims.n_vocab};
        n_logits += wanted;
    }
    return n;
}

/* Hands the requests that the backend runs over to it; the others stay in `added`. */
static int32_t start_taken(struct wh_search *s, struct num_err *err) {
    const struct wh_model *m = s->model;
    uint32_t n_taken = 0, n_others = 0;
    for (uint32_t i = 0; i < s->n_added; i++) {
        struct wh_group *g = s->added[i];
        if (g->taken)
            s->taken[n_taken++] = (struct wh_taken){g->request, g->rows, m->tokens.no_speech};
        else
            s->added[n_others++] = g;
    }
    s->n_added = n_others;
    return n_taken ? m->backend->search->start(m->self, s->taken, n_taken, err) : SLUICE_OK;
}

static int32_t start_added(struct wh_search *s, struct num_err *err) {
    const struct wh_model *m = s->model;
    for (uint32_t first = 0, n; first < s->n_added; first += n) {
        n = make_prompts(s, first);
        int32_t status = m->backend->prefill(m->self, s->prompts, n, err);
        for (uint32_t i = 0; !status && i < n; i++)
            status = start_group(s, s->added[first + i], s->prompts[i].ret_logits, err);
        if (status)
            return status;
    }
    s->n_added = 0;
    return SLUICE_OK;
}

/* ---- Steps ------------------------------------------------------------------------------------
 */

/* Chooses behind a step of the n rows in `steps`; pushes those that go on. */
static int32_t choose_all(struct wh_search *s, uint32_t n, struct num_err *err) {
    size_t V = s->model->dims.n_vocab;
    int32_t status = SLUICE_OK;
    for (uint32_t i = 0; !status && i < n;) {
        uint32_t row = s->steps[i].row;
        struct wh_group *g = s->rows[row].group;
        float *logits = s->logits + i * V;
        if (wh_is_beam_search(g->request)) {
            i += g->n_alive;
            status = advance_beams(s, g, logits, err);
        } else {
            i++;
            wh_rules_apply(&g->request->rules, s->rows[row].history,
                           wh_row_tokens(s, s->tokens, row), logits);
            g->n_alive -= !extend(s, row, logits);
        }
        if (!status && g->n_alive == 0)
            finish_group(s, g);
    }
    return status;
}

/* Lets the backend continue what it runs, and takes what it has found. */
static int32_t run_taken(struct wh_search *s, struct num_err *err) {
    const struct wh_model *m = s->model;
    uint32_t n = 0;
    int32_t status = m->backend->search->run(m->self, s->found, &n, err);
    for (uint32_t i = 0; !status && i < n; i++) {
        const struct wh_found *found = &s->found[i];
        struct wh_group *g = s->rows[found->row].group;
        g->result->n_tokens = found->n_tokens;
        g->result->sum_logprob = found->sum_logprob;
        g->result->no_speech_prob = found->no_speech_prob;
        if (found->n_tokens)
            memcpy(g->result->tokens, found->tokens, found->n_tokens * sizeof *found->tokens);
        hand_over(s, g);
    }
    return status;
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

int32_t wh_search_step(struct wh_search *search, struct num_err *err) {
    struct wh_search *s = search;
    const struct wh_model *m = s->model;
    uint32_t n = next_step(s);
    int32_t status = SLUICE_OK;
    if (n)
        status = m->backend->step(m->self, s->steps, n, s->logits, err);
    if (!status)
        status = choose_all(s, n, err);
    if (!status)
        status = start_taken(s, err);
    if (!status)
        status = start_added(s, err);
    if (!status && m->backend->search)
        status = run_taken(s, err);
    if (status)
        wh_search_drop(s, NULL);
    return status;
}

int32_t wh_search_run(struct wh_search *search, const struct wh_request *requests, uint32_t n,
                      const struct num_watch *watch, struct wh_result *results,
                      struct num_err *err) {
    int32_t status = SLUICE_OK;
    uint32_t n_finished = 0;
    for (uint32_t i = 0; !status && i < n; i++)
        status = wh_search_add(search, &requests[i], &results[i], err);
    while (!status && n_finished < n) {
        status = num_go_on(watch, err);
        if (!status)
            status = wh_search_step(search, err);
        n_finished = 0;
        for (uint32_t i = 0; i < n; i++)
            n_finished += results[i].finished;
    }
    if (status)
        wh_search_drop(search, NULL);
    return status;
}

int32_t wh_search_start_logits(struct wh_search *search, uint32_t slot, const float **ret_logits,
                               struct num_err *err) {
    struct wh_model *m = search->model;
    struct wh_prompt prompt = {wh_search_spare_row(search), slot, &m->tokens.sot, 1, 0,
                               search->prompt_logits};
    int32_t status = m->backend->prefill(m->self, &prompt, 1, err);
    if (!status)
        *ret_logits = search->prompt_logits;
    return status;
}

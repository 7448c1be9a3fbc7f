/*
 * Greedy search over a batch of rows: see search.h.
 *
 * Each request gets a row of the backend. All rows that are not finished take one step together, so
 * rows of different windows and files share the work of a step; a finished row drops out of the
 * list and costs nothing. A row's choice is made from its own logits only.
 */
#include "whisper/search.h"

#include <math.h>
#include <stdlib.h>

#include "num/cpu/kernels.h"

struct wh_search {
    struct wh_model *model;
    const struct num_kernels *kernels;
    struct wh_history *histories; /* of each row */
    struct wh_step *steps;        /* the rows that go on */
    float *logits;                /* (n_rows, V) */
    float *prompt_logits;         /* (n_text_ctx, V): from <|startoftranscript|> on */
};

int32_t wh_search_create(struct wh_model *model, struct wh_search **ret, struct num_err *err) {
    struct wh_search *s = calloc(1, sizeof *s);
    size_t rows = model->limits.n_rows, V = model->dims.n_vocab;
    if (s) {
        *s = (struct wh_search){.model = model, .kernels = num_kernels()};
        s->histories = calloc(rows, sizeof *s->histories);
        s->steps = calloc(rows, sizeof *s->steps);
        s->logits = calloc(rows * V, sizeof *s->logits);
        s->prompt_logits = calloc((size_t)model->dims.n_text_ctx * V, sizeof *s->prompt_logits);
    }
    if (!s || !s->histories || !s->steps || !s->logits || !s->prompt_logits) {
        wh_search_destroy(s);
        return num_fail_memory(err, "the search",
                               (rows + model->dims.n_text_ctx) * V * sizeof(float));
    }
    *ret = s;
    return SLUICE_OK;
}

void wh_search_destroy(struct wh_search *search) {
    if (!search)
        return;
    free(search->histories);
    free(search->steps);
    free(search->logits);
    free(search->prompt_logits);
    free(search);
}

/* log of the sum of exp(logits). */
static double log_sum_exp(const struct wh_search *s, const float *logits, size_t n, float max) {
    return max + log((double)s->kernels->sum_exp(logits, n, max));
}

/* The likeliest token that the rules allow, and its log-probability among those. */
static int32_t choose(const struct wh_search *s, const struct wh_rules *rules,
                      struct wh_history history, float *logits, double *ret_logprob) {
    wh_rules_apply(rules, history, logits);
    float max = s->kernels->max(logits, (size_t)rules->n_vocab);
    if (!isfinite(max)) { /* every token is forbidden: the text ends here */
        *ret_logprob = 0;
        return rules->eot;
    }
    int32_t best = 0;
    while (logits[best] != max)
        best++;
    *ret_logprob = max - log_sum_exp(s, logits, (size_t)rules->n_vocab, max);
    return best;
}

static double no_speech_prob(const struct wh_search *s, const float *logits) {
    int32_t token = s->model->tokens.no_speech;
    size_t V = s->model->dims.n_vocab;
    if (token < 0)
        return 0;
    return exp(logits[token] - log_sum_exp(s, logits, V, s->kernels->max(logits, V)));
}

/* Chooses the next token of `row`; adds the row to `steps` where it goes on. */
static void advance(struct wh_search *s, const struct wh_request *request, uint32_t row,
                    float *logits, struct wh_result *result, uint32_t *n_steps) {
    double logprob;
    int32_t token = choose(s, &request->rules, s->histories[row], logits, &logprob);
    result->sum_logprob += logprob;
    if (token == request->rules.eot)
        return;
    s->histories[row] = wh_history_push(&request->rules, s->histories[row], token);
    result->tokens[result->n_tokens++] = token;
    if (result->n_tokens < request->max_tokens)
        s->steps[(*n_steps)++] = (struct wh_step){row, token};
}

/* Runs the prompt of `row` and chooses its first token. */
static int32_t start_row(struct wh_search *s, const struct wh_request *request, uint32_t row,
                         struct wh_result *result, uint32_t *n_steps, struct num_err *err) {
    size_t V = s->model->dims.n_vocab;
    struct wh_prompt prompt = {row,
                               request->slot,
                               request->prompt,
                               request->n_prompt,
                               request->sot_index,
                               s->prompt_logits};
    if (request->n_prompt <= request->sot_index ||
        request->n_prompt + request->max_tokens > s->model->dims.n_text_ctx)
        return num_fail(err, SLUICE_INTERNAL,
                        "a prompt of %u tokens and %u more do not fit the decoder's %u",
                        request->n_prompt, request->max_tokens, s->model->dims.n_text_ctx);
    int32_t status = s->model->backend->prefill(s->model->self, &prompt, 1, err);
    if (status)
        return status;
    s->histories[row] = wh_history_start();
    *result = (struct wh_result){.tokens = result->tokens};
    result->no_speech_prob = no_speech_prob(s, s->prompt_logits);
    if (request->max_tokens)
        advance(s, request, row,
                s->prompt_logits + (request->n_prompt - 1 - request->sot_index) * V, result,
                n_steps);
    return SLUICE_OK;
}

int32_t wh_search_greedy(struct wh_search *search, const struct wh_request *requests, uint32_t n,
                         const struct wh_watch *watch, struct wh_result *results,
                         struct num_err *err) {
    struct wh_search *s = search;
    uint32_t n_steps = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (wh_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        int32_t status = start_row(s, &requests[i], i, &results[i], &n_steps, err);
        if (status)
            return status;
    }
    while (n_steps) {
        if (wh_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        int32_t status = s->model->backend->step(s->model->self, s->steps, n_steps, s->logits, err);
        if (status)
            return status;
        uint32_t n_done = n_steps;
        n_steps = 0;
        for (uint32_t i = 0; i < n_done; i++) {
            uint32_t row = s->steps[i].row; /* advance() writes steps[n_steps], and n_steps <= i */
            advance(s, &requests[row], row, s->logits + (size_t)i * s->model->dims.n_vocab,
                    &results[row], &n_steps);
        }
    }
    for (uint32_t i = 0; i < n; i++)
        results[i].avg_logprob = results[i].sum_logprob / (results[i].n_tokens + 1);
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

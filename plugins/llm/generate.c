/*
 * The engine: requests, their turns, and what becomes of a token. See generate.h.
 *
 * A request's memory is taken when it is added: room for its tokens, text and pages' numbers. It
 * waits in line until a row is free and the pages that it may need are there, so that it never runs
 * out of them. One prompt is worked on at a time; the next waits until it is done, and so can take
 * over pages of the same beginning.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "llm/cpu.h"
#include "llm/pages.h"
#include "llm/sample.h"
#include "llm/text.h"

struct request {
    struct request *next; /* in the line */
    uint64_t id;
    struct lm_request asked; /* its pointers are of `memory` */
    struct lm_stop_string stops[LM_MAX_STOP_STRINGS];
    void *memory;    /* tokens, logprobs, pages, stop strings */
    int32_t *tokens; /* prompt and answer */
    float *logprobs;
    uint32_t *pages;
    uint32_t n_pages, n_prompt, n_tokens, n_cached;
    uint32_t n_computed; /* tokens whose keys and values are there */
    uint32_t max_tokens;
    struct lm_text text;
    bool cancelled;
};

struct choice {
    int32_t token;
    float logprob;
};

struct lm_engine {
    const struct lm_model *model;
    struct lm_plan plan;
    struct lm_cpu *cpu; /* NULL: the model is on a card */
    void *on_card;
    struct lm_pages *pages;
    struct lm_sampler sampler;
    struct request *rows[LM_MAX_REQUESTS];  /* that are past their prompt, oldest first */
    struct choice choices[LM_MAX_REQUESTS]; /* of rows that are sampled plainly */
    uint32_t n_rows;
    struct request *prompt;  /* whose prompt is worked on, or NULL */
    struct request *waiting; /* the line, first come first */
    uint32_t n_waiting;
    bool prompts_turn, in_step;
    uint64_t last_id;
    size_t longest_token;
    struct lm_item items[LM_CHUNK];
    struct lm_stats stats;
    struct num_err err; /* of a card */
};

/* ---- Life ----------------------------------------------------------------------------------- */

static size_t longest_token(const struct lm_tokenizer *t) {
    size_t longest = 0;
    for (uint32_t i = 0; t && i < lm_tokenizer_size(t); i++) {
        size_t len;
        lm_tokenizer_bytes(t, (int32_t)i, &len);
        longest = len > longest ? len : longest;
    }
    return longest;
}

int32_t lm_engine_create(const struct lm_model *model, const struct lm_limits *limits,
                         struct lm_engine **ret, struct num_err *err) {
    struct lm_engine *e = calloc(1, sizeof *e);
    if (!e)
        return num_fail_memory(err, "an engine", sizeof *e);
    e->model = model;
    e->longest_token = longest_token(model->tokenizer);
    int32_t status = lm_plan(model, limits, &e->plan, err);
    if (!status && model->card)
        status = model->card->create(model, &e->plan, &e->on_card, err);
    else if (!status)
        status = lm_cpu_create(model, e->plan.n_requests, e->plan.n_pages, e->plan.context,
                               e->plan.kv, &e->cpu, err);
    if (!status)
        status = lm_pages_create(e->plan.n_pages, LM_PAGE, &e->pages, err);
    if (!status)
        status = lm_sampler_init(&e->sampler, model->config.n_vocab, err);
    if (status)
        lm_engine_destroy(e);
    else
        *ret = e;
    return status;
}

static void request_free(struct request *r) {
    if (!r)
        return;
    lm_text_finish(&r->text);
    free(r->memory);
    free(r);
}

void lm_engine_destroy(struct lm_engine *e) {
    if (!e)
        return;
    for (uint32_t i = 0; i < e->n_rows; i++)
        request_free(e->rows[i]);
    request_free(e->prompt);
    while (e->waiting) {
        struct request *r = e->waiting;
        e->waiting = r->next;
        request_free(r);
    }
    if (e->model->card)
        e->model->card->destroy(e->on_card);
    lm_cpu_destroy(e->cpu);
    lm_pages_destroy(e->pages);
    lm_sampler_finish(&e->sampler);
    free(e);
}

const struct lm_plan *lm_engine_plan(const struct lm_engine *e) {
    return &e->plan;
}

struct lm_stats lm_engine_stats(const struct lm_engine *e) {
    return e->stats;
}

/* ---- Adding --------------------------------------------------------------------------------- */

static int32_t check_request(const struct lm_engine *e, const struct lm_request *r,
                             struct num_err *err) {
    if (r->n_prompt < 1)
        return num_fail(err, SLUICE_INPUT, "a prompt without any token");
    if (r->n_prompt >= e->plan.context)
        return num_fail(err, SLUICE_INPUT,
                        "a prompt of %" PRIu32 " tokens leaves no room for an answer in a context "
                        "of %" PRIu32,
                        r->n_prompt, e->plan.context);
    for (uint32_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || (uint32_t)r->prompt[i] >= e->model->config.n_vocab)
            return num_fail(err, SLUICE_INPUT, "token %" PRId32 " is none of the model's %" PRIu32,
                            r->prompt[i], e->model->config.n_vocab);
    if (r->n_stop_strings > LM_MAX_STOP_STRINGS || r->n_stop_tokens > LM_MAX_EOS)
        return num_fail(err, SLUICE_INPUT,
                        "%" PRIu32 " stop strings and %" PRIu32
                        " stop tokens; %d and %d are possible",
                        r->n_stop_strings, r->n_stop_tokens, LM_MAX_STOP_STRINGS, LM_MAX_EOS);
    for (uint32_t i = 0; i < r->n_stop_strings; i++)
        if (!r->stop_strings[i][0] || strlen(r->stop_strings[i]) > LM_MAX_STOP_BYTES)
            return num_fail(err, SLUICE_INPUT, "a stop string has to be of 1 to %d bytes",
                            LM_MAX_STOP_BYTES);
    return SLUICE_OK;
}

/* Copies what the request points to into memory of its own. */
static int32_t copy_request(const struct lm_engine *e, struct request *r,
                            const struct lm_request *asked, struct num_err *err) {
    size_t n = r->n_prompt + (size_t)r->max_tokens, strings = 0;
    for (uint32_t i = 0; i < asked->n_stop_strings; i++)
        strings += strlen(asked->stop_strings[i]) + 1;
    size_t bytes = (n + asked->n_stop_tokens) * sizeof(int32_t) + r->max_tokens * sizeof(float) +
                   r->n_pages * sizeof(uint32_t) + strings;
    r->memory = malloc(bytes);
    if (!r->memory)
        return num_fail_memory(err, "a request", bytes);
    r->tokens = r->memory;
    int32_t *stop_tokens = r->tokens + n;
    r->logprobs = (float *)(stop_tokens + asked->n_stop_tokens);
    r->pages = (uint32_t *)(r->logprobs + r->max_tokens);
    char *text = (char *)(r->pages + r->n_pages);
    memcpy(r->tokens, asked->prompt, r->n_prompt * sizeof *r->tokens);
    if (asked->n_stop_tokens)
        memcpy(stop_tokens, asked->stop_tokens, asked->n_stop_tokens * sizeof *stop_tokens);
    for (uint32_t i = 0; i < asked->n_stop_strings; i++) {
        size_t len = strlen(asked->stop_strings[i]);
        memcpy(text, asked->stop_strings[i], len + 1);
        r->stops[i] = (struct lm_stop_string){text, len};
        text += len + 1;
    }
    r->asked.prompt = r->tokens;
    r->asked.stop_tokens = stop_tokens;
    r->asked.stop_strings = NULL;
    return lm_text_init(&r->text, r->max_tokens * e->longest_token, r->stops, asked->n_stop_strings,
                        err);
}

int32_t lm_engine_add(struct lm_engine *e, const struct lm_request *asked, uint64_t *ret_id,
                      struct num_err *err) {
    int32_t status = check_request(e, asked, err);
    struct request *r = status ? NULL : calloc(1, sizeof *r), **end = &e->waiting;
    if (status)
        return status;
    if (!r)
        return num_fail_memory(err, "a request", sizeof *r);
    uint32_t room = e->plan.context - asked->n_prompt;
    r->asked = *asked;
    r->n_prompt = r->n_tokens = asked->n_prompt;
    r->max_tokens = asked->max_tokens && asked->max_tokens < room ? asked->max_tokens : room;
    r->n_pages = (r->n_prompt + r->max_tokens + LM_PAGE - 1) / LM_PAGE;
    status = copy_request(e, r, asked, err);
    if (status) {
        request_free(r);
        return status;
    }
    r->id = ++e->last_id;
    while (*end)
        end = &(*end)->next;
    *end = r;
    e->n_waiting++;
    *ret_id = r->id;
    return SLUICE_OK;
}

/* ---- Ending --------------------------------------------------------------------------------- */

/* Tells the request's owner and frees it; it is in no list any more. */
static void end_request(struct lm_engine *e, struct request *r, enum lm_end why) {
    struct lm_result result = {.id = r->id,
                               .end = why,
                               .tokens = r->tokens + r->n_prompt,
                               .logprobs = r->logprobs,
                               .n_tokens = r->n_tokens - r->n_prompt,
                               .n_prompt = r->n_prompt,
                               .n_cached = r->n_cached,
                               .err = why == LM_END_FAILED ? &e->err : NULL};
    size_t shown = r->text.clean_len;
    lm_text_end(&r->text);
    if (r->asked.text && r->text.clean_len > shown)
        r->asked.text(r->asked.ctx, r->text.clean + shown, r->text.clean_len - shown);
    result.text = r->text.clean;
    result.text_len = r->text.clean_len;
    if (r->asked.done)
        r->asked.done(r->asked.ctx, &result);
    request_free(r);
}

/* The same for one that holds pages. */
static void end_active(struct lm_engine *e, struct request *r, enum lm_end why) {
    lm_pages_give(e->pages, r->pages, r->n_pages);
    end_request(e, r, why);
}

static bool is_cancelled(const struct request *r) {
    return r->cancelled || (r->asked.cancelled && r->asked.cancelled(r->asked.ctx));
}

/* Ends what is to be cancelled. */
static void sweep(struct lm_engine *e) {
    for (struct request **at = &e->waiting; *at;) {
        struct request *r = *at;
        if (!is_cancelled(r)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        e->n_waiting--;
        end_request(e, r, LM_END_CANCELLED);
    }
    if (e->prompt && is_cancelled(e->prompt)) {
        struct request *r = e->prompt;
        e->prompt = NULL;
        end_active(e, r, LM_END_CANCELLED);
    }
    for (uint32_t i = 0; i < e->n_rows;) {
        struct request *r = e->rows[i];
        if (!is_cancelled(r)) {
            i++;
            continue;
        }
        memmove(&e->rows[i], &e->rows[i + 1], (--e->n_rows - i) * sizeof *e->rows);
        end_active(e, r, LM_END_CANCELLED);
    }
}

void lm_engine_cancel(struct lm_engine *e, uint64_t id) {
    for (struct request *r = e->waiting; r; r = r->next)
        r->cancelled |= r->id == id;
    if (e->prompt)
        e->prompt->cancelled |= e->prompt->id == id;
    for (uint32_t i = 0; i < e->n_rows; i++)
        if (e->rows[i])
            e->rows[i]->cancelled |= e->rows[i]->id == id;
    if (!e->in_step)
        sweep(e);
}

/* ---- Tokens --------------------------------------------------------------------------------- */

static bool is_end(const struct lm_engine *e, const struct request *r, int32_t token) {
    const struct lm_config *c = &e->model->config;
    for (uint32_t i = 0; !r->asked.ignore_eos && i < c->n_eos; i++)
        if (c->eos[i] == token)
            return true;
    for (uint32_t i = 0; i < r->asked.n_stop_tokens; i++)
        if (r->asked.stop_tokens[i] == token)
            return true;
    return false;
}

/* Adds the token's bytes; true where a stop string is complete. */
static bool add_text(const struct lm_engine *e, struct request *r, int32_t token) {
    size_t shown = r->text.clean_len, len = 0;
    const uint8_t *bytes =
        e->model->tokenizer ? lm_tokenizer_bytes(e->model->tokenizer, token, &len) : NULL;
    bool stop = lm_text_add(&r->text, bytes, len);
    if (r->asked.text && r->text.clean_len > shown)
        r->asked.text(r->asked.ctx, r->text.clean + shown, r->text.clean_len - shown);
    return stop;
}

static bool is_plain(const struct request *r) {
    return lm_sample_is_plain(&r->asked.sampling, &r->asked.constraint);
}

/* Chooses the next token from its logits, or takes the one that `chosen` (or NULL) has for plain
 * sampling; false: the request is over, *ret_end says why. */
static bool take_token(struct lm_engine *e, struct request *r, const float *logits,
                       const struct choice *chosen, enum lm_end *ret_end) {
    uint32_t n = r->n_tokens - r->n_prompt;
    float logprob = 0;
    int32_t token;
    if (chosen && is_plain(r)) {
        token = chosen->token;
        logprob = chosen->logprob;
    } else {
        token = lm_sample(&e->sampler, logits, &r->asked.sampling, &r->asked.constraint, r->tokens,
                          r->n_tokens, r->n_prompt, n, &logprob);
    }
    *ret_end = LM_END_CONSTRAINT;
    if (token < 0)
        return false;
    if (r->asked.logits)
        r->asked.logits(r->asked.ctx, logits, token);
    if (r->asked.constraint.accept)
        r->asked.constraint.accept(r->asked.constraint.ctx, token);
    *ret_end = LM_END_STOP;
    if (is_end(e, r, token))
        return false;
    r->logprobs[n] = logprob;
    r->tokens[r->n_tokens++] = token;
    e->stats.n_tokens++;
    *ret_end = LM_END_STRING;
    if (add_text(e, r, token))
        return false;
    *ret_end = LM_END_LENGTH;
    return n + 1 < r->max_tokens;
}

/* ---- Steps ---------------------------------------------------------------------------------- */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The first in the line begins, where there is room for it. */
static void admit(struct lm_engine *e) {
    struct request *r = e->waiting;
    if (!r || e->prompt || e->n_rows == e->plan.n_requests)
        return;
    uint32_t n_cached;
    if (!lm_pages_take(e->pages, r->tokens, r->n_prompt, r->n_pages, r->pages, &n_cached))
        return;
    e->waiting = r->next;
    e->n_waiting--;
    r->next = NULL;
    r->n_computed = r->n_cached = n_cached * LM_PAGE;
    e->stats.n_cached_tokens += r->n_cached;
    e->prompt = r;
}

static bool stop_prompt(void *ctx) {
    return is_cancelled(ctx);
}

/* Pages that the prompt's tokens [first, end) have completed may be shared from now on. */
static void share_pages(struct lm_engine *e, struct request *r, uint32_t first, uint32_t end) {
    for (uint32_t i = first / LM_PAGE; i < end / LM_PAGE; i++)
        lm_pages_fill(e->pages, r->pages, i, r->tokens + i * LM_PAGE);
}

/* The pass of n items of one prompt; false: it was stopped. */
static bool pass_prompt(struct lm_engine *e, struct request *r, uint32_t n, bool logits,
                        int32_t *ret_status) {
    bool stopped = false;
    *ret_status = SLUICE_OK;
    if (!e->cpu)
        *ret_status = e->model->card->prompt(e->on_card, e->items, n, logits, stop_prompt, r,
                                             &stopped, &e->err);
    else
        stopped = !lm_cpu_prompt(e->cpu, e->items, n, logits, stop_prompt, r);
    return !stopped;
}

/* Logits of item i of the last pass. */
static const float *logits_of(const struct lm_engine *e, uint32_t i) {
    if (!e->cpu)
        return e->model->card->logits(e->on_card) + (size_t)i * e->model->config.n_vocab;
    return e->cpu->logits + i * e->cpu->ld_logits;
}

static int32_t step_prompt(struct lm_engine *e) {
    struct request *r = e->prompt;
    uint32_t first = r->n_computed, left = r->n_prompt - first;
    uint32_t n = left < LM_CHUNK ? left : LM_CHUNK;
    enum lm_end why;
    int32_t status;
    for (uint32_t i = 0; i < n; i++)
        e->items[i] = (struct lm_item){r->tokens[first + i], first + i, r->pages};
    bool done = pass_prompt(e, r, n, n == left, &status);
    if (status)
        return status;
    if (!done) {
        e->prompt = NULL;
        end_active(e, r, LM_END_CANCELLED);
        return SLUICE_OK;
    }
    r->n_computed += n;
    e->stats.n_prompt_tokens += n;
    share_pages(e, r, first, first + n);
    if (n < left)
        return SLUICE_OK;
    bool goes_on = take_token(e, r, logits_of(e, 0), NULL, &why);
    e->prompt = NULL;
    if (goes_on)
        e->rows[e->n_rows++] = r;
    else
        end_active(e, r, why);
    return SLUICE_OK;
}

static void choose(void *ctx, uint32_t index, uint32_t thread) {
    struct lm_engine *e = ctx;
    struct choice *to = &e->choices[index];
    (void)thread;
    if (is_plain(e->rows[index]))
        to->token = lm_sample_plain(logits_of(e, index), e->model->config.n_vocab, &to->logprob);
}

static int32_t step_tokens(struct lm_engine *e) {
    struct request *rows[LM_MAX_REQUESTS];
    uint32_t n = e->n_rows, kept = 0;
    enum lm_end why[LM_MAX_REQUESTS];
    for (uint32_t i = 0; i < n; i++) {
        struct request *r = e->rows[i];
        e->items[i] = (struct lm_item){r->tokens[r->n_computed], r->n_computed, r->pages};
    }
    if (e->cpu) {
        lm_cpu_tokens(e->cpu, e->items, n);
    } else {
        int32_t status = e->model->card->tokens(e->on_card, e->items, n, &e->err);
        if (status)
            return status;
    }
    if (n > 1) /* a row of a large vocabulary takes longer than waking the threads */
        num_pool_run(e->model->pool, n, choose, e);
    for (uint32_t i = 0; i < n; i++) {
        struct request *r = rows[i] = e->rows[i];
        r->n_computed++;
        if (take_token(e, r, logits_of(e, i), n > 1 ? &e->choices[i] : NULL, &why[i]))
            rows[i] = NULL;
    }
    for (uint32_t i = 0; i < n; i++)
        if (!rows[i])
            e->rows[kept++] = e->rows[i];
    e->n_rows = kept;
    for (uint32_t i = 0; i < n; i++)
        if (rows[i])
            end_active(e, rows[i], why[i]);
    return SLUICE_OK;
}

/* A card that has failed once is not asked for what is under way: it may have lost all keys and
 * values. */
static void fail_all(struct lm_engine *e) {
    struct request *waiting = e->waiting, *prompt = e->prompt, *rows[LM_MAX_REQUESTS];
    uint32_t n_rows = e->n_rows;
    memcpy(rows, e->rows, n_rows * sizeof *rows);
    e->waiting = e->prompt = NULL;
    e->n_waiting = e->n_rows = 0;
    if (prompt)
        end_active(e, prompt, LM_END_FAILED);
    for (uint32_t i = 0; i < n_rows; i++)
        end_active(e, rows[i], LM_END_FAILED);
    while (waiting) {
        struct request *r = waiting;
        waiting = r->next;
        end_request(e, r, LM_END_FAILED);
    }
}

int32_t lm_engine_step(struct lm_engine *e, uint32_t *ret_n_left, struct num_err *err) {
    if (e->in_step)
        return num_fail(err, SLUICE_INTERNAL, "lm_engine_step() was called from a callback of it");
    double start = seconds();
    e->in_step = true;
    sweep(e);
    admit(e);
    bool prompt = e->prompt && (e->prompts_turn || e->n_rows == 0);
    e->prompts_turn = !prompt;
    int32_t status = prompt ? step_prompt(e) : e->n_rows ? step_tokens(e) : SLUICE_OK;
    if (status)
        fail_all(e);
    sweep(e);
    e->in_step = false;
    *(prompt ? &e->stats.prompt_s : &e->stats.token_s) += seconds() - start;
    *ret_n_left = e->n_rows + (e->prompt != NULL) + e->n_waiting;
    if (status && err)
        *err = e->err;
    return status;
}

static bool is_left(const struct lm_engine *e, uint64_t id) {
    for (const struct request *r = e->waiting; r; r = r->next)
        if (r->id == id)
            return true;
    for (uint32_t i = 0; i < e->n_rows; i++)
        if (e->rows[i]->id == id)
            return true;
    return e->prompt && e->prompt->id == id;
}

int32_t lm_engine_run(struct lm_engine *e, const struct lm_request *request, struct num_err *err) {
    uint64_t id;
    uint32_t n_left;
    int32_t status = lm_engine_add(e, request, &id, err);
    while (!status && is_left(e, id))
        status = lm_engine_step(e, &n_left, err);
    return status;
}

/*
 * Generation: requests go in, are worked on together (continuous batching), and text comes out.
 *
 *     lm_engine_create(model, &limits, &engine, &err);
 *     lm_engine_add(engine, &request, &id, &err);          any number; they wait for room
 *     while (!lm_engine_step(engine, &n_left, &err) && n_left)
 *         ;                                                callbacks run inside a step
 *
 * A step is one piece of one request's prompt, or one token of every request that is past its
 * prompt; the two take turns. What a request yields depends neither on the others nor on the number
 * of threads, to the bit. An engine belongs to one thread. Nothing is allocated by a step.
 *
 * Keys and values live in pages of 32 positions. A page that a prompt has filled is kept until its
 * room is wanted, so that a later prompt with the same beginning (a shared system prompt) takes it
 * over and only the rest is computed.
 */
#ifndef LM_GENERATE_H
#define LM_GENERATE_H

#include "llm/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The plan ------------------------------------------------------------------------------- */

enum lm_kv_type {
    LM_KV_AUTO, /* F32 where the model computes in LM_F32, else F16 */
    LM_KV_F32,
    LM_KV_F16,
    LM_KV_Q8, /* bytes with one scale for each position and head */
};

#define LM_MAX_REQUESTS 64

struct lm_limits {
    uint32_t n_requests; /* worked on at the same time, 1 to LM_MAX_REQUESTS */
    uint32_t context; /* prompt and answer of one request, tokens; 0: as much as the memory takes,
                            at most the model's own */
    uint64_t memory;  /* weights, keys and values and buffers, bytes; 0: any */
    uint32_t n_full;  /* keys and values for so many requests of full length; 0: for all */
    enum lm_kv_type kv;
};

struct lm_plan {
    uint32_t n_requests;
    uint32_t context;
    uint32_t n_pages; /* of 32 positions each, shared by all requests */
    enum lm_kv_type kv;
    uint64_t weight_bytes, kv_bytes, work_bytes; /* what the engine's memory is made of */
};

/*
 * What an engine with these limits takes; decides without allocating. With `context` 0 and little
 * memory the context shrinks (not below 256); pages for all requests at full length are taken where
 * there is memory, else fewer, which then wait for each other. SLUICE_RESOURCE, with the numbers,
 * where the memory is too small; SLUICE_INPUT where the context is longer than the model's.
 */
int32_t lm_plan(const struct lm_model *model, const struct lm_limits *limits, struct lm_plan *ret,
                struct num_err *err);

/* ---- Requests ------------------------------------------------------------------------------- */

/* Zeroed: greedy. The order: penalties, constraint, temperature, top-k, top-p, min-p. */
struct lm_sampling {
    float temperature;        /* 0: the likeliest token */
    uint32_t top_k;           /* 0: all */
    float top_p;              /* of (0, 1]; 0 or 1: all */
    float min_p;              /* of the likeliest token's probability; 0: all */
    float repetition_penalty; /* logits of tokens of prompt and answer: divided where positive, else
                                 multiplied; 0 or 1: none */
    float presence_penalty, frequency_penalty; /* taken off logits of tokens of the answer */
    uint64_t seed; /* the same seed, request and model give the same text */
};

/*
 * What tokens may come next, for constrained output. `mask` sets bit t % 32 of word t / 32 for each
 * token t that may follow (the words come zeroed; n_tokens is the model's n_vocab). `allows`
 * answers for one token, cheaply: greedy decoding asks it first and the mask only after a no.
 * `accept` tells which token was taken (ends of text too). None may fail; a mask without any token
 * ends the request with LM_END_CONSTRAINT.
 */
struct lm_constraint {
    void *ctx;
    void (*mask)(void *ctx, uint32_t *allowed, uint32_t n_tokens);
    bool (*allows)(void *ctx, int32_t token); /* NULL: the mask is always asked */
    void (*accept)(void *ctx, int32_t token); /* NULL: nobody wants to know */
};

enum lm_end {
    LM_END_STOP,       /* an end-of-text token */
    LM_END_STRING,     /* a stop string, which is not part of the text */
    LM_END_LENGTH,     /* max_tokens, or the context is full */
    LM_END_CONSTRAINT, /* no token may follow */
    LM_END_CANCELLED,
    LM_END_FAILED, /* the card failed: see lm_result.err */
};

#define LM_MAX_STOP_STRINGS 16
#define LM_MAX_STOP_BYTES   256 /* of one */

struct lm_result {
    uint64_t id;
    enum lm_end end;
    const int32_t *tokens; /* of the answer, without the end-of-text token */
    const float *logprobs; /* of each: natural log of its probability before penalties,
                                  constraint and temperature */
    uint32_t n_tokens;
    const char *text; /* of the answer, valid UTF-8, NUL-terminated */
    size_t text_len;
    uint32_t n_prompt;         /* tokens of the prompt, */
    uint32_t n_cached;         /* ... of which so many were taken over */
    const struct num_err *err; /* LM_END_FAILED: what happened */
};

/* Callbacks run inside lm_engine_step() (and lm_engine_cancel()), on its thread. They may call
 * lm_engine_add() and lm_engine_cancel(). */
struct lm_request {
    const int32_t *prompt; /* copied; at least one token */
    uint32_t n_prompt;
    uint32_t max_tokens; /* of the answer; 0: until the context is full */
    struct lm_sampling sampling;
    const char *const *stop_strings; /* n_stop_strings, copied */
    uint32_t n_stop_strings;
    const int32_t *stop_tokens;      /* beside the model's own ends of text; copied */
    uint32_t n_stop_tokens;          /* at most LM_MAX_EOS */
    bool ignore_eos;                 /* the model's own ends of text are tokens like others */
    struct lm_constraint constraint; /* zeroed: none */

    void *ctx; /* of the following, each of which may be NULL */
    /* Text as it comes: whole characters, nothing that may still turn out to be a stop string. */
    void (*text)(void *ctx, const char *text, size_t len);
    /* The logits of each token that was taken (n_vocab, as the model gave them), for tests and
     * tools; borrowed for the call. */
    void (*logits)(void *ctx, const float *logits, int32_t token);
    /* Asked between the layers of the network while this request's prompt is worked on, and before
     * each token: true ends it with LM_END_CANCELLED. */
    bool (*cancelled)(void *ctx);
    /* Called once, last; the result is borrowed for the call. */
    void (*done)(void *ctx, const struct lm_result *result);
};

/* ---- The engine ----------------------------------------------------------------------------- */

struct lm_engine;

int32_t lm_engine_create(const struct lm_model *model, const struct lm_limits *limits,
                         struct lm_engine **ret, struct num_err *err);
/* Ends without a word to requests that are not done. Takes NULL. */
void lm_engine_destroy(struct lm_engine *engine);

const struct lm_plan *lm_engine_plan(const struct lm_engine *engine);

/* Takes a request; *ret_id is never 0. SLUICE_INPUT where it cannot be: a token that the model has
 * not, a prompt that leaves no room for an answer in the context (with both numbers). */
int32_t lm_engine_add(struct lm_engine *engine, const struct lm_request *request, uint64_t *ret_id,
                      struct num_err *err);

/* Ends a request with LM_END_CANCELLED; one that is done or unknown is left alone. */
void lm_engine_cancel(struct lm_engine *engine, uint64_t id);

/* Works for about one token's time; *ret_n_left: requests that are not done. Where a card fails,
 * all requests end with LM_END_FAILED. */
int32_t lm_engine_step(struct lm_engine *engine, uint32_t *ret_n_left, struct num_err *err);

/* Adds the request, steps until it is done; others that are under way go on with it. */
int32_t lm_engine_run(struct lm_engine *engine, const struct lm_request *request,
                      struct num_err *err);

/* Of finished steps, for logs and measurements. */
struct lm_stats {
    uint64_t n_prompt_tokens, n_cached_tokens, n_tokens; /* computed, taken over, generated */
    double prompt_s, token_s;                            /* time spent on each */
};
struct lm_stats lm_engine_stats(const struct lm_engine *engine);

#ifdef __cplusplus
}
#endif

#endif

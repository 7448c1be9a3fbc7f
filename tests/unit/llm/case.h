/* A model of tests/data/expected/llm.json, made, loaded and asked. */
#ifndef TESTS_UNIT_LLM_CASE_H
#define TESTS_UNIT_LLM_CASE_H

#include "unit/llm/make_model.h"
#include "unit/test.h"

#include <jansson.h>

#include "llm/generate.h"

#define CASE_MAX_TOKENS 640

static inline json_t *cases_load(void) {
    json_error_t why;
    json_t *all = json_load_file(TESTS_DIR "/data/expected/llm.json", 0, &why);
    if (!all)
        TEST_FAIL("%s", why.text);
    return all;
}

static inline const json_t *case_named(const json_t *all, const char *name) {
    size_t i;
    const json_t *one;
    json_array_foreach(all, i, one) if (strcmp(json_string_value(json_object_get(one, "name")),
                                               name) == 0) return one;
    TEST_FAIL("no case %s", name);
}

static inline size_t case_tokens(const json_t *one, const char *key, int32_t *ret) {
    const json_t *list = json_object_get(one, key);
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++)
        ret[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return n;
}

static inline struct num_pool *case_pool(uint32_t n_threads) {
    struct num_pool *pool;
    struct num_err err;
    CHECK_INT(num_pool_create(n_threads, &pool, &err), 0);
    return pool;
}

/* Writes the model into a folder of its own and loads it; the files are gone after that. `card`:
 * NULL, the processor. */
static inline struct lm_model *case_model_on(const json_t *one, enum lm_compute compute,
                                             struct num_pool *pool, const struct lm_card *card) {
    char folder[TEST_PATH], path[64];
    const json_t *config = json_object_get(one, "config");
    enum num_weight_type type = lm_made_type(json_string_value(json_object_get(one, "type")));
    bool gguf = strcmp(json_string_value(json_object_get(one, "format")), "gguf") == 0;
    struct lm_model *model;
    struct num_err err = {0};
    make_test_folder(folder);
    snprintf(path, sizeof path, "%s%s", folder, gguf ? "/model.gguf" : "");
    bool two = strcmp(json_string_value(json_object_get(one, "name")), "llama2") == 0;
    if (gguf)
        lm_made_gguf(config, type, json_object_get(one, "rope_factors"), path);
    else
        lm_made_folder(config, type, two ? 2 : 1, folder);
    int32_t status = lm_model_load_on(path, compute, pool, 0, card, 0, &model, &err);
    if (status)
        TEST_FAIL("%s: %s", json_string_value(json_object_get(one, "name")), err.text);
    remove_test_files(folder);
    return model;
}

static inline struct lm_model *case_model(const json_t *one, enum lm_compute compute,
                                          struct num_pool *pool) {
    return case_model_on(one, compute, pool, NULL);
}

/* What a request yielded; `ctx` of its callbacks. */
struct answer {
    int32_t tokens[CASE_MAX_TOKENS];
    float logprobs[CASE_MAX_TOKENS];
    size_t n, n_logits;
    float *first_logits; /* (n_vocab), or NULL: not wanted */
    size_t n_vocab;
    enum lm_end end;
    uint32_t n_cached;
    bool done;
    char text[512];
    char streamed[512];
};

static inline void answer_done(void *ctx, const struct lm_result *r) {
    struct answer *a = ctx;
    CHECK(!a->done && r->n_tokens <= CASE_MAX_TOKENS && r->text_len < sizeof a->text);
    memcpy(a->tokens, r->tokens, r->n_tokens * sizeof *r->tokens);
    memcpy(a->logprobs, r->logprobs, r->n_tokens * sizeof *r->logprobs);
    memcpy(a->text, r->text, r->text_len + 1);
    a->n = r->n_tokens;
    a->end = r->end;
    a->n_cached = r->n_cached;
    a->done = true;
}

static inline void answer_text(void *ctx, const char *text, size_t len) {
    struct answer *a = ctx;
    CHECK(strlen(a->streamed) + len < sizeof a->streamed);
    strncat(a->streamed, text, len);
}

static inline void answer_logits(void *ctx, const float *logits, int32_t token) {
    struct answer *a = ctx;
    (void)token;
    if (a->first_logits && a->n_logits++ == 0)
        memcpy(a->first_logits, logits, a->n_vocab * sizeof *logits);
}

static inline struct lm_request case_request(const int32_t *prompt, size_t n, uint32_t max_tokens,
                                             struct answer *a) {
    return (struct lm_request){.prompt = prompt,
                               .n_prompt = (uint32_t)n,
                               .max_tokens = max_tokens,
                               .ignore_eos = true,
                               .ctx = a,
                               .text = answer_text,
                               .logits = answer_logits,
                               .done = answer_done};
}

static inline struct lm_engine *case_engine(const struct lm_model *model, uint32_t n_requests,
                                            uint32_t context, enum lm_kv_type kv) {
    struct lm_limits limits = {.n_requests = n_requests, .context = context, .kv = kv};
    struct lm_engine *engine;
    struct num_err err;
    if (lm_engine_create(model, &limits, &engine, &err))
        TEST_FAIL("%s", err.text);
    return engine;
}

static inline void case_run(struct lm_engine *engine, const struct lm_request *request) {
    struct num_err err;
    if (lm_engine_run(engine, request, &err))
        TEST_FAIL("%s", err.text);
}

/* How an answer differs from the reference. */
struct case_difference {
    float worst;        /* of the first logits */
    float most, spread; /* of the reference's: the largest, and their standard deviation */
    size_t n, n_agreed; /* tokens; those before the first other one */
};

/* Answers the case with at most `n_tokens` tokens. */
static inline struct case_difference case_compare(const json_t *one, const struct lm_model *model,
                                                  enum lm_kv_type kv, size_t n_tokens) {
    int32_t prompt[CASE_MAX_TOKENS], want[CASE_MAX_TOKENS];
    size_t n_prompt = case_tokens(one, "prompt", prompt), n = case_tokens(one, "tokens", want);
    const json_t *logits = json_object_get(one, "logits");
    size_t n_vocab = json_array_size(logits);
    float first[n_vocab];
    double sum = 0, squares = 0;
    struct answer a = {.first_logits = first, .n_vocab = n_vocab};
    struct case_difference d = {.n = n < n_tokens ? n : n_tokens};
    struct lm_request request = case_request(prompt, n_prompt, (uint32_t)d.n, &a);
    struct lm_engine *engine = case_engine(model, 1, (uint32_t)n_prompt + 64, kv);
    case_run(engine, &request);
    CHECK_INT(a.n, d.n);
    for (size_t i = 0; i < n_vocab; i++) {
        float expected = (float)json_number_value(json_array_get(logits, i));
        d.worst = fmaxf(d.worst, fabsf(first[i] - expected));
        d.most = fmaxf(d.most, fabsf(expected));
        sum += expected;
        squares += (double)expected * expected;
    }
    d.spread =
        (float)sqrt(squares / (double)n_vocab - sum / (double)n_vocab * sum / (double)n_vocab);
    while (d.n_agreed < d.n && a.tokens[d.n_agreed] == want[d.n_agreed])
        d.n_agreed++;
    lm_engine_destroy(engine);
    return d;
}

#endif

/*
 * Language models on the card beside transformers (tools/reference/llm.py): in floats the same
 * tokens, of every family and type of weights; in bfloat16 and with keys and values of fewer bits
 * within bounds.
 */
#include "unit/llm/case.h"

#include "llm/card.h"

#define LOGIT_BOUND 5e-5f /* as on the processor */

/* Largest difference of the first logits from the reference; *ret_agree: tokens before the first
 * other one. */
static float compare(const json_t *one, const struct lm_model *model, enum lm_kv_type kv,
                     size_t n_tokens, size_t *ret_agree, float *ret_most) {
    int32_t prompt[CASE_MAX_TOKENS], want[CASE_MAX_TOKENS];
    size_t n_prompt = case_tokens(one, "prompt", prompt), n = case_tokens(one, "tokens", want);
    const json_t *logits = json_object_get(one, "logits");
    size_t n_vocab = json_array_size(logits);
    float first[n_vocab], worst = 0;
    struct answer a = {.first_logits = first, .n_vocab = n_vocab};
    n = n < n_tokens ? n : n_tokens;
    struct lm_request request = case_request(prompt, n_prompt, (uint32_t)n, &a);
    struct lm_engine *engine = case_engine(model, 1, (uint32_t)n_prompt + 64, kv);
    case_run(engine, &request);
    CHECK_INT(a.n, n);
    *ret_most = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        float want_logit = (float)json_number_value(json_array_get(logits, i));
        worst = fmaxf(worst, fabsf(first[i] - want_logit));
        *ret_most = fmaxf(*ret_most, fabsf(want_logit));
    }
    for (*ret_agree = 0; *ret_agree < n && a.tokens[*ret_agree] == want[*ret_agree];)
        ++*ret_agree;
    lm_engine_destroy(engine);
    return worst;
}

/* What differs on the host alone, or in nothing new, is left out: the processor's test has it. */
static bool is_wanted(const char *name) {
    static const char *const others[] = {
        "llama-linear", "llama-dynamic", "llama-yarn", "llama-long", "llama3",    "mistral-window",
        "qwen2",        "llama3-gguf",   "llama-F32",  "qwen2-Q8_0", "qwen3-Q4_K"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0)
            return false;
    return true;
}

TEST(floats_are_exact) {
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(1);
    const json_t *one;
    size_t i;
    json_array_foreach(all, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        size_t agree, n = strstr(name, "long") ? 2 : 3;
        float most;
        if (!is_wanted(name))
            continue;
        struct lm_model *model = case_model_on(one, LM_F32, pool, &lm_card_cuda);
        float worst = compare(one, model, LM_KV_AUTO, n, &agree, &most);
        printf("  %-19s logits within %.1e, tokens %zu of %zu\n", name, worst, agree, n);
        if (!(worst < LOGIT_BOUND) || agree != n)
            TEST_FAIL("%s: logits off by %g, %zu of %zu tokens", name, worst, agree, n);
        lm_model_free(model);
    }
    num_pool_destroy(pool);
    json_decref(all);
}

/* A prompt's rows are bfloat16: eight bits of every number. */
TEST(fast_paths_stay_within_bounds) {
    static const struct {
        const char *name;
        enum lm_compute compute;
        enum lm_kv_type kv;
        float bound; /* of the largest logit */
    } ways[] = {{"llama-Q4_K", LM_AUTO, LM_KV_F16, 0.02f},
                {"qwen3", LM_BF16, LM_KV_Q8, 0.05f},
                {"llama-F16", LM_F32, LM_KV_F16, 0.002f},
                {"llama-Q8_0", LM_F32, LM_KV_Q8, 0.05f}};
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(1);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        const json_t *one = case_named(all, ways[w].name);
        struct lm_model *model = case_model_on(one, ways[w].compute, pool, &lm_card_cuda);
        size_t agree;
        float most, off = compare(one, model, ways[w].kv, 3, &agree, &most);
        printf("  %-19s logits within %.4f of the largest, tokens %zu of 3\n", ways[w].name,
               off / most, agree);
        if (!(off < ways[w].bound * most) || agree == 0)
            TEST_FAIL("%s: logits off by %g of %g", ways[w].name, off, most);
        lm_model_free(model);
    }
    num_pool_destroy(pool);
    json_decref(all);
}

/* 600 positions are two parts, and a short request beside them sees one. Both take over the
 * prompt's pages. */
TEST(parts_of_a_long_text) {
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(1);
    const json_t *one = case_named(all, "llama-long");
    int32_t prompt[CASE_MAX_TOKENS], want[CASE_MAX_TOKENS];
    size_t n_prompt = case_tokens(one, "prompt", prompt);
    struct lm_model *model = case_model_on(one, LM_F32, pool, &lm_card_cuda);
    struct lm_engine *e = case_engine(model, 2, 640, LM_KV_AUTO);
    struct answer long_one = {0}, short_one = {0};
    struct lm_request a = case_request(prompt, n_prompt, 4, &long_one);
    struct lm_request b = case_request(prompt, 20, 30, &short_one);
    struct num_err err;
    uint64_t id;
    uint32_t left = 1;
    case_tokens(one, "tokens", want);
    CHECK_INT(lm_engine_add(e, &b, &id, &err), 0);
    CHECK_INT(lm_engine_add(e, &a, &id, &err), 0);
    while (left && !long_one.done)
        CHECK_INT(lm_engine_step(e, &left, &err), 0);
    CHECK_INT(long_one.n, 4);
    CHECK(memcmp(long_one.tokens, want, 4 * sizeof *want) == 0);
    lm_engine_destroy(e);
    lm_model_free(model);
    num_pool_destroy(pool);
    json_decref(all);
}

TEST_MAIN()

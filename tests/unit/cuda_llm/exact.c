/*
 * Language models on the card beside transformers (tools/reference/llm.py): in floats the same
 * tokens, of every family and type of weights; in bfloat16 and with keys and values of fewer bits
 * within bounds.
 */
#include "unit/llm/case.h"

#include "llm/card.h"

#define LOGIT_BOUND 5e-5f /* as on the processor */

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
        if (!is_wanted(name))
            continue;
        struct lm_model *model = case_model_on(one, LM_F32, pool, &lm_card_cuda);
        struct case_difference d =
            case_compare(one, model, LM_KV_AUTO, strstr(name, "long") ? 2 : 3);
        printf("  %-19s logits within %.1e, tokens %zu of %zu\n", name, d.worst, d.n_agreed, d.n);
        if (!(d.worst < LOGIT_BOUND) || d.n_agreed != d.n)
            TEST_FAIL("%s: logits off by %g, %zu of %zu tokens", name, d.worst, d.n_agreed, d.n);
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
        struct case_difference d = case_compare(one, model, ways[w].kv, 3);
        printf("  %-19s logits within %.4f of the largest, tokens %zu of 3\n", ways[w].name,
               d.worst / d.most, d.n_agreed);
        if (!(d.worst < ways[w].bound * d.most) || d.n_agreed == 0)
            TEST_FAIL("%s: logits off by %g of %g", ways[w].name, d.worst, d.most);
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

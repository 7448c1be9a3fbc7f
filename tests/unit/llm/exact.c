/*
 * Random models of every family and type of weights beside transformers (tools/reference/llm.py):
 * exact in floats, within bounds where inputs and weights are rounded.
 */
#include "unit/llm/case.h"

#define LOGIT_BOUND 5e-5f /* of float sums in another order, for logits near 3 */

static float spread(const float *x, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    return (float)sqrt(squares / (double)n - sum / (double)n * sum / (double)n);
}

/* Largest difference of the first logits from the reference, and how many tokens agree. */
static float compare(const json_t *one, const struct lm_model *model, enum lm_kv_type kv,
                     size_t *ret_agree, size_t *ret_n, float *ret_spread) {
    int32_t prompt[CASE_MAX_TOKENS], want[CASE_MAX_TOKENS];
    size_t n_prompt = case_tokens(one, "prompt", prompt), n = case_tokens(one, "tokens", want);
    const json_t *logits = json_object_get(one, "logits");
    size_t n_vocab = json_array_size(logits);
    float first[n_vocab], expected[n_vocab], worst = 0;
    struct answer a = {.first_logits = first, .n_vocab = n_vocab};
    struct lm_request request = case_request(prompt, n_prompt, (uint32_t)n, &a);
    struct lm_engine *engine = case_engine(model, 1, (uint32_t)n_prompt + 64, kv);
    case_run(engine, &request);
    CHECK_INT(a.n, n);
    for (size_t i = 0; i < n_vocab; i++) {
        expected[i] = (float)json_number_value(json_array_get(logits, i));
        worst = fmaxf(worst, fabsf(first[i] - expected[i]));
    }
    *ret_spread = spread(expected, n_vocab);
    *ret_n = n;
    for (*ret_agree = 0; *ret_agree < n && a.tokens[*ret_agree] == want[*ret_agree];)
        ++*ret_agree;
    lm_engine_destroy(engine);
    return worst;
}

TEST(floats_are_exact) {
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(2);
    const json_t *one;
    size_t i;
    json_array_foreach(all, i, one) {
        struct lm_model *model = case_model(one, LM_F32, pool);
        const char *name = json_string_value(json_object_get(one, "name"));
        size_t agree, n;
        float size, worst = compare(one, model, LM_KV_AUTO, &agree, &n, &size);
        printf("  %-18s logits within %.1e, tokens %zu of %zu\n", name, worst, agree, n);
        if (!(worst < LOGIT_BOUND) || agree != n)
            TEST_FAIL("%s: logits off by %g, %zu of %zu tokens", name, worst, agree, n);
        lm_model_free(model);
    }
    num_pool_destroy(pool);
    json_decref(all);
}

/* bfloat16 and bytes: 8 bits of every number, errors of some hundred terms; keys and values in 16
 * bits. The bound is a share of the logits' spread. */
TEST(fast_paths_stay_within_bounds) {
    static const struct {
        enum lm_compute compute;
        enum lm_kv_type kv;
        float bound;
    } ways[] = {{LM_AUTO, LM_KV_AUTO, 0.15f},
                {LM_BF16, LM_KV_Q8, 0.2f},
                {LM_INT8, LM_KV_F16, 0.3f},
                {LM_F32, LM_KV_F16, 0.01f},
                {LM_F32, LM_KV_Q8, 0.2f}};
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(2);
    const json_t *one;
    size_t i;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        size_t total = 0, agreed = 0;
        float worst = 0;
        json_array_foreach(all, i, one) {
            struct lm_model *model = case_model(one, ways[w].compute, pool);
            size_t agree, n;
            float size, off = compare(one, model, ways[w].kv, &agree, &n, &size);
            worst = fmaxf(worst, off / size);
            if (!(off < ways[w].bound * size))
                TEST_FAIL("%s: logits off by %g where they spread by %g",
                          json_string_value(json_object_get(one, "name")), off, size);
            total += n;
            agreed += agree;
            lm_model_free(model);
        }
        printf("  way %zu: logits within %.3f of their spread, %zu of %zu tokens before the first "
               "other one\n",
               w, worst, agreed, total);
    }
    num_pool_destroy(pool);
    json_decref(all);
}

TEST_MAIN()

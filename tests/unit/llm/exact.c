/*
 * Random models of every family and type of weights beside transformers (tools/reference/llm.py):
 * exact in floats, within bounds where inputs and weights are rounded.
 */
#include "unit/llm/case.h"

#define LOGIT_BOUND 5e-5f /* of float sums in another order, for logits near 3 */

TEST(floats_are_exact) {
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(2);
    const json_t *one;
    size_t i;
    json_array_foreach(all, i, one) {
        struct lm_model *model = case_model(one, LM_F32, pool);
        const char *name = json_string_value(json_object_get(one, "name"));
        struct case_difference d = case_compare(one, model, LM_KV_AUTO, CASE_MAX_TOKENS);
        printf("  %-18s logits within %.1e, tokens %zu of %zu\n", name, d.worst, d.n_agreed, d.n);
        if (!(d.worst < LOGIT_BOUND) || d.n_agreed != d.n)
            TEST_FAIL("%s: logits off by %g, %zu of %zu tokens", name, d.worst, d.n_agreed, d.n);
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
            struct case_difference d = case_compare(one, model, ways[w].kv, CASE_MAX_TOKENS);
            worst = fmaxf(worst, d.worst / d.spread);
            if (!(d.worst < ways[w].bound * d.spread))
                TEST_FAIL("%s: logits off by %g where they spread by %g",
                          json_string_value(json_object_get(one, "name")), d.worst, d.spread);
            total += d.n;
            agreed += d.n_agreed;
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

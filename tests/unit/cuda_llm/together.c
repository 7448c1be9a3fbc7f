/*
 * Requests together on a card: the same to the bit as alone.
 */
#include "unit/llm/case.h"

#include "llm/card.h"

#define N_REQUESTS 4

/* Requests of different lengths, at most `at_once` at a time. */
static void run_all(const json_t *one, const struct lm_model *model, uint32_t at_once,
                    struct answer *answers) {
    int32_t prompt[CASE_MAX_TOKENS];
    size_t n = case_tokens(one, "prompt", prompt);
    struct lm_engine *e = case_engine(model, at_once, 64, LM_KV_AUTO);
    struct num_err err;
    uint32_t left = 1;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        uint64_t id;
        struct lm_request r =
            case_request(prompt + 5 * i, n - 8 * i, (uint32_t)(2 + i % 2), &answers[i]);
        CHECK_INT(lm_engine_add(e, &r, &id, &err), 0);
    }
    while (left)
        CHECK_INT(lm_engine_step(e, &left, &err), 0);
    lm_engine_destroy(e);
}

TEST(together_as_alone) {
    static const char *const names[] = {"llama-Q4_K"};
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(1);
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const json_t *one = case_named(all, names[n]);
        struct lm_model *model = case_model_on(one, LM_AUTO, pool, &lm_card_cuda);
        struct answer alone[N_REQUESTS] = {0}, together[N_REQUESTS] = {0};
        run_all(one, model, 1, alone);
        run_all(one, model, N_REQUESTS, together);
        for (size_t i = 0; i < N_REQUESTS; i++) {
            const struct answer *a = &alone[i], *b = &together[i];
            CHECK(a->done && b->done && a->n == b->n && a->n > 0);
            CHECK(memcmp(a->tokens, b->tokens, a->n * sizeof *a->tokens) == 0);
            CHECK(memcmp(a->logprobs, b->logprobs, a->n * sizeof *a->logprobs) == 0);
        }
        lm_model_free(model);
    }
    num_pool_destroy(pool);
    json_decref(all);
}

TEST_MAIN()

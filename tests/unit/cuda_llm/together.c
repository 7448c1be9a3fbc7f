/*
 * Requests together on a card: the same to the bit as alone.
 */
#include "unit/llm/case.h"

#include "llm/card.h"

#define N_REQUESTS 4

/* Requests of different lengths, at most `at_once` at a time, or one after the other. */
static void run_all(const json_t *one, const struct lm_model *model, uint32_t at_once, bool alone,
                    size_t n_requests, struct answer *answers) {
    int32_t prompt[CASE_MAX_TOKENS];
    size_t n = case_tokens(one, "prompt", prompt);
    struct lm_engine *e = case_engine(model, at_once, 64, LM_KV_AUTO);
    struct num_err err;
    uint32_t left = 1;
    for (size_t i = 0; i < n_requests; i++) {
        uint64_t id;
        size_t from = 5 * i % 20, len = n_requests == N_REQUESTS ? n - 8 * i : 4 + i % 7;
        struct lm_request r = case_request(prompt + from, len, (uint32_t)(2 + i % 2), &answers[i]);
        CHECK_INT(lm_engine_add(e, &r, &id, &err), 0);
        while (alone && !answers[i].done)
            CHECK_INT(lm_engine_step(e, &left, &err), 0);
    }
    for (left = 1; left;)
        CHECK_INT(lm_engine_step(e, &left, &err), 0);
    lm_engine_destroy(e);
}

static void check_equal(const struct answer *a, const struct answer *b, size_t n) {
    for (size_t i = 0; i < n; i++, a++, b++) {
        CHECK(a->done && b->done && a->n == b->n && a->n > 0);
        CHECK(memcmp(a->tokens, b->tokens, a->n * sizeof *a->tokens) == 0);
        CHECK(memcmp(a->logprobs, b->logprobs, a->n * sizeof *a->logprobs) == 0);
    }
}

TEST(together_as_alone) {
    static const char *const names[] = {"llama-Q4_K"};
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(1);
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const json_t *one = case_named(all, names[n]);
        struct lm_model *model = case_model_on(one, LM_AUTO, pool, &lm_card_cuda);
        struct answer alone[N_REQUESTS] = {0}, together[N_REQUESTS] = {0};
        run_all(one, model, 1, false, N_REQUESTS, alone);
        run_all(one, model, N_REQUESTS, false, N_REQUESTS, together);
        check_equal(alone, together, N_REQUESTS);
        lm_model_free(model);
    }
    num_pool_destroy(pool);
    json_decref(all);
}

/* With more than 8 at a time other products are used, for one too. */
TEST(many_together_as_alone) {
    enum { MANY = 10 }; /* in a small model: prompts are what takes time */
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(1);
    const json_t *one = case_named(all, "smollm");
    struct lm_model *model = case_model_on(one, LM_AUTO, pool, &lm_card_cuda);
    struct answer *alone = calloc(MANY, sizeof *alone), *together = calloc(MANY, sizeof *together);
    CHECK(alone && together);
    run_all(one, model, MANY, true, MANY, alone);
    run_all(one, model, MANY, false, MANY, together);
    check_equal(alone, together, MANY);
    memset(together, 0, 2 * sizeof *together);
    run_all(one, model, 2, true, 2, together); /* by the other products nearly the same */
    for (size_t i = 0; i < 2; i++) {
        CHECK_INT(together[i].tokens[0], alone[i].tokens[0]);
        CHECK_NEAR(together[i].logprobs[1], alone[i].logprobs[1], 0.05);
    }
    free(alone);
    free(together);
    lm_model_free(model);
    num_pool_destroy(pool);
    json_decref(all);
}

/* A prompt of which the cache holds a page goes through the same products as the whole one. */
TEST(cached_as_uncached) {
    json_t *all = cases_load();
    struct num_pool *pool = case_pool(1);
    struct lm_model *model =
        case_model_on(case_named(all, "llama-Q4_K"), LM_AUTO, pool, &lm_card_cuda);
    struct lm_engine *e = case_engine(model, 1, 64, LM_KV_AUTO);
    struct answer first = {0}, again = {0};
    int32_t prompt[CASE_MAX_TOKENS];
    size_t n = case_tokens(case_named(all, "llama-Q4_K"), "prompt", prompt);
    struct lm_request a = case_request(prompt, n, 3, &first),
                      b = case_request(prompt, n, 3, &again);
    case_run(e, &a);
    case_run(e, &b);
    CHECK(first.n_cached == 0 && again.n_cached == 32 && first.n == 3 && again.n == 3);
    CHECK(memcmp(first.tokens, again.tokens, 3 * sizeof *first.tokens) == 0);
    CHECK(memcmp(first.logprobs, again.logprobs, 3 * sizeof *first.logprobs) == 0);
    lm_engine_destroy(e);
    lm_model_free(model);
    num_pool_destroy(pool);
    json_decref(all);
}

TEST_MAIN()

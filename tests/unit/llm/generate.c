/*
 * The engine: requests together and alone, pages taken over, limits, ends and cancellation. With
 * the random models of case.h; results are compared to the bit.
 */
#include "unit/llm/case.h"

#define N_REQUESTS 5

struct fixture {
    json_t *all;
    const json_t *one;
    struct num_pool *pool;
    struct lm_model *model;
    int32_t prompt[CASE_MAX_TOKENS];
    size_t n_prompt;
};

static void setup(struct fixture *f, const char *name, enum lm_compute compute, uint32_t threads) {
    f->all = cases_load();
    f->one = case_named(f->all, name);
    f->pool = case_pool(threads);
    f->model = case_model(f->one, compute, f->pool);
    f->n_prompt = case_tokens(f->one, "prompt", f->prompt);
}

static void finish(struct fixture *f) {
    lm_model_free(f->model);
    num_pool_destroy(f->pool);
    json_decref(f->all);
}

/* Request number i: prompts and answers of different lengths, some of them sampled. */
static struct lm_request numbered(struct fixture *f, size_t i, struct answer *a) {
    struct lm_request r =
        case_request(f->prompt + i, f->n_prompt - 7 * i, (uint32_t)(12 + 3 * i), a);
    if (i % 2) {
        r.sampling = (struct lm_sampling){
            .temperature = 0.9f, .top_k = 20, .top_p = 0.9f, .repetition_penalty = 1.2f};
        r.sampling.seed = i;
    }
    return r;
}

static void same(const struct answer *a, const struct answer *b) {
    CHECK_INT(a->n, b->n);
    CHECK(memcmp(a->tokens, b->tokens, a->n * sizeof *a->tokens) == 0);
    CHECK(memcmp(a->logprobs, b->logprobs, a->n * sizeof *a->logprobs) == 0);
    CHECK_STR(a->text, b->text);
    CHECK_STR(a->streamed, a->text);
}

/* All requests at a time of `at_once`; answers by number. */
static void run_all(struct fixture *f, uint32_t at_once, struct answer *answers) {
    struct lm_engine *e = case_engine(f->model, at_once, 128, LM_KV_AUTO);
    struct num_err err;
    uint32_t left = 1;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        uint64_t id;
        struct lm_request r = numbered(f, i, &answers[i]);
        answers[i] = (struct answer){0};
        CHECK_INT(lm_engine_add(e, &r, &id, &err), 0);
    }
    while (left)
        CHECK_INT(lm_engine_step(e, &left, &err), 0);
    for (size_t i = 0; i < N_REQUESTS; i++)
        CHECK(answers[i].done && answers[i].end == LM_END_LENGTH);
    lm_engine_destroy(e);
}

TEST(together_as_alone) {
    static const char *const names[] = {"llama2", "llama-Q4_K", "qwen3"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        for (int way = 0; way < 2; way++) {
            struct fixture f;
            struct answer alone[N_REQUESTS], together[N_REQUESTS], threads[N_REQUESTS];
            setup(&f, names[n], way ? LM_BF16 : LM_F32, 1);
            run_all(&f, 1, alone);
            run_all(&f, 4, together);
            finish(&f);
            setup(&f, names[n], way ? LM_BF16 : LM_F32, 3);
            run_all(&f, 3, threads);
            finish(&f);
            for (size_t i = 0; i < N_REQUESTS; i++) {
                same(&alone[i], &together[i]);
                same(&alone[i], &threads[i]);
            }
        }
}

TEST(pages_taken_over_change_nothing) {
    struct fixture f;
    setup(&f, "llama-Q8_0", LM_BF16, 2);
    struct lm_engine *e = case_engine(f.model, 1, 128, LM_KV_AUTO);
    struct lm_engine *fresh = case_engine(f.model, 1, 128, LM_KV_AUTO);
    int32_t other[CASE_MAX_TOKENS];
    memcpy(other, f.prompt, sizeof other);
    other[39] = (other[39] + 1) % 128; /* the first page is the same */
    struct answer first = {0}, again = {0}, second = {0}, alone = {0};
    struct lm_request r = case_request(f.prompt, 40, 20, &first);
    case_run(e, &r);
    r.ctx = &again;
    case_run(e, &r);
    r = case_request(other, 40, 20, &second);
    case_run(e, &r);
    r.ctx = &alone;
    case_run(fresh, &r);
    CHECK_INT(first.n_cached, 0);
    CHECK_INT(again.n_cached, 32);
    CHECK_INT(second.n_cached, 32);
    CHECK_INT(alone.n_cached, 0);
    same(&first, &again);
    same(&second, &alone);
    other[3] = (other[3] + 1) % 128; /* now it is not */
    second = alone = (struct answer){0};
    r = case_request(other, 40, 20, &second);
    case_run(e, &r);
    CHECK_INT(second.n_cached, 0);
    lm_engine_destroy(e);
    lm_engine_destroy(fresh);
    finish(&f);
}

/* More texts than there is room for: the pages of the oldest go. */
TEST(pages_are_used_again) {
    struct fixture f;
    setup(&f, "llama2", LM_F32, 1);
    struct lm_engine *e = case_engine(f.model, 1, 64, LM_KV_F32);
    struct answer first[4] = {0}, later[4] = {0};
    int32_t prompts[4][40];
    for (size_t i = 0; i < 8; i++) {
        struct answer *a = i < 4 ? &first[i] : &later[i - 4];
        for (size_t j = 0; j < 40; j++)
            prompts[i % 4][j] = (f.prompt[j] + (int32_t)(i % 4)) % 128;
        struct lm_request r = case_request(prompts[i % 4], 40, 24, a);
        case_run(e, &r);
    }
    for (size_t i = 0; i < 4; i++)
        same(&first[i], &later[i]);
    lm_engine_destroy(e);
    finish(&f);
}

/* ---- Ends ----------------------------------------------------------------------------------- */

TEST(stop_strings_and_tokens_end_an_answer) {
    struct fixture f;
    setup(&f, "llama-dynamic", LM_F32, 1);
    struct lm_engine *e = case_engine(f.model, 1, 0, LM_KV_AUTO);
    struct answer all = {0}, string = {0}, token = {0};
    struct lm_request r = case_request(f.prompt, f.n_prompt, 24, &all);
    case_run(e, &r);
    CHECK_INT(all.end, LM_END_LENGTH);
    char stop[3] = {all.text[8], all.text[9], 0};
    const char *stops[] = {"never in it", stop};
    r = case_request(f.prompt, f.n_prompt, 24, &string);
    r.stop_strings = stops;
    r.n_stop_strings = 2;
    case_run(e, &r);
    CHECK_INT(string.end, LM_END_STRING);
    const char *found = strstr(all.text, stop);
    CHECK_INT(strlen(string.text), found - all.text);
    CHECK(strncmp(string.text, all.text, strlen(string.text)) == 0);
    CHECK_STR(string.streamed, string.text);
    r = case_request(f.prompt, f.n_prompt, 24, &token);
    r.stop_tokens = &all.tokens[5];
    r.n_stop_tokens = 1;
    case_run(e, &r);
    CHECK_INT(token.end, LM_END_STOP);
    for (size_t i = 0; i < token.n; i++)
        CHECK(token.tokens[i] != all.tokens[5]);
    lm_engine_destroy(e);
    finish(&f);
}

static bool stop_now(void *ctx) {
    (void)ctx;
    return true;
}

struct canceller {
    struct answer answer;
    struct lm_engine *engine;
    uint64_t id;
};

static void cancel_from_text(void *ctx, const char *text, size_t len) {
    struct canceller *c = ctx;
    (void)text;
    (void)len;
    lm_engine_cancel(c->engine, c->id);
}

static void cancelled_done(void *ctx, const struct lm_result *r) {
    answer_done(&((struct canceller *)ctx)->answer, r);
}

TEST(cancelling_ends_a_request_within_one_token) {
    struct fixture f;
    setup(&f, "llama2", LM_F32, 2);
    struct lm_engine *e = case_engine(f.model, 2, 128, LM_KV_AUTO);
    struct canceller c = {.engine = e};
    struct answer never = {0}, other = {0};
    struct lm_request r = case_request(f.prompt, f.n_prompt, 24, NULL);
    struct num_err err;
    uint64_t id;
    uint32_t left = 1;
    r.ctx = &c;
    r.text = cancel_from_text;
    r.done = cancelled_done;
    r.logits = NULL;
    CHECK_INT(lm_engine_add(e, &r, &c.id, &err), 0);
    r = case_request(f.prompt, f.n_prompt, 24, &never);
    r.cancelled = stop_now;
    CHECK_INT(lm_engine_add(e, &r, &id, &err), 0);
    r = case_request(f.prompt, f.n_prompt, 24, &other);
    CHECK_INT(lm_engine_add(e, &r, &id, &err), 0);
    while (left)
        CHECK_INT(lm_engine_step(e, &left, &err), 0);
    CHECK_INT(c.answer.end, LM_END_CANCELLED);
    CHECK_INT(c.answer.n, 1);
    CHECK_INT(never.end, LM_END_CANCELLED);
    CHECK_INT(never.n, 0);
    CHECK_INT(other.end, LM_END_LENGTH);
    lm_engine_cancel(e, 999);
    lm_engine_destroy(e);
    finish(&f);
}

/* ---- Constraints ----------------------------------------------------------------------------- */

struct only {
    struct answer answer;
    int32_t first, last; /* tokens that may follow */
    size_t n_masks, n_accepted;
};

static void only_mask(void *ctx, uint32_t *allowed, uint32_t n_tokens) {
    struct only *o = ctx;
    o->n_masks++;
    for (int32_t t = o->first; t <= o->last && t < (int32_t)n_tokens; t++)
        allowed[t / 32] |= 1u << (t % 32);
}

static bool only_allows(void *ctx, int32_t token) {
    struct only *o = ctx;
    return token >= o->first && token <= o->last;
}

static void only_accept(void *ctx, int32_t token) {
    struct only *o = ctx;
    CHECK(only_allows(o, token));
    o->n_accepted++;
}

static struct only constrained(struct fixture *f, struct lm_engine *e, int32_t first, int32_t last,
                               float temperature, bool ask_first) {
    struct only o = {.first = first, .last = last};
    struct lm_request r = case_request(f->prompt, f->n_prompt, 20, &o.answer);
    r.sampling.temperature = temperature;
    r.constraint =
        (struct lm_constraint){&o, only_mask, ask_first ? only_allows : NULL, only_accept};
    case_run(e, &r);
    return o;
}

TEST(constraints_choose_among_what_they_allow) {
    struct fixture f;
    setup(&f, "llama2", LM_F32, 1);
    struct lm_engine *e = case_engine(f.model, 1, 128, LM_KV_AUTO);
    struct only some = constrained(&f, e, 40, 60, 0, false);
    struct only asked = constrained(&f, e, 40, 60, 0, true);
    struct only drawn = constrained(&f, e, 40, 60, 1, true);
    struct only all = constrained(&f, e, 0, 127, 0, true);
    struct only none = constrained(&f, e, 1, 0, 0, true);
    CHECK_INT(some.answer.n, 20);
    CHECK_INT(some.n_accepted, 20);
    CHECK_INT(some.n_masks, 20);
    same(&some.answer, &asked.answer);
    CHECK_INT(drawn.answer.n, 20);
    CHECK_INT(all.n_masks, 0);
    CHECK_INT(none.answer.n, 0);
    CHECK_INT(none.answer.end, LM_END_CONSTRAINT);
    lm_engine_destroy(e);
    finish(&f);
}

/* ---- Limits --------------------------------------------------------------------------------- */

TEST(the_plan_fits_the_memory_or_says_what_is_missing) {
    struct fixture f;
    setup(&f, "llama-F32", LM_F32, 1);
    struct lm_limits limits = {.n_requests = 4, .context = 200};
    struct lm_plan all, less;
    struct num_err err = {0};
    CHECK_INT(lm_plan(f.model, &limits, &all, &err), 0);
    CHECK_INT(all.n_pages, 4 * 7);
    limits.memory = all.weight_bytes + all.work_bytes + all.kv_bytes / 2;
    CHECK_INT(lm_plan(f.model, &limits, &less, &err), 0);
    CHECK_INT(less.n_pages, 14);
    CHECK_INT(less.context, 200);
    limits.memory = all.weight_bytes + all.work_bytes + all.kv_bytes / 8;
    CHECK_INT(lm_plan(f.model, &limits, &less, &err), SLUICE_RESOURCE);
    CHECK(strstr(err.text, "a context of 200 tokens") != NULL);
    limits.context = 300;
    CHECK_INT(lm_plan(f.model, &limits, &less, &err), SLUICE_INPUT);
    CHECK(strstr(err.text, "300") && strstr(err.text, "256"));
    finish(&f);
}

TEST(requests_that_cannot_be_are_refused) {
    struct fixture f;
    setup(&f, "llama2", LM_F32, 1);
    struct lm_engine *e = case_engine(f.model, 1, 40, LM_KV_AUTO);
    struct answer a = {0};
    struct num_err err;
    uint64_t id;
    int32_t wrong = 128;
    struct lm_request r = case_request(f.prompt, 40, 1, &a);
    CHECK_INT(lm_engine_add(e, &r, &id, &err), SLUICE_INPUT);
    CHECK(strstr(err.text, "40") != NULL);
    r = case_request(&wrong, 1, 1, &a);
    CHECK_INT(lm_engine_add(e, &r, &id, &err), SLUICE_INPUT);
    r = case_request(f.prompt, 0, 1, &a);
    CHECK_INT(lm_engine_add(e, &r, &id, &err), SLUICE_INPUT);
    r = case_request(f.prompt, 30, 0, &a);
    case_run(e, &r);
    CHECK_INT(a.n, 10);
    lm_engine_destroy(e);
    finish(&f);
}

TEST(a_model_too_large_for_the_memory_is_refused_before_it_is_read) {
    json_t *all = cases_load();
    const json_t *config = json_object_get(case_named(all, "llama-F32"), "config");
    char path[TEST_PATH];
    struct num_pool *pool = case_pool(1);
    struct lm_model *model;
    struct num_err err;
    close(make_test_file(path));
    lm_made_gguf(config, NUM_WEIGHT_F32, NULL, path);
    CHECK_INT(lm_model_load(path, LM_F32, pool, 1 << 20, &model, &err), SLUICE_RESOURCE);
    CHECK(strstr(err.text, "MiB") != NULL);
    unlink(path);
    CHECK_INT(lm_model_load(path, LM_F32, pool, 0, &model, &err), SLUICE_INPUT);
    num_pool_destroy(pool);
    json_decref(all);
}

TEST_MAIN()

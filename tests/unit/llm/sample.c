/* Choosing tokens, and the text that they make, without a model. */
#include "unit/test.h"

#include "llm/sample.h"
#include "llm/text.h"

static struct lm_sampler sampler_of(uint32_t n) {
    struct lm_sampler s;
    struct num_err err;
    CHECK_INT(lm_sampler_init(&s, n, &err), 0);
    return s;
}

/* How often each of 8 tokens is drawn in n steps. */
static void draw_many(const float logits[8], struct lm_sampling how, size_t n, size_t counts[8]) {
    struct lm_sampler s = sampler_of(8);
    memset(counts, 0, 8 * sizeof *counts);
    for (size_t i = 0; i < n; i++) {
        float logprob;
        counts[lm_sample(&s, logits, &how, NULL, NULL, 0, 0, i, &logprob)]++;
    }
    lm_sampler_finish(&s);
}

static const float logits[8] = {0, 1, 2, 3, -1, 2.5f, 0.5f, -20};

static double softmax(size_t i, double temperature, const bool *kept) {
    double sum = 0;
    for (size_t j = 0; j < 8; j++)
        sum += !kept || kept[j] ? exp(logits[j] / temperature) : 0;
    return !kept || kept[i] ? exp(logits[i] / temperature) / sum : 0;
}

/* 40,000 draws: shares within 0.015 of probabilities (six standard deviations). */
static void check_shares(struct lm_sampling how, const bool *kept) {
    size_t counts[8];
    draw_many(logits, how, 40000, counts);
    for (size_t i = 0; i < 8; i++) {
        double want = softmax(i, how.temperature, kept), got = (double)counts[i] / 40000;
        if (!(fabs(got - want) < 0.015) || (want == 0 && counts[i]))
            TEST_FAIL("token %zu: %g, not %g", i, got, want);
    }
}

TEST(draws_follow_the_probabilities) {
    check_shares((struct lm_sampling){.temperature = 1}, NULL);
    check_shares((struct lm_sampling){.temperature = 2.5f, .seed = 9}, NULL);
}

TEST(top_k_keeps_the_likeliest) {
    const bool kept[8] = {[3] = true, [5] = true, [2] = true};
    check_shares((struct lm_sampling){.temperature = 1, .top_k = 3}, kept);
}

/* Probabilities: 0.43, 0.26, 0.16, 0.06 ...: 0.8 takes the three that pass it. */
TEST(top_p_keeps_what_reaches_the_sum) {
    const bool kept[8] = {[3] = true, [5] = true, [2] = true};
    check_shares((struct lm_sampling){.temperature = 1, .top_p = 0.8f}, kept);
}

/* A tenth of the likeliest's: logits above 3 - ln 10 = 0.70. */
TEST(min_p_keeps_a_share_of_the_likeliest) {
    const bool kept[8] = {[1] = true, [2] = true, [3] = true, [5] = true};
    check_shares((struct lm_sampling){.temperature = 1, .min_p = 0.1f}, kept);
}

TEST(seeds_decide) {
    struct lm_sampler s = sampler_of(8);
    size_t differ = 0;
    for (uint64_t i = 0; i < 50; i++) {
        struct lm_sampling a = {.temperature = 1, .seed = 3}, b = {.temperature = 1, .seed = 4};
        float logprob;
        int32_t first = lm_sample(&s, logits, &a, NULL, NULL, 0, 0, i, &logprob);
        CHECK_INT(lm_sample(&s, logits, &a, NULL, NULL, 0, 0, i, &logprob), first);
        CHECK(fabs(logprob - log(softmax((size_t)first, 1, NULL))) < 1e-5);
        differ += lm_sample(&s, logits, &b, NULL, NULL, 0, 0, i, &logprob) != first;
    }
    CHECK(differ > 10);
    lm_sampler_finish(&s);
}

TEST(penalties_turn_the_choice) {
    struct lm_sampler s = sampler_of(8);
    const int32_t tokens[] = {3, 5, 5};
    struct lm_sampling none = {0}, repetition = {.repetition_penalty = 1.6f};
    struct lm_sampling presence = {.presence_penalty = 0.8f},
                       frequency = {.frequency_penalty = 0.3f};
    float logprob;
    CHECK_INT(lm_sample(&s, logits, &none, NULL, tokens, 3, 0, 0, &logprob), 3);
    /* 1.9, 1.6. */
    CHECK_INT(lm_sample(&s, logits, &repetition, NULL, tokens, 3, 0, 0, &logprob), 2);
    CHECK_INT(lm_sample(&s, logits, &presence, NULL, tokens, 3, 0, 0, &logprob), 3);  /* 2.2 */
    CHECK_INT(lm_sample(&s, logits, &presence, NULL, tokens, 1, 0, 0, &logprob), 5);  /* 2.5 */
    CHECK_INT(lm_sample(&s, logits, &frequency, NULL, tokens, 3, 0, 0, &logprob), 3); /* 2.7, 1.9 */
    CHECK_INT(lm_sample(&s, logits, &presence, NULL, tokens, 3, 3, 0, &logprob), 3);  /* a prompt */
    CHECK(fabs(logprob - log(softmax(3, 1, NULL))) < 1e-5);
    lm_sampler_finish(&s);
}

TEST(numbers_that_are_none_choose_something) {
    struct lm_sampler s = sampler_of(8);
    const float bad[8] = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    struct lm_sampling greedy = {0}, drawn = {.temperature = 1, .top_k = 3};
    float logprob;
    CHECK_INT(lm_sample(&s, bad, &greedy, NULL, NULL, 0, 0, 0, &logprob), 0);
    CHECK_INT(lm_sample(&s, bad, &drawn, NULL, NULL, 0, 0, 0, &logprob), 0);
    lm_sampler_finish(&s);
}

/* ---- Texts ---------------------------------------------------------------------------------- */

static const struct lm_stop_string stops[] = {{"END", 3}, {"\n\n", 2}};

TEST(text_goes_out_in_whole_characters) {
    struct lm_text t;
    struct num_err err;
    CHECK_INT(lm_text_init(&t, 64, stops, 2, &err), 0);
    CHECK(!lm_text_add(&t, "a\xe4\xbc", 3));
    CHECK_STR(t.clean, "a");
    CHECK(!lm_text_add(&t, "\x9a", 1));
    CHECK_STR(t.clean, "a\xe4\xbc\x9a");
    CHECK(!lm_text_add(&t, "\xf0\x9f", 2));
    CHECK(!lm_text_add(&t, "b", 1));
    CHECK_STR(t.clean, "a\xe4\xbc\x9a\xef\xbf\xbd"
                       "b");
    CHECK(!lm_text_add(&t, "\xe4", 1));
    lm_text_end(&t);
    CHECK_STR(t.clean, "a\xe4\xbc\x9a\xef\xbf\xbd"
                       "b\xef\xbf\xbd");
    lm_text_finish(&t);
}

TEST(stop_strings_are_held_back_and_cut_off) {
    struct lm_text t;
    struct num_err err;
    CHECK_INT(lm_text_init(&t, 64, stops, 2, &err), 0);
    CHECK(!lm_text_add(&t, "one E", 5));
    CHECK_STR(t.clean, "one ");
    CHECK(!lm_text_add(&t, "N", 1));
    CHECK(!lm_text_add(&t, "TER\n", 4));
    CHECK_STR(t.clean, "one ENTER");
    CHECK(!lm_text_add(&t, "EN", 2));
    CHECK(lm_text_add(&t, "DING", 4));
    lm_text_end(&t);
    CHECK_STR(t.clean, "one ENTER\n");
    lm_text_finish(&t);
}

TEST(a_text_takes_no_more_than_its_room) {
    struct lm_text t;
    struct num_err err;
    CHECK_INT(lm_text_init(&t, 4, NULL, 0, &err), 0);
    CHECK(!lm_text_add(&t, "\xff\xff\xff", 3));
    CHECK(!lm_text_add(&t, "abc", 3));
    lm_text_end(&t);
    CHECK_STR(t.clean, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                       "a");
    lm_text_finish(&t);
}

TEST_MAIN()

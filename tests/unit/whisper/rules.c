/*
 * The timestamp rules on a toy vocabulary: texts 0..9, end 10, specials 11..13, <|notimestamps|>
 * 14, times 15..25. Maps show them in this order: eleven, four, eleven.
 */
#include "unit/test.h"

#include "whisper/rules.h"

enum { EOT = 10, T0 = 15, V = 26 };

static const int32_t never[] = {3, -1, 99, EOT + 1, EOT + 2, EOT + 3}, not_first[] = {0, EOT};

static struct wh_rules toy(void) {
    return (struct wh_rules){.n_vocab = V,
                             .eot = EOT,
                             .no_timestamps = T0 - 1,
                             .timestamp_begin = T0,
                             .max_initial = 4,
                             .timestamps = true,
                             .suppress_blank = true,
                             .suppress = never,
                             .n_suppress = 6,
                             .begin_suppress = not_first,
                             .n_begin_suppress = 2};
}

/* Applies the rules after `n` tokens; texts have logit 0 and timestamps `stamp`. Result: "x" for
 * each allowed. */
static const char *allowed(struct wh_rules rules, const int32_t *tokens, int n, float stamp) {
    static char map[V + 1];
    float logits[V];
    struct wh_history h = wh_history_start();
    for (int i = 0; i < n; i++)
        h = wh_history_push(&rules, h, tokens[i]);
    for (int i = 0; i < V; i++)
        logits[i] = i >= T0 ? stamp : 0;
    wh_rules_apply(&rules, h, tokens, logits);
    for (int i = 0; i < V; i++)
        map[i] = logits[i] == -INFINITY ? '.' : 'x';
    return map;
}

#define ALLOWED(stamp, ...)                                                                        \
    allowed(toy(), (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4,     \
            stamp)

TEST(first_is_an_early_timestamp) {
    CHECK_STR(allowed(toy(), NULL, 0, -100), "...............xxxxx......");
}

TEST(after_the_first_timestamp_comes_text_or_the_end) {
    CHECK_STR(ALLOWED(-100, T0 + 2), "xxx.xxxxxxx...............");
}

TEST(in_text_the_time_moves_on) {
    CHECK_STR(ALLOWED(-100, T0 + 2, 5), "xxx.xxxxxxx.......xxxxxxxx");
}

TEST(after_a_closing_timestamp_comes_the_end_or_an_opening_one) {
    CHECK_STR(ALLOWED(-100, T0 + 2, 5, T0 + 6), "..........x..........xxxxx");
}

TEST(after_a_pair_comes_text) {
    CHECK_STR(ALLOWED(-100, T0 + 2, 5, T0 + 6, T0 + 6), "xxx.xxxxxxx...............");
    CHECK_STR(ALLOWED(-100, T0 + 2, 5, T0 + 6, T0 + 7, 1), "xxx.xxxxxxx............xxx");
}

TEST(likely_timestamps_are_forced) {
    /* 8 timestamps of logit -2 weigh exp(-2) * 8 = 1.08 together: more than one text of logit 0. */
    CHECK_STR(ALLOWED(-2, T0 + 2, 5), "..................xxxxxxxx");
    CHECK_STR(ALLOWED(-2.2f, T0 + 2, 5), "xxx.xxxxxxx.......xxxxxxxx");
}

TEST(without_timestamps_only_the_lists_count) {
    struct wh_rules rules = toy();
    rules.timestamps = false;
    CHECK_STR(allowed(rules, NULL, 0, 9), ".xx.xxxxxx....xxxxxxxxxxxx");
    CHECK_STR(allowed(rules, (const int32_t[]){5}, 1, 9), "xxx.xxxxxxx...xxxxxxxxxxxx");
    rules.suppress_blank = false;
    CHECK_STR(allowed(rules, NULL, 0, 9), "xxx.xxxxxxx...xxxxxxxxxxxx");
}

TEST(the_first_timestamp_may_be_any_without_a_limit) {
    struct wh_rules rules = toy();
    rules.max_initial = -1;
    CHECK_STR(allowed(rules, NULL, 0, 0), "...............xxxxxxxxxxx");
}

TEST(n_grams_are_not_repeated) {
    struct wh_rules rules = toy();
    rules.timestamps = false;
    rules.no_repeat_ngram = 2; /* 5 7 and 5 8 were there, and the last is 5 */
    CHECK_STR(allowed(rules, (const int32_t[]){5, 7, 5, 8, 5}, 5, 9), "xxx.xxx..xx...xxxxxxxxxxxx");
    rules.no_repeat_ngram = 1;
    CHECK_STR(allowed(rules, (const int32_t[]){5, 7}, 2, 9), "xxx.x.x.xxx...xxxxxxxxxxxx");
    rules.no_repeat_ngram = 3;
    CHECK_STR(allowed(rules, (const int32_t[]){5, 7, 5, 8, 5}, 5, 9), "xxx.xxxxxxx...xxxxxxxxxxxx");
    rules.no_repeat_ngram = 9;
    CHECK_STR(allowed(rules, (const int32_t[]){5, 7}, 2, 9), "xxx.xxxxxxx...xxxxxxxxxxxx");
}

TEST(repeated_texts_are_penalised_once) {
    struct wh_rules rules = toy();
    float logits[V];
    const int32_t tokens[] = {T0, 5, 6, 5, T0 + 3};
    for (int i = 0; i < V; i++)
        logits[i] = i == 6 ? -3 : 2;
    rules.repetition_penalty = 2;
    wh_penalise(&rules, tokens, 5, logits);
    for (int i = 0; i < V; i++)
        CHECK(logits[i] == (i == 5 ? 1 : i == 6 ? -6 : 2));
}

TEST(samples_follow_the_temperature) {
    float logits[V];
    int seen[V] = {0}, n = 20000;
    for (int i = 0; i < V; i++)
        logits[i] = i < 3 ? (float)i : -INFINITY;
    for (int i = 0; i < n; i++) {
        struct wh_noise noise = {7, {(uint32_t)i, 1}};
        int32_t token = wh_sample(logits, V, 0.5f, noise, 2, 9);
        CHECK(token >= 0 && token < 3);
        CHECK_INT(wh_sample(logits, V, 0.5f, noise, 2, 9), token);
        seen[token]++;
    }
    double sum = 1 + exp(2) + exp(4); /* within five standard deviations */
    for (int i = 0; i < 3; i++)
        CHECK_NEAR(seen[i] / (double)n, exp(2.0 * i) / sum, 0.018);
    for (int i = 0; i < V; i++)
        logits[i] = -INFINITY;
    CHECK_INT(wh_sample(logits, V, 1, (struct wh_noise){1, {0, 0}}, 0, 0), -1);
}

TEST(random_numbers_of_the_published_test) { /* of the library Random123, known answers */
    struct num_philox zero = num_philox((struct num_philox){{0, 0, 0, 0}}, 0);
    CHECK(zero.v[0] == 0x6627e8d5 && zero.v[1] == 0xe169c58d && zero.v[2] == 0xbc57ac4c &&
          zero.v[3] == 0x9b00dbd8);
    struct num_philox pi = num_philox(
        (struct num_philox){{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0x299f31d0a4093822);
    CHECK(pi.v[0] == 0xd16cfe09 && pi.v[1] == 0x94fdcceb && pi.v[2] == 0x5001e420 &&
          pi.v[3] == 0x24126ea1);
}

TEST(times_at_the_end_of_the_range) {
    CHECK_STR(ALLOWED(-100, T0 + 2, 5, V - 1), "..........x..............x");
    CHECK_STR(ALLOWED(-100, T0 + 2, 5, V - 1, V - 1, 5), "xxx.xxxxxxx...............");
}

TEST_MAIN()

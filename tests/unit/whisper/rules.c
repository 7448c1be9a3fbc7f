/*
 * The timestamp rules on a toy vocabulary: texts 0..9, end 10, specials 11..13, <|notimestamps|>
 * 14, times 15..25. Maps show them in this order: eleven, four, eleven.
 */
#include "unit/test.h"

#include "whisper/rules.h"

enum { EOT = 10, T0 = 15, V = 26 };

static const int32_t never[] = {3, -1, 99}, not_first[] = {0, EOT};

static struct wh_rules toy(void) {
    return (struct wh_rules){.n_vocab = V,
                             .eot = EOT,
                             .no_timestamps = T0 - 1,
                             .timestamp_begin = T0,
                             .max_initial = 4,
                             .timestamps = true,
                             .suppress_blank = true,
                             .suppress = never,
                             .n_suppress = 3,
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
    wh_rules_apply(&rules, h, logits);
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

TEST(without_timestamps_only_specials_are_suppressed) {
    struct wh_rules rules = toy();
    rules.timestamps = false;
    CHECK_STR(allowed(rules, NULL, 0, 9), ".xx.xxxxxx................");
    CHECK_STR(allowed(rules, (const int32_t[]){5}, 1, 9), "xxx.xxxxxxx...............");
    rules.suppress_blank = false;
    CHECK_STR(allowed(rules, NULL, 0, 9), "xxx.xxxxxxx...............");
}

TEST(times_at_the_end_of_the_range) {
    CHECK_STR(ALLOWED(-100, T0 + 2, 5, V - 1), "..........x..............x");
    CHECK_STR(ALLOWED(-100, T0 + 2, 5, V - 1, V - 1, 5), "xxx.xxxxxxx...............");
}

TEST_MAIN()

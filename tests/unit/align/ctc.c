/*
 * CTC paths: against all paths of small cases, and in blocks against one block.
 */
#include "unit/test.h"

#include "align/ctc.h"

enum { MAX_TOKENS = 6, MAX_FRAMES = 10, COLUMNS = 4 };

static uint32_t state = 1;

static uint32_t next_random(void) {
    state = state * 1664525 + 1013904223;
    return state >> 8;
}

/* Log probabilities with many that are equal where `steps` is small. */
static void fill(float *logp, size_t n, uint32_t steps) {
    for (size_t i = 0; i < n; i++)
        logp[i] = -(float)(next_random() % steps + 1) * 8 / (float)steps;
}

/* What the path of these spans collects; every token in order, a blank between equal ones. */
static double score(const struct al_ctc *c, const struct al_span *spans) {
    double sum = 0;
    size_t token = 0;
    for (size_t t = 0; t < c->n_frames; t++) {
        while (token < c->n_tokens && spans[token].end <= t)
            token++;
        bool in = token < c->n_tokens && spans[token].first <= t;
        sum += (double)c->logp[t * c->n_columns + (in ? c->tokens[token] : 0)];
    }
    for (size_t i = 0; i < c->n_tokens; i++) {
        CHECK(spans[i].first < spans[i].end && spans[i].end <= c->n_frames);
        if (i > 0)
            CHECK(spans[i].first >= spans[i - 1].end + (c->tokens[i] == c->tokens[i - 1] ? 1 : 0));
    }
    return sum;
}

/* The best of all paths from frame t on in state s. */
static double best_from(const struct al_ctc *c, size_t t, size_t s) {
    size_t last = 2 * c->n_tokens;
    double here = (double)c->logp[t * c->n_columns + (s % 2 ? c->tokens[s / 2] : 0)];
    if (t + 1 == c->n_frames)
        return s + 1 >= last ? here : -INFINITY;
    double best = best_from(c, t + 1, s);
    if (s < last)
        best = fmax(best, best_from(c, t + 1, s + 1));
    if (s % 2 && s + 2 < last && c->tokens[s / 2] != c->tokens[s / 2 + 1])
        best = fmax(best, best_from(c, t + 1, s + 2));
    return here + best;
}

TEST(no_path_is_likelier) {
    float logp[MAX_FRAMES * COLUMNS];
    uint32_t tokens[MAX_TOKENS];
    for (int i = 0; i < 2000; i++) {
        size_t n = 1 + next_random() % MAX_TOKENS;
        for (size_t k = 0; k < n; k++)
            tokens[k] = 1 + next_random() % (COLUMNS - 1);
        size_t least = al_ctc_frames(tokens, n);
        if (least > MAX_FRAMES)
            continue;
        struct al_ctc c = {logp, least + next_random() % (MAX_FRAMES - least + 1), COLUMNS, tokens,
                           n};
        struct al_span spans[MAX_TOKENS];
        fill(logp, c.n_frames * COLUMNS, i % 2 ? 4 : 100000);
        CHECK_INT(al_ctc_align(&c, NULL, spans, NULL), 0);
        CHECK_NEAR(score(&c, spans), fmax(best_from(&c, 0, 0), best_from(&c, 0, 1)), 1e-5);
    }
}

TEST(nothing_to_align_is_no_trouble) {
    struct al_ctc c = {.n_frames = 5};
    CHECK_INT(al_ctc_align(&c, NULL, NULL, NULL), 0);
    CHECK_INT(al_ctc_frames(NULL, 0), 0);
    CHECK_INT(al_ctc_frames((const uint32_t[]){1, 1, 2, 2, 2}, 5), 8);
}

/* 5 minutes of frames and 1,500 tokens are several blocks; each token is likely where it should
 * be. */
TEST(long_paths_go_block_by_block) {
    enum { T = 15000, L = 1500, V = 5 };
    float *logp = malloc(sizeof *logp * T * V);
    uint32_t *tokens = malloc(sizeof *tokens * L);
    struct al_span *spans = malloc(sizeof *spans * L);
    fill(logp, (size_t)T * V, 1000);
    for (size_t i = 0; i < L; i++) {
        tokens[i] = 1 + next_random() % (V - 1);
        for (size_t t = 0; t < T / L; t++)
            logp[(i * (T / L) + t) * V + (t == 3 || t == 4 ? tokens[i] : 0)] = 20;
    }
    struct al_ctc c = {logp, T, V, tokens, L};
    CHECK_INT(al_ctc_align(&c, NULL, spans, NULL), 0);
    for (size_t i = 0; i < L; i++)
        CHECK(spans[i].first == i * (T / L) + 3 && spans[i].end == i * (T / L) + 5);
    free(logp);
    free(tokens);
    free(spans);
}

static bool always(void *ctx) {
    (void)ctx;
    return true;
}

TEST(long_paths_can_be_cancelled) {
    enum { T = 20000, L = 2000 };
    float *logp = calloc((size_t)T * 2, sizeof *logp);
    uint32_t *tokens = malloc(sizeof *tokens * L);
    struct al_span *spans = malloc(sizeof *spans * L);
    for (size_t i = 0; i < L; i++)
        tokens[i] = 1;
    struct al_ctc c = {logp, T, 2, tokens, L};
    const struct num_watch watch = {.cancelled = always};
    CHECK_INT(al_ctc_align(&c, &watch, spans, NULL), SLUICE_CANCELLED);
    free(logp);
    free(tokens);
    free(spans);
}

TEST_MAIN()

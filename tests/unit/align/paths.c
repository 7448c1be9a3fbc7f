/*
 * 500 random cases whose paths torchaudio's forced_align found (tests/data/expected/
 * forced_align.safetensors, written by tools/reference/forced_align.py). Where log probabilities
 * are drawn from a continuum the paths are equal; in every fifth case they are quarters, many paths
 * are equally likely, and ours collects as much or more: torchaudio stays in a token where a blank
 * and the token before are equally likely and both better than to stay.
 */
#include "unit/align/random_model.h"

#include "align/ctc.h"

enum { CASES = 500, KEY = 11, MAX_TOKENS = 41, MAX_FRAMES = 300, MAX_COLUMNS = 32 };

struct path_case {
    uint32_t tokens[MAX_TOKENS];
    float logp[MAX_FRAMES * MAX_COLUMNS];
    struct al_ctc ctc;
    bool ties;
};

static void make(struct path_case *c, uint32_t i) {
    double size[3];
    for (uint32_t k = 0; k < 3; k++)
        size[k] = rm_uniform(KEY, i, 1, k);
    size_t n = 1 + (size_t)(size[0] * 40), columns = 2 + (size_t)(size[1] * 30);
    for (size_t k = 0; k < n; k++)
        c->tokens[k] = 1 + (uint32_t)(rm_uniform(KEY, i, 2, k) * (double)(columns - 1));
    size_t frames = al_ctc_frames(c->tokens, n) + (size_t)(size[2] * size[2] * 150);
    CHECK(frames <= MAX_FRAMES && columns <= MAX_COLUMNS);
    c->ties = i % 5 == 4;
    for (size_t k = 0; k < frames * columns; k++) {
        double u = rm_uniform(KEY, i, 3, k);
        c->logp[k] = (float)(c->ties ? -floor(u * 32) / 4 : -8 * u);
    }
    c->ctc = (struct al_ctc){c->logp, frames, columns, c->tokens, n};
}

static double score(const struct al_ctc *c, const struct al_span *spans) {
    double sum = 0;
    for (size_t t = 0, token = 0; t < c->n_frames; t++) {
        while (token < c->n_tokens && spans[token].end <= t)
            token++;
        bool in = token < c->n_tokens && spans[token].first <= t;
        sum += (double)c->logp[t * c->n_columns + (in ? c->tokens[token] : 0)];
    }
    return sum;
}

TEST(paths_are_those_of_torchaudio) {
    struct num_safetensors st;
    struct path_case *c = malloc(sizeof *c);
    CHECK_INT(num_safetensors_open(TESTS_DIR "/data/expected/forced_align.safetensors", &st, NULL),
              0);
    const struct num_tensor *t = num_safetensors_find(&st, "spans");
    CHECK(t && t->dtype == NUM_U16);
    size_t at = 0, n_equal = 0, n_better = 0;
    for (uint32_t i = 0; i < CASES; i++) {
        struct al_span got[MAX_TOKENS], want[MAX_TOKENS];
        make(c, i);
        CHECK_INT(al_ctc_align(&c->ctc, NULL, got, NULL), 0);
        bool equal = true;
        for (size_t k = 0; k < c->ctc.n_tokens; k++, at++) {
            uint16_t span[2];
            CHECK(at < t->shape[0]);
            memcpy(span, (const char *)t->data + 4 * at, 4);
            want[k] = (struct al_span){span[0], span[1]};
            equal = equal && got[k].first == span[0] && got[k].end == span[1];
        }
        n_equal += equal;
        if (!c->ties && !equal)
            TEST_FAIL("case %u: another path", i);
        double ours = score(&c->ctc, got), theirs = score(&c->ctc, want);
        CHECK(ours >= theirs - 1e-4);
        n_better += ours > theirs + 1e-4;
    }
    CHECK_INT(at, t->shape[0]);
    printf("  %zu of %d equal, %zu likelier\n", n_equal, CASES, n_better);
    num_safetensors_close(&st);
    free(c);
}

TEST_MAIN()

/*
 * The CPU backend through its table: rows and slots do not disturb each other, beams are copied,
 * attention is a distribution; and a batch of requests through the search.
 */
#include "unit/whisper/clips.h"

#include "whisper/search.h"

#define PROMPT(m)                                                                                  \
    {                                                                                              \
        (m)->tokens.sot, (m)->tokens.languages[0].token, (m)->tokens.transcribe,                   \
            (m)->rules.no_timestamps                                                               \
    }

/* Noise that differs with the seed, as a normalised spectrogram. */
static float *noise_mel(const struct wh_model *m, uint32_t seed) {
    size_t n = 2 * (size_t)m->dims.n_audio_ctx * m->dims.n_mels;
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (1 << 24) * 2 - 0.5f;
    }
    return x;
}

static void encode(struct wh_model *m, uint32_t slot, uint32_t seed) {
    struct num_err err;
    float *x = noise_mel(m, seed);
    const float *mel = x;
    CHECK_INT(m->backend->encode(m->self, &mel, &slot, 1, NULL, &err), 0);
    free(x);
}

static void prefill(struct wh_model *m, uint32_t row, uint32_t slot, float *logits) {
    struct num_err err;
    int32_t tokens[] = PROMPT(m);
    struct wh_prompt prompt = {row, slot, tokens, 4, 3, logits};
    CHECK_INT(m->backend->prefill(m->self, &prompt, 1, &err), 0);
}

TEST(a_batch_gives_each_row_what_it_gets_alone) {
    enum { ROWS = 7, STEPS = 5 };
    struct wh_model m;
    struct num_err err;
    model_open(&m, 2, 3, ROWS);
    size_t V = m.dims.n_vocab;
    float *alone = malloc(ROWS * STEPS * V * sizeof *alone),
          *batch = malloc(ROWS * V * sizeof *batch);
    for (uint32_t slot = 0; slot < 3; slot++)
        encode(&m, slot, slot + 1);
    for (uint32_t r = 0; r < ROWS; r++) {
        prefill(&m, r, r % 3, batch);
        for (int s = 0; s < STEPS; s++) {
            struct wh_step step = {r, (int32_t)(r * 17 + (uint32_t)s * 5)};
            CHECK_INT(
                m.backend->step(m.self, &step, 1, alone + (r * STEPS + (uint32_t)s) * V, &err), 0);
        }
    }
    for (uint32_t r = 0; r < ROWS; r++)
        prefill(&m, r, r % 3, batch);
    for (int s = 0; s < STEPS; s++) {
        struct wh_step steps[ROWS];
        for (uint32_t r = 0; r < ROWS; r++)
            steps[r] = (struct wh_step){r, (int32_t)(r * 17 + (uint32_t)s * 5)};
        CHECK_INT(m.backend->step(m.self, steps, ROWS, batch, &err), 0);
        for (uint32_t r = 0; r < ROWS; r++)
            CHECK(memcmp(batch + r * V, alone + (r * STEPS + (uint32_t)s) * V, V * sizeof *batch) ==
                  0);
    }
    free(alone);
    free(batch);
    wh_model_finish(&m);
}

TEST(a_prompt_equals_its_tokens_one_by_one) {
    struct wh_model m;
    struct num_err err;
    int32_t tokens[100];
    model_open(&m, 1, 1, 2);
    size_t V = m.dims.n_vocab;
    float *whole = malloc(100 * V * sizeof *whole), *single = malloc(V * sizeof *single);
    encode(&m, 0, 1);
    tokens[0] = m.tokens.sot;
    for (int i = 1; i < 100; i++)
        tokens[i] = i * 7 % 500;
    struct wh_prompt all = {0, 0, tokens, 100, 0, whole}, first = {1, 0, tokens, 1, 0, single};
    CHECK_INT(m.backend->prefill(m.self, &all, 1, &err), 0);
    CHECK_INT(m.backend->prefill(m.self, &first, 1, &err), 0);
    for (uint32_t i = 0; i < 100; i++) {
        if (i > 0)
            CHECK_INT(m.backend->step(m.self, &(struct wh_step){1, tokens[i]}, 1, single, &err), 0);
        CHECK(memcmp(single, whole + i * V, V * sizeof *single) == 0);
    }
    free(whole);
    free(single);
    wh_model_finish(&m);
}

TEST(reorder_copies_rows_with_their_windows) {
    struct wh_model m;
    struct num_err err;
    model_open(&m, 1, 2, 3);
    size_t V = m.dims.n_vocab;
    float *want = malloc(3 * V * sizeof *want), *got = malloc(3 * V * sizeof *got);
    encode(&m, 0, 1);
    encode(&m, 1, 2);
    for (int round = 0; round < 2; round++) {
        for (uint32_t r = 0; r < 3; r++)
            prefill(&m, r, r % 2, got);
        struct wh_step steps[] = {{0, 11}, {1, 22}, {2, 33}};
        CHECK_INT(m.backend->step(m.self, steps, 3, want, &err), 0);
        if (round == 0)
            continue;
        /* 0 <- 1, 1 <- 2, 2 <- 0, all at once; then the same token continues each. */
        CHECK_INT(m.backend->reorder(m.self, (uint32_t[]){0, 1, 2}, (uint32_t[]){1, 2, 0}, 3, &err),
                  0);
        struct wh_step next[] = {{0, 5}, {1, 5}, {2, 5}};
        CHECK_INT(m.backend->step(m.self, next, 3, got, &err), 0);
    }
    for (uint32_t r = 0; r < 3; r++) {
        uint32_t from = (r + 1) % 3;
        prefill(&m, r, from % 2, want);
        CHECK_INT(
            m.backend->step(m.self, &(struct wh_step){r, 11 * (int32_t)(from + 1)}, 1, want, &err),
            0);
        CHECK_INT(m.backend->step(m.self, &(struct wh_step){r, 5}, 1, want, &err), 0);
        CHECK(memcmp(want, got + r * V, V * sizeof *want) == 0);
    }
    CHECK_INT(m.backend->reorder(m.self, (uint32_t[]){0}, (uint32_t[]){3}, 1, &err),
              SLUICE_INTERNAL);
    free(want);
    free(got);
    wh_model_finish(&m);
}

TEST(attention_is_a_distribution_over_the_window) {
    enum { N = 5 };
    struct wh_model m;
    struct num_err err;
    model_open(&m, 2, 1, 1);
    int32_t tokens[N] = {m.tokens.sot, 1, 2, 3, 4};
    size_t T = m.dims.n_audio_ctx, rows = m.dims.n_alignment_heads * N;
    CHECK_INT(m.dims.n_alignment_heads, 2);
    float *weights = calloc(rows * T, sizeof *weights);
    encode(&m, 0, 3);
    float probs[N - 1];
    struct wh_alignment alignment = {.tokens = tokens,
                                     .n_tokens = N,
                                     .ret_weights = weights,
                                     .first_prob = 1,
                                     .n_probs = N - 1,
                                     .n_text = 512,
                                     .ret_probs = probs};
    CHECK_INT(m.backend->attention(m.self, &alignment, 1, &err), 0);
    float *all = calloc(N * m.dims.n_vocab, sizeof *all);
    struct wh_prompt prompt = {0, 0, tokens, N, 0, all};
    CHECK_INT(m.backend->prefill(m.self, &prompt, 1, &err), 0);
    for (uint32_t i = 0; i + 1 < N; i++) {
        double sum = 0;
        for (uint32_t v = 0; v < 512; v++)
            sum += exp(all[i * m.dims.n_vocab + v]);
        CHECK_NEAR(probs[i], exp(all[i * m.dims.n_vocab + (uint32_t)tokens[i + 1]]) / sum, 1e-5);
    }
    free(all);
    alignment.n_probs = N;
    CHECK_INT(m.backend->attention(m.self, &alignment, 1, &err), SLUICE_INTERNAL);
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t t = 0; t < T; t++) {
            CHECK(weights[r * T + t] >= 0);
            sum += weights[r * T + t];
        }
        CHECK_NEAR(sum, 1, 1e-4);
    }
    free(weights);
    wh_model_finish(&m);
}

TEST(misuse_is_an_error_not_a_crash) {
    struct wh_model m;
    struct num_err err;
    model_open(&m, 1, 1, 1);
    float *logits = malloc(m.dims.n_vocab * sizeof *logits);
    encode(&m, 0, 1);
    prefill(&m, 0, 0, logits);
    CHECK_INT(m.backend->step(m.self, &(struct wh_step){1, 5}, 1, logits, &err), SLUICE_INTERNAL);
    CHECK_INT(m.backend->step(m.self, &(struct wh_step){0, 1022}, 1, logits, &err),
              SLUICE_INTERNAL);
    CHECK_INT(m.backend->step(m.self, &(struct wh_step){0, -1}, 1, logits, &err), SLUICE_INTERNAL);
    for (uint32_t i = 4; i < m.dims.n_text_ctx; i++)
        CHECK_INT(m.backend->step(m.self, &(struct wh_step){0, 5}, 1, logits, &err), 0);
    CHECK_INT(m.backend->step(m.self, &(struct wh_step){0, 5}, 1, logits, &err), SLUICE_INTERNAL);
    CHECK_HAS(err.text, "128");
    free(logits);
    wh_model_finish(&m);
}

static int count_threads(void) {
    char line[200];
    int n = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "Threads: %d", &n);
    fclose(f);
    return n;
}

/* A library that starts threads of its own would compete with the other stages. */
TEST(only_the_pool_has_threads) {
    struct wh_model m;
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        model_open(&m, n_threads, 1, 1);
        int before = count_threads();
        encode(&m, 0, 1);
        CHECK_INT(count_threads(), before);
        wh_model_finish(&m);
    }
}

TEST(search_decodes_a_batch_as_one_by_one) {
    enum { N = 3 };
    struct wh_model m;
    struct wh_search *search;
    struct num_err err;
    model_open(&m, 2, N, N);
    CHECK_INT(wh_search_create(&m, &search, &err), 0);
    int32_t prompt[] = {m.tokens.sot, m.tokens.languages[0].token, m.tokens.transcribe};
    int32_t alone_tokens[N][60], batch_tokens[N][60];
    struct wh_request requests[N];
    struct wh_result alone[N], batch[N];
    for (uint32_t i = 0; i < N; i++) {
        encode(&m, i, i + 1);
        requests[i] = (struct wh_request){.slot = i,
                                          .prompt = prompt,
                                          .n_prompt = 3,
                                          .max_tokens = 10 + i * 20,
                                          .rules = m.rules};
        alone[i].tokens = alone_tokens[i];
        batch[i].tokens = batch_tokens[i];
    }
    for (uint32_t i = 0; i < N; i++)
        CHECK_INT(wh_search_run(search, &requests[i], 1, NULL, &alone[i], &err), 0);
    CHECK_INT(wh_search_run(search, requests, N, NULL, batch, &err), 0);
    for (uint32_t i = 0; i < N; i++) {
        CHECK_INT(batch[i].n_tokens, alone[i].n_tokens);
        CHECK(memcmp(batch_tokens[i], alone_tokens[i], batch[i].n_tokens * sizeof(int32_t)) == 0);
        CHECK(batch[i].sum_logprob == alone[i].sum_logprob);
        CHECK(batch[i].no_speech_prob == alone[i].no_speech_prob);
    }
    requests[0].max_tokens = 200;
    CHECK_INT(wh_search_run(search, requests, 1, NULL, batch, &err), SLUICE_INTERNAL);
    wh_search_destroy(search);
    wh_model_finish(&m);
}

TEST_MAIN()

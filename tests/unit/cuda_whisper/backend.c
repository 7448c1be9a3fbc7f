/*
 * The CUDA backend beside the processor's, on made models of small but awkward sizes: a vocabulary
 * that fills no tile, three heads, positions that fill no chunk.
 *
 * F32 sums in another order: 2e-4 of logits of the order of 10. Half types round weights and
 * activations (2^-9 for bfloat16, 2^-12 for binary16) in some twenty places of a layer; bytes and
 * half bytes round weights once more. The bounds are relative errors of all logits, about three
 * times what is measured.
 */
#include "unit/compare.h"
#include "unit/cuda_whisper/made.h"
#include "unit/test.h"

enum { ROWS = 36, TOKENS = 6 };

static const struct wh_dims dims = {.n_mels = 80,
                                    .n_audio_ctx = 150,
                                    .n_text_ctx = 64,
                                    .n_state = 192,
                                    .n_vocab = 509,
                                    .n_audio_layers = 1,
                                    .n_audio_heads = 3,
                                    .n_audio_ffn = 256,
                                    .n_text_layers = 2,
                                    .n_text_heads = 3,
                                    .n_text_ffn = 384,
                                    .n_alignment_heads = 3,
                                    .alignment_heads = {{0, 1}, {1, 0}, {1, 2}}};

static const struct mode {
    const char *name;
    enum wh_compute compute;
    double bound;
    enum wh_cross cross;
    enum wh_kept kept;
} modes[] = {{"f32", WH_COMPUTE_F32, 1e-5, WH_CROSS_AUTO, WH_KEPT_PLAIN},
             {"f16", WH_COMPUTE_F16, 0.01, WH_CROSS_AUTO, WH_KEPT_PLAIN},
             {"bf16", WH_COMPUTE_BF16, 0.06, WH_CROSS_AUTO, WH_KEPT_PLAIN},
             {"int8", WH_COMPUTE_INT8, 0.06, WH_CROSS_AUTO, WH_KEPT_PLAIN},
             {"int4", WH_COMPUTE_INT4, 0.9, WH_CROSS_AUTO, WH_KEPT_PLAIN},
             {"f16, absorbed", WH_COMPUTE_F16, 0.01, WH_CROSS_ABSORBED, WH_KEPT_PLAIN},
             {"bf16, absorbed", WH_COMPUTE_BF16, 0.06, WH_CROSS_ABSORBED, WH_KEPT_PLAIN},
             {"f16, keys and values in fp8", WH_COMPUTE_F16, 0.05, WH_CROSS_AUTO, WH_KEPT_FP8},
             {"f16, keys and values in int8", WH_COMPUTE_F16, 0.02, WH_CROSS_AUTO, WH_KEPT_INT8}};
#define N_MODES (sizeof modes / sizeof *modes)

struct model {
    const struct wh_backend *b;
    void *self;
};

static struct made_weights made;

static struct model load_mode(const struct wh_backend *backend, const struct mode *mode,
                              uint32_t slots, uint32_t rows) {
    struct num_err err = {0};
    struct wh_limits limits = {.n_threads = 2,
                               .n_slots = slots,
                               .n_rows = rows,
                               .compute = mode->compute,
                               .cross = mode->cross,
                               .kept = mode->kept};
    struct model m = {.b = backend};
    if (!made.n)
        made_weights_make(&made, &dims, false);
    if (backend->load(&made.weights, &dims, &limits, &m.self, &err))
        TEST_FAIL("%s", err.text);
    return m;
}

static struct model load(const struct wh_backend *backend, enum wh_compute compute, uint32_t slots,
                         uint32_t rows) {
    return load_mode(backend, &(struct mode){.compute = compute}, slots, rows);
}

static void unload(struct model *m) {
    m->b->free(m->self);
}

static void encode(struct model *m, uint32_t slot, uint32_t seed) {
    struct num_err err = {0};
    size_t n = 2 * (size_t)dims.n_audio_ctx * dims.n_mels;
    float *mel = malloc(n * sizeof *mel);
    for (size_t i = 0; i < n; i++)
        mel[i] = sinf((float)(i % 7919) * (0.37f + 0.1f * (float)seed));
    if (m->b->encode(m->self, (const float *const *)&mel, &slot, 1, NULL, &err))
        TEST_FAIL("%s", err.text);
    free(mel);
}

static void prefill(struct model *m, uint32_t row, uint32_t slot, const int32_t *tokens, uint32_t n,
                    uint32_t first, float *logits) {
    struct num_err err = {0};
    struct wh_prompt prompt = {row, slot, tokens, n, first, logits};
    if (m->b->prefill(m->self, &prompt, 1, &err))
        TEST_FAIL("%s", err.text);
}

static void step(struct model *m, const struct wh_step *steps, uint32_t n, float *logits) {
    struct num_err err = {0};
    if (m->b->step(m->self, steps, n, logits, &err))
        TEST_FAIL("%s", err.text);
}

/* Logits of a prompt of three tokens and of TOKENS more, one by one. */
static float *follow(struct model *m) {
    const size_t V = dims.n_vocab;
    float *logits = malloc((3 + TOKENS) * V * sizeof *logits);
    int32_t prompt[3] = {5, 400, 508};
    encode(m, 0, 0);
    prefill(m, 1, 0, prompt, 3, 0, logits);
    for (int i = 0; i < TOKENS; i++) {
        struct wh_step s = {1, i * 97 % (int32_t)V};
        step(m, &s, 1, logits + (size_t)(3 + i) * V);
    }
    return logits;
}

TEST(logits_are_those_of_the_processor) {
    const size_t n = (3 + TOKENS) * (size_t)dims.n_vocab;
    struct model cpu = load(&wh_backend_cpu, WH_COMPUTE_F32, 1, 2);
    float *want = follow(&cpu);
    for (size_t i = 0; i < N_MODES; i++) {
        struct model m = load_mode(&wh_backend_cuda, &modes[i], 1, 2);
        float *got = follow(&m);
        double error = relative_error(got, want, n);
        printf("  %s: logits off by %.2g\n", modes[i].name, error);
        CHECK(error < modes[i].bound);
        free(got);
        unload(&m);
    }
    free(want);
    unload(&cpu);
}

/* Prompts of one to three tokens in rows that read two windows, all in one call. */
static void prefill_rows(struct model *m, uint32_t rows, float *logits) {
    static const int32_t prompt[] = {1, 2, 3};
    struct num_err err = {0};
    struct wh_prompt prompts[ROWS];
    for (uint32_t r = 0; r < rows; r++)
        prompts[r] =
            (struct wh_prompt){r, r / 3 % 2, prompt, 1 + r % 3, r % 3, logits + r * dims.n_vocab};
    if (m->b->prefill(m->self, prompts, rows, &err))
        TEST_FAIL("%s", err.text);
}

/* Rows in steps together, and what some of them yield alone: relative error of the last logits. */
static double batch_error(enum wh_compute compute, uint32_t rows) {
    const size_t V = dims.n_vocab;
    const uint32_t some = rows > 12 ? 7 : 1;
    struct model m = load(&wh_backend_cuda, compute, 2, rows);
    float *batch = malloc(rows * V * sizeof *batch), *alone = malloc(V * sizeof *alone);
    struct wh_step steps[ROWS];
    double worst = 0;
    encode(&m, 0, 0);
    encode(&m, 1, 1);
    prefill_rows(&m, rows, batch);
    for (int32_t i = 0; i < 3; i++) {
        for (uint32_t r = 0; r < rows; r++)
            steps[r] = (struct wh_step){r, ((int32_t)r * 31 + i * 7) % 509};
        step(&m, steps, rows, batch);
    }
    for (uint32_t r = 0; r < rows; r += some) {
        int32_t prompt[] = {1, 2, 3};
        prefill(&m, r, r / 3 % 2, prompt, 1 + r % 3, r % 3, alone);
        for (int32_t i = 0; i < 3; i++) {
            struct wh_step s = {r, ((int32_t)r * 31 + i * 7) % 509};
            step(&m, &s, 1, alone);
        }
        double error = relative_error(batch + r * V, alone, V);
        worst = error > worst ? error : worst;
    }
    printf("  %u rows together are off by %.2g\n", rows, worst);
    free(batch);
    free(alone);
    unload(&m);
    return worst;
}

TEST(a_batch_equals_its_rows_to_the_bit_in_the_exact_mode) {
    CHECK(batch_error(WH_COMPUTE_F32, 12) == 0);
}

/* The keys of a window are cut into other chunks, and more than 32 rows take the library's
 * products: sums in another order, rounded to the type. */
TEST(a_batch_equals_its_rows) {
    CHECK(batch_error(WH_COMPUTE_F16, 12) < 0.002);
    CHECK(batch_error(WH_COMPUTE_F16, ROWS) < 0.002);
    CHECK(batch_error(WH_COMPUTE_BF16, ROWS) < 0.02);
    CHECK(batch_error(WH_COMPUTE_INT8, ROWS) < 0.002);
}

/* Copies of rows, crossing ones too, and writes behind them. */
TEST(reordered_rows_equal_the_processors) {
    const size_t V = dims.n_vocab;
    struct num_err err = {0};
    struct model both[] = {load(&wh_backend_cpu, WH_COMPUTE_F32, 2, 4),
                           load(&wh_backend_cuda, WH_COMPUTE_F32, 2, 4)};
    float *logits[2];
    for (int k = 0; k < 2; k++) {
        struct model *m = &both[k];
        int32_t prompt[] = {1, 2, 3};
        logits[k] = malloc(4 * V * sizeof(float));
        encode(m, 0, 0);
        encode(m, 1, 1);
        for (uint32_t r = 0; r < 4; r++)
            prefill(m, r, r / 2, prompt, 1 + r % 3, 0, logits[k]);
        for (int i = 0; i < 8; i++) {
            const uint32_t to[] = {0, 1, 2, 3},
                           from[][4] = {{1, 0, 3, 2}, {0, 0, 0, 3}, {3, 2, 2, 1}};
            struct wh_step steps[4];
            CHECK_INT(m->b->reorder(m->self, to, from[i % 3], i % 4 + 1u, &err), 0);
            for (uint32_t r = 0; r < 4; r++)
                steps[r] = (struct wh_step){r, (int32_t)(r * 100) + i};
            step(m, steps, 4, logits[k]);
        }
    }
    CHECK(relative_error(logits[1], logits[0], 4 * V) < 1e-5);
    for (int k = 0; k < 2; k++) {
        free(logits[k]);
        unload(&both[k]);
    }
}

TEST(attention_and_probabilities_are_those_of_the_processor) {
    enum { N = 60 };
    const size_t n_weights = dims.n_alignment_heads * N * (size_t)dims.n_audio_ctx;
    struct num_err err = {0};
    struct model both[] = {load(&wh_backend_cpu, WH_COMPUTE_F32, 1, 2),
                           load(&wh_backend_cuda, WH_COMPUTE_F32, 1, 2)};
    float *weights[2], probs[2][N];
    int32_t tokens[N];
    for (int i = 0; i < N; i++)
        tokens[i] = i * 37 % 500;
    for (int k = 0; k < 2; k++) {
        struct model *m = &both[k];
        weights[k] = malloc(n_weights * sizeof(float));
        encode(m, 0, 0);
        struct wh_alignment a = {.row = 1,
                                 .tokens = tokens,
                                 .n_tokens = N,
                                 .ret_weights = weights[k],
                                 .first_prob = 4,
                                 .n_probs = N - 5,
                                 .n_text = 480,
                                 .ret_probs = probs[k]};
        CHECK_INT(m->b->attention(m->self, &a, 1, &err), 0);
    }
    CHECK(relative_error(weights[1], weights[0], n_weights) < 1e-5);
    CHECK(relative_error(probs[1], probs[0], N - 5) < 1e-5);
    for (int k = 0; k < 2; k++) {
        free(weights[k]);
        unload(&both[k]);
    }
}

/* Texts of two windows in one call, one of them in two groups; and one that asks for starts
 * alone. */
TEST(tokens_begin_where_the_processor_says) {
    enum { N = 23 };
    struct num_err err = {0};
    struct model both[] = {load(&wh_backend_cpu, WH_COMPUTE_F32, 2, 3),
                           load(&wh_backend_cuda, WH_COMPUTE_F32, 2, 3)};
    uint32_t starts[2][3][N];
    float probs[2][N];
    int32_t tokens[N];
    for (int i = 0; i < N; i++)
        tokens[i] = i * 37 % 500;
    for (int k = 0; k < 2; k++) {
        struct model *m = &both[k];
        encode(m, 0, 0);
        encode(m, 1, 1);
        const struct wh_alignment texts[] = {
            {2, 1, tokens, N, 140, 2, N - 1, starts[k][0], 3, N - 4, 480, probs[k], NULL},
            {0, 0, tokens + 5, 9, 150, 0, 9, starts[k][1], 0, 0, 0, NULL, NULL},
            {1, 0, tokens, 4, 1, 1, 3, starts[k][2], 0, 0, 0, NULL, NULL}};
        CHECK_INT(m->b->attention(m->self, texts, 3, &err), 0);
        unload(m);
    }
    for (int i = 0; i < N - 3; i++)
        CHECK_NEAR(starts[1][0][i], starts[0][0][i], 1);
    for (int i = 0; i < 9; i++)
        CHECK_NEAR(starts[1][1][i], starts[0][1][i], 1);
    CHECK_INT(starts[1][2][1], 0);
    CHECK(relative_error(probs[1], probs[0], N - 4) < 1e-5);
}

TEST(wrong_calls_are_errors) {
    struct num_err err = {0};
    struct model m = load(&wh_backend_cuda, WH_COMPUTE_F32, 1, 2);
    float logits[509];
    int32_t token = 1, wrong = 509;
    encode(&m, 0, 0);
    struct wh_prompt prompts[] = {
        {2, 0, &token, 1, 0, logits}, {0, 1, &token, 1, 0, logits}, {0, 0, &wrong, 1, 0, logits}};
    for (size_t i = 0; i < 3; i++)
        CHECK_INT(m.b->prefill(m.self, &prompts[i], 1, &err), SLUICE_INTERNAL);
    prefill(&m, 0, 0, &token, 1, 0, logits);
    for (uint32_t i = 1; i < dims.n_text_ctx; i++) {
        struct wh_step s = {0, 1};
        step(&m, &s, 1, logits);
    }
    struct wh_step full = {0, 1};
    CHECK_INT(m.b->step(m.self, &full, 1, logits, &err), SLUICE_INTERNAL);
    unload(&m);
}

TEST(a_small_limit_shrinks_rows_or_is_refused) {
    struct num_err err = {0};
    struct wh_device_info info;
    struct wh_limits limits = {
        .n_threads = 1, .n_slots = 8, .n_rows = 64, .compute = WH_COMPUTE_F16, .least_rows = 5};
    struct model m = load(&wh_backend_cuda, WH_COMPUTE_F16, 8, 64);
    m.b->info(m.self, &info);
    CHECK_INT(info.n_rows, 64);
    CHECK_INT(info.n_slots, 8);
    unload(&m);
    limits.device_memory = info.bytes / 2;
    CHECK_INT(m.b->load(&made.weights, &dims, &limits, &m.self, &err), 0);
    m.b->info(m.self, &info);
    CHECK(info.bytes <= limits.device_memory && info.n_rows >= 5 && info.n_slots >= 1);
    CHECK(info.n_rows < 64 || info.n_slots < 8);
    unload(&m);
    limits.device_memory = 1 << 20;
    CHECK_INT(m.b->load(&made.weights, &dims, &limits, &m.self, &err), SLUICE_RESOURCE);
    CHECK(strstr(err.text, "gpu_memory"));
}

TEST_MAIN()

/*
 * What attention to windows may read, on a made model: stored keys and values, in bytes or not, and
 * the encoder's output. Six heads: eight items that share a window are two blocks of
 * cross_absorbed.cu, of three warps, and 50 positions are four tiles, the last of two positions.
 *
 * Bounds are relative errors beside stored ones in the same type, about three times what is
 * measured: rounding at other places, or of bytes.
 */
#include "unit/cuda_whisper/made.h"
#include "unit/test.h"

enum { ROWS = 26, SLOTS = 3, TOKENS = 11, HEADS = 2 };

static struct wh_dims dims = {.n_mels = 80,
                              .n_audio_ctx = 50,
                              .n_text_ctx = 32,
                              .n_state = 384,
                              .n_vocab = 65,
                              .n_audio_layers = 1,
                              .n_audio_heads = 6,
                              .n_audio_ffn = 64,
                              .n_text_layers = 1,
                              .n_text_heads = 6,
                              .n_text_ffn = 64,
                              .n_alignment_heads = HEADS,
                              .alignment_heads = {{0, 1}, {0, 5}}};

struct mode {
    const char *name;
    enum wh_compute compute;
    enum wh_cross cross;
    enum wh_kept kept;
    double bound;
};

static struct made_weights made;

static int32_t load(const struct mode *mode, void **ret, struct num_err *err) {
    struct wh_limits limits = {.n_threads = 1,
                               .n_slots = SLOTS,
                               .n_rows = ROWS,
                               .compute = mode->compute,
                               .cross = mode->cross,
                               .kept = mode->kept};
    if (!made.n)
        made_weights_make(&made, &dims, false);
    return wh_backend_cuda.load(&made.weights, &dims, &limits, ret, err);
}

static void encode(void *self, uint32_t n_slots) {
    const size_t n = 2 * (size_t)dims.n_audio_ctx * dims.n_mels;
    struct num_err err = {0};
    float *mel = malloc(n * sizeof *mel);
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        for (size_t i = 0; i < n; i++)
            mel[i] = sinf((float)i * (0.37f + 0.1f * (float)slot));
        CHECK_INT(wh_backend_cuda.encode(self, (const float *const *)&mel, &slot, 1, NULL, &err),
                  0);
    }
    free(mel);
}

/* What a mode comes to. */
struct outcome {
    float logits[ROWS * 65];
    float weights[HEADS * TOKENS * 50];
};

/* The first rows, of one window, with a prompt of one token: two groups, of three blocks of
 * rows. */
static void decode_few(void *self, struct outcome *ret) {
    enum { FEW = 9 };
    struct num_err err = {0};
    struct wh_prompt prompts[FEW];
    const int32_t tokens[FEW] = {7, 6, 5, 4, 3, 2, 1, 0, 60};
    for (uint32_t r = 0; r < FEW; r++)
        prompts[r] = (struct wh_prompt){r, 0, &tokens[r], 1, 0, ret->logits + r * dims.n_vocab};
    CHECK_INT(wh_backend_cuda.prefill(self, prompts, FEW, &err), 0);
}

/* Rows whose neighbours read other windows, or the same one: a prompt of two tokens and a step. */
static void decode(void *self, bool neighbours, struct outcome *ret) {
    static const int32_t prompt[] = {1, 60};
    struct num_err err = {0};
    struct wh_prompt prompts[ROWS];
    struct wh_step steps[ROWS];
    for (uint32_t r = 0; r < ROWS; r++) {
        prompts[r] = (struct wh_prompt){
            r, neighbours ? r / 9 : r % SLOTS, prompt, 1 + r % 2, 1 + r % 2, NULL};
        steps[r] = (struct wh_step){r, (int32_t)r * 31 % 65};
    }
    CHECK_INT(wh_backend_cuda.prefill(self, prompts, ROWS, &err), 0);
    CHECK_INT(wh_backend_cuda.step(self, steps, ROWS, ret->logits, &err), 0);
}

static void attend(void *self, struct outcome *ret) {
    struct num_err err = {0};
    int32_t tokens[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        tokens[i] = i * 17 % 65;
    const struct wh_alignment a = {
        .row = 3, .slot = 2, .tokens = tokens, .n_tokens = TOKENS, .ret_weights = ret->weights};
    CHECK_INT(wh_backend_cuda.attention(self, &a, 1, &err), 0);
}

static double relative_error(const float *a, const float *b, size_t n) {
    double difference = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        square += (double)b[i] * b[i];
    }
    return sqrt(difference / square);
}

static void run(const struct mode *mode, struct outcome ret[2]) {
    struct num_err err = {0};
    void *self;
    if (load(mode, &self, &err))
        TEST_FAIL("%s", err.text);
    encode(self, SLOTS);
    for (int i = 0; i < 2; i++)
        decode(self, i > 0, &ret[i]);
    attend(self, &ret[0]);
    wh_backend_cuda.free(self);
}

static void check_modes(const struct mode *modes, size_t n) {
    struct outcome want[2], got[2];
    run(&(struct mode){.compute = modes[0].compute, .cross = WH_CROSS_STORED}, want);
    for (size_t i = 0; i < n; i++) {
        run(&modes[i], got);
        double apart = relative_error(got[0].logits, want[0].logits, ROWS * 65),
               together = relative_error(got[1].logits, want[1].logits, ROWS * 65),
               weights = relative_error(got[0].weights, want[0].weights, HEADS * TOKENS * 50);
        printf("  %s: logits off by %.2g and %.2g, weights by %.2g\n", modes[i].name, apart,
               together, weights);
        CHECK(apart < modes[i].bound && together < modes[i].bound);
        CHECK(weights < (modes[i].kept == WH_KEPT_PLAIN ? 1 : 10) * modes[i].bound);
    }
}

TEST(other_ways_to_read_windows_equal_the_stored_one_in_f16) {
    const struct mode modes[] = {{"absorbed", WH_COMPUTE_F16, WH_CROSS_ABSORBED, 0, 0.001},
                                 {"by batch", WH_COMPUTE_F16, WH_CROSS_BY_BATCH, 0, 0.001}};
    check_modes(modes, 2);
}

TEST(keys_and_values_in_bytes_come_close_in_f16) {
    const struct mode modes[] = {{"fp8", WH_COMPUTE_F16, WH_CROSS_STORED, WH_KEPT_FP8, 0.01},
                                 {"int8", WH_COMPUTE_F16, WH_CROSS_AUTO, WH_KEPT_INT8, 0.003}};
    check_modes(modes, 2);
}

TEST(other_ways_to_read_windows_equal_the_stored_one_in_bf16) {
    const struct mode modes[] = {{"absorbed", WH_COMPUTE_BF16, WH_CROSS_ABSORBED, 0, 0.008},
                                 {"fp8", WH_COMPUTE_BF16, WH_CROSS_BY_BATCH, WH_KEPT_FP8, 0.015}};
    check_modes(modes, 2);
}

/* Small enough for ThreadSanitizer; a chunk is six tiles, more than are under way. */
TEST(a_few_tokens_of_one_window) {
    static struct outcome of[2];
    dims.n_audio_ctx = 170;
    for (int i = 0; i < 2; i++) {
        struct num_err err = {0};
        const struct mode mode = {.compute = WH_COMPUTE_F16,
                                  .cross = i ? WH_CROSS_ABSORBED : WH_CROSS_STORED};
        void *self;
        CHECK_INT(load(&mode, &self, &err), 0);
        encode(self, 1);
        decode_few(self, &of[i]);
        wh_backend_cuda.free(self);
    }
    CHECK(relative_error(of[1].logits, of[0].logits, 9 * 65) < 0.001);
}

/* More positions than a warp has lanes, and keys in two chunks, in the exact mode. */
TEST(a_long_text_is_the_processors) {
    enum { LONG = 70 };
    static float logits[2][LONG * 65];
    int32_t tokens[LONG];
    dims.n_audio_ctx = 250;
    dims.n_text_ctx = LONG;
    for (int i = 0; i < LONG; i++)
        tokens[i] = i * 29 % 65;
    made_weights_make(&made, &dims, false);
    for (int i = 0; i < 2; i++) {
        const struct wh_backend *backend = i ? &wh_backend_cuda : &wh_backend_cpu;
        const struct wh_limits limits = {
            .n_threads = 1, .n_slots = 1, .n_rows = 1, .compute = WH_COMPUTE_F32};
        const struct wh_prompt prompt = {0, 0, tokens, LONG, 0, logits[i]};
        const size_t n = 2 * (size_t)dims.n_audio_ctx * dims.n_mels;
        struct num_err err = {0};
        float *mel = malloc(n * sizeof *mel);
        void *self;
        CHECK(mel != NULL);
        for (size_t k = 0; k < n; k++)
            mel[k] = sinf((float)k * 0.37f);
        CHECK_INT(backend->load(&made.weights, &dims, &limits, &self, &err), 0);
        CHECK_INT(backend->encode(self, (const float *const *)&mel, &(uint32_t){0}, 1, NULL, &err),
                  0);
        CHECK_INT(backend->prefill(self, &prompt, 1, &err), 0);
        backend->free(self);
        free(mel);
    }
    CHECK(relative_error(logits[1], logits[0], LONG * 65) < 1e-5);
}

TEST(what_does_not_go_together_is_refused) {
    const struct {
        struct mode mode;
        const char *why;
    } cases[] = {{{"", WH_COMPUTE_F32, WH_CROSS_ABSORBED, 0, 0}, "compute: f16 or bf16"},
                 {{"", WH_COMPUTE_F32, WH_CROSS_AUTO, WH_KEPT_INT8, 0}, "compute: f16 or bf16"},
                 {{"", WH_COMPUTE_F16, WH_CROSS_ABSORBED, WH_KEPT_FP8, 0}, "use one of the two"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct num_err err = {0};
        void *self;
        CHECK_INT(load(&cases[i].mode, &self, &err), SLUICE_UNSUPPORTED);
        CHECK(strstr(err.text, cases[i].why));
    }
}

TEST_MAIN()

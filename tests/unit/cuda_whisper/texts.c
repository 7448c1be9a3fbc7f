/*
 * The embedded model on the CUDA backend, end to end: texts, segments and word times are those of
 * the processor, greedy and with beams.
 */
#include "unit/whisper/clips.h"

#define MAX_SAMPLES (4 * 16000) /* a window of the embedded model is 10 s */

struct said {
    char text[2000];
    double ends[64], words[128];
    uint32_t n_segments, n_words, n_tokens;
    int32_t tokens[512];
};

static int32_t on_segment(void *ctx, const struct wh_segment *s) {
    struct said *said = ctx;
    strncat(said->text, s->text, sizeof said->text - strlen(said->text) - 1);
    CHECK(said->n_segments < 64 && said->n_tokens + s->n_tokens < 512);
    said->ends[said->n_segments++] = s->end;
    for (uint32_t i = 0; i < s->n_tokens; i++)
        said->tokens[said->n_tokens++] = s->tokens[i];
    for (uint32_t i = 0; i < s->n_words && said->n_words < 128; i++)
        said->words[said->n_words++] = s->words[i].end;
    return 0;
}

static struct said transcribe_as(const struct wh_backend *backend, struct wh_limits limits,
                                 uint32_t beams, const float *pcm, size_t n) {
    struct num_err err = {0};
    struct wh_options options = options_greedy();
    struct said said = {0};
    struct wh_listener listener = {.ctx = &said, .segment = on_segment};
    struct wh_input input = {.pcm = pcm, .n_samples = n};
    struct wh_longform *lf;
    struct wh_report report;
    struct wh_model m;
    options.beam_size = beams;
    options.word_timestamps = true;
    if (wh_model_load(MODEL_DIR, backend, &limits, &m, &err))
        TEST_FAIL("%s", err.text);
    CHECK_INT(wh_longform_create(&m, &lf, &err), 0);
    if (wh_longform_run(lf, &input, &options, &listener, &report, &err))
        TEST_FAIL("%s", err.text);
    wh_longform_destroy(lf);
    wh_model_finish(&m);
    return said;
}

static struct said transcribe(const struct wh_backend *backend, enum wh_compute compute,
                              uint32_t beams, const float *pcm, size_t n) {
    const struct wh_limits limits = {
        .n_threads = 1, .n_slots = 1, .n_rows = beams, .compute = compute};
    return transcribe_as(backend, limits, beams, pcm, n);
}

static void check_same(enum wh_compute compute, uint32_t beams) {
    size_t n;
    float *pcm = clip_read("meeting", &n);
    n = n < MAX_SAMPLES ? n : MAX_SAMPLES;
    struct said want = transcribe(&wh_backend_cpu, WH_COMPUTE_F32, beams, pcm, n);
    struct said got = transcribe(&wh_backend_cuda, compute, beams, pcm, n);
    printf("  %u beams:%s\n", beams, got.text);
    CHECK(want.n_tokens > 5 && want.n_words > 2);
    CHECK_STR(got.text, want.text);
    CHECK_INT(got.n_tokens, want.n_tokens);
    CHECK(memcmp(got.tokens, want.tokens, want.n_tokens * sizeof *want.tokens) == 0);
    CHECK_INT(got.n_words, want.n_words);
    for (uint32_t i = 0; i < want.n_words; i++)
        CHECK(fabs(got.words[i] - want.words[i]) <= 0.0201);
    free(pcm);
}

TEST(greedy_tokens_are_equal_in_f32) {
    check_same(WH_COMPUTE_F32, 1);
}

TEST(beams_are_equal_in_f32) {
    check_same(WH_COMPUTE_F32, 5);
}

TEST(greedy_tokens_are_equal_in_f16) {
    check_same(WH_COMPUTE_F16, 1);
}

/* Tokens of `got` that are those of `want` at their places. */
static double agreement(const struct said *got, const struct said *want) {
    uint32_t n = 0, most = got->n_tokens > want->n_tokens ? got->n_tokens : want->n_tokens;
    for (uint32_t i = 0; i < got->n_tokens && i < want->n_tokens; i++)
        n += got->tokens[i] == want->tokens[i];
    return (double)n / most;
}

TEST(tokens_agree_however_windows_are_read) {
    static const struct {
        const char *name;
        enum wh_cross cross;
        enum wh_kept kept;
        double least;
    } modes[] = {{"absorbed", WH_CROSS_ABSORBED, WH_KEPT_PLAIN, 1},
                 {"fp8", WH_CROSS_STORED, WH_KEPT_FP8, 0.9},
                 {"int8", WH_CROSS_STORED, WH_KEPT_INT8, 1}};
    const char *seed = getenv("SLUICE_EMU_SEED");
    if (seed && strcmp(seed, "0") == 0)
        SKIP("another seed runs this");
    size_t n;
    float *pcm = clip_read("meeting", &n);
    n = n < MAX_SAMPLES ? n : MAX_SAMPLES;
    struct said want = transcribe(&wh_backend_cpu, WH_COMPUTE_F32, 1, pcm, n);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        const struct wh_limits limits = {.n_threads = 1,
                                         .n_slots = 1,
                                         .n_rows = 1,
                                         .compute = WH_COMPUTE_F16,
                                         .cross = modes[i].cross,
                                         .kept = modes[i].kept};
        struct said got = transcribe_as(&wh_backend_cuda, limits, 1, pcm, n);
        double share = agreement(&got, &want);
        printf("  %s: %.0f %% of %u tokens:%s\n", modes[i].name, 100 * share, want.n_tokens,
               got.text);
        CHECK(share >= modes[i].least);
    }
    free(pcm);
}

TEST_MAIN()

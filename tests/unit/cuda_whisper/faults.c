/*
 * The CUDA backend when something goes wrong: every call of the runtime that load, encode, prefill,
 * step, reorder and the search make fails once, and every kernel; each time there is a status and a
 * sentence, and nothing on the card is left behind. And what a long row of windows takes: nothing;
 * and how often the search on the device asks for the host: seldom.
 */
#include "emu/emu.h"
#include "num/cuda/device.h"
#include "unit/cuda_whisper/made.h"
#include "unit/test.h"
#include "whisper/request.h"

static const struct wh_dims dims = {.n_mels = 80,
                                    .n_audio_ctx = 8,
                                    .n_text_ctx = 16,
                                    .n_state = 64,
                                    .n_vocab = 33,
                                    .n_audio_layers = 1,
                                    .n_audio_heads = 1,
                                    .n_audio_ffn = 64,
                                    .n_text_layers = 1,
                                    .n_text_heads = 1,
                                    .n_text_ffn = 64,
                                    .n_alignment_heads = 1};

static struct made_weights made;
static float mel[16 * 80], pcm[6000], logits[4 * 33];

static int32_t load(void **ret, struct num_err *err) {
    struct wh_limits limits = {
        .n_threads = 1, .n_slots = 2, .n_rows = 2, .compute = WH_COMPUTE_F16, .least_rows = 1};
    if (!made.n)
        made_weights_make(&made, &dims, false);
    return wh_backend_cuda.load(&made.weights, &dims, &limits, ret, err);
}

/* A request of two beams whose texts do not end before the limit. */
static int32_t start_search(void *self, uint32_t slot, uint32_t max_tokens, struct num_err *err) {
    static const int32_t tokens[] = {1, 2}, end = 32;
    static const uint32_t rows[] = {0, 1};
    const struct wh_request request = {.slot = slot,
                                       .prompt = tokens,
                                       .n_prompt = 2,
                                       .max_tokens = max_tokens,
                                       .rules = {.n_vocab = 33,
                                                 .eot = 32,
                                                 .no_timestamps = 33,
                                                 .timestamp_begin = 33,
                                                 .suppress = &end,
                                                 .n_suppress = 1},
                                       .n_candidates = 2};
    const struct wh_taken taken = {&request, rows, 4};
    const struct wh_backend_search *search = wh_backend_cuda.search;
    CHECK(search->takes(self, &request));
    return search->start(self, &taken, 1, err);
}

/* Runs until the request is finished; *ret_runs: how often. */
static int32_t run_search(void *self, uint32_t max_tokens, uint32_t *ret_runs,
                          struct num_err *err) {
    struct wh_found found = {0};
    uint32_t n = 0, runs = 0;
    int32_t status = SLUICE_OK;
    for (; !status && n == 0; runs++)
        status = wh_backend_cuda.search->run(self, &found, &n, err);
    CHECK(status || (n == 1 && found.row == 0 && found.n_tokens == max_tokens));
    *ret_runs = runs;
    return status;
}

/* A window from its mel to a few tokens, their attention, and a search. */
static int32_t decode(void *self, uint32_t slot, struct num_err *err) {
    const struct wh_backend *b = &wh_backend_cuda;
    const float *mels[] = {mel};
    const int32_t tokens[] = {1, 2, 3};
    const uint32_t to = 1, from = 0;
    float weights[3 * 8], prob;
    uint32_t runs;
    struct wh_prompt prompt = {0, slot, tokens, 2, 1, logits};
    struct wh_step steps[] = {{0, 4}, {1, 5}};
    uint32_t starts[2];
    const struct wh_alignment a = {.slot = slot,
                                   .tokens = tokens,
                                   .n_tokens = 3,
                                   .n_frames = 7,
                                   .end = 2,
                                   .ret_starts = starts,
                                   .first_prob = 2,
                                   .n_probs = 1,
                                   .n_text = 30,
                                   .ret_probs = &prob,
                                   .ret_weights = weights};
    const struct wh_excerpt window = {pcm, sizeof pcm / sizeof *pcm, 1, 12};
    int32_t status = b->encode(self, mels, &slot, 1, NULL, err);
    if (!status)
        status = b->listen(self, slot, pcm, sizeof pcm / sizeof *pcm, 40, err);
    if (!status)
        status = b->encode_audio(self, &window, &slot, 1, NULL, err);
    if (!status)
        status = b->prefill(self, &prompt, 1, err);
    if (!status)
        status = b->reorder(self, &to, &from, 1, err);
    for (int i = 0; !status && i < 2; i++)
        status = b->step(self, steps, 2, logits, err);
    if (!status)
        status = b->attention(self, &a, 1, err);
    if (!status)
        status = start_search(self, slot, 4, err);
    if (!status)
        status = run_search(self, 4, &runs, err);
    if (!status && !b->encoded(self, slot))
        status = num_fail(err, SLUICE_INTERNAL, "no encoder output");
    return status;
}

/* Whether the whole way succeeds; where it does not, there is a class and a sentence. */
static bool succeeds(void) {
    struct num_err err = {0};
    struct emu_counts before, after;
    void *self = NULL;
    emu_counts(&before);
    int32_t status = load(&self, &err);
    if (!status) {
        status = decode(self, 0, &err);
        wh_backend_cuda.free(self);
    }
    emu_counts(&after);
    CHECK(after.n_live == before.n_live && after.bytes_used == before.bytes_used);
    CHECK(status == 0 || (status == err.status && err.text[0]));
    return status == 0;
}

/* Calls that give something back may fail without notice: a row of them is the end of the run. */
TEST(every_call_may_fail) {
    enum { GIVING_BACK = 40 };
    int n = 0, n_failed = 0, n_unnoticed = 0;
    CHECK(succeeds());
    while (n_unnoticed < GIVING_BACK) {
        emu_fail_call(NULL, ++n, cudaErrorMemoryAllocation);
        bool unnoticed = succeeds();
        n_unnoticed = unnoticed ? n_unnoticed + 1 : 0;
        n_failed += !unnoticed;
    }
    emu_fail_call(NULL, 0, cudaSuccess);
    printf("  %d of %d calls that failed were noticed\n", n_failed, n - n_unnoticed);
    CHECK(n_failed > 300);
    CHECK(succeeds());
}

/* A kernel that dies takes the card from the process: the stage asks for another one. */
TEST(a_kernel_that_dies_is_the_end_of_the_process) {
    struct num_err err = {0};
    struct wh_device_info info;
    void *self;
    CHECK_INT(load(&self, &err), 0);
    CHECK_INT(decode(self, 0, &err), 0);
    emu_fail_kernel(5, cudaErrorIllegalAddress);
    CHECK_INT(decode(self, 0, &err), SLUICE_INTERNAL);
    CHECK(strstr(err.text, "cannot be used by this process"));
    wh_backend_cuda.info(self, &info);
    CHECK(info.lost);
    CHECK(decode(self, 0, &err) != 0);
    wh_backend_cuda.free(self);
}

/* Every step is one launch, and the host waits once for two of them, a run behind; and once before
 * it lays the items out. */
TEST(the_search_runs_ahead_of_the_host) {
    struct num_err err = {0};
    struct emu_counts before, after;
    uint32_t runs;
    void *self;
    CHECK_INT(load(&self, &err), 0);
    CHECK_INT(decode(self, 0, &err), 0);
    CHECK_INT(start_search(self, 0, 14, &err), 0);
    emu_counts(&before);
    CHECK_INT(run_search(self, 14, &runs, &err), 0);
    emu_counts(&after);
    printf("  %u runs, %zu launches, %zu waits\n", runs, after.n_launches - before.n_launches,
           after.n_host_waits - before.n_host_waits);
    CHECK_INT(runs, 8); /* 13 steps, two a run; the last run's end is heard of in the next */
    CHECK_INT(after.n_launches - before.n_launches, 2 * runs + 1);
    CHECK(after.n_host_waits - before.n_host_waits <= runs + 1);
    wh_backend_cuda.free(self);
}

/* A window's share of a long file: encoded, a prompt, a token. */
static void pass_window(void *self, uint32_t slot) {
    const struct wh_backend *b = &wh_backend_cuda;
    struct num_err err = {0};
    const float *mels[] = {mel};
    const int32_t token = 1;
    struct wh_prompt prompt = {0, slot, &token, 1, 0, logits};
    struct wh_step step = {0, 2};
    CHECK_INT(b->encode(self, mels, &slot, 1, NULL, &err), 0);
    CHECK_INT(b->prefill(self, &prompt, 1, &err), 0);
    CHECK_INT(b->step(self, &step, 1, logits, &err), 0);
}

TEST(memory_is_flat_over_a_thousand_windows) {
    struct num_err err = {0};
    struct emu_counts before, after;
    void *self;
    CHECK_INT(load(&self, &err), 0);
    for (uint32_t i = 0; i < 4; i++)
        pass_window(self, i % 2);
    emu_counts(&before);
    for (uint32_t i = 0; i < 1000; i++)
        pass_window(self, i % 2);
    emu_counts(&after);
    CHECK(after.bytes_peak == before.bytes_peak && after.n_allocations == before.n_allocations);
    wh_backend_cuda.free(self);
}

TEST(a_full_card_is_a_lack_of_resources) {
    struct num_err err = {0};
    void *self = NULL;
    emu_set_memory((64 << 20) + (64 << 10));
    CHECK_INT(load(&self, &err), SLUICE_RESOURCE);
}

TEST_MAIN()

/*
 * The CUDA backend when something goes wrong: every call of the runtime that load, encode, prefill,
 * step and reorder make fails once, and every kernel; each time there is a status and a sentence, and
 * nothing on the card is left behind. And what a long row of windows takes: nothing.
 */
#include "emu/emu.h"
#include "num/cuda/device.h"
#include "unit/cuda_whisper/made.h"
#include "unit/test.h"

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

/* A window from its mel to a few tokens and their attention. */
static int32_t decode(void *self, uint32_t slot, struct num_err *err) {
    const struct wh_backend *b = &wh_backend_cuda;
    const float *mels[] = {mel};
    const int32_t tokens[] = {1, 2, 3};
    const uint32_t to = 1, from = 0;
    float weights[3 * 8], prob;
    struct wh_prompt prompt = {0, slot, tokens, 2, 1, logits};
    struct wh_step steps[] = {{0, 4}, {1, 5}};
    struct wh_alignment a = {0, slot, tokens, 3, weights, 2, 1, 30, &prob};
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
        status = b->attention(self, &a, err);
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

TEST(every_call_may_fail) {
    CHECK(succeeds());
    int n = 1;
    emu_fail_call(NULL, n, cudaErrorMemoryAllocation);
    while (!succeeds())
        emu_fail_call(NULL, ++n, cudaErrorMemoryAllocation);
    emu_fail_call(NULL, 0, cudaSuccess);
    printf("  each of %d calls failed once\n", n - 1);
    CHECK(n > 60);
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

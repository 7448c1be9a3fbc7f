/*
 * The CUDA backend of align/words when something goes wrong: calls of the runtime from create to
 * paths fail, one in each round; there is a status and a sentence, and nothing on the card is left
 * behind. A kernel that dies is told apart. And what a row of sounds takes: nothing.
 */
#include "emu/emu.h"
#include "made.h"

enum { FRAMES = 24 };

static float logp[FRAMES * RM_V];

/* A sound from its samples to the path of a text. */
static int32_t align(void *net, const float *pcm, size_t n, struct num_err *err) {
    const uint32_t tokens[] = {1, 2, 2};
    const struct al_ctc text = {logp, FRAMES, RM_V, tokens, 3};
    const struct al_backend *b = &al_backend_cuda;
    struct al_span spans[3], *const list = spans;
    int32_t status = b->listen(net, pcm, n, err);
    if (!status)
        status = b->run(net, 0, FRAMES, NULL, logp, err);
    return status ? status : b->align(net, &text, &list, 1, NULL, err);
}

static bool succeeds(const struct made *m, const float *pcm, size_t n) {
    struct num_err err = {0};
    struct emu_counts before, after;
    void *net = NULL;
    emu_counts(&before);
    int32_t status = made_create(m, &al_backend_cuda, NUM_COMPUTE_BF16, 0, &net, &err);
    if (!status) {
        status = align(net, pcm, n, &err);
        al_backend_cuda.destroy(net);
    }
    emu_counts(&after);
    CHECK(after.n_live == before.n_live && after.bytes_used == before.bytes_used);
    CHECK(status == 0 || (status == err.status && err.text[0]));
    return status == 0;
}

TEST(calls_may_fail) {
    struct made m;
    size_t n, failed = 0;
    float *pcm = rm_audio(2, 0.5, &n);
    made_init(&m, "group");
    CHECK(succeeds(&m, pcm, n));
    for (int call = 1;; call += 37, failed++) {
        emu_fail_call(NULL, call, cudaErrorMemoryAllocation);
        if (succeeds(&m, pcm, n))
            break;
    }
    CHECK(failed > 4);
    rm_free(&m.model);
    free(pcm);
}

TEST(a_kernel_that_dies_is_told_apart) {
    struct made m;
    struct num_err err = {0};
    struct al_device_info info;
    void *net = NULL;
    size_t n;
    float *pcm = rm_audio(2, 0.5, &n);
    made_init(&m, "group");
    CHECK_INT(made_create(&m, &al_backend_cuda, NUM_COMPUTE_BF16, 0, &net, &err), SLUICE_OK);
    CHECK_INT(align(net, pcm, n, &err), SLUICE_OK);
    emu_fail_kernel(5, cudaErrorIllegalAddress);
    CHECK_INT(align(net, pcm, n, &err), SLUICE_INTERNAL);
    CHECK(strstr(err.text, "cannot be used by this process"));
    al_backend_cuda.info(net, &info);
    CHECK(info.lost);
    al_backend_cuda.destroy(net);
    rm_free(&m.model);
    free(pcm);
}

TEST(memory_is_flat) {
    struct made m;
    struct num_err err = {0};
    struct emu_counts before, after;
    void *net = NULL;
    size_t n;
    float *pcm = rm_audio(2, 0.5, &n);
    made_init(&m, "group");
    CHECK_INT(made_create(&m, &al_backend_cuda, NUM_COMPUTE_BF16, 0, &net, &err), SLUICE_OK);
    emu_counts(&before);
    for (int i = 0; i < 10; i++)
        CHECK_INT(align(net, pcm, n, &err), SLUICE_OK);
    emu_counts(&after);
    CHECK(after.bytes_peak == before.bytes_peak && after.n_allocations == before.n_allocations);
    al_backend_cuda.destroy(net);
    rm_free(&m.model);
    free(pcm);
}

TEST_MAIN()

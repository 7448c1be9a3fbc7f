/*
 * The network on a card against the one on the processor, which is checked against transformers
 * (unit.align_net): all variants, in float and in bfloat16; and what a card refuses.
 */
#include "made.h"

#define TOLERANCE      2e-4
#define BF16_TOLERANCE 0.35 /* of log probabilities whose deviation is 2: weights have 8 bits */

static void run(const struct al_backend *b, const struct made *m, enum num_compute compute,
                const float *pcm, size_t n, size_t first, size_t frames, float *ret) {
    void *net = NULL;
    struct num_err err = {0};
    if (made_create(m, b, compute, 0, &net, &err) || b->listen(net, pcm, n, &err) ||
        b->run(net, first, frames, NULL, ret, &err))
        TEST_FAIL("%s", err.text);
    b->destroy(net);
}

static void check_variant(const char *variant, uint32_t seed, double seconds, size_t first,
                          size_t frames) {
    static float want[MAX_FRAMES * RM_V], got[MAX_FRAMES * RM_V];
    static const struct {
        enum num_compute compute;
        double tolerance;
    } cases[] = {{NUM_COMPUTE_F32, TOLERANCE}, {NUM_COMPUTE_BF16, BF16_TOLERANCE}};
    struct made m;
    size_t n;
    float *pcm = rm_audio(seed, seconds, &n);
    made_init(&m, variant);
    run(&al_backend_cpu, &m, NUM_COMPUTE_F32, pcm, n, first, frames, want);
    for (size_t i = 0; i < 2; i++) {
        double most = 0;
        run(&al_backend_cuda, &m, cases[i].compute, pcm, n, first, frames, got);
        for (size_t k = 0; k < frames * RM_V; k++) {
            CHECK(isfinite(got[k]));
            most = fmax(most, fabs((double)got[k] - (double)want[k]));
        }
        printf("  %s: largest difference %.1e\n", variant, most);
        CHECK(most < cases[i].tolerance);
    }
    rm_free(&m.model);
    free(pcm);
}

TEST(group_norm_and_norms_behind) {
    check_variant("group", 0, 2.9, 3,
                  130); /* not from the first frame on, and two pieces of positions */
}

TEST(layer_norms_and_norms_before) {
    check_variant("layer", 1, 0.6, 0, 29);
}

TEST(hubert) {
    check_variant("hubert", 2, 0.5, 0, 24);
}

TEST(adapters) {
    check_variant("adapter", 3, 0.5, 0, 24);
}

TEST(what_a_card_does_not_take_is_said) {
    struct made m;
    struct num_err err = {0};
    void *net = NULL;
    made_init(&m, "group");
    CHECK_INT(made_create(&m, &al_backend_cuda, NUM_COMPUTE_F32, 1 << 20, &net, &err),
              SLUICE_RESOURCE);
    CHECK(strstr(err.text, "1048576 are allowed"));
    m.config.n_heads = 4;
    CHECK_INT(made_create(&m, &al_backend_cuda, NUM_COMPUTE_F32, 0, &net, &err),
              SLUICE_UNSUPPORTED);
    CHECK(strstr(err.text, "heads have 16 values") && strstr(err.text, "device: cpu"));
    m.config.n_heads = 1;
    m.config.n_ffn = 128;
    CHECK_INT(made_create(&m, &al_backend_cuda, NUM_COMPUTE_F32, 0, &net, &err), SLUICE_INPUT);
    CHECK(strstr(err.text, "where config.json asks for"));
    rm_free(&m.model);
}

TEST_MAIN()

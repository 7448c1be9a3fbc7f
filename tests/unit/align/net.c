/*
 * The network stage by stage against what Hugging Face transformers makes of the same weights and
 * sounds (tests/data/expected/wav2vec2.safetensors, written by tools/reference/wav2vec2.py): group
 * and layer norms in the convolutions, norms before and behind attention, both names of weight
 * norm, HuBERT, adapters, one file and shards, one of the languages of a model of many. Both sides
 * sum floats in different orders; values are of the order of 1 to 15, so that 1e-4 is some hundred
 * roundings.
 */
#include "unit/align/random_model.h"

#include "align/language.h"
#include "align/net.h"

#define TOLERANCE      1e-4
#define BF16_TOLERANCE 0.25 /* of log probabilities whose deviation is 2: weights have 8 bits */

enum { ROWS = 5, MAX_FRAMES = 400 };

struct comparison {
    const struct num_safetensors *expected;
    const char *variant;
    int layer;
    double most; /* difference so far */
    double tolerance;
};

static void compare(struct comparison *c, const char *what, const float *rows, size_t ld, size_t n,
                    size_t width) {
    char name[60];
    snprintf(name, sizeof name, "%s.%s", c->variant, what);
    const struct num_tensor *t = num_safetensors_find(c->expected, name);
    CHECK(t && t->shape[0] == ROWS && t->shape[1] == width);
    for (size_t i = 0; i < ROWS; i++) {
        size_t row = (size_t)nearbyint((double)(n - 1) * (double)i / (ROWS - 1));
        for (size_t k = 0; k < width; k++) {
            float want;
            memcpy(&want, (const char *)t->data + (i * width + k) * 4, 4);
            double difference = fabs((double)rows[row * ld + k] - (double)want);
            c->most = fmax(c->most, difference);
            if (!(difference <= c->tolerance))
                TEST_FAIL("%s, row %zu, column %zu: %g, not %g", name, row, k,
                          (double)rows[row * ld + k], (double)want);
        }
    }
}

static void tap(void *ctx, const char *what, const float *rows, size_t ld, size_t n, size_t width) {
    struct comparison *c = ctx;
    char name[20];
    snprintf(name, sizeof name, strcmp(what, "layer") ? "%s" : "%s%d", what, c->layer);
    c->layer += strcmp(what, "layer") == 0;
    compare(c, name, rows, ld, n, width);
}

static struct al_net *load(const struct random_model *m, enum num_compute compute,
                           uint32_t n_threads, uint32_t max_frames) {
    char *config, *pre;
    size_t config_len, pre_len;
    struct num_err err = {0};
    struct al_config sizes;
    struct al_files files;
    struct al_language language;
    struct al_net *net = NULL;
    CHECK_INT(num_file_read(m->folder, "config.json", false, "", &config, &config_len, &err), 0);
    CHECK_INT(num_file_read(m->folder, "preprocessor_config.json", true, "", &pre, &pre_len, &err),
              0);
    bool adapted = false;
    if (al_config_parse(config, config_len, pre, pre_len, &sizes, &err) ||
        al_files_open(m->folder, &files, &err) ||
        al_language_choose(m->folder, m->n > m->n_own ? "other" : "", &language, &err) ||
        al_language_adapt(&language, m->folder, &files, &sizes, &adapted, &err))
        TEST_FAIL("%s", err.text);
    CHECK(adapted == (m->n > m->n_own));
    struct al_net_options options = {
        .compute = compute, .n_threads = n_threads, .max_frames = max_frames};
    if (al_net_create(&files, &sizes, &options, &net, &err))
        TEST_FAIL("%s", err.text);
    al_files_close(&files);
    free(config);
    free(pre);
    return net;
}

static void check_variant(const char *variant, uint32_t number, double seconds, size_t frames) {
    struct random_model m;
    struct num_safetensors expected;
    size_t n;
    float *pcm = rm_audio(number, seconds, &n),
          *logp = malloc(sizeof *logp * MAX_FRAMES * RM_V_OTHER);
    rm_init(&m, variant);
    size_t V = m.n > m.n_own ? RM_V_OTHER : RM_V;
    CHECK_INT(
        num_safetensors_open(TESTS_DIR "/data/expected/wav2vec2.safetensors", &expected, NULL), 0);
    struct comparison c = {&expected, variant, 0, 0, TOLERANCE};
    struct al_net *net = load(&m, NUM_COMPUTE_F32, 2, MAX_FRAMES);
    al_net_set_tap(net, tap, &c);
    al_net_listen(net, pcm, n);
    CHECK_INT(al_net_run(net, 0, frames, NULL, logp, NULL), 0);
    CHECK_INT(c.layer, 2);
    compare(&c, "logp", logp, V, frames, V);
    printf("  %s: largest difference %.1e\n", variant, c.most);
    al_net_destroy(net);
    net = load(&m, NUM_COMPUTE_BF16, 1, MAX_FRAMES);
    c = (struct comparison){&expected, variant, 0, 0, BF16_TOLERANCE};
    al_net_listen(net, pcm, n);
    CHECK_INT(al_net_run(net, 0, frames, NULL, logp, NULL), 0);
    compare(&c, "logp", logp, V, frames, V);
    printf("  %s: of bfloat16 %.1e\n", variant, c.most);
    al_net_destroy(net);
    num_safetensors_close(&expected);
    rm_finish(&m);
    free(pcm);
    free(logp);
}

TEST(group_norm_and_norms_behind) {
    check_variant("group", 0, 2.3, 114);
}

TEST(layer_norms_and_norms_before) {
    check_variant("layer", 1, 7.1, 354);
}

TEST(hubert) {
    check_variant("hubert", 2, 0.5, 24);
}

TEST(adapters_in_two_files) {
    check_variant("adapter", 3, 1.0, 49);
}

TEST(the_adapter_of_a_language) {
    check_variant("languages", 4, 1.3, 64);
}

TEST(threads_change_nothing) {
    struct random_model m;
    size_t n;
    float *pcm = rm_audio(1, 7.1, &n), *one = malloc(sizeof *one * MAX_FRAMES * RM_V),
          *two = malloc(sizeof *two * MAX_FRAMES * RM_V);
    rm_init(&m, "group");
    struct al_net *net = load(&m, NUM_COMPUTE_F32, 1, MAX_FRAMES),
                  *threads = load(&m, NUM_COMPUTE_F32, 3, MAX_FRAMES);
    al_net_listen(net, pcm, n);
    al_net_listen(threads, pcm, n);
    CHECK_INT(al_net_run(net, 0, 354, NULL, one, NULL), 0);
    CHECK_INT(al_net_run(threads, 0, 354, NULL, two, NULL), 0);
    CHECK(memcmp(one, two, sizeof *one * 354 * RM_V) == 0);
    al_net_destroy(net);
    al_net_destroy(threads);
    rm_finish(&m);
    free(pcm);
    free(one);
    free(two);
}

TEST_MAIN()

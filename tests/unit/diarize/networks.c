/* The networks against torch (tools/reference/pyannet.py, resnet34.py), and what must not
 * matter. */
#include "unit/diarize/models.h"

#include "diarize/cells.h"
#include "diarize/fbank.h"
#include "diarize/pyannet.h"
#include "diarize/resnet.h"
#include "num/half.h"

/* ---- segmentation ---- */

#define WINDOW 16000

static struct dz_pyannet *make_pyannet(struct num_pool *pool, enum num_compute compute) {
    struct dz_weights weights = open_weights("pyannet", "pyannet");
    struct dz_pyannet *net = NULL;
    struct num_err err = {0};
    if (dz_pyannet_create(&weights, compute, pool, &net, &err) != SLUICE_OK)
        TEST_FAIL("%s", err.text);
    dz_weights_close(&weights);
    return net;
}

TEST(sets_are_those_of_the_powerset) {
    struct num_pool *pool = make_pool(1);
    struct dz_pyannet *net = make_pyannet(pool, NUM_COMPUTE_F32);
    static const uint8_t sets[] = {0, 1, 2, 4, 3, 5, 6};
    struct dz_pyannet_shape shape;
    dz_pyannet_shape(net, &shape);
    CHECK_INT(shape.n_classes, 7);
    CHECK_INT(shape.n_local, 3);
    for (size_t i = 0; i < 7; i++)
        CHECK_INT(dz_pyannet_set(net, i), sets[i]);
    CHECK_INT(shape.step, 270);
    CHECK_INT(shape.frame, 51 + 10 * 74);
    dz_pyannet_destroy(net);
    num_pool_destroy(pool);
}

static void check_scores(enum num_compute compute, double limit) {
    for (uint32_t threads = 1; threads <= 2; threads++) {
        struct num_pool *pool = make_pool(threads);
        struct dz_pyannet *net = make_pyannet(pool, compute);
        struct dz_pyannet_shape shape;
        dz_pyannet_shape(net, &shape);
        CHECK_INT(shape.window, WINDOW);
        static float pcm[2][WINDOW];
        const float *windows[] = {pcm[0], pcm[1]};
        make_noise(pcm[0], WINDOW, 1);
        make_noise(pcm[1], WINDOW, 2);
        size_t n = 2 * shape.n_frames * shape.n_classes;
        float *scores = malloc(n * sizeof *scores);
        CHECK_INT(dz_pyannet_run(net, windows, 2, scores, NULL), SLUICE_OK);
        for (size_t i = 0; i < n; i += 7) { /* to logarithms of probabilities, as torch's */
            double sum = 0;
            for (size_t k = 0; k < 7; k++)
                sum += exp(scores[i + k]);
            for (size_t k = 0; k < 7; k++)
                scores[i + k] -= (float)log(sum);
        }
        CHECK(difference("pyannet", "scores", scores, n) < limit);
        free(scores);
        dz_pyannet_destroy(net);
        num_pool_destroy(pool);
    }
}

/* Tolerance: float sums of some hundred terms in another order, through two recurrent layers. */
TEST(scores_are_those_of_torch) {
    check_scores(NUM_COMPUTE_F32, 1e-4);
}

/* bfloat16 keeps 8 bits of what goes into each of the layers. */
TEST(scores_of_bfloat16_are_near) {
    check_scores(NUM_COMPUTE_BF16, 0.02);
}

static void check_apart(enum num_compute compute) {
    enum { N = 37 };
    struct num_pool *pool = make_pool(2);
    struct dz_pyannet *net = make_pyannet(pool, compute);
    struct dz_pyannet_shape shape;
    dz_pyannet_shape(net, &shape);
    size_t n = shape.n_frames * shape.n_classes;
    float *pcm = malloc(sizeof(float) * N * WINDOW), *all = malloc(sizeof(float) * N * n),
          *one = malloc(sizeof(float) * n);
    const float *windows[N];
    for (size_t i = 0; i < N; i++) {
        make_noise(pcm + i * WINDOW, WINDOW, i + 1);
        windows[i] = pcm + i * WINDOW;
    }
    CHECK_INT(dz_pyannet_run(net, windows, N, all, NULL), SLUICE_OK);
    for (size_t i = 0; i < N; i++) {
        CHECK_INT(dz_pyannet_run(net, &windows[i], 1, one, NULL), SLUICE_OK);
        for (size_t k = 0; k < n; k++)
            CHECK_NEAR(one[k], all[i * n + k], 1e-5);
    }
    free(pcm);
    free(all);
    free(one);
    dz_pyannet_destroy(net);
    num_pool_destroy(pool);
}

TEST(windows_do_not_know_of_each_other) {
    check_apart(NUM_COMPUTE_F32);
    check_apart(NUM_COMPUTE_BF16);
}

static void check_nonsense(enum num_compute compute) {
    struct num_pool *pool = make_pool(1);
    struct dz_pyannet *net = make_pyannet(pool, compute);
    struct dz_pyannet_shape shape;
    dz_pyannet_shape(net, &shape);
    size_t n = shape.n_frames * shape.n_classes;
    float *pcm = calloc(WINDOW, sizeof *pcm), *scores = malloc(n * sizeof *scores);
    const float *window = pcm;
    for (int round = 0; round < 2; round++) {
        CHECK_INT(dz_pyannet_run(net, &window, 1, scores, NULL), SLUICE_OK);
        for (size_t i = 0; i < n; i++)
            CHECK(isfinite(scores[i]));
        pcm[100] = NAN;
        pcm[200] = INFINITY;
    }
    free(pcm);
    free(scores);
    dz_pyannet_destroy(net);
    num_pool_destroy(pool);
}

TEST(silence_and_nonsense_give_numbers) {
    check_nonsense(NUM_COMPUTE_F32);
    check_nonsense(NUM_COMPUTE_BF16);
}

/* ---- embedding ---- */

#define SAMPLES 20000
#define SIZE    16

static struct dz_resnet *make_resnet(struct num_pool *pool, enum num_compute compute) {
    struct dz_weights weights = open_weights("resnet34", "resnet");
    struct dz_resnet *net = NULL;
    struct num_err err = {0};
    if (dz_resnet_create(&weights, compute, pool, &net, &err) != SLUICE_OK)
        TEST_FAIL("%s", err.text);
    dz_weights_close(&weights);
    CHECK_INT(dz_resnet_size(net), SIZE);
    return net;
}

/* Kaldi's values are logarithms near 10; torchaudio computes them in float. */
TEST(filter_banks_are_those_of_kaldi) {
    static const struct {
        const char *tensor;
        size_t n_bands, n_samples;
    } cases[] = {{"fbank", 24, SAMPLES}, {"fbank80", 80, 8000}};
    for (size_t i = 0; i < 2; i++) {
        static float pcm[SAMPLES];
        struct dz_fbank *fbank = NULL;
        make_noise(pcm, SAMPLES, 3);
        CHECK_INT(dz_fbank_create(cases[i].n_bands, &fbank, NULL), SLUICE_OK);
        size_t n = dz_fbank_frames(cases[i].n_samples) * cases[i].n_bands;
        float *work = malloc(dz_fbank_work(fbank) * sizeof *work), *x = malloc(n * sizeof *x);
        dz_fbank_run(fbank, pcm, cases[i].n_samples, work, x);
        CHECK(difference("resnet34", cases[i].tensor, x, n) < 1e-4);
        free(work);
        free(x);
        dz_fbank_destroy(fbank);
    }
}

static void make_masks(float first[50], float second[50]) {
    for (size_t i = 0; i < 50; i++) {
        second[i] = (float)i / 49;
        first[i] = second[i] < 0.5f;
    }
}

static void check_resnet(enum num_compute compute, uint32_t threads, double limit) {
    static float pcm[SAMPLES], rows[2 * SIZE];
    struct num_pool *pool = make_pool(threads);
    struct dz_resnet *net = make_resnet(pool, compute);
    float masks[2][50];
    size_t bands, frames, channels;
    make_noise(pcm, SAMPLES, 3);
    make_masks(masks[0], masks[1]);
    CHECK_INT(dz_resnet_run(net, pcm, SAMPLES, NULL), SLUICE_OK);
    const float *maps = dz_resnet_maps(net, &bands, &frames, &channels);
    size_t n = bands * frames * channels;
    float *torch_order =
        malloc(n * sizeof *torch_order); /* (bands, frames, channels) from torch's */
    memcpy(torch_order, maps, n * sizeof *maps);
    CHECK(difference("resnet34", "trunk", torch_order, n) < limit);
    free(torch_order);
    for (size_t i = 0; i < 2; i++)
        CHECK_INT(dz_resnet_pool(net, masks[i], 50, rows + i * SIZE, NULL), SLUICE_OK);
    CHECK(difference("resnet34", "embeddings", rows, (size_t)2 * SIZE) < limit);
    dz_resnet_destroy(net);
    num_pool_destroy(pool);
}

TEST(embeddings_are_those_of_torch) {
    check_resnet(NUM_COMPUTE_F32, 1, 1e-4);
    check_resnet(NUM_COMPUTE_F32, 2, 1e-4);
}

/* bfloat16 keeps 8 bits of what goes into each of the layers. */
TEST(embeddings_of_bfloat16_are_near) {
    check_resnet(NUM_COMPUTE_BF16, 2, 0.05);
}

TEST(windows_of_other_lengths_follow_each_other) {
    static float pcm[SAMPLES], first[SIZE], again[SIZE];
    struct num_pool *pool = make_pool(2);
    struct dz_resnet *net = make_resnet(pool, NUM_COMPUTE_F32);
    float mask[2] = {1, 1};
    make_noise(pcm, SAMPLES, 3);
    CHECK_INT(dz_resnet_run(net, pcm, SAMPLES, NULL), SLUICE_OK);
    CHECK_INT(dz_resnet_pool(net, mask, 2, first, NULL), SLUICE_OK);
    CHECK_INT(dz_resnet_run(net, pcm, 400, NULL), SLUICE_OK);
    CHECK_INT(dz_resnet_pool(net, mask, 2, again, NULL), SLUICE_OK);
    for (size_t i = 0; i < SIZE; i++)
        CHECK(isfinite(again[i]));
    CHECK_INT(dz_resnet_run(net, pcm, SAMPLES, NULL), SLUICE_OK);
    CHECK_INT(dz_resnet_pool(net, mask, 2, again, NULL), SLUICE_OK);
    for (size_t i = 0; i < SIZE; i++)
        CHECK_NEAR(first[i], again[i], 0);
    struct num_err err = {0};
    CHECK_INT(dz_resnet_run(net, pcm, 399, &err), SLUICE_INPUT);
    dz_resnet_destroy(net);
    num_pool_destroy(pool);
}

/* ---- gates ---- */

TEST(gates_are_what_their_names_say) {
    enum { N = 37 };
    float gates[4 * N], state[N], out[N];
    const struct dz_cells *cells = dz_cells();
    for (size_t i = 0; i < 4 * N; i++)
        gates[i] = (float)(12 * sin((double)i * 1.7));
    gates[0] = 200;
    gates[N] = -200;
    for (size_t i = 0; i < N; i++)
        state[i] = (float)cos((double)i);
    uint16_t halves[N];
    float again[N];
    memcpy(again, state, sizeof again);
    cells->lstm(gates, N, state, false, out);
    cells->lstm(gates, N, again, true, halves);
    for (size_t i = 0; i < N; i++) {
        double in = 1 / (1 + exp(-gates[i])), forget = 1 / (1 + exp(-gates[N + i]));
        double c = forget * (float)cos((double)i) + in * tanh(gates[2 * N + i]);
        CHECK_NEAR(state[i], c, 1e-6);
        CHECK_NEAR(out[i], tanh(c) / (1 + exp(-gates[3 * N + i])), 1e-6);
        CHECK_NEAR(num_bf16_to_f32(halves[i]), out[i], fabs(out[i]) / 256);
        CHECK_NEAR(again[i], state[i], 0);
    }
}

TEST_MAIN()

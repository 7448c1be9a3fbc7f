/*
 * Both networks on a card against the processor, which is checked against torch
 * (unit.diarize_networks); failures of calls and of a kernel; memory. The models are files, which
 * need a JSON parser.
 */
#include <jansson.h>

#include "emu/emu.h"
#include "unit/diarize/models.h"

#include "diarize/models.h"

enum { WINDOW = 16000, WINDOWS = 11 };

struct set_up {
    struct num_pool *pool;
    struct dz_models models;
    struct dz_neural neural;
};

/* *s may be finished after a failure, too. */
static int32_t load(struct set_up *s, const struct dz_backend *backend, enum num_compute compute,
                    uint64_t limit, struct num_err *err) {
    const struct dz_model_paths paths = {EXPECTED "pyannet",
                                         EXPECTED "resnet34",
                                         NULL,
                                         {.compute = compute, .device_memory = limit},
                                         backend};
    *s = (struct set_up){.pool = make_pool(1)};
    int32_t status = dz_models_load(&paths, s->pool, &s->models, err);
    s->neural = dz_models_neural(&s->models);
    return status;
}

static void finish(struct set_up *s) {
    dz_models_finish(&s->models);
    num_pool_destroy(s->pool);
}

struct result {
    float *scores, *rows;
    size_t n_scores, n_rows;
};

/* Scores of WINDOWS windows, and embeddings of one to three voices in most of them. */
static int32_t run(const struct set_up *s, const float *pcm, struct result *ret,
                   struct num_err *err) {
    const struct dz_backend *b = s->neural.backend;
    static float masks[3][1000];
    const float *windows[WINDOWS];
    struct dz_heard heard[3 * WINDOWS];
    struct dz_pyannet_shape shape;
    size_t size = b->size(s->neural.networks), n = 0;
    b->shape(s->neural.networks, &shape);
    CHECK(shape.window == WINDOW && shape.n_frames <= 1000);
    ret->n_scores = WINDOWS * shape.n_frames * shape.n_classes;
    ret->scores = malloc(ret->n_scores * sizeof(float));
    ret->rows = malloc(3 * WINDOWS * size * sizeof(float));
    for (size_t i = 0; i < 3; i++)
        for (size_t t = 0; t < shape.n_frames; t++)
            masks[i][t] = t * 3 / shape.n_frames == i ? 1 : 0.1f * (float)i;
    for (size_t i = 0; i < WINDOWS; i++) {
        windows[i] = pcm + i * WINDOW / 4;
        for (size_t v = 0; v < i % 4; v++, n++)
            heard[n] = (struct dz_heard){i, masks[v], ret->rows + n * size};
    }
    ret->n_rows = n * size;
    int32_t status = b->segment(s->neural.networks, windows, WINDOWS, ret->scores, err);
    return status ? status : b->hear(s->neural.networks, windows, WINDOWS, heard, n, err);
}

static void drop(struct result *r) {
    free(r->scores);
    free(r->rows);
}

static float *make_sound(void) {
    size_t n = WINDOW + WINDOWS * WINDOW / 4;
    float *pcm = malloc(n * sizeof *pcm);
    make_noise(pcm, n, 5);
    pcm[WINDOW / 2] = NAN;
    return pcm;
}

/* The largest difference as a share of the largest value. */
static double differ(const char *what, const float *got, const float *want, size_t n) {
    double most = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        CHECK(isfinite(got[i]));
        most = fmax(most, fabs((double)got[i] - (double)want[i]));
        largest = fmax(largest, fabs((double)want[i]));
    }
    printf("  %s: largest difference %.1e of %.2g\n", what, most, largest);
    return most / largest;
}

static void compare(enum num_compute compute, double score_limit, double row_limit) {
    struct set_up cpu, card;
    struct result want, got;
    struct num_err err = {0};
    float *pcm = make_sound();
    if (load(&cpu, &dz_backend_cpu, NUM_COMPUTE_F32, 0, &err) || run(&cpu, pcm, &want, &err) ||
        load(&card, &dz_backend_cuda, compute, 0, &err) || run(&card, pcm, &got, &err))
        TEST_FAIL("%s", err.text);
    for (size_t i = 0; i < 7; i++)
        CHECK_INT(dz_backend_cuda.set(card.neural.networks, i), dz_backend_cpu.set(&cpu.models, i));
    CHECK(strcmp(cpu.models.kind, card.models.kind) == 0);
    CHECK(differ("scores", got.scores, want.scores, want.n_scores) < score_limit);
    CHECK(differ("embeddings", got.rows, want.rows, want.n_rows) < row_limit);
    drop(&want);
    drop(&got);
    finish(&cpu);
    finish(&card);
    free(pcm);
}

TEST(floats_are_those_of_the_processor) {
    compare(NUM_COMPUTE_F32, 1e-4, 1e-4);
}

TEST(bfloat16_is_near) {
    compare(NUM_COMPUTE_BF16, 0.03, 0.05);
}

TEST(a_full_card_is_a_lack_of_resources) {
    struct set_up s;
    struct num_err err = {0};
    CHECK_INT(load(&s, &dz_backend_cuda, NUM_COMPUTE_BF16, 1 << 20, &err), SLUICE_RESOURCE);
    CHECK(strstr(err.text, "1048576 are allowed"));
    finish(&s);
}

static bool succeeds(const float *pcm) {
    struct num_err err = {0};
    struct emu_counts before, after;
    struct set_up s = {0};
    struct result r = {0};
    emu_counts(&before);
    int32_t status = load(&s, &dz_backend_cuda, NUM_COMPUTE_BF16, 0, &err);
    if (!status)
        status = run(&s, pcm, &r, &err);
    drop(&r);
    finish(&s);
    emu_counts(&after);
    CHECK(after.n_live == before.n_live && after.bytes_used == before.bytes_used);
    CHECK(status == 0 || (status == err.status && err.text[0]));
    return status == 0;
}

TEST(calls_may_fail) {
    float *pcm = make_sound();
    size_t failed = 0;
    CHECK(succeeds(pcm));
    for (int call = 1;; call += 61, failed++) {
        emu_fail_call(NULL, call, cudaErrorMemoryAllocation);
        if (succeeds(pcm))
            break;
    }
    CHECK(failed > 3);
    free(pcm);
}

TEST(a_kernel_that_dies_is_told_apart) {
    struct num_err err = {0};
    struct dz_device_info info;
    struct set_up s;
    struct result r = {0};
    float *pcm = make_sound();
    CHECK_INT(load(&s, &dz_backend_cuda, NUM_COMPUTE_BF16, 0, &err), SLUICE_OK);
    emu_fail_kernel(5, cudaErrorIllegalAddress);
    CHECK_INT(run(&s, pcm, &r, &err), SLUICE_INTERNAL);
    CHECK(strstr(err.text, "cannot be used by this process"));
    dz_backend_cuda.info(s.models.card, &info);
    CHECK(info.lost);
    drop(&r);
    finish(&s);
    free(pcm);
}

TEST_MAIN()

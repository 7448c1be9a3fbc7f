/* The neural method as a whole, with small random models: what its memory and its answers depend
 * on. */
#include "unit/diarize/models.h"

#include <sys/resource.h>

#include "diarize/models.h"
#include "diarize/tracks.h"

static bool never(void *ctx) {
    (void)ctx;
    return false;
}

static bool after_some(void *ctx) {
    return ++*(int *)ctx > 3;
}

static void ignore(void *ctx, double fraction) {
    (void)ctx;
    CHECK(fraction >= 0 && fraction <= 1);
}

struct set_up {
    struct num_pool *pool;
    struct dz_models models;
    struct dz_neural neural;
};

static void set_up(struct set_up *s, uint32_t threads) {
    struct dz_model_paths paths = {EXPECTED "pyannet", EXPECTED "resnet34", NULL, {0}, NULL};
    struct num_err err = {0};
    s->pool = make_pool(threads);
    if (dz_models_load(&paths, s->pool, &s->models, &err) != SLUICE_OK)
        TEST_FAIL("%s", err.text);
    s->neural = dz_models_neural(&s->models);
}

static void tear_down(struct set_up *s) {
    dz_models_finish(&s->models);
    num_pool_destroy(s->pool);
}

static size_t run(const struct set_up *s, const float *pcm, size_t n, double step_s,
                  struct dz_turns *ret) {
    struct dz_neural_options options = {0, step_s, 0, 0};
    struct num_watch watch = {NULL, never, ignore};
    dz_autoturns turns = {0}, exclusive = {0};
    float *rows = NULL;
    struct num_err err = {0};
    if (dz_neural_run(&s->neural, pcm, n, &options, &watch, &turns, &exclusive, &rows, &err) !=
        SLUICE_OK)
        TEST_FAIL("%s", err.text);
    for (size_t i = 0; i < turns.n_turns; i++)
        CHECK(turns.turns[i].end <= (double)n / 16000 + 1e-9);
    for (size_t i = 1; i < exclusive.n_turns; i++)
        CHECK(exclusive.turns[i].start >= exclusive.turns[i - 1].end - 1e-9);
    free(rows);
    size_t n_turns = turns.n_turns;
    if (ret) {
        *ret = turns;
        turns = (struct dz_turns){0};
    }
    return n_turns;
}

TEST(threads_do_not_matter) {
    enum { N = 12 * 16000 + 123 };
    float *pcm = malloc(N * sizeof *pcm);
    dz_autoturns first = {0}, second = {0};
    make_noise(pcm, N, 11);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        struct set_up s;
        set_up(&s, threads);
        run(&s, pcm, N, 0.5, threads == 1 ? &first : &second);
        tear_down(&s);
    }
    CHECK(first.n_turns > 1);
    CHECK_INT(first.n_turns, second.n_turns);
    CHECK_INT(memcmp(first.turns, second.turns, first.n_turns * sizeof *first.turns), 0);
    free(pcm);
}

TEST(short_recordings_and_none_are_no_trouble) {
    static float pcm[16000];
    struct set_up s;
    set_up(&s, 1);
    make_noise(pcm, 16000, 12);
    CHECK_INT(run(&s, pcm, 0, 1, NULL), 0);
    run(&s, pcm, 1, 1, NULL);
    run(&s, pcm, 700, 1, NULL);
    run(&s, pcm, 16000, 1, NULL);
    tear_down(&s);
}

/* Without a bound VBx says how many there are; with one, the tree where VBx finds another
 * number. */
TEST(vbx_clusters_where_there_is_a_plda) {
    enum { N = 30 * 16000, SIZE = 16 };
    float *pcm = malloc(N * sizeof *pcm), one[SIZE * SIZE] = {0}, zero[SIZE] = {0}, psi[SIZE];
    struct set_up s;
    set_up(&s, 1);
    CHECK_INT(dz_resnet_size(s.models.embedding), SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        one[i * SIZE + i] = 1;
        psi[i] = (float)(SIZE - i);
    }
    struct dz_plda plda = {SIZE, SIZE, SIZE, zero, one, zero, zero, one, psi};
    s.neural.plda = &plda;
    make_noise(pcm, N, 15);
    for (uint32_t n = 0; n <= 3; n++) {
        struct dz_neural_options options = {0.01, 0.25, n, n};
        struct num_watch watch = {NULL, never, ignore};
        dz_autoturns turns = {0}, exclusive = {0};
        float *rows = NULL;
        CHECK_INT(
            dz_neural_run(&s.neural, pcm, N, &options, &watch, &turns, &exclusive, &rows, NULL),
            SLUICE_OK);
        CHECK(turns.n_speakers >= 1 && turns.n_speakers <= (n ? n : DZ_MAX_CLUSTERS));
        for (size_t i = 0; i < (size_t)turns.n_speakers * SIZE; i++)
            CHECK(isfinite(rows[i]));
        free(rows);
    }
    free(pcm);
    tear_down(&s);
}

TEST(it_stops_when_told_to) {
    enum { N = 60 * 16000 };
    float *pcm = malloc(N * sizeof *pcm), *rows = NULL;
    int n_calls = 0;
    struct set_up s;
    struct dz_neural_options options = {0, 1, 0, 0};
    struct num_watch watch = {&n_calls, after_some, ignore};
    dz_autoturns turns = {0}, exclusive = {0};
    set_up(&s, 1);
    make_noise(pcm, N, 13);
    CHECK_INT(dz_neural_run(&s.neural, pcm, N, &options, &watch, &turns, &exclusive, &rows, NULL),
              SLUICE_CANCELLED);
    CHECK(rows == NULL && turns.n_turns == 0);
    free(pcm);
    tear_down(&s);
}

static double peak_mib(void) {
    struct rusage usage;
    CHECK_INT(getrusage(RUSAGE_SELF, &usage), 0);
    return (double)usage.ru_maxrss / 1024;
}

/* Ten minutes, then an hour of the same samples: what it needs above them grows by kilobytes a
 * window. */
TEST(memory_hardly_grows_with_the_recording) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SKIP("sanitizers keep what is freed");
#endif
    size_t hour = (size_t)3600 * 16000, part = (size_t)600 * 16000;
    float *pcm = malloc(hour * sizeof *pcm);
    struct set_up s;
    set_up(&s, 1);
    make_noise(pcm, part, 14);
    for (size_t at = part; at < hour; at += part)
        memcpy(pcm + at, pcm, part * sizeof *pcm);
    double before = peak_mib();
    run(&s, pcm, part, 1, NULL);
    double ten_minutes = peak_mib();
    run(&s, pcm, hour, 1, NULL);
    double whole = peak_mib();
    printf("  above the samples and models: %.1f MiB for ten minutes, %.1f MiB for an hour\n",
           ten_minutes - before, whole - before);
    CHECK(whole - ten_minutes < 16);
    free(pcm);
    tear_down(&s);
}

TEST_MAIN()

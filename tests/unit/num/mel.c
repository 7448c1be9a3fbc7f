/*
 * Fourier transform and mel filterbank: against the definition, and against the published
 * filterbank.
 */
#include "unit/test.h"

#include <zlib.h>

#include "num/fft.h"
#include "num/mel.h"

static void check_fft(size_t n) {
    enum { B = NUM_FFT_BATCH };
    struct num_fft *fft;
    struct num_err err;
    CHECK_INT(num_fft_create(n, &fft, &err), 0);
    float *x = malloc(n * B * sizeof *x), *work = malloc(num_fft_work(fft) * sizeof *work);
    float *power = malloc((n / 2 + 1) * B * sizeof *power);
    for (size_t i = 0; i < n * B; i++)
        x[i] = (float)sin((double)(i * i % 9973));
    num_fft_power(fft, x, work, power);
    for (size_t k = 0; k <= n / 2; k++)
        for (size_t b = 0; b < B; b++) {
            double re = 0, im = 0;
            for (size_t j = 0; j < n; j++) {
                double turn = -2 * M_PI * (double)(j * k % n) / (double)n;
                re += x[j * B + b] * cos(turn);
                im += x[j * B + b] * sin(turn);
            }
            CHECK_NEAR(power[k * B + b], re * re + im * im, 2e-5 * (double)n);
        }
    num_fft_destroy(fft);
    free(x);
    free(work);
    free(power);
}

TEST(fft_equals_its_definition) {
    const size_t sizes[] = {2, 4, 6, 10, 14, 16, 30, 42, 210, 400, 512};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_fft(sizes[i]);
}

TEST(fft_refuses_other_sizes) {
    struct num_fft *fft;
    struct num_err err;
    CHECK_INT(num_fft_create(0, &fft, &err), SLUICE_UNSUPPORTED);
    CHECK_INT(num_fft_create(15, &fft, &err), SLUICE_UNSUPPORTED);
    CHECK_INT(num_fft_create(22, &fft, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.text, "22");
}

static uint32_t le(const uint8_t *p, int n) {
    uint32_t v = 0;
    while (n--)
        v = v << 8 | p[n];
    return v;
}

/* The data of array `name` (f32, C order) in an .npz file (a zip of deflated .npy files): checked
 * with `rows` x 201 by the mel weights. */
static void check_array(const uint8_t *zip, size_t len, const char *name, size_t rows) {
    static uint8_t npy[200000];
    for (size_t at = 0; at + 46 < len; at++) {
        const uint8_t *entry = zip + at;
        if (memcmp(entry, "PK\1\2", 4) != 0 || le(entry + 28, 2) != strlen(name) ||
            memcmp(entry + 46, name, strlen(name)) != 0)
            continue;
        const uint8_t *local = zip + le(entry + 42, 4);
        z_stream z = {.next_in = (Bytef *)local + 30 + le(local + 26, 2) + le(local + 28, 2),
                      .avail_in = le(entry + 20, 4),
                      .next_out = npy,
                      .avail_out = sizeof npy};
        CHECK_INT(inflateInit2(&z, -15), Z_OK);
        CHECK_INT(inflate(&z, Z_FINISH), Z_STREAM_END);
        inflateEnd(&z);
        const float *want = (const float *)(npy + 10 + le(npy + 8, 2));
        CHECK_INT(z.total_out, (size_t)((const uint8_t *)want - npy) + rows * NUM_MEL_BINS * 4);
        for (size_t m = 0; m < rows; m++)
            for (size_t k = 0; k < NUM_MEL_BINS; k++)
                CHECK_NEAR(num_mel_weight(rows, m, k), want[m * NUM_MEL_BINS + k], 1e-8);
        return;
    }
    TEST_FAIL("no array %s", name);
}

TEST(filterbank_equals_the_published_one) {
    static uint8_t zip[100000];
    FILE *f = fopen(SHARED_DIR "/data/mel/mel_filters.npz", "rb");
    if (!f)
        SKIP("no shared data");
    size_t len = fread(zip, 1, sizeof zip, f);
    fclose(f);
    check_array(zip, len, "mel_80.npy", 80);
    check_array(zip, len, "mel_128.npy", 128);
}

/* A band's triangle has area 1 over the frequency, in steps of 40 Hz up to the sampling of its
 * slopes. */
TEST(filterbank_has_unit_area) {
    for (size_t m = 40; m < 80; m++) {
        double sum = 0;
        for (size_t k = 0; k < NUM_MEL_BINS; k++)
            sum += num_mel_weight(80, m, k) * 40;
        CHECK_NEAR(sum, 1, 0.1);
    }
    CHECK(num_mel_weight(80, 0, 0) == 0 && fabs(num_mel_weight(80, 79, 200)) < 1e-9);
}

TEST(spectrogram_of_silence_and_of_nothing) {
    struct num_mel *mel;
    struct num_pool *pool;
    struct num_err err;
    float out[20 * 80];
    CHECK_INT(num_mel_create(80, &mel, &err), 0);
    CHECK_INT(num_pool_create(2, &pool, &err), 0);
    CHECK_INT(num_mel_log(mel, pool, NULL, 0, 0, 20, out, &err), 0);
    for (size_t i = 0; i < 20 * 80; i++)
        CHECK(out[i] == -10);
    num_mel_normalise(out, 20 * 80, num_mel_max(out, 20 * 80), out);
    CHECK(out[0] == -1.5f);
    num_pool_destroy(pool);
    num_mel_destroy(mel);
}

TEST(frames_do_not_depend_on_where_the_range_starts) {
    enum { N = 16000 };
    static float pcm[N], all[100 * 80], part[30 * 80];
    struct num_mel *mel;
    struct num_pool *pool;
    struct num_err err;
    for (int i = 0; i < N; i++)
        pcm[i] = (float)sin(i * 0.1) * (float)(i % 100) / 100;
    CHECK_INT(num_mel_create(80, &mel, &err), 0);
    CHECK_INT(num_pool_create(1, &pool, &err), 0);
    CHECK_INT(num_mel_log(mel, pool, pcm, N, 0, 100, all, &err), 0);
    CHECK_INT(num_mel_log(mel, pool, pcm, N, 37, 30, part, &err), 0);
    CHECK(memcmp(part, all + 37 * 80, sizeof part) == 0);
    num_pool_destroy(pool);
    num_mel_destroy(mel);
}

TEST_MAIN()

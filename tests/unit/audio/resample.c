/* The resampler: exact lengths, no shift in time, clean values, any split into writes. */
#include "audio/resample.h"
#include "unit/test.h"

#define PI 3.14159265358979323846

struct out {
    float *data;
    int64_t n, room;
    int64_t stop_after; /* fail the write that passes it, 0: never */
};

static int collect(void *ctx, const float *samples, int64_t n) {
    struct out *out = ctx;
    if (out->stop_after && out->n + n > out->stop_after)
        return -3;
    CHECK(out->n + n <= out->room);
    memcpy(out->data + out->n, samples, (size_t)n * sizeof *samples);
    out->n += n;
    return 0;
}

/* Outputs live until the test's process ends. */
static struct out out_room(int64_t room) {
    static float *all[1024];
    static int n_all;
    CHECK(n_all < 1024);
    all[n_all] = calloc((size_t)room, sizeof(float));
    CHECK(all[n_all] != NULL);
    return (struct out){.data = all[n_all++], .room = room};
}

/* Feeds `n` samples in blocks of `block` and drains. */
static struct out resample(int rate, const float *in, int64_t n, int64_t block) {
    struct out out = out_room(n * AD_RATE / rate + 64);
    struct ad_resampler r;
    CHECK_INT(ad_resampler_init(&r, rate, collect, &out), 0);
    for (int64_t at = 0; at < n; at += block)
        CHECK_INT(ad_resampler_write(&r, in + at, n - at < block ? n - at : block), 0);
    CHECK_INT(ad_resampler_drain(&r), 0);
    CHECK_INT(r.n_in, n);
    CHECK_INT(r.n_out, out.n);
    ad_resampler_finish(&r);
    return out;
}

static const int rates[] = {1000,  8000,  11025, 12000, 16000, 22050,  24000,  32000, 44056,
                            44100, 48000, 64000, 88200, 96000, 176400, 192000, 768000};
#define N_RATES (sizeof rates / sizeof *rates)

TEST(lengths_are_exact) {
    static float in[60000];
    static const int64_t lengths[] = {1, 2, 3, 31, 100, 1499, 1500, 4096, 4097, 10007, 59999};
    for (size_t i = 0; i < N_RATES; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            int64_t n = lengths[k];
            int64_t want = (2 * n * AD_RATE + rates[i]) / (2 * rates[i]);
            struct out out = resample(rates[i], in, n, 1024);
            if (out.n != (want ? want : 1))
                TEST_FAIL("%d Hz, %d samples: %d, not %d", rates[i], (int)n, (int)out.n, (int)want);
        }
}

/* A sine must come out as the sine of the same phase: sin(2 pi f k / 16000). At 440 Hz a shift of
 * one sample is an error of 0.17; the tolerance is a shift of 1/40 of a sample. */
TEST(sines_keep_their_phase) {
    for (size_t i = 0; i < N_RATES; i++) {
        double f = rates[i] >= 8000 ? 440 : 100;
        int64_t n = rates[i];
        float *in = malloc((size_t)n * sizeof *in);
        for (int64_t k = 0; k < n; k++)
            in[k] = (float)(0.5 * sin(2 * PI * f * (double)k / rates[i]));
        struct out out = resample(rates[i], in, n, 777);
        CHECK_INT(out.n, AD_RATE);
        double worst = 0;
        for (int64_t k = 800; k < out.n - 800; k++)
            worst = fmax(worst, fabs(out.data[k] - 0.5 * sin(2 * PI * f * (double)k / AD_RATE)));
        if (worst > 0.002)
            TEST_FAIL("%d Hz: off by %g", rates[i], worst);
        free(in);
    }
}

/* A click at one second and close to both ends stays where it is. */
TEST(clicks_stay_in_place) {
    for (size_t i = 0; i < N_RATES; i++) {
        int rate = rates[i];
        static const double at_s[] = {0.01, 1.0, 1.99};
        for (size_t c = 0; c < 3; c++) {
            float *in = calloc((size_t)rate * 2, sizeof *in);
            int64_t at = (int64_t)(at_s[c] * rate);
            in[at] = 1;
            struct out out = resample(rate, in, rate * 2, 5000);
            int64_t peak = 0;
            for (int64_t k = 0; k < out.n; k++)
                if (fabsf(out.data[k]) > fabsf(out.data[peak]))
                    peak = k;
            CHECK_NEAR(peak, (double)at * AD_RATE / rate, 0.51);
            free(in);
        }
    }
}

TEST(splits_do_not_matter) {
    static float in[30000];
    for (int k = 0; k < 30000; k++)
        in[k] = (float)sin(k * k * 1e-5) * 0.7f;
    struct out whole = resample(44100, in, 30000, 30000), parts = resample(44100, in, 30000, 7);
    CHECK_INT(whole.n, parts.n);
    CHECK(memcmp(whole.data, parts.data, (size_t)whole.n * sizeof(float)) == 0);
}

TEST(same_rate_is_untouched) {
    static float in[10000];
    for (int k = 0; k < 10000; k++)
        in[k] = (float)((k * 7919) % 65536 - 32768) / 32768;
    struct out out = resample(AD_RATE, in, 10000, 333);
    CHECK_INT(out.n, 10000);
    CHECK(memcmp(out.data, in, sizeof in) == 0);
}

TEST(values_are_finite_and_bounded) {
    float in[] = {NAN, INFINITY, -INFINITY, 2, -2, 1, -1, 0.25f};
    static const float want[] = {0, 1, -1, 1, -1, 1, -1, 0.25f};
    struct out out = resample(AD_RATE, in, 8, 8);
    for (int k = 0; k < 8; k++)
        CHECK_NEAR(out.data[k], want[k], 0);
    static float loud[4410]; /* a full-scale square wave overshoots in any filter */
    for (int k = 0; k < 4410; k++)
        loud[k] = k / 50 % 2 ? 1 : -1;
    out = resample(44100, loud, 4410, 4410);
    for (int64_t k = 0; k < out.n; k++)
        CHECK(fabsf(out.data[k]) <= 1);
}

TEST(what_would_alias_is_removed) { /* 12 kHz at 48 kHz is above the new Nyquist frequency */
    static float in[48000];
    for (int k = 0; k < 48000; k++)
        in[k] = (float)(0.5 * sin(2 * PI * 12000 * k / 48000.0 + 0.3));
    struct out out = resample(48000, in, 48000, 4096);
    for (int64_t k = 500; k < out.n - 500; k++)
        CHECK(fabsf(out.data[k]) < 0.001);
}

TEST(errors_of_the_writer_come_back) {
    static const float in[48000];
    for (int rate = AD_RATE; rate <= 48000; rate *= 3) {
        struct out out = out_room(48064);
        out.stop_after = 4000;
        struct ad_resampler r;
        CHECK_INT(ad_resampler_init(&r, rate, collect, &out), 0);
        CHECK_INT(ad_resampler_write(&r, in, 48000), -3);
        ad_resampler_finish(&r);
    }
}

TEST_MAIN()

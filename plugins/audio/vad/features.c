/*
 * Features of speech, without any model of it.
 *
 *     spectra   power of 64 ms (Hann) around every frame, 15.6 Hz a bin       NOISE_SPAN ahead of
 *     noise     minimum of the smoothed power within 1.5 s on either side (minimum statistics,
 *               R. Martin, IEEE Trans. Speech Audio Proc. 9(5), 2001, without its adaptive bias)
 *     basics    per frame: signal-to-noise ratios, voicing, flatness, level   WIDE_SPAN ahead of
 *     features  basics and their means, extremes and spreads nearby
 *
 * Voicing is the autocorrelation of what rises above the noise, from its magnitudes (square roots
 * flatten the formants), corrected for the window (P. Boersma, IFA Proceedings 17, 1993). Spectra
 * and basics live in rings, so memory does not grow with the recording. Everything is relative to
 * the noise or to the level nearby: gain changes nothing until it drowns in rounding.
 */
#include "audio/vad/features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "num/fft.h"

#define SPAN       1024 /* samples of a spectrum */
#define N_BINS     448  /* bins in use: up to 7000 Hz */
#define NOISE_SPAN 48   /* frames on either side: 1.5 s */
#define WIDE_SPAN  16
#define RING       128 /* frames kept; a power of 2, at least 2 * NOISE_SPAN + NUM_FFT_BATCH + 1 */
#define FLOOR      1e-10f /* power: the rounding noise of 16 bits */
#define NOISE_BIAS 1.5f   /* mean of the noise over its smoothed minimum, roughly */

#define FIRST_BIN 4  /* of voicing: 62 Hz */
#define N_VOICED  92 /* to 1500 Hz */
#define FIRST_LAG 40 /* samples: 400 Hz */
#define LAG_STEP  2
#define N_LAGS    96 /* to 70 Hz */

/* Limits, so that one click does not outweigh everything else. */
#define FLUX_MAX  0.8f
#define RANGE_MAX 3.0f
#define SWING_MAX 1.5f

#define N_BANDS   18
#define LOW_BAND  3  /* the first from 300 Hz */
#define HIGH_BAND 13 /* the first from 3400 Hz */

/* Edges of the bands in bins: even steps on the mel scale from 94 to 7000 Hz. */
static const int edges[N_BANDS + 1] = {6,  10, 14,  19,  25,  31,  39,  47,  57, 69,
                                       82, 98, 116, 138, 163, 193, 228, 272, 447};

struct basics {
    float snr, snr_high, voiced, flatness, flux, level;
};

struct vad_features {
    struct num_fft *fft;
    float window[SPAN];              /* its squares sum to 1 */
    float cosines[N_LAGS][N_VOICED]; /* cos(2 pi bin lag / SPAN) over the window's own */
    float frames[SPAN][NUM_FFT_BATCH], spectra[SPAN / 2 + 1][NUM_FFT_BATCH];
    float *work;
    float power[RING][N_BINS], smooth[RING][N_BINS];
    float bands[RING][N_BANDS]; /* mean power, dB / 10 */
    struct basics basics[RING];
    int64_t n_spectra, n_basics; /* frames done */
};

static float level_of(float power) {
    return log10f(power + FLOOR);
}

/* ---- spectra ---- */

static float band_mean(const float *power, int band) {
    float sum = 0;
    for (int k = edges[band]; k < edges[band + 1]; k++)
        sum += power[k];
    return sum / (float)(edges[band + 1] - edges[band]);
}

/* Power of one frame, which is column i of f->spectra, into the rings. */
static void take_spectrum(struct vad_features *f, int64_t frame, int i) {
    float *power = f->power[frame % RING], *smooth = f->smooth[frame % RING];
    const float *before = frame > 0 ? f->smooth[(frame - 1) % RING] : NULL;
    for (int k = 0; k < N_BINS; k++)
        power[k] = f->spectra[k][i];
    for (int k = 0; k < N_BINS; k++) {
        int low = k > 0 ? k - 1 : 0, high = k + 1 < N_BINS ? k + 1 : k;
        smooth[k] = (power[low] + power[k] + power[high]) / 3;
    }
    for (int k = 0; before && k < N_BINS; k++)
        smooth[k] = (smooth[k] + before[k]) / 2;
    for (int b = 0; b < N_BANDS; b++)
        f->bands[frame % RING][b] = level_of(band_mean(power, b));
}

/* The next NUM_FFT_BATCH frames. */
static void run_spectra(struct vad_features *f, const struct vad_samples *samples) {
    float x[SPAN];
    for (int i = 0; i < NUM_FFT_BATCH; i++) {
        int64_t at = (f->n_spectra + i) * VAD_FRAME - (SPAN - VAD_FRAME) / 2;
        vad_samples_read(samples, at, SPAN, x);
        for (int j = 0; j < SPAN; j++)
            f->frames[j][i] = x[j] * f->window[j];
    }
    num_fft_power(f->fft, &f->frames[0][0], f->work, &f->spectra[0][0]);
    for (int i = 0; i < NUM_FFT_BATCH; i++)
        take_spectrum(f, f->n_spectra + i, i);
    f->n_spectra += NUM_FFT_BATCH;
}

/* ---- basics ---- */

/* Smallest smoothed power in frames [first, last], as an estimate of the noise in every bin. */
static void find_noise(const struct vad_features *f, int64_t first, int64_t last, float *ret) {
    memcpy(ret, f->smooth[first % RING], N_BINS * sizeof *ret);
    for (int64_t t = first + 1; t <= last; t++) {
        const float *smooth = f->smooth[t % RING];
        for (int k = 0; k < N_BINS; k++)
            ret[k] = smooth[k] < ret[k] ? smooth[k] : ret[k];
    }
    for (int k = 0; k < N_BINS; k++)
        ret[k] = NOISE_BIAS * ret[k] + FLOOR;
}

static float mean_snr(const float *power, const float *noise, int first, int end) {
    float sum = 0;
    for (int b = first; b < end; b++) {
        float snr = level_of(band_mean(power, b)) - level_of(band_mean(noise, b));
        sum += snr < 0 ? 0 : snr > 3 ? 3 : snr;
    }
    return sum / (float)(end - first);
}

static float find_voice(const struct vad_features *f, const float *power, const float *noise) {
    float x[N_VOICED], sum = 0, floor = 0, best = 0;
    for (int i = 0; i < N_VOICED; i++) {
        float above = power[FIRST_BIN + i] - 2 * noise[FIRST_BIN + i];
        x[i] = above > 0 ? sqrtf(above) : 0;
        floor += sqrtf(noise[FIRST_BIN + i]);
        sum += x[i];
    }
    for (int lag = 0; lag < N_LAGS; lag++) {
        float r = 0;
        for (int i = 0; i < N_VOICED; i++)
            r += x[i] * f->cosines[lag][i];
        best = r > best ? r : best;
    }
    best /= sum + floor;
    return best < 1 ? best : 1;
}

/* Bins 13 to 255: 200 to 4000 Hz. */
static float flatness(const float *power) {
    float sum = 0, logs = 0;
    for (int k = 13; k < 256; k++) {
        sum += power[k] + FLOOR;
        logs += logf(power[k] + FLOOR);
    }
    return logs / (256 - 13) - logf(sum / (256 - 13));
}

static float flux(const float *a, const float *b) {
    float sum = 0;
    for (int i = 0; i < N_BANDS; i++)
        sum += fabsf(a[i] - b[i]);
    return sum < FLUX_MAX * N_BANDS ? sum / N_BANDS : FLUX_MAX;
}

static void run_basics(struct vad_features *f, int64_t n_frames) {
    int64_t t = f->n_basics++, first = t > NOISE_SPAN ? t - NOISE_SPAN : 0;
    int64_t last = t + NOISE_SPAN < n_frames ? t + NOISE_SPAN : n_frames - 1;
    const float *power = f->power[t % RING];
    struct basics *b = &f->basics[t % RING];
    float noise[N_BINS], sum = 0;
    find_noise(f, first, last, noise);
    b->voiced = find_voice(f, power, noise);
    b->snr = mean_snr(power, noise, LOW_BAND, HIGH_BAND);
    b->snr_high = mean_snr(power, noise, HIGH_BAND, N_BANDS);
    b->flatness = flatness(power);
    b->flux = t > 0 ? flux(f->bands[t % RING], f->bands[(t - 1) % RING]) : 0;
    for (int k = edges[LOW_BAND]; k < edges[HIGH_BAND]; k++)
        sum += power[k];
    b->level = level_of(sum / (float)(edges[HIGH_BAND] - edges[LOW_BAND]));
}

/* ---- features ---- */

/* The frames within `span` of t. */
struct range {
    int64_t first, last;
};

static struct range around(int64_t t, int64_t span, int64_t n_frames) {
    return (struct range){t > span ? t - span : 0, t + span < n_frames ? t + span : n_frames - 1};
}

struct spread {
    float mean, deviation, min, max;
};

/* Of the member at `offset` of the basics. */
static struct spread spread_of(const struct vad_features *f, struct range r, size_t offset) {
    struct spread s = {0, 0, INFINITY, -INFINITY};
    float squares = 0, n = (float)(r.last - r.first + 1);
    for (int64_t t = r.first; t <= r.last; t++) {
        float x;
        memcpy(&x, (const char *)&f->basics[t % RING] + offset, sizeof x);
        s.mean += x / n;
        squares += x * x / n;
        s.min = x < s.min ? x : s.min;
        s.max = x > s.max ? x : s.max;
    }
    float variance = squares - s.mean * s.mean;
    s.deviation = variance > 0 ? sqrtf(variance) : 0;
    return s;
}

#define SPREAD(range, member) spread_of(f, range, offsetof(struct basics, member))

static void combine(const struct vad_features *f, int64_t t, int64_t n_frames, float *ret) {
    const struct basics *b = &f->basics[t % RING];
    struct range near = around(t, 4, n_frames), mid = around(t, 8, n_frames);
    struct range wide = around(t, WIDE_SPAN, n_frames);
    struct spread level = SPREAD(wide, level);
    float product = 0;
    for (int64_t i = wide.first; i <= wide.last; i++)
        product += f->basics[i % RING].voiced * f->basics[i % RING].snr;
    ret[VAD_SNR] = b->snr;
    ret[VAD_SNR_HIGH] = b->snr_high;
    ret[VAD_VOICED] = b->voiced;
    ret[VAD_FLATNESS] = b->flatness;
    ret[VAD_FLUX] = SPREAD(near, flux).mean;
    ret[VAD_SNR_NEAR] = SPREAD(near, snr).mean;
    ret[VAD_SNR_WIDE] = SPREAD(wide, snr).mean;
    ret[VAD_VOICED_NEAR] = SPREAD(near, voiced).mean;
    ret[VAD_VOICED_MAX] = SPREAD(mid, voiced).max;
    ret[VAD_VOICED_WIDE] = product / (float)(wide.last - wide.first + 1);
    ret[VAD_SWING] = fminf(level.deviation, SWING_MAX);
    ret[VAD_BELOW_MAX] = fmaxf(b->level - level.max, -RANGE_MAX);
    ret[VAD_RANGE] = fminf(level.max - level.min, RANGE_MAX);
    ret[VAD_FLATNESS_NEAR] = SPREAD(near, flatness).mean;
}

void vad_features_next(struct vad_features *f, const struct vad_samples *samples, int64_t frame,
                       float *ret) {
    int64_t n_frames = vad_n_frames(samples);
    while (f->n_basics < n_frames && f->n_basics <= frame + WIDE_SPAN) {
        int64_t need = f->n_basics + NOISE_SPAN + 1;
        while (f->n_spectra < need && f->n_spectra < n_frames)
            run_spectra(f, samples);
        run_basics(f, n_frames);
    }
    combine(f, frame, n_frames, ret);
}

/* ---- life ---- */

static void make_tables(struct vad_features *f) {
    double squares = 0;
    for (int i = 0; i < SPAN; i++) {
        double w = 0.5 - 0.5 * cos(2 * M_PI * (i + 0.5) / SPAN);
        f->window[i] = (float)w;
        squares += w * w;
    }
    for (int i = 0; i < SPAN; i++)
        f->window[i] /= (float)sqrt(squares);
    for (int l = 0; l < N_LAGS; l++) {
        int lag = FIRST_LAG + LAG_STEP * l;
        double own = 0;
        for (int i = 0; i + lag < SPAN; i++)
            own += (double)f->window[i] * f->window[i + lag];
        for (int i = 0; i < N_VOICED; i++)
            f->cosines[l][i] = (float)(cos(2 * M_PI * (FIRST_BIN + i) * lag / SPAN) / own);
    }
}

int32_t vad_features_create(struct vad_features **ret, struct num_err *err) {
    struct vad_features *f = calloc(1, sizeof *f);
    if (!f)
        return num_fail_memory(err, "the speech detector", sizeof *f);
    int32_t status = num_fft_create(SPAN, &f->fft, err);
    if (status == SLUICE_OK) {
        f->work = malloc(num_fft_work(f->fft) * sizeof *f->work);
        if (!f->work)
            status = num_fail_memory(err, "the speech detector", num_fft_work(f->fft));
    }
    if (status != SLUICE_OK) {
        vad_features_destroy(f);
        return status;
    }
    make_tables(f);
    *ret = f;
    return SLUICE_OK;
}

void vad_features_destroy(struct vad_features *f) {
    if (!f)
        return;
    num_fft_destroy(f->fft);
    free(f->work);
    free(f);
}

void vad_features_reset(struct vad_features *f) {
    f->n_spectra = f->n_basics = 0;
}

/* See fbank.h: NUM_FFT_BATCH frames at a time; each band keeps the bins it covers. */
#include "diarize/fbank.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "num/fft.h"

#define N_FFT     512
#define N_BINS    (N_FFT / 2) /* the last one, of half the rate, has no weight */
#define LOW_HZ    20.0
#define HIGH_HZ   8000.0
#define RATE_HZ   16000.0
#define MAX_BANDS 128

struct band {
    size_t first, n;
    const float *weights;
};

struct dz_fbank {
    struct num_fft *fft;
    size_t n_bands;
    struct band bands[MAX_BANDS];
    float window[DZ_FBANK_FRAME];
    float weights[2 * N_BINS + MAX_BANDS]; /* a bin lies in two bands at most */
};

static double mel_of(double hz) {
    return 1127.0 * log(1.0 + hz / 700.0);
}

static void set_bands(struct dz_fbank *f) {
    double low = mel_of(LOW_HZ), step = (mel_of(HIGH_HZ) - low) / (double)(f->n_bands + 1);
    float *weights = f->weights;
    for (size_t b = 0; b < f->n_bands; b++) {
        double left = low + (double)b * step;
        struct band *band = &f->bands[b];
        *band = (struct band){0, 0, weights};
        for (size_t i = 0; i < N_BINS; i++) {
            double at = (mel_of((double)i * RATE_HZ / N_FFT) - left) / step;
            double weight = at < 1 ? at : 2 - at;
            if (weight <= 0)
                continue;
            if (band->n++ == 0)
                band->first = i;
            *weights++ = (float)weight;
        }
    }
}

int32_t dz_fbank_create(size_t n_bands, struct dz_fbank **ret, struct num_err *err) {
    if (n_bands < 8 || n_bands > MAX_BANDS)
        return num_fail(err, SLUICE_INPUT, "%zu mel bands; 8 to %d can be made", n_bands,
                        MAX_BANDS);
    struct dz_fbank *f = calloc(1, sizeof *f);
    if (!f)
        return num_fail_memory(err, "the filter banks", sizeof *f);
    int32_t status = num_fft_create(N_FFT, &f->fft, err);
    if (status != SLUICE_OK) {
        free(f);
        return status;
    }
    f->n_bands = n_bands;
    set_bands(f);
    for (size_t i = 0; i < DZ_FBANK_FRAME; i++)
        f->window[i] = (float)(0.54 - 0.46 * cos(2 * M_PI * (double)i / (DZ_FBANK_FRAME - 1)));
    *ret = f;
    return SLUICE_OK;
}

void dz_fbank_destroy(struct dz_fbank *fbank) {
    if (fbank)
        num_fft_destroy(fbank->fft);
    free(fbank);
}

size_t dz_fbank_work(const struct dz_fbank *fbank) {
    return (N_FFT + N_FFT / 2 + 1) * (size_t)NUM_FFT_BATCH + num_fft_work(fbank->fft);
}

/* A frame without its mean, pre-emphasised and windowed, into every NUM_FFT_BATCH-th value of
 * ret. */
static void prepare(const struct dz_fbank *f, const float *pcm, float *ret) {
    float frame[DZ_FBANK_FRAME];
    double sum = 0;
    for (size_t i = 0; i < DZ_FBANK_FRAME; i++) {
        frame[i] = isfinite(pcm[i]) ? pcm[i] * 32768.0f : 0;
        sum += frame[i];
    }
    float mean = (float)(sum / DZ_FBANK_FRAME), before = frame[0] - mean;
    for (size_t i = 0; i < DZ_FBANK_FRAME; i++) {
        float x = frame[i] - mean;
        ret[i * NUM_FFT_BATCH] = (x - 0.97f * before) * f->window[i];
        before = x;
    }
}

static void sum_bands(const struct dz_fbank *f, const float *power, float *ret) {
    for (size_t b = 0; b < f->n_bands; b++) {
        const struct band *band = &f->bands[b];
        float sum = 0;
        for (size_t i = 0; i < band->n; i++)
            sum += band->weights[i] * power[(band->first + i) * NUM_FFT_BATCH];
        ret[b] = logf(sum > FLT_EPSILON ? sum : FLT_EPSILON);
    }
}

void dz_fbank_run(const struct dz_fbank *fbank, const float *pcm, size_t n, float *work,
                  float *ret) {
    float *frames = work, *power = frames + N_FFT * NUM_FFT_BATCH,
          *more = power + (N_FFT / 2 + 1) * NUM_FFT_BATCH;
    size_t n_frames = dz_fbank_frames(n);
    memset(frames, 0, N_FFT * NUM_FFT_BATCH * sizeof *frames);
    for (size_t t = 0; t < n_frames; t += NUM_FFT_BATCH) {
        size_t some = n_frames - t < NUM_FFT_BATCH ? n_frames - t : NUM_FFT_BATCH;
        for (size_t i = 0; i < some; i++)
            prepare(fbank, pcm + (t + i) * DZ_FBANK_HOP, frames + i);
        num_fft_power(fbank->fft, frames, more, power);
        for (size_t i = 0; i < some; i++)
            sum_bands(fbank, power + i, ret + (t + i) * fbank->n_bands);
    }
}

/*
 * Log-mel spectrogram: see mel.h.
 *
 * Sixteen frames make one batch for the FFT; batches are the tasks of the pool. A band of the
 * filterbank has few bins that are not zero, so each is stored as a start and its weights. The
 * mirror at the end of the signal, which the reference also has, only reaches the frame that it
 * drops, or falls into padding: the end is silence.
 */
#include "num/mel.h"

#include <math.h>
#include <stdlib.h>

#include "num/fft.h"

#define B NUM_FFT_BATCH

struct band {
    size_t first, n; /* bins */
    size_t at;       /* of the first weight */
};

struct num_mel {
    size_t n_mels;
    struct num_fft *fft;
    struct band *bands;
    float *weights;
    float window[NUM_MEL_FRAME];
};

/* Slaney's scale: linear below 1 kHz, 27 steps to a factor 6.4 above. */
static double hz_to_mel(double hz) {
    return hz < 1000 ? hz * 3 / 200 : 15 + log(hz / 1000) * 27 / log(6.4);
}

static double mel_to_hz(double mel) {
    return mel < 15 ? mel * 200 / 3 : 1000 * exp((mel - 15) * log(6.4) / 27);
}

double num_mel_weight(size_t n_mels, size_t band, size_t bin) {
    double step = hz_to_mel(NUM_MEL_RATE_HZ / 2.0) / (double)(n_mels + 1);
    double low = mel_to_hz(step * (double)band), centre = mel_to_hz(step * (double)(band + 1));
    double high = mel_to_hz(step * (double)(band + 2));
    double hz = (double)bin * NUM_MEL_RATE_HZ / NUM_MEL_FRAME;
    double up = (hz - low) / (centre - low), down = (high - hz) / (high - centre);
    double weight = up < down ? up : down;
    return weight > 0 ? weight * 2 / (high - low) : 0;
}

static void fill_bands(struct num_mel *mel) {
    size_t at = 0;
    for (size_t m = 0; m < mel->n_mels; m++) {
        struct band *band = &mel->bands[m];
        band->at = at;
        for (size_t k = 0; k < NUM_MEL_BINS; k++) {
            float weight = (float)num_mel_weight(mel->n_mels, m, k);
            if (weight == 0)
                continue;
            if (band->n++ == 0)
                band->first = k;
            mel->weights[at++] = weight;
        }
    }
}

int32_t num_mel_create(size_t n_mels, struct num_mel **ret, struct num_err *err) {
    struct num_mel *mel = calloc(1, sizeof *mel);
    if (mel) {
        mel->n_mels = n_mels;
        mel->bands = calloc(n_mels, sizeof *mel->bands);
        mel->weights = calloc(n_mels * NUM_MEL_BINS, sizeof *mel->weights);
    }
    if (!mel || !mel->bands || !mel->weights) {
        num_mel_destroy(mel);
        return num_fail_memory(err, "a mel filterbank", n_mels * NUM_MEL_BINS * sizeof(float));
    }
    int32_t status = num_fft_create(NUM_MEL_FRAME, &mel->fft, err);
    if (status) {
        num_mel_destroy(mel);
        return status;
    }
    fill_bands(mel);
    for (int i = 0; i < NUM_MEL_FRAME; i++)
        mel->window[i] = (float)(0.5 - 0.5 * cos(2 * M_PI * i / NUM_MEL_FRAME));
    *ret = mel;
    return SLUICE_OK;
}

void num_mel_destroy(struct num_mel *mel) {
    if (!mel)
        return;
    num_fft_destroy(mel->fft);
    free(mel->bands);
    free(mel->weights);
    free(mel);
}

struct mel_job {
    const struct num_mel *mel;
    const float *pcm;
    size_t n_samples, first, n_frames;
    float *work; /* of each thread */
    size_t work_floats;
    float *ret;
};

static float sample(const struct mel_job *j, ptrdiff_t at) {
    size_t i = (size_t)(at < 0 ? -at : at);
    return i < j->n_samples && isfinite(j->pcm[i]) ? j->pcm[i] : 0;
}

static void gather(const struct mel_job *j, size_t frame, size_t n, float *x) {
    for (size_t b = 0; b < B; b++) {
        ptrdiff_t start = (ptrdiff_t)((frame + b) * NUM_MEL_HOP) - NUM_MEL_FRAME / 2;
        for (size_t i = 0; i < NUM_MEL_FRAME; i++)
            x[i * B + b] = b < n ? sample(j, start + (ptrdiff_t)i) * j->mel->window[i] : 0;
    }
}

static void mel_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct mel_job *j = ctx;
    float *x = j->work + thread * j->work_floats; /* (400, B) */
    float *power = x + NUM_MEL_FRAME * B;         /* (201, B) */
    float *fft_work = power + NUM_MEL_BINS * B;
    size_t at = (size_t)index * B, n = j->n_frames - at < B ? j->n_frames - at : B;
    gather(j, j->first + at, n, x);
    num_fft_power(j->mel->fft, x, fft_work, power);
    for (size_t m = 0; m < j->mel->n_mels; m++) {
        const struct band *band = &j->mel->bands[m];
        float sum[B] = {0};
        for (size_t k = 0; k < band->n; k++)
            for (size_t b = 0; b < B; b++)
                sum[b] += j->mel->weights[band->at + k] * power[(band->first + k) * B + b];
        for (size_t b = 0; b < n; b++)
            j->ret[(at + b) * j->mel->n_mels + m] = log10f(sum[b] > 1e-10f ? sum[b] : 1e-10f);
    }
}

int32_t num_mel_log(const struct num_mel *mel, struct num_pool *pool, const float *pcm,
                    size_t n_samples, size_t first, size_t n_frames, float *ret,
                    struct num_err *err) {
    struct mel_job job = {mel, pcm, n_samples, first, n_frames, NULL, 0, ret};
    job.work_floats = (NUM_MEL_FRAME + NUM_MEL_BINS) * B + num_fft_work(mel->fft);
    size_t bytes = job.work_floats * num_pool_threads(pool) * sizeof(float);
    job.work = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!job.work)
        return num_fail_memory(err, "the spectrogram's workspace", bytes);
    num_pool_run(pool, (uint32_t)((n_frames + B - 1) / B), mel_task, &job);
    free(job.work);
    return SLUICE_OK;
}

float num_mel_max(const float *log_mel, size_t n) {
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        max = log_mel[i] > max ? log_mel[i] : max;
    return max;
}

void num_mel_normalise(const float *log_mel, size_t n, float max, float *ret) {
    for (size_t i = 0; i < n; i++)
        ret[i] = ((log_mel[i] > max - 8 ? log_mel[i] : max - 8) + 4) / 4;
}

/* See sound.h. */
#include "align/sound.h"

#include <math.h>
#include <string.h>

#define EPSILON 1e-5

/* ---- Samples --------------------------------------------------------------------------------- */

static float sample_at(const struct al_sound *s, size_t i) {
    float x = i < s->n ? s->pcm[i] : 0;
    return ((isfinite(x) ? x : 0) - s->mean) * s->scale;
}

struct al_sound al_sound_of(const struct al_config *config, const float *pcm, size_t n) {
    struct al_sound s = {pcm, n, 0, 1};
    double sum = 0, squares = 0, count = n ? (double)n : 1;
    if (!config->normalize)
        return s;
    for (size_t i = 0; i < n; i++)
        sum += (double)sample_at(&s, i);
    for (size_t i = 0; i < n; i++) {
        double d = (double)sample_at(&s, i) - sum / count;
        squares += d * d;
    }
    s.mean = (float)(sum / count);
    s.scale = (float)(1 / sqrt(squares / count + 1e-7));
    return s;
}

void al_sound_read(const struct al_sound *sound, size_t first, size_t n, float *ret) {
    for (size_t i = 0; i < n; i++)
        ret[i] = sample_at(sound, first + i);
}

/* ---- The norm over time ---------------------------------------------------------------------- */

/* Mean (k) and covariance (k, k) of the windows that the first convolution sees. */
static void measure_windows(const struct al_sound *s, size_t k, size_t stride, double *mean,
                            double *cov) {
    size_t rows = s->n < k ? 0 : (s->n - k) / stride + 1;
    double x[AL_MAX_TAPS], n = rows ? (double)rows : 1;
    memset(mean, 0, k * sizeof *mean);
    memset(cov, 0, k * k * sizeof *cov);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < k; i++) {
            x[i] = (double)sample_at(s, r * stride + i);
            mean[i] += x[i];
        }
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j <= i; j++)
                cov[i * k + j] += x[i] * x[j];
    }
    for (size_t i = 0; i < k; i++)
        mean[i] /= n;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j <= i; j++)
            cov[i * k + j] = cov[j * k + i] = cov[i * k + j] / n - mean[i] * mean[j];
}

void al_sound_fold(const struct al_sound *sound, const struct al_config *config,
                   const struct al_first *first, float *ret_weight, float *ret_bias) {
    size_t k = config->conv_kernel[0];
    double mean[AL_MAX_TAPS], cov[AL_MAX_TAPS * AL_MAX_TAPS];
    measure_windows(sound, k, config->conv_stride[0], mean, cov);
    for (size_t o = 0; o < config->conv_dim[0]; o++) {
        const float *w = first->weight + o * k;
        double m = 0, variance = 0;
        for (size_t i = 0; i < k; i++) {
            m += (double)w[i] * mean[i];
            for (size_t j = 0; j < k; j++)
                variance += (double)w[i] * cov[i * k + j] * (double)w[j];
        }
        double scale = (double)first->gamma[o] / sqrt(fmax(variance, 0) + EPSILON);
        for (size_t i = 0; i < k; i++)
            ret_weight[o * k + i] = (float)((double)w[i] * scale);
        ret_bias[o] = (float)((double)first->beta[o] - m * scale);
    }
}

size_t al_conv_rows(const struct al_config *config, size_t layer, size_t first, size_t n,
                    size_t *ret_first) {
    for (size_t i = config->n_convs; i-- > layer + 1;) {
        first *= config->conv_stride[i];
        n = (n - 1) * config->conv_stride[i] + config->conv_kernel[i];
    }
    *ret_first = first;
    return n;
}

/*
 * The detector that needs no weights file: a logistic regression on the features of features.h.
 *
 * Its weights are fitted by fit.py to synthetic speech in synthetic rooms, noise and other sounds;
 * no recording of a person is in them. A layer of hidden units fits that data better but real
 * recordings no better, so there is none: docs/decisions/vad.md has the figures. It tells speech
 * from noise, clicks and hum; not from music or singing.
 */
#include "audio/vad/embedded.h"

#include <math.h>

#include "audio/vad/features.h"

static const float weights[VAD_N_FEATURES] = {
    [VAD_SNR] = -1.4966f,          [VAD_SNR_HIGH] = 1.1834f,      [VAD_VOICED] = 0.4176f,
    [VAD_HARMONICS] = 2.3117f,     [VAD_FLATNESS] = -0.3133f,     [VAD_VOICED_SNR] = 0.3519f,
    [VAD_FLUX] = 6.4323f,          [VAD_SNR_NEAR] = 1.8041f,      [VAD_SNR_WIDE] = -0.1639f,
    [VAD_VOICED_NEAR] = 6.4783f,   [VAD_VOICED_MAX] = 13.0204f,   [VAD_VOICED_WIDE] = -4.5476f,
    [VAD_SWING] = -3.5703f,        [VAD_BELOW_MAX] = 0.4791f,     [VAD_RANGE] = 0.8113f,
    [VAD_FLATNESS_NEAR] = 0.3591f, [VAD_VOICED_SWING] = -4.3320f,
};
static const float bias = -8.7364f;

static void embedded_run(void *self, const struct vad_samples *samples, int64_t first, int n,
                         float *ret) {
    for (int i = 0; i < n; i++) {
        float x[VAD_N_FEATURES], sum = bias;
        vad_features_next(self, samples, first + i, x);
        for (int k = 0; k < VAD_N_FEATURES; k++)
            sum += weights[k] * x[k];
        ret[i] = 1 / (1 + expf(-sum));
    }
}

static void embedded_reset(void *self) {
    vad_features_reset(self);
}

static void embedded_destroy(void *self) {
    vad_features_destroy(self);
}

int32_t vad_embedded_create(struct vad_detector *ret, struct num_err *err) {
    struct vad_features *features;
    int32_t status = vad_features_create(&features, err);
    if (status == SLUICE_OK)
        *ret = (struct vad_detector){features, embedded_reset, embedded_run, embedded_destroy};
    return status;
}

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
    [VAD_SNR] = -0.0101f,         [VAD_SNR_HIGH] = 1.4392f,      [VAD_VOICED] = 0.3409f,
    [VAD_FLATNESS] = -0.3580f,    [VAD_FLUX] = 13.9009f,         [VAD_SNR_NEAR] = 0.9037f,
    [VAD_SNR_WIDE] = -0.4286f,    [VAD_VOICED_NEAR] = 6.2667f,   [VAD_VOICED_MAX] = 10.0355f,
    [VAD_VOICED_WIDE] = -4.0266f, [VAD_SWING] = -6.3735f,        [VAD_BELOW_MAX] = -0.4992f,
    [VAD_RANGE] = 1.2500f,        [VAD_FLATNESS_NEAR] = 0.5710f,
};
static const float bias = -9.8931f;

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

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
    [VAD_SNR] = 0.0233f,          [VAD_SNR_HIGH] = 1.3822f,      [VAD_VOICED] = 0.2497f,
    [VAD_FLATNESS] = -0.3777f,    [VAD_FLUX] = 14.1321f,         [VAD_SNR_NEAR] = 1.1121f,
    [VAD_SNR_WIDE] = -0.6608f,    [VAD_VOICED_NEAR] = 6.1873f,   [VAD_VOICED_MAX] = 10.5181f,
    [VAD_VOICED_WIDE] = -4.2285f, [VAD_SWING] = -6.9011f,        [VAD_BELOW_MAX] = -0.4528f,
    [VAD_RANGE] = 1.5015f,        [VAD_FLATNESS_NEAR] = 0.5342f,
};
static const float bias = -9.5446f;

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

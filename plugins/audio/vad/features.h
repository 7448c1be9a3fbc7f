/*
 * What tells speech from other sound, as a few numbers for every frame.
 */
#ifndef AUDIO_VAD_FEATURES_H
#define AUDIO_VAD_FEATURES_H

#include "audio/vad/detector.h"

enum vad_feature {
    VAD_SNR,      /* above the noise, 300 to 3400 Hz, in 10 dB (as all levels here) */
    VAD_SNR_HIGH, /* the same, 3400 to 7000 Hz */
    VAD_VOICED,   /* share of the sound that repeats 70 to 400 times a second */
    VAD_FLATNESS, /* log of geometric over arithmetic mean of the spectrum: noise is flat */
    VAD_FLUX,     /* change of the spectrum, up to 8 dB a frame, mean of 9 frames */
    VAD_SNR_NEAR, /* means of VAD_SNR over 9 and 33 frames */
    VAD_SNR_WIDE,
    VAD_VOICED_NEAR, /* mean of VAD_VOICED over 9 frames, largest of 17 */
    VAD_VOICED_MAX,
    VAD_VOICED_WIDE,   /* mean of VAD_VOICED times VAD_SNR over 33 frames */
    VAD_SWING,         /* standard deviation of the level in 33 frames, up to 15 dB */
    VAD_BELOW_MAX,     /* level minus the largest of 33 frames, down to -30 dB */
    VAD_RANGE,         /* largest minus smallest level of 33 frames, up to 30 dB */
    VAD_FLATNESS_NEAR, /* mean of VAD_FLATNESS over 9 frames */
    VAD_N_FEATURES
};

struct vad_features;

/* Freed with vad_features_destroy(), which takes NULL. SLUICE_RESOURCE: no memory. */
int32_t vad_features_create(struct vad_features **ret, struct num_err *err);
void vad_features_destroy(struct vad_features *f);

/* Forgets the recording before. */
void vad_features_reset(struct vad_features *f);

/* Features of frame `frame` to ret (VAD_N_FEATURES). Frames are asked for in order from 0; samples
 * up to 2.6 s further are read. */
void vad_features_next(struct vad_features *f, const struct vad_samples *samples, int64_t frame,
                       float *ret);

#endif

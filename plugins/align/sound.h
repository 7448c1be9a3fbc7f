/*
 * The sound that a network hears, before any of its layers: normalised as the model asks, and what
 * the norm over all time behind the first convolution needs to know of it.
 */
#ifndef ALIGN_SOUND_H
#define ALIGN_SOUND_H

#include "align/config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AL_MAX_TAPS 64 /* of the first convolution */

struct al_sound {
    const float *pcm; /* borrowed */
    size_t n;
    float mean, scale;
};

/* As Wav2Vec2FeatureExtractor of transformers: mean 0 and variance 1 where the model wants it. */
struct al_sound al_sound_of(const struct al_config *config, const float *pcm, size_t n);

/* Samples [first, first + n), normalised; what is no number, and what lies behind the end, as
 * silence. */
void al_sound_read(const struct al_sound *sound, size_t first, size_t n, float *ret);

/* The first convolution without bias and the norm over time behind it. */
struct al_first {
    const float *weight;       /* (conv_dim[0], conv_kernel[0]) */
    const float *gamma, *beta; /* (conv_dim[0]) */
};

/*
 * Both as one convolution for this sound. Mean and variance of an output over all time follow from
 * those of the sound's windows of kernel samples (mean w·m, variance w'Cw), so they cost one pass
 * over the sound. ret_weight (as weight), ret_bias (conv_dim[0]).
 */
void al_sound_fold(const struct al_sound *sound, const struct al_config *config,
                   const struct al_first *first, float *ret_weight, float *ret_bias);

/* Rows that convolution `layer` has to make for n frames from `first` on; *ret_first: its first. */
size_t al_conv_rows(const struct al_config *config, size_t layer, size_t first, size_t n,
                    size_t *ret_first);

#ifdef __cplusplus
}
#endif

#endif

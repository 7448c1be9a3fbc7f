/*
 * Where sound begins and ends: the level of a recording in steps of 5 ms, and words cut to what is
 * loud in them. Attention and CTC know roughly when a word is said; its edges are where its sound
 * is.
 */
#ifndef ALIGN_ENERGY_H
#define ALIGN_ENERGY_H

#include <stddef.h>

#include "num/err.h"

#define AL_STEP_SAMPLES 80 /* 5 ms */

/* Level in dB of each step, over the 20 ms around it. */
struct al_energy {
    float *level; /* [n] */
    size_t n;
    /* what a tenth of the steps stay below: background noise, where there are pauses */
    double floor;
};

int32_t al_energy_init(struct al_energy *ret, const float *pcm, size_t n_samples,
                       struct num_err *err);
void al_energy_finish(struct al_energy *energy); /* takes a zeroed one too */

/*
 * Cuts the stretch [*start, *end), in seconds, to its part that is at most `drop` dB below its
 * loudest step and at least AL_ABOVE_FLOOR dB above the noise, where the loudest step is louder
 * than that; pauses inside stay. Sound of at most 40 ms at the end, behind a pause of at least
 * 100 ms, is the beginning of what comes next. What would become shorter than 20 ms stays as it is,
 * and so does what lies outside of the recording.
 */
#define AL_ABOVE_FLOOR 6.0
void al_energy_trim(const struct al_energy *energy, double drop, double *start, double *end);

#endif

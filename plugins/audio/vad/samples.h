/*
 * The samples of an audio/1 artifact, read in place.
 */
#ifndef AUDIO_VAD_SAMPLES_H
#define AUDIO_VAD_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#define VAD_RATE 16000 /* Hz */

struct vad_samples {
    const void *data; /* (n) float, of any alignment, borrowed */
    int64_t n;
};

/*
 * Finds the samples of an audio/1 artifact of `len` bytes; `data` stays borrowed. `name` is for
 * messages. SLUICE_INPUT where it is none.
 */
int32_t vad_samples_open(const void *data, size_t len, const char *name, struct vad_samples *ret,
                         struct num_err *err);

/*
 * Copies samples [at, at + n) to ret (n): zeros before the first and after the last one. What is
 * not a number becomes 0 and the rest is cut to [-1, 1], so that damage does not spread in time.
 */
void vad_samples_read(const struct vad_samples *samples, int64_t at, int64_t n, float *ret);

#endif

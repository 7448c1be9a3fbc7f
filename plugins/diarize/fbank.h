/*
 * Log-mel filter banks as Kaldi computes them (D. Povey et al., "The Kaldi speech recognition
 * toolkit", 2011; feat/feature-fbank.cc): frames of 25 ms every 10 ms that lie within the signal,
 * without their mean, pre-emphasis 0.97, Hamming window, power of 512 points, triangles on Kaldi's
 * mel scale from 20 Hz to 8 kHz, natural logarithm. Without dither. Samples count as 16-bit
 * numbers.
 */
#ifndef DIARIZE_FBANK_H
#define DIARIZE_FBANK_H

#include <stddef.h>

#include "num/err.h"

#define DZ_FBANK_FRAME 400
#define DZ_FBANK_HOP   160

struct dz_fbank;

/* For n_bands bands, 8 to 128. */
int32_t dz_fbank_create(size_t n_bands, struct dz_fbank **ret, struct num_err *err);
void dz_fbank_destroy(struct dz_fbank *fbank);

/* Frames of a signal of n samples. */
static inline size_t dz_fbank_frames(size_t n) {
    return n < DZ_FBANK_FRAME ? 0 : (n - DZ_FBANK_FRAME) / DZ_FBANK_HOP + 1;
}

/* Floats of workspace. */
size_t dz_fbank_work(const struct dz_fbank *fbank);

/* pcm, n samples in [-1, 1], to ret (dz_fbank_frames(n), n_bands); NaN and infinity count as
 * silence. Any thread, each with a workspace of its own. */
void dz_fbank_run(const struct dz_fbank *fbank, const float *pcm, size_t n, float *work,
                  float *ret);

#endif

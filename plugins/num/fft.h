/*
 * Power spectra of real signals, NUM_FFT_BATCH frames at once: every value is a row of that many
 * floats, one for each frame, so the compiler makes vectors of them whatever the length of the
 * transform.
 */
#ifndef NUM_FFT_H
#define NUM_FFT_H

#include <stddef.h>

#include "num/err.h"

#define NUM_FFT_BATCH 16

struct num_fft;

/* For frames of n samples; n even, n / 2 a product of factors up to 7. Freed with
 * num_fft_destroy(). */
int32_t num_fft_create(size_t n, struct num_fft **ret, struct num_err *err);
void num_fft_destroy(struct num_fft *fft);

/* Floats of workspace that num_fft_power() needs. */
size_t num_fft_work(const struct num_fft *fft);

/* ret[k] = |sum_j x[j] exp(-2 pi i j k / n)|^2, k in [0, n / 2]. x: (n, BATCH), ret: (n / 2 + 1,
 * BATCH). */
void num_fft_power(const struct num_fft *fft, const float *x, float *work, float *ret);

#endif

/*
 * Mel-frequency cepstra (S. Davis and P. Mermelstein, "Comparison of parametric representations for
 * monosyllabic word recognition", 1980) of 10 ms frames: the discrete cosine transform (II,
 * orthonormal) of num/mel.h's 80 log bands, its first DZ_DIM coefficients, loudness among them.
 */
#ifndef DIARIZE_CEPSTRA_H
#define DIARIZE_CEPSTRA_H

#include <stddef.h>

#include "diarize/gauss.h"
#include "num/err.h"
#include "num/mel.h"
#include "num/pool.h"

#define DZ_FRAMES_PER_S 100

struct dz_cepstra; /* tables, and a buffer: for one thread at a time */

/* `pool` is borrowed until destroy. */
int32_t dz_cepstra_create(struct num_pool *pool, struct dz_cepstra **ret, struct num_err *err);
void dz_cepstra_destroy(struct dz_cepstra *cepstra);

/* Frames [first, first + n) of mono 16 kHz audio; frame i is centred on sample 160 i. ret: (n,
 * DZ_DIM). */
int32_t dz_cepstra_compute(struct dz_cepstra *cepstra, const float *pcm, size_t n_samples,
                           size_t first, size_t n, float *ret, struct num_err *err);

#endif

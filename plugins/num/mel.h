/*
 * Whisper's log-mel spectrogram: 16 kHz, frames of 400 samples every 160, periodic Hann window,
 * Slaney's mel scale with area-normalised triangles, log10 clamped at 8 below the maximum. As
 * audio.py of github.com/openai/whisper; the filterbank is that of librosa.filters.mel, computed
 * here in double.
 */
#ifndef NUM_MEL_H
#define NUM_MEL_H

#include <stddef.h>

#include "num/pool.h"

#define NUM_MEL_RATE_HZ 16000
#define NUM_MEL_FRAME   400
#define NUM_MEL_HOP     160
#define NUM_MEL_BINS    (NUM_MEL_FRAME / 2 + 1)

struct num_mel;

/* For n_mels bands (80, or 128); freed with num_mel_destroy(). */
int32_t num_mel_create(size_t n_mels, struct num_mel **ret, struct num_err *err);
void num_mel_destroy(struct num_mel *mel);

/* Weight of FFT bin `bin` in band `band`. */
double num_mel_weight(size_t n_mels, size_t band, size_t bin);

/*
 * log10 of the mel power, floored at 1e-10, of frames [first, first + n_frames) of the signal `pcm`
 * followed by silence: frame i is centred on sample 160 i, and the signal is mirrored at its start.
 * `pcm` (n_samples) in
 * [-1, 1], borrowed for the call; NaN and infinity count as silence. ret: (n_frames, n_mels).
 */
int32_t num_mel_log(const struct num_mel *mel, struct num_pool *pool, const float *pcm,
                    size_t n_samples, size_t first, size_t n_frames, float *ret,
                    struct num_err *err);

/* Largest of n values, for num_mel_normalise(). */
float num_mel_max(const float *log_mel, size_t n);

/* ret = (max(log_mel, max - 8) + 4) / 4 for n values; ret may be log_mel. */
void num_mel_normalise(const float *log_mel, size_t n, float max, float *ret);

#endif

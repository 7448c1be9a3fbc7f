/*
 * Mono float at any rate to 16 kHz, with an exact length and no shift in time.
 */
#ifndef AUDIO_RESAMPLE_H
#define AUDIO_RESAMPLE_H

#include <stdint.h>

#define AD_RATE 16000 /* Hz, of the output */

struct SwrContext;

/* Takes `n` samples of output; returns 0 or a negative class, which ends the call that caused it.
 */
typedef int (*ad_samples_fn)(void *ctx, const float *samples, int64_t n);

struct ad_resampler {
    struct SwrContext *swr; /* NULL at 16 kHz: samples pass through */
    int rate;               /* Hz, of the input */
    int64_t n_in, n_out;    /* samples taken and given */
    ad_samples_fn write;
    void *ctx;
};

/* SLUICE_RESOURCE: no memory. `write` gets the output, finite and within [-1, 1]. */
int ad_resampler_init(struct ad_resampler *r, int rate, ad_samples_fn write, void *ctx);

/* Resamples (n) samples. Errors of `write` are passed on; SLUICE_INTERNAL: the resampler failed. */
int ad_resampler_write(struct ad_resampler *r, const float *samples, int64_t n);

/*
 * Gives what is still inside, so that n_out = n_in * 16000 / rate, rounded to the nearest (halves
 * up), and at least 1 where there was anything. No write may follow.
 */
int ad_resampler_drain(struct ad_resampler *r);

/* Frees; also after a failed init. */
void ad_resampler_finish(struct ad_resampler *r);

#endif

/*
 * What speech stages read: audio/1 and regions/1. Everything is checked, so that an engine can rely
 * on it.
 */
#ifndef NUM_AUDIO_H
#define NUM_AUDIO_H

#include <stddef.h>
#include <stdint.h>

#include "num/watch.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_AUDIO_RATE_HZ 16000

/* Mono samples in [-1, 1] where the producer kept to the contract; any float where not. */
struct num_audio {
    const float *pcm; /* [n] */
    size_t n;
    float *copy; /* owned: where the payload's samples are not aligned; or NULL */
};

/* Borrows `data` until num_audio_close(). SLUICE_INPUT: not an audio/1. */
int32_t num_audio_open(const void *data, size_t len, struct num_audio *ret, struct num_err *err);
/* Takes a zeroed one too. */
void num_audio_close(struct num_audio *audio);

/* Samples [start, end), start < end. */
struct num_region {
    size_t start, end;
};

/*
 * The regions of a regions/1 in order of start, those that overlap or touch as one, without what
 * lies behind `n_samples`. *ret is the caller's to free(); SLUICE_INPUT names the place
 * ("regions[3].end: ..."), SLUICE_CANCELLED: `watch` (NULL: nobody) said so.
 */
int32_t num_regions_read(const void *json, size_t len, size_t n_samples,
                         const struct num_watch *watch, struct num_region **ret, size_t *ret_n,
                         struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

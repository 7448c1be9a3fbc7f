/*
 * The spectrogram ahead of need: one thread computes frames of a signal while others decode. What
 * it has is copied out; what it has not, the caller computes.
 */
#ifndef WH_AHEAD_H
#define WH_AHEAD_H

#include "num/mel.h"

struct wh_ahead;

/* Frames [first, first + n) of a signal, as num_mel_log() gives them. */
struct wh_ahead_range {
    const float *pcm;
    size_t n_samples, first, n;
};

/* Room for n_frames at a time. `mel` is borrowed until destroy(). */
int32_t wh_ahead_create(const struct num_mel *mel, size_t n_mels, size_t n_frames,
                        struct wh_ahead **ret, struct num_err *err);
void wh_ahead_destroy(struct wh_ahead *ahead);

/* Starts to compute the range (of at most n_frames), unless that is what it has. The signal is
 * borrowed until another start or wh_ahead_drop(). Waits for the range before. */
void wh_ahead_start(struct wh_ahead *ahead, const struct wh_ahead_range *range);

/* Copies the frames that it has of the range to their places in ret (n, n_mels), and tells which:
 * [*ret_first, *ret_end), counted as the range's; none: both its end. */
void wh_ahead_copy(struct wh_ahead *ahead, const struct wh_ahead_range *range, float *ret,
                   size_t *ret_first, size_t *ret_end);

/* Lets go of the signal: waits for what is under way, and forgets it. */
void wh_ahead_drop(struct wh_ahead *ahead);

#endif

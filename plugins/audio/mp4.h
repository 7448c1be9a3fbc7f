/*
 * The exact length of an MP4 track. FFmpeg gives it only after rounding by the edit list's coarse
 * clock.
 */
#ifndef AUDIO_MP4_H
#define AUDIO_MP4_H

#include <stdint.h>

#include "audio/source.h"

/*
 * Length of what track `id` presents, in ticks of the track's own time scale, from the start of its
 * edit to its end. 0 where it cannot be told: not MP4, fragmented, several edits, or damaged.
 *
 * An edit list counts in ticks of the whole movie, often milliseconds. Where it agrees with the sum
 * of the packets' durations to within one such tick, it means the end of the track, and the sum is
 * returned.
 */
int64_t ad_mp4_track_length(const struct ad_source *source, uint32_t id);

#endif

/*
 * Decoded frames to mono float.
 */
#ifndef AUDIO_MIX_H
#define AUDIO_MIX_H

#include <stdint.h>

#include <libavutil/frame.h>

#define AD_CHANNELS_MAX 64

/*
 * Converts samples [skip, skip + n) of `frame` to floats, full scale = 1: the mean of all channels,
 * each with the same weight, or channel `channel` alone where it is 0 or more. ret: (n). The caller
 * has checked that the range and the channel exist. Returns 0, or -1 for a sample format that is
 * not known.
 */
int ad_mix(const AVFrame *frame, int channel, int64_t skip, int64_t n, float *ret);

#endif

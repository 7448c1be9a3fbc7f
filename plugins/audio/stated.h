/*
 * What a container states about the first and last sample to be heard, beyond what FFmpeg applies
 * itself.
 */
#ifndef AUDIO_STATED_H
#define AUDIO_STATED_H

#include <stdint.h>

#include "audio/input.h"
#include "audio/timeline.h"

/* Timestamps in samples at the given rate; AD_NO_PTS: nothing is stated. */
struct ad_stated {
    int64_t start; /* output sample 0 */
    int64_t end;   /* one past the last sample */
};

/*
 * Samples that a decoder of Windows Media Audio 1 and 2 gives before the first one it can
 * reconstruct: one transform block, of which only one half is known. 0 for other codecs. The block
 * length is a constant of the format for each rate.
 */
int ad_stated_wma_delay(enum AVCodecID codec, int rate);

/* `first` is the timestamp of the first decoded frame, AD_NO_PTS where it has none. */
void ad_stated_read(const struct ad_input *in, int rate, int64_t first, struct ad_stated *ret);

/* Whether timestamps are the demuxer's own count of frames, because the format has none. */
int ad_stated_is_counted(const struct ad_input *in);

/*
 * The number of samples in an iTunSMPB tag, " 00000000 PRIMING PADDING SAMPLES ..." in hexadecimal,
 * as Apple's encoders write it into M4A files; 0 where `text` is NULL or not such a tag.
 * *ret_priming: encoder delay.
 */
int64_t ad_itunsmpb_parse(const char *text, int64_t *ret_priming);

#endif

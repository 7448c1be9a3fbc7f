/*
 * Start and end of the audio as the container states them.
 *
 * FFmpeg removes on its own: LAME delay and padding (mp3), pre-skip and end trim (opus), the first
 * and last granule (vorbis), discard padding (matroska), and the start of an edit list (mp4). Left
 * to do here:
 *   - MP4: the decoder returns the last packet whole, although its stated duration or the edit
 *     list ends earlier. What lies before the edit list's start is cut to the sample.
 *   - M4A of Apple's encoders: the exact length is in the iTunSMPB tag.
 *   - WMA: ASF states no delay, and FFmpeg drops two blocks, which loses real audio of encoders
 *     that delay by one. Here only the block that cannot be reconstructed is dropped; then the
 *     length is the one that the container states.
 *   - Files with video: the audio may begin after the picture; times should fit the picture.
 */
#include "stated.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <libavutil/mathematics.h>

#include "audio/mp4.h"

#define TAIL_S 0.5 /* a stated end that cuts more than this off the index is not believed */

int64_t ad_itunsmpb_parse(const char *text, int64_t *ret_priming) {
    unsigned zero, priming, padding;
    uint64_t n_samples;
    if (!text || sscanf(text, " %x %x %x %" SCNx64, &zero, &priming, &padding, &n_samples) != 4)
        return 0;
    if (n_samples == 0 || n_samples > (UINT64_C(1) << 40) || priming > 65536 || padding > 65536)
        return 0;
    *ret_priming = priming;
    return (int64_t)n_samples;
}

int ad_stated_wma_delay(enum AVCodecID codec, int rate) {
    if (codec != AV_CODEC_ID_WMAV1 && codec != AV_CODEC_ID_WMAV2)
        return 0;
    if (rate <= 16000)
        return 512;
    if (rate <= 22050 || (rate <= 32000 && codec == AV_CODEC_ID_WMAV1))
        return 1024;
    return rate <= 48000 ? 2048 : rate <= 96000 ? 4096 : 8192;
}

static int is_mp4(const struct ad_input *in) {
    return strncmp(in->format->iformat->name, "mov,", 4) == 0;
}

/* AD_NO_PTS for timestamps so large that they mean nothing. */
static int64_t to_samples(const AVStream *stream, int64_t ts, int rate) {
    int64_t n = av_rescale_q(ts, stream->time_base, (AVRational){1, rate});
    return n > -AD_PTS_MAX && n < AD_PTS_MAX ? n : AD_NO_PTS;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a == AD_NO_PTS || (b != AD_NO_PTS && b < a) ? b : a;
}

/* Start of the earliest moving picture, AD_NO_PTS where there is none. Cover art does not count. */
static int64_t video_start(const struct ad_input *in, int rate) {
    int64_t start = AD_NO_PTS;
    for (unsigned i = 0; i < in->format->nb_streams; i++) {
        const AVStream *stream = in->format->streams[i];
        if (stream->codecpar->codec_type != AVMEDIA_TYPE_VIDEO ||
            stream->start_time == AV_NOPTS_VALUE ||
            (stream->disposition & AV_DISPOSITION_ATTACHED_PIC))
            continue;
        start = earlier(start, to_samples(stream, stream->start_time, rate));
    }
    return start;
}

static int64_t audio_start(const struct ad_input *in, int rate, int64_t first) {
    int64_t stated = in->stream->start_time;
    int delay = ad_stated_wma_delay(in->codec->codec_id, rate);
    if (delay > 0 && first != AD_NO_PTS)
        return first + delay;
    if (stated == AV_NOPTS_VALUE)
        return first;
    /* The first packets were lost: their place is known only from the container. */
    if (is_mp4(in) || in->lost_pending)
        return to_samples(in->stream, stated, rate);
    return first;
}

/* End of the track: exact where its boxes say so, else by FFmpeg's account of the edit list, if the
 * index has packets up to about there. */
static int64_t mp4_end(const struct ad_input *in, int rate) {
    AVStream *stream = in->stream;
    int n = avformat_index_get_entries_count(stream);
    const AVIndexEntry *last = n > 0 ? avformat_index_get_entry(stream, n - 1) : NULL;
    if (!last || stream->start_time == AV_NOPTS_VALUE)
        return AD_NO_PTS;
    int64_t length = ad_mp4_track_length(in->source, (uint32_t)stream->id);
    if (length == 0 && stream->duration != AV_NOPTS_VALUE)
        length = stream->duration;
    int64_t end, slack = (int64_t)(TAIL_S / av_q2d(stream->time_base));
    if (length <= 0 || __builtin_add_overflow(stream->start_time, length, &end) ||
        last->timestamp < -AD_PTS_MAX || end < last->timestamp - slack)
        return AD_NO_PTS;
    return to_samples(stream, end, rate);
}

int ad_stated_is_counted(const struct ad_input *in) {
    static const char *const formats[] = {"mp3", "aac", "ac3", "eac3", "dts", "loas"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(in->format->iformat->name, formats[i]) == 0)
            return 1;
    return 0;
}

static int64_t itunsmpb_end(const struct ad_input *in, int rate, int64_t start, int64_t track_end) {
    const AVDictionaryEntry *tag = av_dict_get(in->format->metadata, "iTunSMPB", NULL, 0);
    int64_t priming, n_samples = ad_itunsmpb_parse(tag ? tag->value : NULL, &priming);
    if (n_samples == 0 || start == AD_NO_PTS)
        return AD_NO_PTS;
    int64_t end = start + n_samples;
    if (track_end != AD_NO_PTS && end < track_end - (int64_t)(TAIL_S * rate))
        return AD_NO_PTS;
    return end;
}

void ad_stated_read(const struct ad_input *in, int rate, int64_t first, struct ad_stated *ret) {
    int64_t audio = audio_start(in, rate, first);
    *ret = (struct ad_stated){.start = earlier(audio, video_start(in, rate)), .end = AD_NO_PTS};
    if (!is_mp4(in))
        return;
    int64_t track_end = mp4_end(in, rate);
    ret->end = earlier(track_end, itunsmpb_end(in, rate, first, track_end));
}

/*
 * An opened input: demuxer, chosen audio stream, decoder. Bytes in, decoded frames out, damage
 * counted.
 */
#ifndef AUDIO_INPUT_H
#define AUDIO_INPUT_H

#include <stdint.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "audio/source.h"

#define AD_RATE_MIN 1000 /* Hz */
#define AD_RATE_MAX 768000
#define AD_SAID_LEN 256

struct ad_input {
    const char *name; /* for messages, borrowed */
    AVFormatContext *format;
    AVIOContext *io;
    AVCodecContext *codec;
    AVStream *stream;
    AVPacket *packet;

    const struct ad_source *source;
    int64_t offset;     /* of the next read */
    int64_t idle_bytes; /* read since the last decoded frame */
    int io_errno;       /* of a failed read, 0: none */
    int (*cancelled)(void *ctx);
    void *cancel_ctx;
    char said[AD_SAID_LEN]; /* FFmpeg's last error message */

    int draining;        /* all packets were sent */
    int n_failed_reads;  /* in a row */
    int64_t n_lost;      /* packets that could not be decoded */
    int lost_pending;    /* one of them lies before the next frame */
    double first_lost_s; /* seconds from the stream's start to the first, -1 where unknown */
    /* end of the last packet in the stream's time base, AV_NOPTS_VALUE: unknown */
    int64_t packets_end;
};

/*
 * Opens the demuxer over `source` and the decoder of audio track `track` (0 is the first, below 0
 * the best one). `cancelled` may be NULL. All pointers are borrowed until ad_input_finish(), which
 * is needed after a failure too. SLUICE_INPUT: not audio, damaged or out of bounds;
 * SLUICE_UNSUPPORTED: no decoder; SLUICE_TRANSIENT: read error; SLUICE_CANCELLED.
 */
int ad_input_init(struct ad_input *in, const struct ad_source *source, const char *name, int track,
                  int (*cancelled)(void *ctx), void *cancel_ctx, struct num_err *err);
void ad_input_finish(struct ad_input *in);

/*
 * Decodes the next frame into `frame`: 1, 0 at the end, or a negative class. Packets that cannot be
 * decoded are counted and skipped. FFmpeg has removed the encoder delay and padding that the
 * container or the codec's own header states; timestamps are in the time base of `stream`.
 */
int ad_input_next(struct ad_input *in, AVFrame *frame, struct num_err *err);

/* Share of the bytes that were read, in [0, 1]. */
double ad_input_progress(const struct ad_input *in);

/* Length of the stream in seconds where the container states it (not estimated from a bit rate),
 * else -1. */
double ad_input_stated_s(const struct ad_input *in);

/* For av_log_set_callback(): keeps error messages in the input they belong to and drops the rest.
 */
void ad_input_log(void *context, int level, const char *format, va_list args);

#endif

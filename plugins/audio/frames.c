/*
 * Packets to frames, past damage.
 *
 * A packet that cannot be decoded is counted and left out; the timestamps of what follows tell the
 * timeline how much is missing. Reading goes on after a failed read a few times, because some
 * demuxers find their way back.
 *
 * A FLAC frame describes itself: where the decoder refuses one because it contradicts the file's
 * header (another bit depth, a block longer than announced), it is decoded by a fresh decoder
 * without that header.
 */
#include "input.h"

#include <string.h>

#define FAILED_READS_MAX 64 /* in a row; then the rest counts as unreadable */

static void note_lost(struct ad_input *in, const AVPacket *packet) {
    in->n_lost++;
    in->lost_pending = 1;
    if (in->first_lost_s >= 0 || !packet || packet->pts == AV_NOPTS_VALUE)
        return;
    int64_t start = in->stream->start_time == AV_NOPTS_VALUE ? 0 : in->stream->start_time;
    double at = ((double)packet->pts - (double)start) * av_q2d(in->stream->time_base);
    in->first_lost_s = at > 0 ? at : 0;
}

static int fail_read(struct ad_input *in, struct num_err *err) {
    return num_fail(err, ad_errno_status(in->io_errno), "%s: cannot be read: %s", in->name,
                    strerror(in->io_errno));
}

/* A new decoder in place of the one there is, with or without the stream's header. */
static int reopen(struct ad_input *in, int with_header) {
    const AVCodec *codec = in->codec->codec;
    AVCodecContext *fresh = avcodec_alloc_context3(codec);
    if (!fresh)
        return AVERROR(ENOMEM);
    fresh->opaque = in;
    fresh->pkt_timebase = in->stream->time_base;
    fresh->thread_count = 1;
    fresh->err_recognition = in->codec->err_recognition;
    int ret = with_header ? avcodec_parameters_to_context(fresh, in->stream->codecpar) : 0;
    if (ret >= 0)
        ret = avcodec_open2(fresh, codec, NULL);
    if (ret < 0) {
        avcodec_free_context(&fresh);
        return ret;
    }
    avcodec_free_context(&in->codec);
    in->codec = fresh;
    return 0;
}

static int send_packet(struct ad_input *in) {
    int ret = avcodec_send_packet(in->codec, in->packet);
    if (ret >= 0 || in->codec->codec_id != AV_CODEC_ID_FLAC || reopen(in, 0) < 0)
        return ret;
    int again = avcodec_send_packet(in->codec, in->packet);
    if (again < 0)
        reopen(in, 1);
    return again < 0 ? ret : again;
}

/* Reads a packet of the stream: 1, 0 at the end (also where the rest is unreadable), or a negative
 * class. */
static int read_packet(struct ad_input *in, struct num_err *err) {
    while (in->n_failed_reads < FAILED_READS_MAX) {
        int ret = av_read_frame(in->format, in->packet);
        /* Asked after the read: it ends early, as at the end of the file, when it is interrupted.
         */
        if (in->cancelled && in->cancelled(in->cancel_ctx))
            return num_fail(err, SLUICE_CANCELLED, "%s: stopped", in->name);
        if (in->io_errno)
            return fail_read(in, err);
        if (ret == AVERROR_EOF || ret == AVERROR_EXIT)
            return 0;
        if (ret < 0) {
            in->n_failed_reads++;
            if (ret != AVERROR(EAGAIN))
                note_lost(in, NULL);
            continue;
        }
        in->n_failed_reads = 0;
        if (in->packet->stream_index == in->stream->index)
            return 1;
        av_packet_unref(in->packet);
    }
    return 0;
}

/* Gives the decoder a packet, or the end. */
static int feed(struct ad_input *in, struct num_err *err) {
    int status = read_packet(in, err);
    if (status < 0)
        return status;
    if (status == 0) {
        in->draining = 1;
        avcodec_send_packet(in->codec, NULL);
        return SLUICE_OK;
    }
    AVPacket *packet = in->packet;
    if (packet->pts == AV_NOPTS_VALUE ||
        __builtin_add_overflow(packet->pts, packet->duration, &in->packets_end))
        in->packets_end = AV_NOPTS_VALUE;
    int ret = send_packet(in);
    if (ret < 0 && ret != AVERROR_EOF)
        note_lost(in, packet);
    av_packet_unref(packet);
    return ret == AVERROR(ENOMEM)
               ? num_fail(err, SLUICE_RESOURCE, "%s: no memory to decode it", in->name)
               : SLUICE_OK;
}

int ad_input_next(struct ad_input *in, AVFrame *frame, struct num_err *err) {
    for (;;) {
        int ret = avcodec_receive_frame(in->codec, frame);
        if (ret == 0) {
            in->idle_bytes = 0;
            return 1;
        }
        if (ret == AVERROR_EOF || (in->draining && ret < 0))
            return 0;
        if (ret != AVERROR(EAGAIN))
            note_lost(in, NULL);
        int status = feed(in, err);
        if (status < 0)
            return status;
    }
}

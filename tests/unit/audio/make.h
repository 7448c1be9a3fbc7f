/*
 * Makes media files for tests: WAV by hand, with any header, and others with the muxers and
 * encoders of FFmpeg.
 */
#ifndef TESTS_UNIT_AUDIO_MAKE_H
#define TESTS_UNIT_AUDIO_MAKE_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>

#include "unit/test.h"

#define PI 3.14159265358979323846

/* A path in a folder of this test, which make_clean() removes. The string holds until the next
 * call. */
static const char *make_path(const char *name) {
    static char folder[TEST_PATH], path[256];
    if (!folder[0])
        make_test_folder(folder);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Removes the folder of make_path(). */
static void make_clean(void) {
    remove_test_files(make_path(""));
}

/* Something with structure everywhere, so that it lines up with itself at one lag only: two sweeps.
 * t in s. */
static double make_signal(double t) {
    double slow = sin(2 * PI * (200 * t + 150 * sin(1.7 * t)));
    return 0.35 * slow + 0.25 * sin(2 * PI * (900 * t + 40 * sin(5.3 * t)));
}

/* ---- WAV ---- */

struct wav {
    uint8_t bytes[1 << 20];
    size_t len;
};

static void wav_u16(struct wav *w, unsigned v) {
    CHECK(w->len + 2 <= sizeof w->bytes);
    w->bytes[w->len++] = (uint8_t)v;
    w->bytes[w->len++] = (uint8_t)(v >> 8);
}

static void wav_u32(struct wav *w, uint32_t v) {
    wav_u16(w, v & 0xffff);
    wav_u16(w, v >> 16);
}

static void wav_text(struct wav *w, const char *four) {
    CHECK(w->len + 4 <= sizeof w->bytes);
    memcpy(w->bytes + w->len, four, 4);
    w->len += 4;
}

/* RIFF header and chunks up to the samples, of `data_len` bytes. format: 1 integer, 3 float. */
static void wav_header(struct wav *w, int format, uint32_t rate, unsigned n_ch, unsigned bits,
                       uint32_t data_len) {
    w->len = 0;
    wav_text(w, "RIFF");
    wav_u32(w, 36 + data_len);
    wav_text(w, "WAVE");
    wav_text(w, "fmt ");
    wav_u32(w, 16);
    wav_u16(w, (unsigned)format);
    wav_u16(w, n_ch);
    wav_u32(w, rate);
    wav_u32(w, rate * n_ch * bits / 8);
    wav_u16(w, n_ch * bits / 8);
    wav_u16(w, bits);
    wav_text(w, "data");
    wav_u32(w, data_len);
}

/* One sample of `bits` bits, x in [-1, 1). */
static void wav_sample(struct wav *w, unsigned bits, double x) {
    int64_t v = llround(x * (double)(INT64_C(1) << (bits - 1)));
    if (bits == 8)
        v += 128;
    CHECK(w->len + bits / 8 <= sizeof w->bytes);
    for (unsigned b = 0; b < bits; b += 8)
        w->bytes[w->len++] = (uint8_t)(v >> b);
}

/* ---- other formats ---- */

struct maker {
    AVFormatContext *format;
    AVCodecContext *codec;
    AVStream *audio, *video;
    int64_t n; /* samples sent, without shifts */
    int block; /* samples a packet of codecs without a size of their own */
};

static void maker_video(struct maker *m) {
    m->video = avformat_new_stream(m->format, NULL);
    CHECK(m->video != NULL);
    m->video->time_base = (AVRational){1, 1000};
    m->video->codecpar->codec_type = AVMEDIA_TYPE_VIDEO;
    m->video->codecpar->codec_id = AV_CODEC_ID_MJPEG;
    m->video->codecpar->width = m->video->codecpar->height = 16;
}

/* Returns 0 where this FFmpeg has no such encoder or muxer. `options`: "key=value:..." of the
 * muxer, or NULL. */
__attribute__((unused)) static int maker_open(struct maker *m, const char *path, const char *muxer,
                                              const char *encoder, int rate, int with_video,
                                              const char *options) {
    *m = (struct maker){.block = rate / 50};
    const AVCodec *codec = avcodec_find_encoder_by_name(encoder);
    if (!codec || !av_guess_format(muxer, NULL, NULL))
        return 0;
    CHECK(avformat_alloc_output_context2(&m->format, NULL, muxer, path) >= 0);
    m->codec = avcodec_alloc_context3(codec);
    m->codec->sample_rate = rate;
    int coarse =
        codec->sample_fmts[0] == AV_SAMPLE_FMT_U8 || codec->sample_fmts[0] == AV_SAMPLE_FMT_U8P;
    m->codec->sample_fmt = codec->sample_fmts[coarse];
    m->codec->time_base = (AVRational){1, rate};
    m->codec->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
    m->codec->bit_rate = rate >= 32000 ? 96000 : 48000;
    av_channel_layout_default(&m->codec->ch_layout, 1);
    if (m->format->oformat->flags & AVFMT_GLOBALHEADER)
        m->codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    CHECK(avcodec_open2(m->codec, codec, NULL) >= 0);
    m->audio = avformat_new_stream(m->format, NULL);
    m->audio->time_base = m->codec->time_base;
    CHECK(avcodec_parameters_from_context(m->audio->codecpar, m->codec) >= 0);
    if (with_video)
        maker_video(m);
    CHECK(avio_open(&m->format->pb, path, AVIO_FLAG_WRITE) >= 0);
    AVDictionary *dict = NULL;
    CHECK(av_dict_parse_string(&dict, options ? options : "", "=", ":", 0) >= 0);
    CHECK(avformat_write_header(m->format, &dict) >= 0);
    av_dict_free(&dict);
    if (m->video) { /* one picture at 0; nobody looks at it */
        AVPacket *packet = av_packet_alloc();
        CHECK(av_new_packet(packet, 64) >= 0);
        packet->pts = packet->dts = 0;
        packet->stream_index = m->video->index;
        packet->flags = AV_PKT_FLAG_KEY;
        CHECK(av_interleaved_write_frame(m->format, packet) >= 0);
        av_packet_free(&packet);
    }
    return 1;
}

static void maker_send(struct maker *m, AVFrame *frame) {
    AVPacket *packet = av_packet_alloc();
    CHECK(avcodec_send_frame(m->codec, frame) >= 0);
    while (avcodec_receive_packet(m->codec, packet) >= 0) {
        packet->stream_index = m->audio->index;
        av_packet_rescale_ts(packet, m->codec->time_base, m->audio->time_base);
        CHECK(av_interleaved_write_frame(m->format, packet) >= 0);
    }
    av_packet_free(&packet);
}

static void maker_put(AVFrame *frame, int i, double x) {
    switch (frame->format) {
    case AV_SAMPLE_FMT_S16:
    case AV_SAMPLE_FMT_S16P:
        ((int16_t *)(void *)frame->data[0])[i] = (int16_t)lrint(x * 32768);
        break;
    case AV_SAMPLE_FMT_S32:
    case AV_SAMPLE_FMT_S32P:
        ((int32_t *)(void *)frame->data[0])[i] = (int32_t)lrint(x * 2147483648.0);
        break;
    case AV_SAMPLE_FMT_FLT:
    case AV_SAMPLE_FMT_FLTP:
        ((float *)(void *)frame->data[0])[i] = (float)x;
        break;
    default:
        TEST_FAIL("sample format %d is not made here", frame->format);
    }
}

/* Writes `n` samples of the signal from where the last call stopped, with timestamps moved by
 * `shift`. */
__attribute__((unused)) static void maker_write(struct maker *m, int64_t n, int64_t shift) {
    int rate = m->codec->sample_rate;
    int size = m->codec->frame_size ? m->codec->frame_size : m->block;
    while (n > 0) {
        AVFrame *frame = av_frame_alloc();
        frame->nb_samples = n < size ? (int)n : size;
        frame->format = m->codec->sample_fmt;
        frame->sample_rate = rate;
        av_channel_layout_copy(&frame->ch_layout, &m->codec->ch_layout);
        CHECK(av_frame_get_buffer(frame, 0) >= 0);
        for (int i = 0; i < frame->nb_samples; i++)
            maker_put(frame, i, make_signal((double)(m->n + i) / rate));
        frame->pts = m->n + shift;
        m->n += frame->nb_samples;
        n -= frame->nb_samples;
        maker_send(m, frame);
        av_frame_free(&frame);
    }
}

__attribute__((unused)) static void maker_close(struct maker *m) {
    maker_send(m, NULL);
    CHECK(av_write_trailer(m->format) >= 0);
    avio_closep(&m->format->pb);
    avcodec_free_context(&m->codec);
    avformat_free_context(m->format);
}

/* Appends the file `from` to `to`. */
__attribute__((unused)) static void make_append(const char *to, const char *from) {
    char command[640];
    snprintf(command, sizeof command, "cat '%s' >> '%s'", from, to);
    CHECK_INT(system(command), 0);
}

#endif

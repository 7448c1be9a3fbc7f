/*
 * Opens untrusted files with libavformat and libavcodec.
 *
 * What FFmpeg may do here is little: it reads through our callbacks (no path, no protocol), only
 * demuxers of plain audio and video files are allowed (no playlists, no lists of files, no raw
 * formats that are guessed by extension), references to other files are refused, and only audio
 * decoders exist. Rates and channel counts are checked before anything is sized by them.
 *
 * Not here: what a timestamp means (timeline.c), and reading frames (frames.c).
 */
#include "input.h"

#include <stdio.h>
#include <string.h>

#include <libavutil/mem.h>

#include "audio/mix.h"
#include "audio/stated.h"

#define IO_BUFFER (64 * 1024)
#define IDLE_BYTES_MIN                                                                             \
    (INT64_C(64) << 20) /* reading this, and eight times the file, without a frame: stuck */

static const char demuxers[] =
    "wav,w64,flac,mp3,mov,matroska,ogg,aac,asf,aiff,au,caf,nistsphere,avi,mpegts,"
    "mpeg,flv,amr,ac3,eac3,dts,wv,ape,tta,voc,loas";

/* Extensions that help to recognise a headerless stream. Others are not shown to the prober: it
 * would trust a wrong extension more than the content. */
static const char *const telling_extensions[] = {"mp3", "mp2", "mpga", "aac", "adts"};

void ad_input_log(void *context, int level, const char *format, va_list args) {
    if (level > AV_LOG_ERROR || !context)
        return;
    const AVClass *class = *(const AVClass *const *)context;
    struct ad_input *in = NULL;
    if (class && strcmp(class->class_name, "AVFormatContext") == 0)
        in = ((AVFormatContext *)context)->opaque;
    else if (class && strcmp(class->class_name, "AVCodecContext") == 0)
        in = ((AVCodecContext *)context)->opaque;
    if (!in)
        return;
    vsnprintf(in->said, sizeof in->said, format, args);
    in->said[strcspn(in->said, "\n")] = '\0';
}

/* ---- bytes ---- */

static int read_bytes(void *opaque, uint8_t *data, int len) {
    struct ad_input *in = opaque;
    in->idle_bytes += len;
    if (in->idle_bytes > IDLE_BYTES_MIN && in->idle_bytes / 8 > in->source->size)
        return AVERROR_EXIT;
    int n = in->source->read_at(in->source->ctx, in->offset, data, len);
    if (n < 0) {
        in->io_errno = -n;
        return AVERROR(-n);
    }
    in->offset += n;
    return n ? n : AVERROR_EOF;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence) {
    struct ad_input *in = opaque;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE)
        return in->source->size;
    int64_t base = whence == SEEK_CUR ? in->offset : whence == SEEK_END ? in->source->size : 0;
    if (__builtin_add_overflow(base, offset, &offset) || offset < 0)
        return AVERROR(EINVAL);
    in->offset = offset;
    return offset;
}

static int is_interrupted(void *opaque) {
    struct ad_input *in = opaque;
    return in->cancelled && in->cancelled(in->cancel_ctx);
}

/* References inside a file to others are never followed. */
static int refuse_open(AVFormatContext *format, AVIOContext **ret, const char *url, int flags,
                       AVDictionary **options) {
    (void)format, (void)ret, (void)url, (void)flags, (void)options;
    return AVERROR(EPERM);
}

/* ---- demuxer ---- */

/* "aac,ac3,...": every audio decoder, so that pictures and video inside the file are never decoded.
 */
static char *audio_decoders(void) {
    size_t len = 0;
    char *list = NULL;
    void *at = NULL;
    for (const AVCodec *codec; (codec = av_codec_iterate(&at));) {
        if (codec->type != AVMEDIA_TYPE_AUDIO || !av_codec_is_decoder(codec))
            continue;
        size_t name_len = strlen(codec->name);
        char *longer = av_realloc(list, len + name_len + 2);
        if (!longer) {
            av_free(list);
            return NULL;
        }
        list = longer;
        len += (size_t)sprintf(list + len, len ? ",%s" : "%s", codec->name);
    }
    return list;
}

static const char *probe_name(const char *name) {
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof telling_extensions / sizeof *telling_extensions; i++)
        if (strcasecmp(dot + 1, telling_extensions[i]) == 0)
            return name;
    return "";
}

static int make_format(struct ad_input *in) {
    uint8_t *buffer = av_malloc(IO_BUFFER);
    in->io =
        buffer ? avio_alloc_context(buffer, IO_BUFFER, 0, in, read_bytes, NULL, seek_bytes) : NULL;
    if (!in->io) {
        av_free(buffer);
        return -1;
    }
    AVFormatContext *format = in->format = avformat_alloc_context();
    if (!format)
        return -1;
    format->pb = in->io;
    format->flags |= AVFMT_FLAG_CUSTOM_IO;
    format->opaque = in;
    format->io_open = refuse_open;
    format->interrupt_callback = (AVIOInterruptCB){is_interrupted, in};
    format->format_whitelist = av_strdup(demuxers);
    format->protocol_whitelist = av_strdup("file");
    format->codec_whitelist = audio_decoders();
    return format->format_whitelist && format->protocol_whitelist && format->codec_whitelist ? 0
                                                                                             : -1;
}

/* A WAV header with nothing behind it. FFmpeg only says that it found no data. */
static int is_wav_without_samples(const struct ad_source *source) {
    uint8_t head[12];
    if (source->read_at(source->ctx, 0, head, 12) != 12 || memcmp(head, "RIFF", 4) != 0 ||
        memcmp(head + 8, "WAVE", 4) != 0)
        return 0;
    int has_format = 0;
    for (int64_t at = 12; source->read_at(source->ctx, at, head, 8) == 8;) {
        int64_t len = head[4] | head[5] << 8 | head[6] << 16 | (int64_t)head[7] << 24;
        has_format |= memcmp(head, "fmt ", 4) == 0 && at + 8 + len <= source->size;
        if (memcmp(head, "data", 4) == 0)
            return has_format && (len == 0 || at + 8 >= source->size);
        at += 8 + len + (len & 1);
    }
    return has_format;
}

/* The sentence for a file that cannot be opened. A failed allocation counts as bad input here:
 * FFmpeg reports sizes that a header makes up as ENOMEM. */
static int fail_open(struct ad_input *in, int av_error, struct num_err *err) {
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    if (is_interrupted(in))
        return num_fail(err, SLUICE_CANCELLED, "%s: stopped", in->name);
    if (in->io_errno)
        return num_fail(err, ad_errno_status(in->io_errno), "%s: cannot be read: %s", in->name,
                        strerror(in->io_errno));
    if (is_wav_without_samples(in->source))
        return num_fail(err, SLUICE_INPUT, "%s: holds no audio, only a WAV header", in->name);
    if (strncmp(in->said, "Format not on whitelist", 23) == 0)
        return num_fail(err, SLUICE_INPUT, "%s: is not an audio or video file", in->name);
    av_strerror(av_error, text, sizeof text);
    if (av_error == AVERROR(EINVAL) || av_error == AVERROR(ENOMEM) || av_error == AVERROR_EOF ||
        av_error == AVERROR_INVALIDDATA)
        strcpy(text, "invalid data");
    return num_fail(err, SLUICE_INPUT, "%s: is not an audio file that can be read (%s%s%s)",
                    in->name, text, in->said[0] ? ": " : "", in->said);
}

/* ---- stream and decoder ---- */

static int count_audio(const AVFormatContext *format) {
    int n = 0;
    for (unsigned i = 0; i < format->nb_streams; i++)
        n += format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
    return n;
}

static AVStream *audio_track(AVFormatContext *format, int track) {
    if (track < 0) {
        int best = av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
        if (best >= 0)
            return format->streams[best];
        track = 0; /* none has a rate and channels: check_header() says so */
    }
    for (unsigned i = 0; i < format->nb_streams; i++)
        if (format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO && track-- == 0)
            return format->streams[i];
    return NULL;
}

static int choose_stream(struct ad_input *in, int track, struct num_err *err) {
    int n_audio = count_audio(in->format);
    if (n_audio == 0)
        return num_fail(err, SLUICE_INPUT, "%s: has no audio track", in->name);
    if (track >= n_audio)
        return num_fail(err, SLUICE_INPUT, "%s: has no audio track %d, only tracks 0 to %d",
                        in->name, track, n_audio - 1);
    in->stream = audio_track(in->format, track);
    for (unsigned i = 0; i < in->format->nb_streams; i++)
        in->format->streams[i]->discard =
            in->format->streams[i] == in->stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    return SLUICE_OK;
}

static int check_header(const struct ad_input *in, struct num_err *err) {
    const AVCodecParameters *par = in->stream->codecpar;
    if (par->codec_id == AV_CODEC_ID_NONE)
        return num_fail(err, SLUICE_INPUT, "%s: its header names no known audio coding", in->name);
    if (par->sample_rate < AD_RATE_MIN || par->sample_rate > AD_RATE_MAX)
        return num_fail(err, SLUICE_INPUT,
                        "%s: its header gives a sample rate of %d Hz; %d to %d can be read",
                        in->name, par->sample_rate, AD_RATE_MIN, AD_RATE_MAX);
    if (par->ch_layout.nb_channels < 1 || par->ch_layout.nb_channels > AD_CHANNELS_MAX)
        return num_fail(err, SLUICE_INPUT, "%s: its header gives %d channels; 1 to %d can be read",
                        in->name, par->ch_layout.nb_channels, AD_CHANNELS_MAX);
    return SLUICE_OK;
}

static int open_codec(struct ad_input *in, struct num_err *err) {
    const AVCodecParameters *par = in->stream->codecpar;
    const AVCodec *codec = avcodec_find_decoder(par->codec_id);
    if (!codec)
        return num_fail(err, SLUICE_UNSUPPORTED, "%s: there is no decoder for %s", in->name,
                        avcodec_get_name(par->codec_id));
    in->codec = avcodec_alloc_context3(codec);
    in->packet = av_packet_alloc();
    if (!in->codec || !in->packet || avcodec_parameters_to_context(in->codec, par) < 0)
        return num_fail(err, SLUICE_RESOURCE, "%s: no memory for the decoder", in->name);
    in->codec->opaque = in;
    in->codec->pkt_timebase = in->stream->time_base;
    in->codec->thread_count = 1;
    if (ad_stated_wma_delay(par->codec_id, par->sample_rate) > 0)
        in->codec->flags2 |= AV_CODEC_FLAG2_SKIP_MANUAL;
    /* FLAC frames carry a checksum: a damaged one is lost, not noise. */
    if (par->codec_id == AV_CODEC_ID_FLAC)
        in->codec->err_recognition |= AV_EF_CRCCHECK | AV_EF_EXPLODE;
    int ret = avcodec_open2(in->codec, codec, NULL);
    return ret < 0 ? fail_open(in, ret, err) : SLUICE_OK;
}

int ad_input_init(struct ad_input *in, const struct ad_source *source, const char *name, int track,
                  int (*cancelled)(void *ctx), void *cancel_ctx, struct num_err *err) {
    *in = (struct ad_input){.name = name,
                            .source = source,
                            .cancelled = cancelled,
                            .cancel_ctx = cancel_ctx,
                            .first_lost_s = -1,
                            .packets_end = AV_NOPTS_VALUE};
    if (source->size == 0)
        return num_fail(err, SLUICE_INPUT, "%s: is empty (0 bytes)", name);
    if (make_format(in) < 0)
        return num_fail(err, SLUICE_RESOURCE, "%s: no memory to open it", name);
    int ret = avformat_open_input(&in->format, probe_name(name), NULL, NULL);
    if (ret >= 0)
        ret = avformat_find_stream_info(in->format, NULL);
    if (ret < 0)
        return fail_open(in, ret, err);
    int status = choose_stream(in, track, err);
    if (status == SLUICE_OK)
        status = check_header(in, err);
    if (status == SLUICE_OK)
        status = open_codec(in, err);
    in->said[0] = '\0';
    return status;
}

void ad_input_finish(struct ad_input *in) {
    av_packet_free(&in->packet);
    avcodec_free_context(&in->codec);
    avformat_close_input(&in->format);
    if (in->io)
        av_freep(&in->io->buffer);
    avio_context_free(&in->io);
}

double ad_input_progress(const struct ad_input *in) {
    double share = in->source->size ? (double)in->offset / (double)in->source->size : 0;
    return share > 1 ? 1 : share;
}

double ad_input_stated_s(const struct ad_input *in) {
    if (in->format->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE ||
        in->stream->duration == AV_NOPTS_VALUE || in->stream->duration <= 0)
        return -1;
    return (double)in->stream->duration * av_q2d(in->stream->time_base);
}

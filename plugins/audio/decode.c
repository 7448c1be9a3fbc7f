/*
 * The way of the samples: frames -> timeline (silence, trim) -> mono -> 16 kHz -> sink.
 *
 *   origin            audio files: the first sample that is heard. Files with video: the start of
 *                     the earliest stream, so that times fit the picture. MP4: the edit's start.
 *   end               the last sample, or earlier where MP4 states it (packet durations, edit
 *                     list, iTunSMPB)
 *   new sample rate   the resampler is drained and another one takes over
 *
 * Nothing grows with the file: one frame, one resampler, one block of silence.
 */
#include "decode.h"

#include <stdarg.h>
#include <stdio.h>

#include <libavutil/frame.h>
#include <libavutil/mathematics.h>
#include <libavutil/mem.h>

#include "audio/input.h"
#include "audio/mix.h"
#include "audio/stated.h"
#include "audio/timeline.h"

#define FRAME_SAMPLES_MAX (1 << 24)
#define SHORT_BY_S        0.5 /* ending this much before its stated end is called truncated */

struct decode {
    struct ad_input in;
    const struct ad_options *options;
    const struct ad_sink *sink;
    struct ad_timeline timeline;
    struct ad_resampler resampler;
    int counted; /* ad_stated_is_counted() */
    int rate;    /* of the frames, 0 before the first */
    float *mono; /* (mono_len) one frame, mixed */
    int64_t mono_len;
    int64_t n_frames;
    int sink_failed; /* its write() refused: it said why */
    struct ad_result result;
    struct num_err *err;
};

static int64_t frame_pts(const struct decode *d, const AVFrame *frame) {
    if (frame->pts == AV_NOPTS_VALUE)
        return AD_NO_PTS;
    int64_t pts =
        av_rescale_q(frame->pts, d->in.stream->time_base, (AVRational){1, frame->sample_rate});
    return pts > -AD_PTS_MAX && pts < AD_PTS_MAX ? pts : AD_NO_PTS;
}

/* ---- out ---- */

static int write_samples(void *ctx, const float *samples, int64_t n) {
    struct decode *d = ctx;
    int status = d->sink->write(d->sink->ctx, samples, n);
    if (status == SLUICE_OK)
        d->result.n_samples += n;
    else
        d->sink_failed = 1;
    return status;
}

static int write_silence(struct decode *d, int64_t n) {
    static const float zeros[4096];
    int status = SLUICE_OK;
    while (n > 0 && status == SLUICE_OK) {
        int64_t part = n < 4096 ? n : 4096;
        status = ad_resampler_write(&d->resampler, zeros, part);
        n -= part;
        if (d->sink->cancelled && d->sink->cancelled(d->sink->ctx))
            return num_fail(d->err, SLUICE_CANCELLED, "%s: stopped", d->in.name);
    }
    return status;
}

static int write_frame(struct decode *d, const AVFrame *frame, const struct ad_edit *edit) {
    if (edit->keep <= 0)
        return SLUICE_OK;
    if (d->mono_len < edit->keep) {
        float *longer = av_realloc_array(d->mono, (size_t)edit->keep, sizeof *longer);
        if (!longer)
            return num_fail(d->err, SLUICE_RESOURCE, "%s: no memory for a frame", d->in.name);
        d->mono = longer;
        d->mono_len = edit->keep;
    }
    if (ad_mix(frame, d->options->channel, edit->skip, edit->keep, d->mono) < 0)
        return num_fail(d->err, SLUICE_UNSUPPORTED, "%s: its samples have an unknown format",
                        d->in.name);
    return ad_resampler_write(&d->resampler, d->mono, edit->keep);
}

/* ---- frames ---- */

static int check_frame(const struct decode *d, const AVFrame *frame) {
    int n_ch = frame->ch_layout.nb_channels;
    const char *name = d->in.name;
    if (frame->sample_rate < AD_RATE_MIN || frame->sample_rate > AD_RATE_MAX)
        return num_fail(d->err, SLUICE_INPUT, "%s: its sample rate is %d Hz; %d to %d can be read",
                        name, frame->sample_rate, AD_RATE_MIN, AD_RATE_MAX);
    if (n_ch < 1 || n_ch > AD_CHANNELS_MAX || frame->nb_samples > FRAME_SAMPLES_MAX)
        return num_fail(d->err, SLUICE_INPUT, "%s: has frames of %d channels and %d samples", name,
                        n_ch, frame->nb_samples);
    if (d->options->channel >= n_ch)
        return num_fail(d->err, SLUICE_INPUT,
                        "%s: has no channel %d, only %d channel%s (0 is the first)", name,
                        d->options->channel, n_ch, n_ch == 1 ? "" : "s");
    return SLUICE_OK;
}

static void start_timeline(struct decode *d, const AVFrame *frame) {
    struct ad_stated stated;
    int64_t first = frame_pts(d, frame);
    d->counted = ad_stated_is_counted(&d->in);
    ad_timeline_init(&d->timeline, frame->sample_rate);
    ad_stated_read(&d->in, frame->sample_rate, first, &stated);
    if (stated.start != AD_NO_PTS)
        ad_timeline_start_at(&d->timeline, stated.start);
    else if (first != AD_NO_PTS)
        ad_timeline_start_at(&d->timeline, first);
    if (stated.end != AD_NO_PTS && d->timeline.started)
        ad_timeline_end_at(&d->timeline, stated.end);
}

static int drain_resampler(struct decode *d) {
    int status = ad_resampler_drain(&d->resampler);
    d->result.duration_s += (double)d->resampler.n_in / d->rate;
    ad_resampler_finish(&d->resampler);
    return status;
}

/* Prepares for the rate of `frame`: at the start, and where it changes in the middle. */
static int take_rate(struct decode *d, const AVFrame *frame) {
    if (frame->sample_rate == d->rate)
        return SLUICE_OK;
    int status = SLUICE_OK;
    if (d->rate == 0)
        start_timeline(d, frame);
    else {
        ad_timeline_set_rate(&d->timeline, frame->sample_rate);
        status = drain_resampler(d);
    }
    d->rate = frame->sample_rate;
    if (status == SLUICE_OK)
        status = ad_resampler_init(&d->resampler, d->rate, write_samples, d);
    return status;
}

static int take_frame(struct decode *d, const AVFrame *frame) {
    int status = check_frame(d, frame);
    if (status == SLUICE_OK)
        status = take_rate(d, frame);
    if (status < 0)
        return status;
    int64_t pts = frame_pts(d, frame);
    if (d->counted && !d->in.lost_pending)
        pts = AD_NO_PTS; /* it says nothing new, and is wrong where the rate changed */
    struct ad_edit edit =
        ad_timeline_place(&d->timeline, pts, frame->nb_samples, d->in.lost_pending);
    d->in.lost_pending = 0;
    d->n_frames++;
    status = write_silence(d, edit.pad);
    return status < 0 ? status : write_frame(d, frame, &edit);
}

/* Where the last packets of a complete file were lost, silence keeps its length. */
static int fill_lost_end(struct decode *d) {
    double tick = av_q2d(d->in.stream->time_base), stated = ad_input_stated_s(&d->in);
    int64_t end = d->in.packets_end;
    if (!d->rate || !d->in.lost_pending || end == AV_NOPTS_VALUE || stated < 0 ||
        (double)end * tick < stated - SHORT_BY_S)
        return SLUICE_OK;
    end = av_rescale_q(end, d->in.stream->time_base, (AVRational){1, d->rate});
    return write_silence(d, ad_timeline_fill_to(&d->timeline, end));
}

static int decode_all(struct decode *d, AVFrame *frame) {
    int status = 1;
    while (status > 0 && (status = ad_input_next(&d->in, frame, d->err)) > 0) {
        if (d->sink->progress)
            d->sink->progress(d->sink->ctx, ad_input_progress(&d->in));
        int taken = take_frame(d, frame);
        av_frame_unref(frame);
        if (taken < 0)
            return taken;
    }
    if (status == SLUICE_OK)
        status = fill_lost_end(d);
    if (status == SLUICE_OK && d->rate)
        status = drain_resampler(d);
    return status;
}

/* ---- what the user should know ---- */

static void warn(const struct decode *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void warn(const struct decode *d, const char *format, ...) {
    char text[AD_SAID_LEN + 256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (d->sink->warn)
        d->sink->warn(d->sink->ctx, text);
}

static const char *plural(int64_t n) {
    return n == 1 ? "" : "s";
}

static void warn_of_lost(const struct decode *d) {
    const struct ad_input *in = &d->in;
    char where[64] = "";
    if (in->first_lost_s >= 0)
        snprintf(where, sizeof where, ", the first at %.3f s", in->first_lost_s);
    if (in->n_lost > 0)
        warn(d, "%lld damaged part%s could not be decoded%s%s%s", (long long)in->n_lost,
             plural(in->n_lost), where, in->said[0] ? ": " : "", in->said);
}

static void warn_of_time(const struct decode *d) {
    const struct ad_timeline *tl = &d->timeline;
    double first_s = (double)tl->first_edit_at / d->rate;
    if (tl->n_gaps > 0)
        warn(d,
             "%lld gap%s in its timestamps filled with %.3f s of silence, the first change is at "
             "%.3f s",
             (long long)tl->n_gaps, plural(tl->n_gaps), (double)tl->filled / d->rate, first_s);
    if (tl->n_overlaps > 0)
        warn(d, "%.3f s of repeated audio dropped in %lld place%s, the first change is at %.3f s",
             (double)tl->trimmed / d->rate, (long long)tl->n_overlaps, plural(tl->n_overlaps),
             first_s);
    if (tl->n_resets > 0)
        warn(d, "its clock was set anew %lld time%s; the parts are joined without a gap",
             (long long)tl->n_resets, plural(tl->n_resets));
}

static void warn_of_damage(const struct decode *d) {
    warn_of_lost(d);
    warn_of_time(d);
    double stated = ad_input_stated_s(&d->in);
    if (stated > d->result.duration_s + SHORT_BY_S)
        warn(d, "it ends after %.3f s of the %.3f s that its header states: truncated or damaged",
             d->result.duration_s, stated);
}

static int check_result(const struct decode *d) {
    const struct ad_input *in = &d->in;
    if (d->n_frames == 0 && in->n_lost > 0)
        return num_fail(d->err, SLUICE_INPUT, "%s: none of its audio can be decoded (%s)", in->name,
                        in->said[0] ? in->said : "invalid data");
    if (d->result.n_samples == 0)
        return num_fail(d->err, SLUICE_INPUT, "%s: holds no audio samples", in->name);
    return SLUICE_OK;
}

int ad_decode(const struct ad_source *source, const char *name, const struct ad_options *options,
              const struct ad_sink *sink, struct ad_result *ret, struct num_err *err) {
    struct decode d = {.options = options, .sink = sink, .err = err};
    err->text[0] = '\0';
    AVFrame *frame = av_frame_alloc();
    int status =
        ad_input_init(&d.in, source, name, options->track, sink->cancelled, sink->ctx, err);
    if (status == SLUICE_OK)
        status = frame ? decode_all(&d, frame) : SLUICE_RESOURCE;
    if (status == SLUICE_OK)
        status = check_result(&d);
    if (status == SLUICE_OK) {
        warn_of_damage(&d);
        *ret = d.result;
    } else if (!err->text[0] && !d.sink_failed) {
        num_fail(err, status, "%s: cannot be converted to 16 kHz", name);
    }
    ad_resampler_finish(&d.resampler);
    ad_input_finish(&d.in);
    av_frame_free(&frame);
    av_free(d.mono);
    return status;
}

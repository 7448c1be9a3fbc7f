/*
 * libswresample around one channel of floats.
 *
 * Output sample k is the input at time k / 16000: the filter of libswresample is centred, its start
 * and end are mirrored, and what it holds back is drained at the end. The rounding of its drain
 * differs by a sample or two from rate to rate, so the last samples are cut or zeros are added to
 * reach the exact length. Its default filter (32 taps, cut-off 0.97) is kept: the one behind
 * `ffmpeg -ar 16000`, with which speech models are usually trained and tested.
 */
#include "resample.h"

#include <math.h>

#include <libavutil/channel_layout.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>

#include <sluice/types.h>

#define CHUNK            4096 /* input samples a call */
#define OUT_LEN          8192 /* output samples a call */
#define EXACT_PHASES_MAX 1024 /* up to here libswresample has a filter for every phase */

/* Rates with few common factors with 16000 would use the nearest of 1024 phases; interpolate
 * between them. */
static int wants_interpolation(int rate) {
    return AD_RATE / av_gcd(rate, AD_RATE) > EXACT_PHASES_MAX;
}

int ad_resampler_init(struct ad_resampler *r, int rate, ad_samples_fn write, void *ctx) {
    *r = (struct ad_resampler){.rate = rate, .write = write, .ctx = ctx};
    if (rate == AD_RATE)
        return SLUICE_OK;
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
    if (swr_alloc_set_opts2(&r->swr, &mono, AV_SAMPLE_FMT_FLT, AD_RATE, &mono, AV_SAMPLE_FMT_FLT,
                            rate, 0, NULL) < 0)
        return SLUICE_RESOURCE;
    av_opt_set_int(r->swr, "linear_interp", wants_interpolation(rate), 0);
    return swr_init(r->swr) < 0 ? SLUICE_RESOURCE : SLUICE_OK;
}

void ad_resampler_finish(struct ad_resampler *r) {
    swr_free(&r->swr);
}

/* The promise of audio/1: finite, within [-1, 1]. A decoder of floats or the filter may go beyond.
 */
static void clamp(const float *in, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) {
        float x = in[i];
        out[i] = x >= -1.0f ? (x <= 1.0f ? x : 1.0f) : isnan(x) ? 0.0f : -1.0f;
    }
}

static int emit(struct ad_resampler *r, const float *samples, int64_t n) {
    float clean[OUT_LEN];
    while (n > 0) {
        int64_t part = n < OUT_LEN ? n : OUT_LEN;
        clamp(samples, part, clean);
        int status = r->write(r->ctx, clean, part);
        if (status < 0)
            return status;
        r->n_out += part;
        samples += part;
        n -= part;
    }
    return SLUICE_OK;
}

/* Feeds up to CHUNK samples (NULL, 0: drains) and passes on everything that comes out, up to
 * `limit` in all. */
static int convert(struct ad_resampler *r, const float *in, int n, int64_t limit) {
    float out[OUT_LEN];
    uint8_t *out_planes[] = {(uint8_t *)out};
    const uint8_t *in_planes[] = {(const uint8_t *)in};
    const uint8_t **from = in ? in_planes : NULL;
    for (;;) {
        int got = swr_convert(r->swr, out_planes, OUT_LEN, from, n);
        if (got < 0)
            return SLUICE_INTERNAL;
        int64_t room = limit - r->n_out;
        int status = emit(r, out, got < room ? got : room);
        if (status < 0 || got == 0 || (in && got < OUT_LEN) || r->n_out >= limit)
            return status;
        n = 0; /* the rest of the input is buffered inside */
    }
}

int ad_resampler_write(struct ad_resampler *r, const float *samples, int64_t n) {
    r->n_in += n;
    if (!r->swr)
        return emit(r, samples, n);
    while (n > 0) {
        int part = n < CHUNK ? (int)n : CHUNK;
        int status = convert(r, samples, part, INT64_MAX);
        if (status < 0)
            return status;
        samples += part;
        n -= part;
    }
    return SLUICE_OK;
}

int ad_resampler_drain(struct ad_resampler *r) {
    static const float zeros[256];
    if (!r->swr)
        return SLUICE_OK;
    int64_t want = av_rescale_rnd(r->n_in, AD_RATE, r->rate, AV_ROUND_NEAR_INF);
    if (want == 0 && r->n_in > 0)
        want = 1;
    int status = r->n_out < want ? convert(r, NULL, 0, want) : SLUICE_OK;
    while (status == SLUICE_OK && r->n_out < want) {
        int64_t missing = want - r->n_out;
        status = emit(r, zeros, missing < 256 ? missing : 256);
    }
    return status;
}

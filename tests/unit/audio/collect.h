/*
 * Decodes into memory, for tests: the samples, the warnings, the error.
 */
#ifndef TESTS_UNIT_AUDIO_COLLECT_H
#define TESTS_UNIT_AUDIO_COLLECT_H

#include <libavutil/log.h>

#include <sluice/types.h>

#include "audio/decode.h"
#include "audio/input.h"
#include "unit/test.h"

struct collected {
    int status;
    struct ad_result result;
    struct num_err err;
    float *pcm; /* (n) */
    int64_t n, room;
    int buffer; /* index of collect_buffers */
    char warnings[4096];
    double progress; /* last one seen */
    int n_progress;
    int64_t cancel_at; /* samples after which to cancel, 0: never */
    int64_t fail_at;   /* samples after which write fails with SLUICE_RESOURCE, 0: never */
};

/* Where the samples of this test are; they live until its process ends, and a leak checker sees it
 * so. */
static float *collect_buffers[1024];

static float *collect_resize(struct collected *c, int64_t room) {
    static int n_buffers;
    if (!c->pcm) {
        CHECK(n_buffers < 1024);
        c->buffer = n_buffers++;
    }
    float *pcm = realloc(c->pcm, (size_t)room * sizeof *pcm);
    CHECK(pcm != NULL);
    return collect_buffers[c->buffer] = pcm;
}

static int collect_write(void *ctx, const float *samples, int64_t n) {
    struct collected *c = ctx;
    if (c->fail_at && c->n + n > c->fail_at)
        return SLUICE_RESOURCE;
    if (c->n + n > c->room) {
        c->room = (c->n + n) * 2;
        c->pcm = collect_resize(c, c->room);
    }
    for (int64_t i = 0; i < n; i++)
        CHECK(samples[i] >= -1 && samples[i] <= 1);
    memcpy(c->pcm + c->n, samples, (size_t)n * sizeof *samples);
    c->n += n;
    return 0;
}

static int collect_cancelled(void *ctx) {
    struct collected *c = ctx;
    return c->cancel_at && c->n >= c->cancel_at;
}

static void collect_progress(void *ctx, double fraction) {
    struct collected *c = ctx;
    CHECK(fraction >= 0 && fraction <= 1);
    c->progress = fraction;
    c->n_progress++;
}

static void collect_warn(void *ctx, const char *message) {
    struct collected *c = ctx;
    size_t len = strlen(c->warnings);
    snprintf(c->warnings + len, sizeof c->warnings - len, "%s\n", message);
}

static void collect_source(const struct ad_source *source, const char *name, int track, int channel,
                           struct collected *c) {
    struct ad_options options = {.track = track, .channel = channel};
    struct ad_sink sink = {c, collect_write, collect_cancelled, collect_progress, collect_warn};
    av_log_set_callback(ad_input_log);
    c->status = ad_decode(source, name, &options, &sink, &c->result, &c->err);
    if (c->status == SLUICE_OK)
        CHECK_INT(c->result.n_samples, c->n);
}

__attribute__((unused)) static struct collected collect_file(const char *path, int track,
                                                             int channel) {
    struct collected c = {0};
    struct ad_file file;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    c.status = ad_file_init(&file, path, name, &c.err);
    if (c.status == SLUICE_OK) {
        collect_source(&file.source, name, track, channel, &c);
        ad_file_finish(&file);
    }
    return c;
}

__attribute__((unused)) static struct collected collect_memory(const void *data, size_t len) {
    struct collected c = {0};
    struct ad_memory memory;
    ad_memory_init(&memory, data, len);
    collect_source(&memory.source, "made", -1, -1, &c);
    return c;
}

#endif

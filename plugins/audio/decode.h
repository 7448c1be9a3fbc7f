/*
 * Any audio or video file to mono float samples at 16 kHz. Knows no host: bytes come from a source,
 * samples go to a sink.
 */
#ifndef AUDIO_DECODE_H
#define AUDIO_DECODE_H

#include <stdint.h>

#include "audio/resample.h"
#include "audio/source.h"

/* Where a decode reports to. Every function may be NULL except `write`. */
struct ad_sink {
    void *ctx;
    ad_samples_fn write;                          /* `n` samples, in order */
    int (*cancelled)(void *ctx);                  /* nonzero: stop */
    void (*progress)(void *ctx, double fraction); /* at least once a second of work */
    void (*warn)(void *ctx, const char *message); /* one sentence, without the file's name */
};

struct ad_options {
    int track;   /* audio track, 0 is the first; below 0: the one FFmpeg finds best */
    int channel; /* channel to take, 0 is the first; below 0: the mean of all */
};

struct ad_result {
    int64_t n_samples; /* written, at 16 kHz */
    double duration_s; /* of the source on its timeline, before resampling */
};

/*
 * Decodes `source`, called `name` in messages, and writes its samples: sample i is heard i / 16000
 * s after the first one of the file (where the file has pictures too: after its start). Memory is
 * bounded whatever the length. Returns SLUICE_OK, a class of ad_input_init(), SLUICE_CANCELLED, or
 * what `write` returned; then `err` says why (except for errors of `write`, which knows better).
 */
int ad_decode(const struct ad_source *source, const char *name, const struct ad_options *options,
              const struct ad_sink *sink, struct ad_result *ret, struct num_err *err);

#endif

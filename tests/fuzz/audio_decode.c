/* Bytes through the whole decoder: demuxers, decoders, timeline, resampler. The output is bounded.
 */
#include <libavutil/log.h>

#include "audio/decode.h"
#include "audio/input.h"

#define SAMPLES_MAX                                                                                \
    (16000 * 60) /* a few bytes may ask for hours of silence; a minute shows as much */

static int count_samples(void *ctx, const float *samples, int64_t n) {
    int64_t *left = ctx;
    for (int64_t i = 0; i < n; i++)
        if (!(samples[i] >= -1 && samples[i] <= 1))
            __builtin_trap();
    *left -= n;
    return *left < 0 ? SLUICE_RESOURCE : SLUICE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t left = SAMPLES_MAX;
    struct ad_memory memory;
    struct ad_options options = {.track = -1, .channel = -1};
    struct ad_sink sink = {.ctx = &left, .write = count_samples};
    struct ad_result result;
    struct num_err err;
    av_log_set_callback(ad_input_log);
    ad_memory_init(&memory, data, size);
    int status = ad_decode(&memory.source, "fuzz", &options, &sink, &result, &err);
    if (status != SLUICE_OK && left >= 0 && !err.text[0])
        __builtin_trap();
    return 0;
}

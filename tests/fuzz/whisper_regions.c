/* Any bytes as regions of speech: what is taken lies within the audio and makes spans that do. */
#include <stdint.h>
#include <stdlib.h>

#include "whisper/regions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { N = 5 * 16000, LONGEST = 16000 };
    static float pcm[N];
    struct wh_region *regions;
    struct wh_span *spans;
    struct num_err err;
    size_t n, n_spans;
    if (wh_regions_parse((const char *)data, size, N, &regions, &n, &err))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (regions[i].first >= regions[i].end || regions[i].end > N ||
            (i > 0 && regions[i].first < regions[i - 1].end))
            abort();
    if (wh_regions_merge(pcm, regions, n, LONGEST, &spans, &n_spans, &err) == 0) {
        for (size_t i = 0; i < n_spans; i++)
            if (spans[i].n > LONGEST || spans[i].first > N || spans[i].n > N - spans[i].first)
                abort();
        free(spans);
    }
    free(regions);
    return 0;
}

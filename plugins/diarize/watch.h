/* What a long computation asks and tells while it runs. */
#ifndef DIARIZE_WATCH_H
#define DIARIZE_WATCH_H

#include <stdbool.h>

struct dz_watch {
    void *ctx;
    bool (*cancelled)(void *ctx);
    void (*progress)(void *ctx, double fraction);
};

#endif

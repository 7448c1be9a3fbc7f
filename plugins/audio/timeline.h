/*
 * Where decoded samples belong in time: pure arithmetic, no FFmpeg, no audio.
 *
 * A stream is a row of frames, each with a timestamp that may be missing, rounded, late or wrong.
 * The timeline counts the samples put out so far and says for each frame how much silence goes
 * before it and how many of its samples to drop, so that sample i of the output is heard at i /
 * rate seconds after the origin.
 */
#ifndef AUDIO_TIMELINE_H
#define AUDIO_TIMELINE_H

#include <stdint.h>

#define AD_NO_PTS        INT64_MIN /* a frame without a timestamp follows the one before it */
#define AD_PTS_MAX       (INT64_C(1) << 60) /* timestamps at or beyond +- this mean nothing */
#define AD_JITTER_S      0.030 /* timestamps this far off are rounding or jitter: ignored */
#define AD_JITTER_LOST_S 0.002 /* the same after a frame that could not be decoded */
#define AD_OVERLAP_MAX_S                                                                           \
    1.0 /* a step back up to here repeats audio; further back the clock was reset */
#define AD_GAP_MAX_S                                                                               \
    3600.0                    /* a step forward up to here is a pause; further the clock was reset \
                               */
#define AD_FILL_MAX_S 86400.0 /* silence put in, all together; beyond it gaps are not filled */

/* All positions and lengths are samples at `rate`. */
struct ad_timeline {
    int rate;         /* Hz */
    int started;      /* the origin is known */
    int placed;       /* a frame was placed */
    int64_t origin;   /* timestamp of output sample 0 */
    int64_t position; /* samples put out so far; below 0: still before the origin, where all are
                         dropped */
    int64_t end;      /* output stops here; INT64_MAX: open */
    int64_t filled;   /* silence put in so far */
    /* what happened, for the warning at the end */
    int64_t n_gaps, n_overlaps, n_resets;
    int64_t trimmed;       /* samples dropped because they overlapped */
    int64_t first_edit_at; /* position of the first gap, overlap or reset; -1: none */
};

/* What to do with a frame, in this order. */
struct ad_edit {
    int64_t pad;  /* samples of silence before it */
    int64_t skip; /* samples to drop from its start */
    int64_t keep; /* samples of it to put out after those */
};

/* `rate` in Hz, above 0. */
void ad_timeline_init(struct ad_timeline *tl, int rate);

/*
 * Fixes the timestamp of output sample 0 before the first frame: a first frame that comes later is
 * preceded by silence, one that comes earlier loses what lies before. Without this call the first
 * frame is the origin.
 */
void ad_timeline_start_at(struct ad_timeline *tl, int64_t pts);

/* The output ends before timestamp `pts`, or where an earlier call said. Needs a fixed origin. */
void ad_timeline_end_at(struct ad_timeline *tl, int64_t pts);

/* Places a frame of `n` samples at `pts` (or AD_NO_PTS). `after_loss`: a frame before it was lost.
 */
struct ad_edit ad_timeline_place(struct ad_timeline *tl, int64_t pts, int64_t n, int after_loss);

/* Silence to add at the very end so that the output reaches timestamp `pts`; 0 where it is past it.
 */
int64_t ad_timeline_fill_to(struct ad_timeline *tl, int64_t pts);

/* From here on samples have another rate. */
void ad_timeline_set_rate(struct ad_timeline *tl, int rate);

#endif

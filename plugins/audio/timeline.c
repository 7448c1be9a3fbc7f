/*
 * The rules for gaps, overlaps and clock resets.
 *
 *   step against what was expected    what it means                what is done
 *   within the jitter limit           rounding, jitter             nothing
 *   forward, up to AD_GAP_MAX_S       audio is missing             silence fills it exactly
 *   back, up to AD_OVERLAP_MAX_S      the audio was there before   the repeated part is dropped
 *   further, or back to the start     the clock was set anew       joined without a gap
 *
 * Jitter is ignored and not accumulated: each timestamp is compared with the sample count, so a
 * clock that drifts away is corrected as soon as it is off by more than the limit. Output is never
 * more than the limit off. After a lost frame the limit is small, because then a step of one frame
 * length is real.
 */
#include "timeline.h"

static int64_t samples(const struct ad_timeline *tl, double seconds) {
    return (int64_t)(seconds * tl->rate);
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* value * to / from to the nearest, kept within +-2^61. */
static int64_t rescale(int64_t value, int to, int from) {
    if (value == INT64_MAX)
        return value;
    __int128 scaled = (__int128)value * to;
    scaled = (scaled + (scaled < 0 ? -from : from) / 2) / from;
    int64_t bound = INT64_C(1) << 61;
    return scaled > bound ? bound : scaled < -bound ? -bound : (int64_t)scaled;
}

/* Whether it can be subtracted safely. */
static int is_sane(int64_t pts) {
    return pts > -AD_PTS_MAX && pts < AD_PTS_MAX;
}

void ad_timeline_init(struct ad_timeline *tl, int rate) {
    *tl = (struct ad_timeline){.rate = rate, .end = INT64_MAX, .first_edit_at = -1};
}

void ad_timeline_start_at(struct ad_timeline *tl, int64_t pts) {
    tl->origin = is_sane(pts) ? pts : 0;
    tl->started = 1;
}

void ad_timeline_end_at(struct ad_timeline *tl, int64_t pts) {
    if (is_sane(pts))
        tl->end = min64(tl->end, max64(pts - tl->origin, tl->position));
}

static void note_edit(struct ad_timeline *tl, int64_t *counter) {
    *counter += 1;
    if (tl->first_edit_at < 0)
        tl->first_edit_at = tl->position;
}

/* Joins the frame at `pts` to what is there. */
static void reset_clock(struct ad_timeline *tl, int64_t pts) {
    note_edit(tl, &tl->n_resets);
    tl->end = INT64_MAX; /* an end in the old clock says nothing about the new one */
    tl->origin = pts - tl->position;
}

static void place_late(struct ad_timeline *tl, int64_t pts, int64_t step, struct ad_edit *edit) {
    if (step > samples(tl, AD_GAP_MAX_S) || tl->filled + step > samples(tl, AD_FILL_MAX_S)) {
        reset_clock(tl, pts);
        return;
    }
    edit->pad = step;
    if (tl->position <= 0)
        return; /* the audio begins later than the picture: nothing is wrong */
    note_edit(tl, &tl->n_gaps);
    tl->filled += step;
}

static void place_early(struct ad_timeline *tl, int64_t pts, int64_t step, int64_t limit,
                        struct ad_edit *edit) {
    int at_start = tl->position > 0 && pts <= tl->origin + limit;
    if (step > samples(tl, AD_OVERLAP_MAX_S) || at_start) {
        reset_clock(tl, pts);
        return;
    }
    edit->skip = min64(step, edit->keep);
    edit->keep -= edit->skip;
    note_edit(tl, &tl->n_overlaps);
    tl->trimmed += edit->skip;
}

/* Encoder delay: samples before the origin, counted from the first frame and not from later,
 * rounded timestamps. */
static void drop_before_origin(struct ad_timeline *tl, struct ad_edit *edit) {
    int64_t pad = min64(edit->pad, -tl->position);
    edit->pad -= pad;
    tl->position += pad;
    int64_t drop = min64(edit->keep, -tl->position);
    edit->skip += drop;
    edit->keep -= drop;
    tl->position += drop;
}

struct ad_edit ad_timeline_place(struct ad_timeline *tl, int64_t pts, int64_t n, int after_loss) {
    struct ad_edit edit = {.keep = n};
    if (!tl->started)
        ad_timeline_start_at(tl, pts);
    if (is_sane(pts)) { /* AD_NO_PTS is not */
        if (!tl->placed && pts < tl->origin && tl->origin - pts <= samples(tl, AD_OVERLAP_MAX_S))
            tl->position = pts - tl->origin;
        int64_t step = pts - (tl->origin + tl->position);
        int64_t limit = samples(tl, after_loss ? AD_JITTER_LOST_S : AD_JITTER_S);
        if (step > limit)
            place_late(tl, pts, step, &edit);
        else if (step < -limit)
            place_early(tl, pts, -step, limit, &edit);
    }
    tl->placed = 1;
    if (tl->position < 0)
        drop_before_origin(tl, &edit);
    int64_t room = tl->end - max64(tl->position, 0);
    edit.pad = min64(edit.pad, room);
    edit.keep = min64(edit.keep, room - edit.pad);
    tl->position += edit.pad + edit.keep;
    return edit;
}

int64_t ad_timeline_fill_to(struct ad_timeline *tl, int64_t pts) {
    if (!tl->started || !is_sane(pts))
        return 0;
    int64_t step = min64(pts - tl->origin, tl->end) - tl->position;
    if (step <= 0 || step > samples(tl, AD_GAP_MAX_S) ||
        tl->filled + step > samples(tl, AD_FILL_MAX_S))
        return 0;
    note_edit(tl, &tl->n_gaps);
    tl->filled += step;
    tl->position += step;
    return step;
}

void ad_timeline_set_rate(struct ad_timeline *tl, int rate) {
    int from = tl->rate;
    tl->origin = rescale(tl->origin, rate, from);
    tl->position = rescale(tl->position, rate, from);
    tl->end = rescale(tl->end, rate, from);
    tl->filled = rescale(tl->filled, rate, from);
    tl->trimmed = rescale(tl->trimmed, rate, from);
    if (tl->first_edit_at > 0)
        tl->first_edit_at = rescale(tl->first_edit_at, rate, from);
    tl->rate = rate;
}

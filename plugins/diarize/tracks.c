/* See tracks.h. A change happens in the middle of the first frame that is different. */
#include "diarize/tracks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define RATE_HZ 16000.0

/* Who speaks, and since when. */
struct track {
    struct dz_turns turns;
    size_t capacity;
    uint64_t speaking; /* clusters */
    double since[DZ_MAX_CLUSTERS];
    uint32_t speaker[DZ_MAX_CLUSTERS]; /* of a cluster; UINT32_MAX: not yet */
};

struct making {
    const struct dz_tracks *t;
    struct track all, exclusive;
    uint8_t *cluster_of; /* [speakers] */
    struct num_err *err;
};

/* The first frame of a window, on the recording's grid: rounded half to even. */
static size_t first_frame(const struct dz_tracks *t, size_t window) {
    return (size_t)rint((double)(window * t->window_step) / (double)t->frame_step);
}

static double time_of(const struct dz_tracks *t, size_t frame) {
    double s = ((double)frame * (double)t->frame_step + (double)t->frame / 2) / RATE_HZ;
    return s < t->end_s ? s : t->end_s;
}

/* ---- one frame ---- */

struct frame {
    uint16_t heard[DZ_MAX_CLUSTERS]; /* windows that hear the cluster */
    size_t n_speaking, n_windows;    /* summed over windows */
};

static void hear(const struct dz_tracks *t, size_t window, size_t at, struct frame *f) {
    uint8_t set = t->sets[window * t->n_frames + at];
    uint64_t seen = 0;
    f->n_windows++;
    for (size_t s = 0; s < t->n_local; s++) {
        int8_t cluster = t->clusters[window * t->n_local + s];
        if (!(set >> s & 1))
            continue;
        f->n_speaking++;
        if (cluster >= 0 && !(seen >> cluster & 1)) {
            f->heard[cluster]++;
            seen |= UINT64_C(1) << cluster;
        }
    }
}

/* The cluster that most windows hear and that is not in `taken`; -1 where there is none. */
static int loudest(const struct frame *f, uint64_t taken) {
    int best = -1;
    for (int k = 0; k < DZ_MAX_CLUSTERS; k++)
        if (f->heard[k] > 0 && !(taken >> k & 1) && (best < 0 || f->heard[k] > f->heard[best]))
            best = k;
    return best;
}

static uint64_t speaking(const struct frame *f, size_t n) {
    uint64_t taken = 0;
    for (int k; n > 0 && (k = loudest(f, taken)) >= 0; n--)
        taken |= UINT64_C(1) << k;
    return taken;
}

static size_t how_many(const struct dz_tracks *t, const struct frame *f) {
    size_t n = f->n_windows ? (size_t)rint((double)f->n_speaking / (double)f->n_windows) : 0;
    return n < t->n_at_once ? n : t->n_at_once;
}

/* ---- turns ---- */

static int32_t name_speaker(struct making *m, struct track *track, int cluster) {
    uint32_t *speaker = &track->speaker[cluster];
    if (*speaker != UINT32_MAX)
        return SLUICE_OK;
    char name[24];
    m->cluster_of[track->turns.n_speakers] = (uint8_t)cluster;
    snprintf(name, sizeof name, "SPEAKER_%02u", track->turns.n_speakers);
    return dz_speaker(&track->turns, name, speaker, m->err);
}

/* The clusters of `now` speak from `s` on, in seconds. */
static int32_t change(struct making *m, struct track *track, uint64_t now, double s) {
    uint64_t changed = now ^ track->speaking;
    int32_t status = SLUICE_OK;
    for (int k = 0; status == SLUICE_OK && k < DZ_MAX_CLUSTERS; k++) {
        if (!(changed >> k & 1))
            continue;
        struct dz_turn turn = {track->since[k], s, track->speaker[k]};
        if (now >> k & 1)
            status = name_speaker(m, track, k);
        else if (turn.start < turn.end)
            status = dz_append(&track->turns, &track->capacity, turn, m->err);
        track->since[k] = s;
    }
    track->speaking = now;
    return status;
}

/* The speakers of the other track get the same numbers here. */
static int32_t share_names(struct making *m) {
    int32_t status = SLUICE_OK;
    while (status == SLUICE_OK && m->exclusive.turns.n_speakers < m->all.turns.n_speakers) {
        uint32_t i = m->exclusive.turns.n_speakers;
        status = dz_speaker(&m->exclusive.turns, m->all.turns.speakers[i],
                            &m->exclusive.speaker[m->cluster_of[i]], m->err);
    }
    return status;
}

static int32_t add_frame(struct making *m, size_t at, const struct frame *f) {
    size_t n = how_many(m->t, f);
    double s = time_of(m->t, at);
    int32_t status = change(m, &m->all, speaking(f, n), s);
    if (status == SLUICE_OK)
        status = share_names(m);
    return status == SLUICE_OK ? change(m, &m->exclusive, speaking(f, n < 1 ? n : 1), s) : status;
}

static int32_t add_frames(struct making *m) {
    const struct dz_tracks *t = m->t;
    size_t n = t->n_windows ? first_frame(t, t->n_windows - 1) + t->n_frames : 0;
    size_t first = 0, behind = 0; /* the windows that cover the frame */
    int32_t status = SLUICE_OK;
    for (size_t at = 0; status == SLUICE_OK && at < n; at++) {
        struct frame f = {0};
        while (behind < t->n_windows && first_frame(t, behind) <= at)
            behind++;
        while (first < behind && first_frame(t, first) + t->n_frames <= at)
            first++;
        for (size_t w = first; w < behind; w++)
            hear(t, w, at - first_frame(t, w), &f);
        status = add_frame(m, at, &f);
    }
    struct frame nobody = {0};
    return status == SLUICE_OK ? add_frame(m, n, &nobody) : status;
}

int32_t dz_tracks_make(const struct dz_tracks *tracks, struct dz_turns *ret,
                       struct dz_turns *ret_exclusive, uint8_t *ret_cluster, struct num_err *err) {
    struct making m = {.t = tracks, .cluster_of = ret_cluster, .err = err};
    for (size_t k = 0; k < DZ_MAX_CLUSTERS; k++)
        m.all.speaker[k] = m.exclusive.speaker[k] = UINT32_MAX;
    int32_t status = add_frames(&m);
    if (status != SLUICE_OK) {
        dz_turns_finish(&m.all.turns);
        dz_turns_finish(&m.exclusive.turns);
        return status;
    }
    dz_turns_sort(&m.all.turns);
    dz_turns_sort(&m.exclusive.turns);
    *ret = m.all.turns;
    *ret_exclusive = m.exclusive.turns;
    return SLUICE_OK;
}

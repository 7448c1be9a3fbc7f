/*
 * The spectrogram of clips and windows: see run.h.
 *
 * That of a whole clip is never kept, unless it fits a window: a first pass finds its maximum, and
 * each window's frames are computed when they are needed, or ahead of that where it is known which
 * will be (ahead.h): those of the next clip, or those behind the window in a long clip. A
 * backend that listens does all that on its device, and is told where samples lie.
 */
#include <math.h>
#include <string.h>

#include "whisper/run.h"

/* Frames [first, first + n) of the clip, as far as they were computed ahead, and the rest now. */
static int32_t log_frames(struct wh_run *r, size_t first, size_t n, float *ret) {
    struct wh_longform *lf = r->lf;
    size_t M = lf->model->dims.n_mels, from = first + n, to = from;
    if (lf->ahead)
        wh_ahead_copy(lf->ahead, &(struct wh_ahead_range){r->pcm, r->n_samples, first, n}, ret,
                      &from, &to);
    int32_t status = SLUICE_OK;
    if (from > first)
        status =
            num_mel_log(lf->mel, lf->pool, r->pcm, r->n_samples, first, from - first, ret, r->err);
    if (!status && to < first + n)
        status = num_mel_log(lf->mel, lf->pool, r->pcm, r->n_samples, to, first + n - to,
                             ret + (to - first) * M, r->err);
    return status;
}

/* Frames of a clip that the maximum is taken over: the last two still see its last samples. */
static size_t frames_with_sound(size_t n_frames) {
    return n_frames + 2;
}

/* The spectrogram of a clip that fits a window is kept for it. */
static int32_t find_max_and_keep(struct wh_run *r) {
    size_t n = frames_with_sound(r->n_frames);
    int32_t status = log_frames(r, 0, n, r->seat->frames);
    if (status)
        return status;
    r->max = num_mel_max(r->seat->frames, n * r->lf->model->dims.n_mels);
    r->n_kept = n;
    return SLUICE_OK;
}

int32_t wh_run_find_max(struct wh_run *r) {
    struct wh_longform *lf = r->lf;
    const struct wh_model *m = lf->model;
    size_t M = m->dims.n_mels, end = frames_with_sound(r->n_frames);
    if (m->backend->listen)
        return m->backend->listen(m->self, r->seat->slot, r->pcm, r->n_samples, end, r->err);
    if (r->n_frames <= 2 * (size_t)lf->model->dims.n_audio_ctx)
        return find_max_and_keep(r);
    r->max = -INFINITY;
    for (size_t at = 0; at < end; at += WH_MAX_PASS_FRAMES) {
        size_t n = end - at < WH_MAX_PASS_FRAMES ? end - at : WH_MAX_PASS_FRAMES;
        if (wh_file_cancelled(r->file))
            return SLUICE_CANCELLED;
        int32_t status =
            num_mel_log(lf->mel, lf->pool, r->pcm, r->n_samples, at, n, lf->pass_frames, r->err);
        if (status)
            return status;
        float max = num_mel_max(lf->pass_frames, n * M);
        r->max = max > r->max ? max : r->max;
    }
    return SLUICE_OK;
}

/* The normalised spectrogram of the window, into the seat's frames. */
static int32_t make_spectrum(struct wh_run *r, size_t seek, size_t n) {
    size_t M = r->lf->model->dims.n_mels, window = 2 * (size_t)r->lf->model->dims.n_audio_ctx;
    size_t kept = seek == 0 ? r->n_kept : 0;
    float *frames = r->seat->frames;
    int32_t status = kept < n ? log_frames(r, seek + kept, n - kept, frames + kept * M) : SLUICE_OK;
    r->n_kept = 0;
    if (status)
        return status;
    num_mel_normalise(frames, n * M, r->max, frames);
    memset(frames + n * M, 0, (window - n) * M * sizeof *frames);
    return SLUICE_OK;
}

int32_t wh_window_prepare(struct wh_run *r, uint32_t index, size_t seek, size_t n_frames,
                          bool silence) {
    struct wh_longform *lf = r->lf;
    size_t n = silence ? 2 * (size_t)lf->model->dims.n_audio_ctx : n_frames;
    lf->slots[index] = r->seat->slot;
    lf->mels[index] = r->seat->frames;
    lf->excerpts[index] = (struct wh_excerpt){r->pcm, r->n_samples, seek, (uint32_t)n};
    return lf->model->backend->listen ? SLUICE_OK : make_spectrum(r, seek, n);
}

int32_t wh_windows_encode(struct wh_longform *lf, uint32_t n, const struct num_watch *watch,
                          struct num_err *err) {
    const struct wh_model *m = lf->model;
    if (n == 0)
        return SLUICE_OK;
    if (m->backend->listen)
        return m->backend->encode_audio(m->self, lf->excerpts, lf->slots, n, watch, err);
    return m->backend->encode(m->self, lf->mels, lf->slots, n, watch, err);
}

/* What will be needed next: the beginning of a clip that waits for a seat, or what follows the
 * window of a seat in a long clip. */
static bool next_range(const struct wh_longform *lf, struct wh_ahead_range *ret) {
    size_t window = 2 * (size_t)lf->model->dims.n_audio_ctx;
    for (const struct wh_file *f = lf->files; f; f = f->next) {
        if (f->finished || f->n_begun == f->n_clips)
            continue;
        const struct wh_span *s = &f->spans[f->n_begun];
        size_t n = s->n / NUM_MEL_HOP;
        *ret = (struct wh_ahead_range){f->pcm + s->first, s->n, 0, frames_with_sound(n)};
        return n <= window; /* a longer one needs a first pass */
    }
    for (uint32_t i = 0; i < lf->n_seats; i++) {
        const struct wh_run *r = &lf->seats[i].run;
        size_t end = r->window.seek + r->window.n_frames;
        if (lf->seats[i].state == WH_SEAT_FREE || end >= r->range_end)
            continue;
        *ret = (struct wh_ahead_range){r->pcm, r->n_samples, end, r->range_end - end};
        ret->n = ret->n < window ? ret->n : window;
        return true;
    }
    return false;
}

void wh_look_ahead(struct wh_longform *lf) {
    struct wh_ahead_range range;
    if (lf->ahead && next_range(lf, &range))
        wh_ahead_start(lf->ahead, &range);
}

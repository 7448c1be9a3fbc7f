/*
 * Files, clips and seats: see longform.h and run.h. A step goes over the seats: free ones take the
 * next clip, new windows are encoded together, and all windows that are being decoded get a token
 * together. What happens within a clip is in clip.c. Memory does not grow with the audio.
 */
#include "whisper/longform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "whisper/held.h"
#include "whisper/run.h"

#define CLIPS_AHEAD 4 /* for each seat: so many clips may be done before an earlier one is */

/* ---- Buffers ----------------------------------------------------------------------------------
 */

/* Frames are NULL for a backend that listens. */
static int32_t seat_init(struct wh_seat *seat, const struct wh_model *m, uint32_t slot,
                         struct num_err *err) {
    const struct wh_dims *s = &m->dims;
    bool listens = m->backend->listen != NULL;
    size_t window = 2 * (size_t)s->n_audio_ctx, C = s->n_text_ctx;
    seat->slot = slot;
    if (!listens)
        seat->frames = malloc((window + 2) * s->n_mels * sizeof *seat->frames);
    seat->tokens = malloc((C + 1) * sizeof *seat->tokens);
    seat->prompt = malloc((2 * C + 8) * sizeof *seat->prompt);
    seat->previous = malloc((C + 1) * sizeof *seat->previous);
    seat->drafts = malloc((C + 1) * sizeof *seat->drafts);
    if (!(seat->frames || listens) || !seat->tokens || !seat->prompt || !seat->previous ||
        !seat->drafts)
        return num_fail_memory(err, "a window", window * s->n_mels * sizeof *seat->frames);
    return SLUICE_OK;
}

static void seat_finish(struct wh_seat *seat) {
    free(seat->frames);
    free(seat->tokens);
    free(seat->prompt);
    free(seat->previous);
    free(seat->drafts);
}

static int32_t buffers_alloc(struct wh_longform *lf, struct num_err *err) {
    const struct wh_model *m = lf->model;
    size_t pass = WH_MAX_PASS_FRAMES * (size_t)m->dims.n_mels;
    bool listens = m->backend->listen != NULL;
    if (!listens)
        lf->pass_frames = malloc(pass * sizeof *lf->pass_frames);
    lf->seats = calloc(m->limits.n_slots, sizeof *lf->seats);
    lf->mels = calloc(m->limits.n_slots, sizeof *lf->mels);
    lf->excerpts = calloc(m->limits.n_slots, sizeof *lf->excerpts);
    lf->slots = calloc(m->limits.n_slots, sizeof *lf->slots);
    lf->alignments = calloc(m->limits.n_slots, sizeof *lf->alignments);
    lf->aligned = calloc(m->limits.n_slots, sizeof(struct wh_seat *));
    lf->spare_rows = calloc(m->limits.n_slots, sizeof *lf->spare_rows);
    if (!(lf->pass_frames || listens) || !lf->excerpts || !lf->alignments || !lf->aligned ||
        !lf->spare_rows || !lf->seats || !lf->mels || !lf->slots)
        return num_fail_memory(err, "the spectrogram", pass * sizeof *lf->pass_frames);
    for (; lf->n_seats < m->limits.n_slots; lf->n_seats++) {
        int32_t status = seat_init(&lf->seats[lf->n_seats], m, lf->n_seats, err);
        if (status) {
            seat_finish(&lf->seats[lf->n_seats]);
            return status;
        }
    }
    return SLUICE_OK;
}

int32_t wh_longform_create(struct wh_model *model, struct wh_longform **ret, struct num_err *err) {
    struct wh_longform *lf = calloc(1, sizeof *lf);
    if (!lf)
        return num_fail_memory(err, "the transcription", sizeof *lf);
    lf->model = model;
    int32_t status = buffers_alloc(lf, err);
    if (!status)
        status = num_mel_create(model->dims.n_mels, &lf->mel, err);
    if (!status)
        status = num_pool_create(model->limits.n_threads, &lf->pool, err);
    if (!status && model->limits.n_threads > 1 && !model->backend->listen)
        status = wh_ahead_create(lf->mel, model->dims.n_mels, 2 * model->dims.n_audio_ctx + 2,
                                 &lf->ahead, err);
    if (!status)
        status = num_bpe_encoder_create(&model->bpe, &lf->encoder, err);
    if (!status)
        status = wh_search_create(model, &lf->search, err);
    if (status)
        wh_longform_destroy(lf);
    else
        *ret = lf;
    return status;
}

void wh_longform_destroy(struct wh_longform *longform) {
    if (!longform)
        return;
    wh_search_destroy(longform->search);
    num_bpe_encoder_destroy(longform->encoder);
    wh_ahead_destroy(longform->ahead);
    num_mel_destroy(longform->mel);
    num_pool_destroy(longform->pool);
    for (uint32_t i = 0; i < longform->n_seats; i++)
        seat_finish(&longform->seats[i]);
    free(longform->pass_frames);
    free(longform->seats);
    free(longform->mels);
    free(longform->excerpts);
    free(longform->slots);
    free(longform->alignments);
    free(longform->aligned);
    free(longform->spare_rows);
    free(longform);
}

/* ---- Files ------------------------------------------------------------------------------------
 */

static int32_t check_spans(const struct wh_input *input, const struct wh_options *options,
                           struct num_err *err) {
    if (input->spans && options->n_clip_timestamps)
        return num_fail(err, SLUICE_INPUT,
                        "clip_timestamps and regions of speech cannot be used together");
    for (size_t i = 0; i < input->n_spans; i++) {
        const struct wh_span *s = &input->spans[i];
        if (s->first % NUM_MEL_HOP || s->first > input->n_samples ||
            s->n > input->n_samples - s->first || s->n < NUM_MEL_HOP || i == UINT32_MAX / 2)
            return num_fail(err, SLUICE_INTERNAL, "span %zu of the audio is not within it", i);
    }
    return SLUICE_OK;
}

int32_t wh_longform_add(struct wh_longform *longform, const struct wh_input *input,
                        const struct wh_options *options, const struct wh_listener *listener,
                        struct wh_file **ret, struct num_err *err) {
    uint32_t n_held = CLIPS_AHEAD * longform->n_seats;
    int32_t status = wh_options_check(longform->model, options, err);
    if (!status)
        status = check_spans(input, options, err);
    if (status)
        return status;
    struct wh_file *f = calloc(1, sizeof *f + n_held * sizeof *f->held), **at = &longform->files;
    if (!f)
        return num_fail_memory(err, "a transcription", sizeof *f);
    *f = (struct wh_file){.lf = longform,
                          .options = options,
                          .pcm = input->pcm,
                          .n_samples = input->n_samples,
                          .whole = {0, input->n_samples},
                          .spans = input->spans,
                          .in_spans = input->spans != NULL,
                          .n_clips = (uint32_t)input->n_spans,
                          .n_held = n_held,
                          .listener = listener};
    if (!f->in_spans) {
        f->spans = &f->whole;
        f->n_clips = 1;
    }
    while (*at)
        at = &(*at)->next;
    *at = f;
    *ret = f;
    return SLUICE_OK;
}

/* Forgets the clip of a seat. */
static void clear_seat(struct wh_seat *seat) {
    wh_words_destroy(seat->run.window.words);
    seat->state = WH_SEAT_FREE;
    seat->run = (struct wh_run){0};
}

/* The file is over, with success or not: nothing of it is left in a seat. */
static void end_file(struct wh_file *f, int32_t status) {
    struct wh_longform *lf = f->lf;
    for (uint32_t i = 0; i < lf->n_seats; i++) {
        struct wh_seat *seat = &lf->seats[i];
        if (seat->run.file != f)
            continue;
        if (seat->state == WH_SEAT_DECODING)
            wh_search_drop(lf->search, &seat->run.window.result);
        clear_seat(seat);
    }
    if (lf->ahead)
        wh_ahead_drop(lf->ahead);
    if (!status)
        wh_file_progress(f, INFINITY);
    f->status = status;
    f->finished = true;
}

/* What the model cannot do, it can do for no file. */
static void end_all(struct wh_longform *lf, const struct num_err *err) {
    for (struct wh_file *f = lf->files; f; f = f->next)
        if (!f->finished) {
            if (!f->cancelled)
                f->err = *err;
            end_file(f, f->err.status);
        }
}

bool wh_file_is_finished(const struct wh_file *file) {
    return file->finished;
}

int32_t wh_longform_take(struct wh_longform *longform, struct wh_file *file, struct wh_report *ret,
                         struct num_err *err) {
    struct wh_file **at = &longform->files;
    if (!file->finished) {
        num_fail(&file->err, SLUICE_CANCELLED, "cancelled");
        end_file(file, SLUICE_CANCELLED);
    }
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    int32_t status = file->status;
    if (status)
        *err = file->err;
    else
        *ret = file->report;
    for (uint32_t i = 0; i < file->n_held; i++)
        wh_held_finish(&file->held[i]);
    wh_setup_finish(&file->setup);
    free(file);
    return status;
}

/* ---- Seats ------------------------------------------------------------------------------------
 */

/* Whether a seat would be taken: a clip is left, and not too far before those that are not done. */
static bool wants_seat(const struct wh_file *f) {
    bool clip_left = f->n_begun < f->n_clips && f->n_begun - f->n_done < f->n_held;
    return !f->finished && (clip_left || !f->prepared);
}

/* The clip of a seat is over. */
static void end_clip(struct wh_seat *seat) {
    struct wh_file *f = seat->run.file;
    int32_t status = wh_clip_over(f, seat->run.index);
    clear_seat(seat);
    if (status || f->n_done == f->n_clips)
        end_file(f, status);
}

/* Gives the free seat the file's next clip. */
static void take_clip(struct wh_seat *seat, struct wh_file *f) {
    bool over = false;
    int32_t status = f->prepared ? SLUICE_OK : wh_file_prepare(seat, f);
    if (!status && f->n_clips == 0)
        end_file(f, SLUICE_OK);
    else if (!status)
        status = wh_clip_begin(seat, f, &over);
    if (status)
        end_file(f, status);
    else if (over)
        end_clip(seat);
}

/* Every free seat takes a clip, of the earliest file first. A file's language needs a free row. */
static void fill_seats(struct wh_longform *lf) {
    struct wh_file *f = lf->files;
    for (uint32_t i = 0; i < lf->n_seats; i++)
        while (lf->seats[i].state == WH_SEAT_FREE) {
            while (f && !wants_seat(f))
                f = f->next;
            if (!f || (!f->prepared && !wh_search_has_room(lf->search, 1)))
                return;
            take_clip(&lf->seats[i], f);
        }
}

/* Asks the listeners of all files; true where no file is left to work for. */
static bool all_cancelled(void *ctx) {
    const struct wh_longform *lf = ctx;
    bool all = true;
    for (struct wh_file *f = lf->files; f; f = f->next)
        all &= f->finished || wh_file_cancelled(f);
    return all;
}

/* Encodes the windows that wait for it, all together. */
static int32_t encode_windows(struct wh_longform *lf, struct num_err *err) {
    const struct num_watch watch = {lf, all_cancelled, NULL};
    uint32_t n = 0;
    for (uint32_t i = 0; i < lf->n_seats; i++) {
        struct wh_seat *seat = &lf->seats[i];
        struct wh_run *r = &seat->run;
        double at = wh_now_s();
        if (seat->state != WH_SEAT_TO_ENCODE)
            continue;
        int32_t status = wh_window_prepare(r, n, r->window.seek, r->window.n_frames,
                                           r->options->silence_behind_end);
        wh_spend(at, &r->file->report.mel_s);
        if (status) {
            end_file(r->file, status);
            continue;
        }
        n++;
    }
    double at = wh_now_s(), spent = 0;
    int32_t status = wh_windows_encode(lf, n, &watch, err);
    wh_spend(at, &spent);
    for (uint32_t i = 0; !status && i < n; i++) {
        struct wh_seat *seat = &lf->seats[lf->slots[i]];
        if (seat->state != WH_SEAT_TO_ENCODE) /* its file failed meanwhile */
            continue;
        seat->run.file->report.encode_s += spent / n;
        seat->state = WH_SEAT_TO_DECODE;
    }
    return status;
}

/* Gives a window rows of its own, where there are enough. Its language comes first, where every
 * window has its own. */
static int32_t submit(struct wh_seat *seat) {
    struct wh_run *r = &seat->run;
    const struct wh_options *o = r->options;
    double prob, at = wh_now_s();
    int32_t status = SLUICE_OK;
    bool detect = o->multilingual && !o->language && r->lf->model->tokens.n_languages > 1;
    wh_window_request(r);
    if (!wh_search_has_room(r->lf->search, wh_request_rows(&r->request)))
        return SLUICE_OK;
    if (detect && r->window.attempt == 0) {
        status = wh_window_language(r, &r->language, &prob);
        wh_window_request(r);
        wh_spend(at, &r->file->report.decode_s);
    }
    if (!status)
        status = wh_search_add(r->lf->search, &r->request, &r->window.result, r->err);
    if (!status)
        seat->state = WH_SEAT_DECODING;
    return status;
}

/* Whether the seat's window can be decoded without keeping other windows waiting for its
 * encoder. */
static bool is_encoded(const struct wh_longform *lf, const struct wh_seat *seat) {
    const struct wh_model *m = lf->model;
    return !m->backend->is_encoded || m->backend->is_encoded(m->self, seat->slot);
}

static uint32_t count_decoding(const struct wh_longform *lf) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < lf->n_seats; i++)
        n += lf->seats[i].state == WH_SEAT_DECODING;
    return n;
}

/* A token for every row; the time it takes is shared by the windows. New windows join as soon as
 * they are encoded, which a device does beside the steps of others. */
static int32_t decode_windows(struct wh_longform *lf, struct num_err *err) {
    double at = wh_now_s(), spent = 0;
    uint32_t busy = count_decoding(lf), n;
    for (uint32_t i = 0; i < lf->n_seats; i++) {
        struct wh_seat *seat = &lf->seats[i];
        if (seat->state != WH_SEAT_TO_DECODE || (busy && !is_encoded(lf, seat)))
            continue;
        int32_t status = submit(seat);
        if (status)
            end_file(seat->run.file, status);
    }
    n = count_decoding(lf);
    int32_t status = wh_search_step(lf->search, err);
    wh_spend(at, &spent);
    for (uint32_t i = 0; i < lf->n_seats; i++)
        if (lf->seats[i].state == WH_SEAT_DECODING)
            lf->seats[i].run.file->report.decode_s += spent / n;
    return status;
}

/* Judges the windows that are finished; returns how many of those that are settled have words to be
 * aligned. */
static uint32_t settle_windows(struct wh_longform *lf) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < lf->n_seats; i++) {
        struct wh_seat *seat = &lf->seats[i];
        const struct wh_alignment *alignment = NULL;
        bool words = false;
        if (seat->state != WH_SEAT_DECODING || !seat->run.window.result.finished)
            continue;
        int32_t status = wh_clip_settle(seat, &words);
        if (!status && words)
            status = wh_words_begin(&seat->run, &seat->run.window, &alignment);
        if (status)
            end_file(seat->run.file, status);
        else if (alignment) {
            lf->aligned[n] = seat;
            lf->alignments[n++] = *alignment;
        }
    }
    return n;
}

/* Aligns the words of n windows together, in rows that these have left. Windows whose file has
 * failed meanwhile are left out. */
static int32_t align_windows(struct wh_longform *lf, uint32_t n, struct num_err *err) {
    const struct wh_model *m = lf->model;
    double at = wh_now_s(), spent = 0;
    uint32_t n_left = 0;
    for (uint32_t i = 0; i < n; i++)
        if (lf->aligned[i]->state == WH_SEAT_SETTLED) {
            lf->aligned[n_left] = lf->aligned[i];
            lf->alignments[n_left++] = lf->alignments[i];
        }
    wh_search_spare_rows(lf->search, n_left, lf->spare_rows);
    for (uint32_t i = 0; i < n_left; i++)
        lf->alignments[i].row = lf->spare_rows[i];
    int32_t status =
        n_left ? m->backend->attention(m->self, lf->alignments, n_left, err) : SLUICE_OK;
    wh_spend(at, &spent);
    for (uint32_t i = 0; i < n_left; i++)
        lf->aligned[i]->run.file->report.align_s += spent / n_left;
    return status;
}

/* Segments of the windows that are settled, and what comes next in their clips. */
static void go_on(struct wh_longform *lf) {
    for (uint32_t i = 0; i < lf->n_seats; i++) {
        struct wh_seat *seat = &lf->seats[i];
        bool over = false;
        if (seat->state != WH_SEAT_SETTLED)
            continue;
        int32_t status = wh_clip_go_on(seat, &over);
        if (status)
            end_file(seat->run.file, status);
        else if (over)
            end_clip(seat);
    }
}

void wh_longform_step(struct wh_longform *longform) {
    struct num_err err = {0};
    for (struct wh_file *f = longform->files; f; f = f->next)
        if (!f->finished && wh_file_cancelled(f))
            end_file(f, SLUICE_CANCELLED);
    fill_seats(longform);
    int32_t status = encode_windows(longform, &err);
    wh_look_ahead(longform);
    if (!status)
        status = decode_windows(longform, &err);
    if (!status)
        status = align_windows(longform, settle_windows(longform), &err);
    if (status)
        end_all(longform, &err);
    else
        go_on(longform);
}

bool wh_longform_has_room(const struct wh_longform *longform) {
    uint32_t n_free = 0;
    for (uint32_t i = 0; i < longform->n_seats; i++)
        n_free += longform->seats[i].state == WH_SEAT_FREE;
    for (const struct wh_file *f = longform->files; f; f = f->next)
        if (wants_seat(f))
            return false;
    return n_free > 0;
}

int32_t wh_longform_run(struct wh_longform *longform, const struct wh_input *input,
                        const struct wh_options *options, const struct wh_listener *listener,
                        struct wh_report *ret, struct num_err *err) {
    struct wh_file *f;
    int32_t status = wh_longform_add(longform, input, options, listener, &f, err);
    if (status)
        return status;
    while (!wh_file_is_finished(f))
        wh_longform_step(longform);
    return wh_longform_take(longform, f, ret, err);
}

/*
 * One clip, transcribed as if it were a file of its own: the seek loop over its windows, the text
 * so far as context, and its segments, whose times become those of the file. See run.h.
 *
 * What the seek loop would do between two windows is a state of the seat, so that many clips can be
 * under way.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "whisper/held.h"
#include "whisper/run.h"
#include "whisper/text.h"

/* A rest of a span that is shorter, and behind a complete segment, is not worth a window. */
#define SHORT_REST_FRAMES 100

/* ---- Segments ---------------------------------------------------------------------------------
 */

static int32_t tell(struct wh_file *f, const struct wh_segment *segment) {
    struct wh_segment s = *segment;
    s.id = f->n_segments++;
    int32_t status = f->listener->segment ? f->listener->segment(f->listener->ctx, &s) : SLUICE_OK;
    if (status && f->err.status == SLUICE_OK)
        num_fail(&f->err, status, "the transcript could not be handed on");
    return status;
}

static struct wh_held *held_of(struct wh_file *f, uint32_t index) {
    return &f->held[index % f->n_held];
}

/* Tells the listener, or keeps the segment until all clips before it are done. Its times are those
 * of the clip. */
static int32_t hand_out(struct wh_run *r, struct wh_segment *s, struct wh_word *words) {
    double offset = (double)r->first_frame * WH_FRAME_S;
    s->seek += r->first_frame;
    s->start += offset;
    s->end += offset;
    for (uint32_t i = 0; i < s->n_words; i++) {
        words[i].start += offset;
        words[i].end += offset;
    }
    if (r->index == r->file->n_done)
        return tell(r->file, s);
    return wh_held_add(held_of(r->file, r->index), s, r->err);
}

void wh_file_progress(struct wh_file *file, double done_s) {
    double total_s = (double)file->n_samples / NUM_MEL_RATE_HZ;
    if (done_s > file->done_s)
        file->done_s = done_s < total_s ? done_s : total_s;
    if (file->listener->progress)
        file->listener->progress(file->listener->ctx, file->done_s, total_s);
}

int32_t wh_clip_over(struct wh_file *f, uint32_t index) {
    int32_t status = SLUICE_OK;
    held_of(f, index)->over = true;
    while (!status && f->n_done < f->n_clips && held_of(f, f->n_done)->over) {
        *held_of(f, f->n_done) = (struct wh_held){0};
        if (++f->n_done == f->n_clips)
            break;
        wh_file_progress(f, (double)f->spans[f->n_done].first / NUM_MEL_RATE_HZ);
        for (struct wh_held_segment *s; !status && (s = wh_held_take(held_of(f, f->n_done)));) {
            status = tell(f, &s->segment);
            free(s);
        }
    }
    return status;
}

/* ---- Windows to segments ----------------------------------------------------------------------
 */

/* Appends tokens to the previous text, of which the end is kept. */
static void remember(struct wh_run *r, const int32_t *tokens, size_t n) {
    size_t limit = r->setup->max_prompt;
    if (n > limit) {
        tokens += n - limit;
        n = limit;
    }
    int32_t *previous = r->seat->previous;
    size_t keep = r->n_previous + n > limit ? limit - n : r->n_previous;
    memmove(previous, previous + r->n_previous - keep, keep * sizeof *previous);
    if (n)
        memcpy(previous + keep, tokens, n * sizeof *tokens);
    r->n_previous = (uint32_t)(keep + n);
}

/* Hands out a draft, unless it is empty or takes no time. One that ends before it starts, which a
 * model can write without the rules for timestamps, is context for the next window all the same. */
static int32_t emit(struct wh_run *r, const struct wh_draft *d) {
    const struct wh_window *w = &r->window;
    struct wh_segment s = {.seek = w->seek,
                           .start = d->start,
                           .end = d->end,
                           .tokens = w->result.tokens + d->first,
                           .n_tokens = d->n_tokens,
                           .temperature = w->temperature,
                           .avg_logprob = w->result.avg_logprob,
                           .compression_ratio = w->compression_ratio,
                           .no_speech_prob = w->result.no_speech_prob,
                           .language =
                               r->options->multilingual && r->language ? r->language->code : NULL};
    char *text;
    int32_t status = num_bpe_decode(&r->lf->model->bpe, s.tokens, s.n_tokens, &text, r->err);
    if (status)
        return status;
    struct wh_word *words = NULL;
    s.text = text;
    if (w->words) {
        s.words = words = wh_words_of(w->words, d);
        s.n_words = d->n_words;
        s.attention = wh_attention_of(w->words, d);
    }
    bool blank = s.end == s.start || wh_is_blank(text);
    if (!blank)
        remember(r, s.tokens, s.n_tokens);
    if (!blank && s.end > s.start)
        status = hand_out(r, &s, words);
    free(text);
    return status;
}

static int32_t emit_all(struct wh_run *r) {
    const struct wh_options *o = r->options;
    for (uint32_t i = 0; i < r->window.n_drafts; i++) {
        int32_t status = emit(r, &r->seat->drafts[i]);
        if (status)
            return status;
    }
    if (!o->condition_on_previous_text || r->window.temperature > o->prompt_reset_on_temperature)
        r->n_previous = 0;
    return SLUICE_OK;
}

/* Word times, and where they say that the next window starts; *ret_drop: nothing is to be kept. */
static int32_t take_words(struct wh_run *r, bool *ret_drop) {
    struct wh_window *w = &r->window;
    int32_t status = wh_words_end(r, w);
    if (status)
        return status;
    double last = wh_last_end(r, w);
    if (!w->single_ending && last > wh_window_start_s(w))
        w->next_seek = (size_t)rint(last * WH_FRAMES_PER_SECOND);
    *ret_drop = !isnan(r->options->hallucination_silence_threshold) && wh_window_skip_silence(r, w);
    if (!*ret_drop && w->n_drafts)
        r->last_speech_s = wh_last_end(r, w);
    return SLUICE_OK;
}

/* The segments of a settled window; sets where the next one starts. */
static int32_t conclude(struct wh_run *r) {
    struct wh_window *w = &r->window;
    bool drop = false;
    int32_t status = w->words ? take_words(r, &drop) : SLUICE_OK;
    if (!status && !drop)
        status = emit_all(r);
    if (w->next_seek <= w->seek) /* never stay */
        w->next_seek = w->seek + w->n_frames;
    return status;
}

/* ---- The seek loop ----------------------------------------------------------------------------
 */

/* Frame of border i of clip_timestamps; the end of the audio where there is none. */
static size_t border(const struct wh_run *r, uint32_t i) {
    const struct wh_options *o = r->options;
    if (o->n_clip_timestamps == 0 && i == 0)
        return 0;
    if (i >= o->n_clip_timestamps)
        return r->n_frames;
    size_t frame = (size_t)rint(o->clip_timestamps[i] * WH_FRAMES_PER_SECOND);
    return frame < r->n_frames ? frame : r->n_frames;
}

/* Whether nothing is left from `seek` to the end of the range. */
static bool range_is_over(const struct wh_run *r, size_t seek) {
    const struct wh_window *w = &r->window;
    bool behind_text = w->n_frames > 0 && !w->open_text;
    size_t least = r->file->in_spans && behind_text ? SHORT_REST_FRAMES : 1;
    return seek + least > r->range_end;
}

/* Makes the window from `seek` on the next one, or the first of a later range; false: that was all.
 */
static bool next_window(struct wh_run *r, size_t seek) {
    while (range_is_over(r, seek)) {
        if (2 * ++r->range >= r->options->n_clip_timestamps)
            return false;
        seek = border(r, 2 * r->range);
        r->range_end = border(r, 2 * r->range + 1);
    }
    size_t window = 2 * (size_t)r->lf->model->dims.n_audio_ctx, rest = r->range_end - seek;
    r->window = (struct wh_window){.seek = seek, .n_frames = rest < window ? rest : window};
    r->seat->state = WH_SEAT_TO_ENCODE;
    return true;
}

/* Makes `seat` that of clip `index`, and finds the maximum of its spectrogram. */
static int32_t open_clip(struct wh_seat *seat, struct wh_file *f, uint32_t index) {
    struct wh_run *r = &seat->run;
    if (r->file == f && r->index == index)
        return SLUICE_OK;
    const struct wh_span *span = &f->spans[index];
    *r = (struct wh_run){.lf = f->lf,
                         .seat = seat,
                         .file = f,
                         .options = f->options,
                         .setup = &f->setup,
                         .index = index,
                         .pcm = f->pcm + span->first,
                         .n_samples = span->n,
                         .n_frames = span->n / NUM_MEL_HOP,
                         .first_frame = span->first / NUM_MEL_HOP,
                         .err = &f->err};
    double at = wh_now_s();
    int32_t status = wh_run_find_max(r);
    wh_spend(at, &f->report.mel_s);
    return status;
}

int32_t wh_clip_begin(struct wh_seat *seat, struct wh_file *file, bool *ret_over) {
    struct wh_run *r = &seat->run;
    int32_t status = open_clip(seat, file, file->n_begun);
    if (status)
        return status;
    file->n_begun++;
    r->language = file->language;
    if (!r->options->carry_initial_prompt)
        remember(r, r->setup->initial_prompt.ids, r->setup->initial_prompt.n);
    r->range_end = border(r, 1);
    *ret_over = !next_window(r, border(r, 0));
    return SLUICE_OK;
}

int32_t wh_clip_settle(struct wh_seat *seat, bool *ret_words) {
    struct wh_run *r = &seat->run;
    struct wh_window *w = &r->window;
    bool again = false;
    int32_t status = wh_window_judge(r, &again);
    *ret_words = false;
    if (status)
        return status;
    if (again) {
        w->attempt++;
        seat->state = WH_SEAT_TO_DECODE;
        return SLUICE_OK;
    }
    seat->state = WH_SEAT_SETTLED;
    w->next_seek = w->seek + w->n_frames;
    w->silence = wh_window_is_silence(r, w);
    if (!w->silence)
        wh_window_cut(r, w);
    *ret_words = !w->silence && r->options->word_timestamps;
    return SLUICE_OK;
}

int32_t wh_clip_go_on(struct wh_seat *seat, bool *ret_over) {
    struct wh_run *r = &seat->run;
    int32_t status = r->window.silence ? SLUICE_OK : conclude(r);
    wh_words_destroy(r->window.words);
    r->window.words = NULL;
    if (status)
        return status;
    size_t seek = r->window.next_seek;
    if (r->index == r->file->n_done)
        wh_file_progress(r->file, (double)(r->first_frame + seek) * WH_FRAME_S);
    *ret_over = !next_window(r, seek);
    return SLUICE_OK;
}

/* ---- Language ---------------------------------------------------------------------------------
 */

static bool file_cancelled(void *ctx) {
    return wh_file_cancelled(ctx);
}

/* The language of a whole window of the seat's clip. */
static int32_t window_language(struct wh_seat *seat, size_t seek, const struct wh_language **ret,
                               double *ret_prob) {
    struct wh_run *r = &seat->run;
    const struct wh_model *m = r->lf->model;
    const struct num_watch watch = {r->file, file_cancelled, NULL};
    double at = wh_now_s();
    int32_t status = wh_window_prepare(r, 0, seek, 2 * (size_t)m->dims.n_audio_ctx, true);
    at = wh_spend(at, &r->file->report.mel_s);
    if (!status)
        status = wh_windows_encode(r->lf, 1, &watch, r->err);
    wh_spend(at, &r->file->report.encode_s);
    return status ? status : wh_window_language(r, ret, ret_prob);
}

/*
 * The first window whose language is likely enough decides; where none is, the language of most of
 * them. Behind the end of the audio is silence.
 */
static int32_t detect_language(struct wh_seat *seat, struct wh_file *f) {
    const struct wh_tokens *t = &f->lf->model->tokens;
    size_t window = 2 * (size_t)f->lf->model->dims.n_audio_ctx, at = 0;
    uint32_t votes[WH_MAX_LANGUAGES] = {0}, most = 0, clip = 0;
    for (uint32_t i = 0; i < f->options->language_detection_segments; i++, at += window) {
        const struct wh_language *language;
        double prob;
        if (i > 0 && at >= seat->run.n_frames) {
            if (++clip == f->n_clips)
                return SLUICE_OK;
            at = 0;
        }
        int32_t status = open_clip(seat, f, clip);
        if (!status)
            status = window_language(seat, at, &language, &prob);
        if (status)
            return status;
        uint32_t n = ++votes[language - t->languages];
        if (n > most || prob >= f->options->language_detection_threshold) {
            f->language = language;
            most = n;
        }
        if (prob >= f->options->language_detection_threshold)
            return SLUICE_OK;
    }
    return SLUICE_OK;
}

int32_t wh_file_prepare(struct wh_seat *seat, struct wh_file *file) {
    const struct wh_model *m = file->lf->model;
    const struct wh_tokens *t = &m->tokens;
    int32_t status = SLUICE_OK;
    if (t->n_languages) {
        file->language = &t->languages[0];
        if (file->options->language)
            file->language = wh_language_find(t, file->options->language);
        else if (t->n_languages > 1 && file->n_clips && file->spans[0].n >= NUM_MEL_HOP)
            status = detect_language(seat, file);
    }
    snprintf(file->report.language, sizeof file->report.language, "%s",
             file->language ? file->language->code : "en");
    if (!status)
        status = wh_setup_init(m, file->lf->encoder, file->options, &file->setup, &file->err);
    file->prepared = !status;
    return status;
}

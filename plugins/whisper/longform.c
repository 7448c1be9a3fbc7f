/*
 * Long-form transcription: see longform.h. The seek loop over clips and windows; what happens in a
 * window is in window.c, segments.c and words.c. Memory does not grow with the audio.
 */
#include "whisper/longform.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "whisper/run.h"
#include "whisper/text.h"

/* ---- Buffers ----------------------------------------------------------------------------------
 */

static int32_t buffers_alloc(struct wh_longform *lf, struct num_err *err) {
    const struct wh_dims *s = &lf->model->dims;
    size_t window = 2 * (size_t)s->n_audio_ctx, C = s->n_text_ctx;
    size_t rows = window > WH_MAX_PASS_FRAMES ? window : WH_MAX_PASS_FRAMES;
    lf->frames = malloc(rows * s->n_mels * sizeof *lf->frames);
    lf->tokens = malloc((C + 1) * sizeof *lf->tokens);
    lf->prompt = malloc((2 * C + 8) * sizeof *lf->prompt);
    lf->previous = malloc((C + 1) * sizeof *lf->previous);
    lf->drafts = malloc((C + 1) * sizeof *lf->drafts);
    if (!lf->frames || !lf->tokens || !lf->prompt || !lf->previous || !lf->drafts)
        return num_fail_memory(err, "the spectrogram", rows * s->n_mels * sizeof *lf->frames);
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
    num_mel_destroy(longform->mel);
    num_pool_destroy(longform->pool);
    free(longform->frames);
    free(longform->tokens);
    free(longform->prompt);
    free(longform->previous);
    free(longform->drafts);
    free(longform);
}

/* ---- Language ---------------------------------------------------------------------------------
 */

/*
 * The first window whose language is likely enough decides; where none is, the language of most of
 * them. Behind the end of the audio is silence.
 */
static int32_t detect_language(struct wh_run *r) {
    const struct wh_tokens *t = &r->lf->model->tokens;
    size_t window = 2 * (size_t)r->lf->model->dims.n_audio_ctx;
    uint32_t votes[WH_MAX_LANGUAGES] = {0}, most = 0;
    for (uint32_t i = 0; i < r->options->language_detection_segments; i++) {
        const struct wh_language *language;
        double prob;
        if (i > 0 && i * window >= r->n_frames)
            return SLUICE_OK;
        int32_t status = wh_window_encode(r, i * window, window, true);
        if (!status)
            status = wh_window_language(r, &language, &prob);
        if (status)
            return status;
        uint32_t n = ++votes[language - t->languages];
        if (n > most || prob >= r->options->language_detection_threshold) {
            r->language = language;
            most = n;
        }
        if (prob >= r->options->language_detection_threshold)
            return SLUICE_OK;
    }
    return SLUICE_OK;
}

static int32_t choose_language(struct wh_run *r) {
    const struct wh_tokens *t = &r->lf->model->tokens;
    int32_t status = SLUICE_OK;
    if (t->n_languages) {
        r->language = &t->languages[0];
        if (r->options->language)
            r->language = wh_language_find(t, r->options->language);
        else if (t->n_languages > 1 && r->n_frames)
            status = detect_language(r);
    }
    snprintf(r->report.language, sizeof r->report.language, "%s",
             r->language ? r->language->code : "en");
    return status;
}

/* ---- Segments ---------------------------------------------------------------------------------
 */

/* Appends tokens to the previous text, of which the end is kept. */
static void remember(struct wh_run *r, const int32_t *tokens, size_t n) {
    size_t limit = r->setup.max_prompt;
    if (n > limit) {
        tokens += n - limit;
        n = limit;
    }
    size_t keep = r->n_previous + n > limit ? limit - n : r->n_previous;
    memmove(r->lf->previous, r->lf->previous + r->n_previous - keep,
            keep * sizeof *r->lf->previous);
    if (n)
        memcpy(r->lf->previous + keep, tokens, n * sizeof *tokens);
    r->n_previous = (uint32_t)(keep + n);
}

/* Hands out a draft, unless it is empty or takes no time. One that ends before it starts, which a
 * model can write without the rules for timestamps, is context for the next window all the same. */
static int32_t emit(struct wh_run *r, const struct wh_window *w, const struct wh_draft *d) {
    struct wh_segment s = {.id = r->n_segments,
                           .seek = w->seek,
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
    s.text = text;
    if (w->words) {
        s.words = wh_words_of(w->words, d);
        s.n_words = d->n_words;
        s.attention = wh_attention_of(w->words, d);
    }
    bool blank = s.end == s.start || wh_is_blank(text);
    if (!blank)
        remember(r, s.tokens, s.n_tokens);
    if (!blank && s.end > s.start) {
        r->n_segments++;
        if (r->listener->segment)
            status = r->listener->segment(r->listener->ctx, &s);
        if (status && r->err->status == SLUICE_OK)
            num_fail(r->err, status, "the transcript could not be handed on");
    }
    free(text);
    return status;
}

static int32_t emit_all(struct wh_run *r, const struct wh_window *w) {
    const struct wh_options *o = r->options;
    for (uint32_t i = 0; i < w->n_drafts; i++) {
        int32_t status = emit(r, w, &r->lf->drafts[i]);
        if (status)
            return status;
    }
    if (!o->condition_on_previous_text || w->temperature > o->prompt_reset_on_temperature)
        r->n_previous = 0;
    return SLUICE_OK;
}

/* ---- Windows ----------------------------------------------------------------------------------
 */

/* Word times, and where they say that the next window starts; *ret_drop: nothing is to be kept. */
static int32_t align(struct wh_run *r, struct wh_window *w, bool *ret_drop) {
    int32_t status = wh_window_align(r, w);
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

static int32_t encode_and_decode(struct wh_run *r, struct wh_window *w) {
    const struct wh_tokens *t = &r->lf->model->tokens;
    double prob, at;
    int32_t status = wh_window_encode(r, w->seek, w->n_frames, r->options->silence_behind_end);
    at = wh_now_s();
    if (!status && r->options->multilingual && !r->options->language && t->n_languages > 1)
        status = wh_window_language(r, &r->language, &prob);
    if (!status)
        status = wh_window_decode(r, w);
    wh_spend(at, &r->report.decode_s);
    return status;
}

static int32_t transcribe_window(struct wh_run *r, struct wh_window *w) {
    int32_t status = encode_and_decode(r, w);
    if (status)
        return status;
    if (wh_window_is_silence(r, w)) {
        w->next_seek = w->seek + w->n_frames;
        return SLUICE_OK;
    }
    bool drop = false;
    wh_window_cut(r, w);
    if (r->options->word_timestamps) {
        double at = wh_now_s();
        status = align(r, w, &drop);
        wh_spend(at, &r->report.align_s);
    }
    if (!status && !drop)
        status = emit_all(r, w);
    wh_words_destroy(w->words);
    if (w->next_seek <= w->seek) /* never stay */
        w->next_seek = w->seek + w->n_frames;
    return status;
}

static void report_progress(const struct wh_run *r, size_t seek) {
    double total_s = (double)r->n_samples / NUM_MEL_RATE_HZ, done_s = (double)seek * WH_FRAME_S;
    if (r->listener->progress)
        r->listener->progress(r->listener->ctx, done_s < total_s ? done_s : total_s, total_s);
}

/* Windows from `seek` to `end`. */
static int32_t transcribe_clip(struct wh_run *r, size_t seek, size_t end) {
    size_t window = 2 * (size_t)r->lf->model->dims.n_audio_ctx;
    while (seek < end) {
        struct wh_window w = {.seek = seek};
        w.n_frames = end - seek < window ? end - seek : window;
        int32_t status = transcribe_window(r, &w);
        if (status)
            return status;
        seek = w.next_seek;
        report_progress(r, seek);
    }
    return SLUICE_OK;
}

/* Frame of clip border i; the end of the audio where there is none. */
static size_t border(const struct wh_run *r, uint32_t i) {
    const struct wh_options *o = r->options;
    if (o->n_clip_timestamps == 0 && i == 0)
        return 0;
    if (i >= o->n_clip_timestamps)
        return r->n_frames;
    size_t frame = (size_t)rint(o->clip_timestamps[i] * WH_FRAMES_PER_SECOND);
    return frame < r->n_frames ? frame : r->n_frames;
}

static int32_t transcribe_clips(struct wh_run *r) {
    int32_t status = SLUICE_OK;
    for (uint32_t i = 0; !status && (i == 0 || i < r->options->n_clip_timestamps); i += 2)
        status = transcribe_clip(r, border(r, i), border(r, i + 1));
    return status;
}

static int32_t run(struct wh_run *r) {
    report_progress(r, 0);
    double at = wh_now_s();
    int32_t status = wh_run_find_max(r);
    wh_spend(at, &r->report.mel_s);
    if (!status)
        status = choose_language(r);
    if (!status)
        status = wh_setup_init(r->lf->model, r->lf->encoder, r->options, &r->setup, r->err);
    if (!status && !r->options->carry_initial_prompt)
        remember(r, r->setup.initial_prompt.ids, r->setup.initial_prompt.n);
    if (!status)
        status = transcribe_clips(r);
    wh_setup_finish(&r->setup);
    return status;
}

int32_t wh_longform_run(struct wh_longform *longform, const float *pcm, size_t n_samples,
                        const struct wh_options *options, const struct wh_listener *listener,
                        struct wh_report *ret, struct num_err *err) {
    struct wh_run r = {.lf = longform,
                       .options = options,
                       .pcm = pcm,
                       .n_samples = n_samples,
                       .n_frames = n_samples / NUM_MEL_HOP,
                       .listener = listener,
                       .err = err};
    r.watch = (struct wh_watch){listener->cancelled, listener->ctx};
    int32_t status = wh_options_check(longform->model, options, err);
    if (!status)
        status = run(&r);
    if (!status)
        *ret = r.report;
    return status;
}

/*
 * One window: its spectrogram, its prompt, and its text at the first temperature that gives a good
 * one. See run.h.
 *
 * The spectrogram of the whole audio is never kept: a first pass finds its maximum, and each
 * window's frames are computed when it is decoded.
 */
#include <math.h>
#include <string.h>

#include "num/cpu/kernels.h"
#include "whisper/run.h"
#include "whisper/text.h"

int32_t wh_run_find_max(struct wh_run *r) {
    size_t M = r->lf->model->dims.n_mels,
           end = r->n_frames + 2; /* those still see the last samples */
    r->max = -INFINITY;
    for (size_t at = 0; at < end; at += WH_MAX_PASS_FRAMES) {
        size_t n = end - at < WH_MAX_PASS_FRAMES ? end - at : WH_MAX_PASS_FRAMES;
        int32_t status = wh_run_cancelled(r);
        if (!status)
            status = num_mel_log(r->lf->mel, r->lf->pool, r->pcm, r->n_samples, at, n,
                                 r->lf->frames, r->err);
        if (status)
            return status;
        float max = num_mel_max(r->lf->frames, n * M);
        r->max = max > r->max ? max : r->max;
    }
    return SLUICE_OK;
}

int32_t wh_window_encode(struct wh_run *r, size_t seek, size_t n_frames, bool silence) {
    struct wh_longform *lf = r->lf;
    size_t M = lf->model->dims.n_mels, window = 2 * (size_t)lf->model->dims.n_audio_ctx;
    size_t n = silence ? window : n_frames;
    double at = wh_now_s();
    int32_t status =
        num_mel_log(lf->mel, lf->pool, r->pcm, r->n_samples, seek, n, lf->frames, r->err);
    if (status)
        return status;
    num_mel_normalise(lf->frames, n * M, r->max, lf->frames);
    memset(lf->frames + n * M, 0, (window - n) * M * sizeof *lf->frames);
    at = wh_spend(at, &r->report.mel_s);
    const float *mel = lf->frames;
    status =
        lf->model->backend->encode(lf->model->self, &mel, (uint32_t[]){0}, 1, &r->watch, r->err);
    wh_spend(at, &r->report.encode_s);
    return status;
}

int32_t wh_window_language(struct wh_run *r, const struct wh_language **ret, double *ret_prob) {
    const struct wh_tokens *t = &r->lf->model->tokens;
    const float *logits;
    int32_t status = wh_search_start_logits(r->lf->search, 0, &logits, r->err);
    if (status)
        return status;
    const struct wh_language *best = &t->languages[0];
    double sum = 0;
    for (uint32_t i = 1; i < t->n_languages; i++)
        if (logits[t->languages[i].token] > logits[best->token])
            best = &t->languages[i];
    for (uint32_t i = 0; i < t->n_languages; i++)
        sum += exp((double)logits[t->languages[i].token] - logits[best->token]);
    *ret = best;
    *ret_prob = 1 / sum;
    return SLUICE_OK;
}

/* ---- Prompt ---------------------------------------------------------------------------------- */

static void append(int32_t *to, uint32_t *n, const int32_t *ids, size_t n_ids) {
    if (n_ids)
        memcpy(to + *n, ids, n_ids * sizeof *ids);
    *n += (uint32_t)n_ids;
}

/*
 * <|startofprev|>, hotwords, a carried prompt and the end of the previous text, together at most
 * max_prompt tokens; nothing where there is none of them. Returns how many.
 */
static uint32_t add_context(const struct wh_run *r, int32_t *prompt) {
    const struct wh_setup *s = &r->setup;
    size_t carried = r->options->carry_initial_prompt ? s->initial_prompt.n : 0;
    size_t fixed = s->hotwords.n + carried, limit = s->max_prompt;
    if (s->sot_prev < 0 || fixed + r->n_previous == 0 || limit == 0)
        return 0;
    size_t skip = fixed > limit ? fixed - limit : 0; /* of the fixed part, from its front */
    size_t room = limit - (fixed - skip);
    size_t n_previous = r->n_previous < room ? r->n_previous : room;
    uint32_t n = 0;
    prompt[n++] = s->sot_prev;
    size_t skip_hotwords = skip < s->hotwords.n ? skip : s->hotwords.n;
    append(prompt, &n, s->hotwords.ids + skip_hotwords, s->hotwords.n - skip_hotwords);
    append(prompt, &n, s->initial_prompt.ids + (skip - skip_hotwords),
           carried - (skip - skip_hotwords));
    append(prompt, &n, r->lf->previous + r->n_previous - n_previous, n_previous);
    return n;
}

static void make_request(const struct wh_run *r, struct wh_request *ret) {
    const struct wh_model *m = r->lf->model;
    int32_t start[4], *prompt = r->lf->prompt;
    uint32_t n = add_context(r, prompt), C = m->dims.n_text_ctx;
    *ret = (struct wh_request){.prompt = prompt, .sot_index = n, .rules = r->setup.rules};
    append(prompt, &n, start, wh_start_tokens(m, r->language, r->options, start));
    append(prompt, &n, r->setup.prefix.ids, r->setup.prefix.n);
    ret->n_prompt = n;
    uint32_t room = C + 1 > n ? C + 1 - n : 0;
    ret->max_tokens = r->setup.max_tokens < room ? r->setup.max_tokens : room;
    ret->patience = r->options->patience;
    ret->length_penalty = r->options->length_penalty;
    ret->noise.seed = r->options->seed;
}

/* ---- Fallback -------------------------------------------------------------------------------- */

/* Comparisons with a threshold that is off are false. */
static bool needs_fallback(const struct wh_options *o, const struct wh_window *w) {
    bool unlikely = w->result.avg_logprob < o->logprob_threshold;
    bool silent = w->result.no_speech_prob > o->no_speech_threshold && unlikely;
    return !silent && (unlikely || w->compression_ratio > o->compression_ratio_threshold);
}

static int32_t attempt(struct wh_run *r, struct wh_window *w, struct wh_request *q,
                       uint32_t index) {
    const struct wh_options *o = r->options;
    q->temperature = o->temperatures[index];
    q->n_candidates = q->temperature > 0 ? o->best_of : o->beam_size;
    q->noise.stream[0] = (uint32_t)w->seek;
    q->noise.stream[1] = index;
    w->result.tokens = r->lf->tokens;
    w->temperature = q->temperature;
    int32_t status = wh_search_run(r->lf->search, q, 1, &r->watch, &w->result, r->err);
    if (status)
        return status;
    w->compression_ratio = wh_compression_ratio(r->lf->model, w->result.tokens, w->result.n_tokens);
    return w->compression_ratio < 0 ? num_fail_memory(r->err, "a text", w->result.n_tokens)
                                    : SLUICE_OK;
}

int32_t wh_window_decode(struct wh_run *r, struct wh_window *w) {
    struct wh_request request;
    make_request(r, &request);
    for (uint32_t i = 0; i < r->options->n_temperatures; i++) {
        int32_t status = attempt(r, w, &request, i);
        if (status)
            return status;
        r->report.n_fallbacks += i > 0;
        if (!needs_fallback(r->options, w))
            break;
    }
    r->report.n_windows++;
    r->report.n_tokens += w->result.n_tokens;
    return SLUICE_OK;
}

bool wh_window_is_silence(const struct wh_run *r, const struct wh_window *w) {
    const struct wh_options *o = r->options;
    return w->result.no_speech_prob > o->no_speech_threshold &&
           !(w->result.avg_logprob > o->logprob_threshold);
}

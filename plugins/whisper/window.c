/*
 * One window: its language, its prompt, and whether its text is good enough. See run.h.
 */
#include <math.h>
#include <string.h>

#include "num/cpu/kernels.h"
#include "whisper/run.h"
#include "whisper/text.h"

int32_t wh_window_language(struct wh_run *r, const struct wh_language **ret, double *ret_prob) {
    const struct wh_tokens *t = &r->lf->model->tokens;
    const float *logits;
    int32_t status = wh_search_start_logits(r->lf->search, r->seat->slot, &logits, r->err);
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
    const struct wh_setup *s = r->setup;
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
    append(prompt, &n, r->seat->previous + r->n_previous - n_previous, n_previous);
    return n;
}

void wh_window_request(struct wh_run *r) {
    const struct wh_longform *lf = r->lf;
    const struct wh_options *o = r->options;
    int32_t start[4], *prompt = r->seat->prompt;
    uint32_t n = add_context(r, prompt), C = lf->model->dims.n_text_ctx;
    struct wh_request q = {.slot = r->seat->slot,
                           .prompt = prompt,
                           .sot_index = n,
                           .rules = r->setup->rules,
                           .temperature = o->temperatures[r->window.attempt],
                           .patience = o->patience,
                           .length_penalty = o->length_penalty};
    append(prompt, &n, start, wh_start_tokens(lf->model, r->language, o, start));
    append(prompt, &n, r->setup->prefix.ids, r->setup->prefix.n);
    q.n_prompt = n;
    uint32_t room = C + 1 > n ? C + 1 - n : 0;
    q.max_tokens = r->setup->max_tokens < room ? r->setup->max_tokens : room;
    q.n_candidates = q.temperature > 0 ? o->best_of : o->beam_size;
    q.noise = (struct wh_noise){o->seed,
                                {(uint32_t)(r->first_frame + r->window.seek), r->window.attempt}};
    r->request = q;
    r->window.result.tokens = r->seat->tokens;
}

/* ---- Fallback -------------------------------------------------------------------------------- */

/* Comparisons with a threshold that is off are false. */
static bool needs_fallback(const struct wh_options *o, const struct wh_window *w) {
    bool unlikely = w->result.avg_logprob < o->logprob_threshold;
    bool silent = w->result.no_speech_prob > o->no_speech_threshold && unlikely;
    return !silent && (unlikely || w->compression_ratio > o->compression_ratio_threshold);
}

int32_t wh_window_judge(struct wh_run *r, bool *ret_again) {
    struct wh_window *w = &r->window;
    struct wh_report *report = &r->file->report;
    w->temperature = r->request.temperature;
    w->compression_ratio = wh_compression_ratio(r->lf->model, w->result.tokens, w->result.n_tokens);
    if (w->compression_ratio < 0)
        return num_fail_memory(r->err, "a text", w->result.n_tokens);
    report->n_fallbacks += w->attempt > 0;
    *ret_again = needs_fallback(r->options, w) && w->attempt + 1 < r->options->n_temperatures;
    if (!*ret_again) {
        report->n_windows++;
        report->n_tokens += w->result.n_tokens;
    }
    return SLUICE_OK;
}

bool wh_window_is_silence(const struct wh_run *r, const struct wh_window *w) {
    const struct wh_options *o = r->options;
    return w->result.no_speech_prob > o->no_speech_threshold &&
           !(w->result.avg_logprob > o->logprob_threshold);
}

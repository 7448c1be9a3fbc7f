/*
 * Cuts a window's tokens into segments, and skips silence around segments whose words look made up.
 * Both follow transcribe.py of github.com/openai/whisper. See run.h.
 */
#include <math.h>
#include <string.h>

#include "whisper/run.h"
#include "whisper/text.h"

static double time_of(const struct wh_run *r, const struct wh_window *w, int32_t token) {
    return wh_window_start_s(w) + (token - r->setup->rules.timestamp_begin) * WH_TIMESTAMP_S;
}

/* The window's whole output as one segment: no two timestamps meet in it. Without word times it
 * starts at its own opening timestamp, and ends with the window where none closes it. */
static void cut_whole(struct wh_run *r, struct wh_window *w) {
    const int32_t *t = w->result.tokens;
    uint32_t n = w->result.n_tokens, last = n;
    bool own = !r->options->word_timestamps;
    while (last > 0 && !wh_is_timestamp(r, t[last - 1]))
        last--;
    struct wh_draft *d = &r->seat->drafts[w->n_drafts++];
    *d = (struct wh_draft){.first = 0, .n_tokens = n};
    d->start = wh_window_start_s(w);
    d->end = d->start + (double)w->n_frames * WH_FRAME_S;
    if (last > (own ? 1 : 0) && t[last - 1] != r->setup->rules.timestamp_begin)
        d->end = time_of(r, w, t[last - 1]);
    if (own && n && wh_is_timestamp(r, t[0]))
        d->start = time_of(r, w, t[0]);
}

void wh_window_cut(struct wh_run *r, struct wh_window *w) {
    const int32_t *t = w->result.tokens;
    uint32_t n = w->result.n_tokens, first = 0;
    w->n_drafts = 0;
    w->single_ending = n >= 2 && wh_is_timestamp(r, t[n - 1]) && !wh_is_timestamp(r, t[n - 2]);
    for (uint32_t i = 1; i <= n; i++) {
        bool cut = i < n ? wh_is_timestamp(r, t[i - 1]) && wh_is_timestamp(r, t[i])
                         : w->single_ending && first > 0;
        if (!cut)
            continue;
        r->seat->drafts[w->n_drafts++] = (struct wh_draft){.start = time_of(r, w, t[first]),
                                                           .end = time_of(r, w, t[i - 1]),
                                                           .first = first,
                                                           .n_tokens = i - first};
        first = i;
    }
    w->open_text = false;
    for (uint32_t i = first; i < n; i++)
        w->open_text |= first > 0 && t[i] < r->setup->rules.eot;
    w->next_seek = w->seek + w->n_frames;
    if (first == 0) {
        cut_whole(r, w);
        return;
    }
    size_t steps = (size_t)(t[first - 1] - r->setup->rules.timestamp_begin);
    if (!w->single_ending && steps > 0)
        w->next_seek = w->seek + steps * WH_FRAMES_PER_TIMESTAMP;
}

/* ---- Doubtful segments ------------------------------------------------------------------------
 */

#define MANY_WORDS 8 /* that are looked at */

static double word_doubt(const struct wh_word *word) {
    double duration = word->end - word->start, doubt = 0;
    if (word->probability < 0.15)
        doubt += 1;
    if (duration < 0.133)
        doubt += (0.133 - duration) * 15;
    if (duration > 2)
        doubt += duration - 2;
    return doubt;
}

static bool is_punctuation(const char *word) {
    return strstr("\"'\u201c\u00bf([{-\"'.\u3002,\uff0c!\uff01?\uff1f:\uff1a\u201d)]}\u3001", word);
}

/* Very short, very long and unlikely words among the first ones. */
static bool is_doubtful(const struct wh_window *w, const struct wh_draft *d) {
    if (!d || d->n_words == 0)
        return false;
    const struct wh_word *words = wh_words_of(w->words, d);
    uint32_t n = 0;
    double doubt = 0;
    for (uint32_t i = 0; i < d->n_words && n < MANY_WORDS; i++) {
        if (is_punctuation(words[i].text))
            continue;
        doubt += word_doubt(&words[i]);
        n++;
    }
    return doubt >= 3 || doubt + 0.01 >= n;
}

static const struct wh_draft *next_with_words(const struct wh_run *r, const struct wh_window *w,
                                              uint32_t from) {
    for (uint32_t i = from; i < w->n_drafts; i++)
        if (r->seat->drafts[i].n_words)
            return &r->seat->drafts[i];
    return NULL;
}

static size_t to_frames(double s) {
    return s > 0 ? (size_t)rint(s * WH_FRAMES_PER_SECOND) : 0;
}

/* Whether the doubtful draft `i` has silence, or doubtful text, on both sides. */
static bool stands_alone(const struct wh_run *r, const struct wh_window *w, uint32_t i,
                         double last_end) {
    const struct wh_draft *d = &r->seat->drafts[i], *next = next_with_words(r, w, i + 1);
    double threshold = r->options->hallucination_silence_threshold, from = wh_window_start_s(w);
    double window_end = from + 2 * r->lf->model->dims.n_audio_ctx * WH_FRAME_S;
    double next_start =
        next ? wh_words_of(w->words, next)[0].start : from + (double)w->n_frames * WH_FRAME_S;
    bool before = d->start - last_end > threshold || d->start < threshold || d->start - from < 2;
    bool after = next_start - d->end > threshold || is_doubtful(w, next) || window_end - d->end < 2;
    return before && after;
}

bool wh_window_skip_silence(struct wh_run *r, struct wh_window *w) {
    double threshold = r->options->hallucination_silence_threshold, from = wh_window_start_s(w);
    double window_end = from + 2 * r->lf->model->dims.n_audio_ctx * WH_FRAME_S;
    double last_word = wh_last_end(r, w);
    if (!w->single_ending && last_word > from)
        w->next_seek =
            window_end - last_word > threshold ? to_frames(last_word) : w->seek + w->n_frames;
    const struct wh_draft *first = next_with_words(r, w, 0);
    if (first && is_doubtful(w, first) && first->start - from > threshold) {
        w->next_seek = w->seek + to_frames(first->start - from);
        return true;
    }
    double last_end = r->last_speech_s;
    for (uint32_t i = 0; i < w->n_drafts; i++) {
        const struct wh_draft *d = &r->seat->drafts[i];
        if (d->n_words == 0)
            continue;
        if (is_doubtful(w, d) && stands_alone(r, w, i, last_end)) {
            w->next_seek = to_frames(fmax(from + 1, d->start));
            if ((double)r->n_frames * WH_FRAME_S - d->end < threshold)
                w->next_seek = r->n_frames;
            w->n_drafts = i;
            break;
        }
        last_end = d->end;
    }
    return false;
}

double wh_last_end(const struct wh_run *r, const struct wh_window *w) {
    for (uint32_t i = w->n_drafts; i-- > 0;) {
        const struct wh_draft *d = &r->seat->drafts[i];
        if (d->n_words)
            return wh_words_of(w->words, d)[d->n_words - 1].end;
    }
    return w->n_drafts ? r->seat->drafts[w->n_drafts - 1].end : -1;
}

/*
 * The words of windows with their times: the backend finds where the tokens of all drafts begin, of
 * many windows at once; tokens are joined to words (split.h), punctuation joined to its word, and
 * durations that cannot be kept down. After timing.py of github.com/openai/whisper, whose constants
 * these are.
 *
 * Punctuation is joined by moving the borders of words in one text: no string is copied.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/dtw.h"
#include "whisper/run.h"
#include "whisper/split.h"
#include "num/unicode.h"
#include "whisper/text.h"

#define LONGEST_MEDIAN_S 0.7
#define TIMESTAMPS_PER_S 50

/* A word between alignment and hand-out; times from the start of the window. */
struct timing {
    size_t text, len; /* in split.text; len 0: joined to a neighbour */
    uint32_t n_tokens;
    double start, end, probability;
};

struct wh_words {
    struct wh_alignment alignment; /* what the backend does; n_tokens 0: nothing */
    int32_t *tokens;               /* start tokens, <|notimestamps|>, texts, end of text */
    float *probs;                  /* (n_text) */
    uint32_t *starts;              /* (n_text + 1): positions of 20 ms */
    float *weights;                /* (n_heads, n_tokens, T), or NULL */
    struct wh_split split;
    struct timing *timings;
    uint32_t n_timings;
    char *texts;           /* of `words`, each NUL-terminated */
    struct wh_word *words; /* of all drafts in a row */
    uint32_t n_words;
    float *attention; /* (n_heads, n_text, n_frames), or NULL */
    uint32_t n_heads, n_text, n_frames;
};

void wh_words_destroy(struct wh_words *words) {
    if (!words)
        return;
    wh_split_finish(&words->split);
    free(words->tokens);
    free(words->probs);
    free(words->starts);
    free(words->weights);
    free(words->timings);
    free(words->texts);
    free(words->words);
    free(words->attention);
    free(words);
}

struct wh_word *wh_words_of(const struct wh_words *words, const struct wh_draft *draft) {
    return words->words + draft->first_word;
}

struct wh_attention wh_attention_of(const struct wh_words *words, const struct wh_draft *draft) {
    struct wh_attention a = {.n_heads = words->n_heads, .n_frames = words->n_frames};
    if (!words->attention || draft->first_text >= words->n_text)
        return a;
    uint32_t room = words->n_text - draft->first_text;
    a.n_tokens = draft->n_text < room ? draft->n_text : room;
    a.head_stride = (size_t)words->n_text * words->n_frames;
    a.weights = words->attention + (size_t)draft->first_text * words->n_frames;
    return a;
}

/* ---- Alignment --------------------------------------------------------------------------------
 */

/* Texts that are aligned: tokens [first + 1, end) are words', and the end of text lies behind. */
static uint32_t n_text_of(const struct wh_words *words) {
    return words->alignment.end - words->alignment.first - 1;
}

/* The texts of all drafts, at most as many as the decoder takes in one pass. */
static void collect(const struct wh_run *r, const struct wh_window *w, struct wh_words *words) {
    struct wh_options plain = *r->options;
    plain.without_timestamps = true;
    struct wh_alignment *a = &words->alignment;
    uint32_t n = wh_start_tokens(r->lf->model, r->language, &plain, words->tokens);
    uint32_t C = r->lf->model->dims.n_text_ctx;
    a->first = n - 1;
    for (uint32_t i = 0; i < w->n_drafts; i++)
        for (uint32_t k = 0; k < r->seat->drafts[i].n_tokens && n + 1 < C; k++) {
            int32_t token = w->result.tokens[r->seat->drafts[i].first + k];
            if (token < r->setup->rules.eot)
                words->tokens[n++] = token;
        }
    a->end = n;
    words->tokens[n++] = r->setup->rules.eot;
    a->n_tokens = n;
}

/* Describes the alignment to the backend. */
static void describe(const struct wh_run *r, const struct wh_window *w, struct wh_words *words) {
    struct wh_alignment *a = &words->alignment;
    a->slot = r->seat->slot;
    a->tokens = words->tokens;
    a->n_frames = (uint32_t)(w->n_frames / WH_FRAMES_PER_TIMESTAMP);
    a->first_prob = a->first + 1;
    a->n_probs = n_text_of(words);
    a->n_text = (uint32_t)r->lf->model->rules.eot;
    if (n_text_of(words) == 0 || a->n_frames == 0)
        a->n_tokens = 0;
}

int32_t wh_words_begin(struct wh_run *r, struct wh_window *w, const struct wh_alignment **ret) {
    const struct wh_dims *s = &r->lf->model->dims;
    struct wh_words *words = calloc(1, sizeof *words);
    if (!words)
        return num_fail_memory(r->err, "words", sizeof *words);
    w->words = words;
    words->tokens = malloc((s->n_text_ctx + 8) * sizeof *words->tokens);
    if (!words->tokens)
        return num_fail_memory(r->err, "the alignment of words", s->n_text_ctx * sizeof(int32_t));
    collect(r, w, words);
    describe(r, w, words);
    struct wh_alignment *a = &words->alignment;
    size_t n_weights = (size_t)s->n_alignment_heads * a->n_tokens * s->n_audio_ctx;
    bool keep = r->options->attention && a->n_tokens;
    a->ret_probs = words->probs = malloc((a->n_probs + 1) * sizeof *words->probs);
    a->ret_starts = words->starts = malloc((a->n_probs + 2) * sizeof *words->starts);
    a->ret_weights = words->weights = keep ? malloc((n_weights + 1) * sizeof(float)) : NULL;
    if (!words->probs || !words->starts || (keep && !words->weights))
        return num_fail_memory(r->err, "the alignment of words", n_weights * sizeof(float));
    *ret = a->n_tokens ? a : NULL;
    return SLUICE_OK;
}

/* Keeps the rows from which the text tokens were written. */
static int32_t keep_attention(const struct wh_run *r, struct wh_words *words) {
    const struct wh_dims *dims = &r->lf->model->dims;
    const struct wh_alignment *a = &words->alignment;
    size_t T = dims->n_audio_ctx, n = a->n_frames, n_text = n_text_of(words);
    words->attention = malloc(dims->n_alignment_heads * n_text * n * sizeof(float) + 1);
    if (!words->attention)
        return num_fail_memory(r->err, "the attention", n_text * n * sizeof(float));
    words->n_heads = dims->n_alignment_heads;
    words->n_text = (uint32_t)n_text;
    words->n_frames = (uint32_t)n;
    num_attention_cut(words->weights, (size_t)dims->n_alignment_heads * a->n_tokens, T, n);
    for (size_t h = 0; h < words->n_heads; h++)
        for (size_t i = 0; i < n_text; i++)
            memcpy(words->attention + (h * n_text + i) * n,
                   words->weights + (h * a->n_tokens + a->first + i) * T, n * sizeof(float));
    return SLUICE_OK;
}

/* One timing for each word of the split. */
static int32_t make_timings(const struct wh_run *r, struct wh_words *words) {
    struct wh_split *split = &words->split;
    words->timings = calloc(split->n + 1, sizeof *words->timings);
    if (!words->timings)
        return num_fail_memory(r->err, "words", split->n * sizeof *words->timings);
    uint32_t token = 0;
    for (uint32_t i = 0; i < split->n; i++) {
        const struct wh_piece *p = &split->pieces[i];
        double sum = 0;
        for (uint32_t k = 0; k < p->n_tokens; k++)
            sum += words->probs[token + k];
        words->timings[i] =
            (struct timing){.text = p->text,
                            .len = p->len,
                            .n_tokens = p->n_tokens,
                            .start = words->starts[token] / (double)TIMESTAMPS_PER_S,
                            .probability = sum / p->n_tokens};
        token += p->n_tokens;
        words->timings[i].end = words->starts[token] / (double)TIMESTAMPS_PER_S;
    }
    words->n_timings = split->n;
    return SLUICE_OK;
}

/* Fills `words` with the timings of the window's text; none where there is no text or no audio. */
static int32_t find_timings(const struct wh_run *r, struct wh_words *words) {
    const char *language = r->language ? r->language->code : NULL;
    if (words->alignment.n_tokens == 0)
        return SLUICE_OK;
    int32_t status = words->weights ? keep_attention(r, words) : SLUICE_OK;
    if (!status)
        status = wh_split(r->lf->model, words->tokens + words->alignment.first + 1,
                          n_text_of(words), language, &words->split, r->err);
    return status ? status : make_timings(r, words);
}

/* ---- Durations and punctuation ----------------------------------------------------------------
 */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median duration of the words that take time, at most LONGEST_MEDIAN_S; 0 where there are none.
 * *ret_any: whether there are. */
static int32_t median_duration(const struct wh_words *words, double *ret, bool *ret_any,
                               struct num_err *err) {
    double *durations = malloc((words->n_timings + 1) * sizeof *durations);
    uint32_t n = 0;
    if (!durations)
        return num_fail_memory(err, "words", words->n_timings * sizeof *durations);
    for (uint32_t i = 0; i < words->n_timings; i++) {
        double d = words->timings[i].end - words->timings[i].start;
        if (d != 0)
            durations[n++] = d;
    }
    qsort(durations, n, sizeof *durations, compare_doubles);
    double median = n ? (durations[(n - 1) / 2] + durations[n / 2]) / 2 : 0;
    free(durations);
    *ret = median < LONGEST_MEDIAN_S ? median : LONGEST_MEDIAN_S;
    *ret_any = n > 0;
    return SLUICE_OK;
}

/* Whether the word, without white space around it where `strip`, is a part of `list`. */
static bool is_part_of(const struct wh_words *words, const struct timing *t, bool strip,
                       const char *list) {
    const char *text = words->split.text + t->text;
    size_t first = 0, n = strip ? num_text_trim(text, t->len, &first) : t->len;
    char word[64];
    if (n >= sizeof word)
        return false;
    memcpy(word, text + first, n);
    word[n] = '\0';
    return strstr(list, word) != NULL;
}

/* Words at the border of a sentence are no longer than twice the median. */
static void cut_at_sentences(struct wh_words *words, double longest) {
    static const char ends[] = ".\u3002!\uff01?\uff1f";
    for (uint32_t i = 1; i < words->n_timings; i++) {
        struct timing *t = &words->timings[i];
        if (t->end - t->start <= longest)
            continue;
        if (is_part_of(words, t, false, ends))
            t->end = t->start + longest;
        else if (is_part_of(words, t - 1, false, ends))
            t->start = t->end - longest;
    }
}

/* Opening punctuation joins the word behind it. */
static void join_forward(struct wh_words *words, const char *list) {
    struct timing *t = words->timings;
    for (ptrdiff_t i = (ptrdiff_t)words->n_timings - 2, j = i + 1; i >= 0; i--) {
        bool spaced = t[i].len && words->split.text[t[i].text] == ' ';
        if (!spaced || !is_part_of(words, &t[i], true, list)) {
            j = i;
            continue;
        }
        t[j].text = t[i].text;
        t[j].len += t[i].len;
        t[j].n_tokens += t[i].n_tokens;
        t[i].len = t[i].n_tokens = 0;
    }
}

/* Closing punctuation joins the word before it. */
static void join_backward(struct wh_words *words, const char *list) {
    struct timing *t = words->timings;
    for (uint32_t i = 0, j = 1; j < words->n_timings; j++) {
        bool spaced = t[i].len && words->split.text[t[i].text + t[i].len - 1] == ' ';
        if (spaced || !is_part_of(words, &t[j], false, list)) {
            i = j;
            continue;
        }
        if (t[i].len == 0)
            t[i].text = t[j].text;
        t[i].len += t[j].len;
        t[i].n_tokens += t[j].n_tokens;
        t[j].len = t[j].n_tokens = 0;
    }
}

/* ---- Drafts -----------------------------------------------------------------------------------
 */

static double to_centiseconds(double s) {
    char text[64];
    snprintf(text, sizeof text, "%.2f", s);
    return strtod(text, NULL);
}

/* Takes the next words until the draft's n tokens are covered. */
static void take_words(struct wh_words *words, struct wh_draft *d, uint32_t n_tokens, double offset,
                       uint32_t *next, char **texts) {
    uint32_t saved = 0;
    d->first_word = words->n_words;
    while (*next < words->n_timings && saved < n_tokens) {
        const struct timing *t = &words->timings[(*next)++];
        saved += t->n_tokens;
        if (t->len == 0)
            continue;
        memcpy(*texts, words->split.text + t->text, t->len);
        (*texts)[t->len] = '\0';
        words->words[words->n_words++] =
            (struct wh_word){.text = *texts,
                             .start = to_centiseconds(offset + t->start),
                             .end = to_centiseconds(offset + t->end),
                             .probability = t->probability,
                             .n_tokens = t->n_tokens};
        *texts += t->len + 1;
    }
    d->n_words = words->n_words - d->first_word;
}

/* The first words behind a pause are no longer than twice the median. */
static void cut_first_words(struct wh_word *words, uint32_t n, double pause_end, double median) {
    double longest = 2 * median;
    bool first_long = words[0].end - words[0].start > longest;
    bool both_long = n > 1 && words[1].end - words[0].start > 2 * longest;
    if (words[0].end - pause_end <= 4 * median || !(first_long || both_long))
        return;
    if (n > 1 && words[1].end - words[1].start > longest) {
        double border = fmax(words[1].end / 2, words[1].end - longest);
        words[0].end = words[1].start = border;
    }
    words[0].start = fmax(0, words[0].end - longest);
}

/* Draft and words agree on start and end: the words' times, unless they are far outside. */
static void fit_borders(struct wh_draft *d, struct wh_word *words, double median) {
    struct wh_word *last = &words[d->n_words - 1];
    if (d->start < words[0].end && d->start - 0.5 > words[0].start)
        words[0].start = fmax(0, fmin(words[0].end - median, d->start));
    else
        d->start = words[0].start;
    if (d->end > last->start && d->end + 0.5 < last->end)
        last->end = fmax(last->start + median, d->end);
    else
        d->end = last->end;
}

static int32_t hand_to_drafts(struct wh_run *r, struct wh_window *w, double median) {
    struct wh_words *words = w->words;
    size_t room = 0;
    for (uint32_t i = 0; i < words->n_timings; i++)
        room += words->timings[i].len + 1;
    words->texts = malloc(room + 1);
    words->words = calloc(words->n_timings + 1, sizeof *words->words);
    if (!words->texts || !words->words)
        return num_fail_memory(r->err, "words", room);
    char *texts = words->texts;
    uint32_t next = 0, text = 0;
    double pause_end = r->last_speech_s;
    for (uint32_t i = 0; i < w->n_drafts; i++) {
        struct wh_draft *d = &r->seat->drafts[i];
        uint32_t n_tokens = 0;
        for (uint32_t k = 0; k < d->n_tokens; k++)
            n_tokens += w->result.tokens[d->first + k] < r->setup->rules.eot;
        d->first_text = text;
        d->n_text = n_tokens;
        text += n_tokens;
        take_words(words, d, n_tokens, wh_window_start_s(w), &next, &texts);
        if (d->n_words == 0)
            continue;
        struct wh_word *own = words->words + d->first_word;
        cut_first_words(own, d->n_words, pause_end, median);
        fit_borders(d, own, median);
        pause_end = d->end;
    }
    return SLUICE_OK;
}

int32_t wh_words_end(struct wh_run *r, struct wh_window *w) {
    struct wh_words *words = w->words;
    double median = 0;
    bool any = false;
    int32_t status = find_timings(r, words);
    if (!status)
        status = median_duration(words, &median, &any, r->err);
    if (status)
        return status;
    if (any)
        cut_at_sentences(words, 2 * median);
    join_forward(words, r->options->prepend_punctuations);
    join_backward(words, r->options->append_punctuations);
    return hand_to_drafts(r, w, median);
}

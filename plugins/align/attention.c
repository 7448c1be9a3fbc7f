/*
 * From attention to word times, window by window: the segments of one window lie side by side in
 * the attention's time, so that they share one path.
 *
 * The heads' attention is averaged and taken as the probability that a token is said at a position.
 * This differs from timing.py of github.com/openai/whisper, whose times a transcript has already:
 * it normalises each position over all tokens and lets tokens share positions, and its words begin
 * where their token takes over, pauses included. A row rises to its peak within some 100 ms; the
 * half of the peak, as the width of peaks is measured, is where the sound begins, whatever the
 * exact share (docs/alignment.md has figures for others).
 */
#include "align/attention.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/dtw.h"
#include "num/half.h"
#include "num/safetensors.h"

#define FRAME_S      0.02
#define FLOOR        1e-3f /* of a probability, so that a position without attention costs 7 nats */
#define START_SHARE  0.5f
#define MAX_TOKENS   6000
#define MAX_POSITION 6000 /* two minutes */

/* A segment's tensors. */
struct part {
    const struct num_tensor *weights; /* F16 (n_heads, n_tokens, n_frames) */
    const struct num_tensor *counts;  /* U16 (n_words) */
    double start;                     /* of its window */
};

struct aligner {
    struct num_safetensors st;
    struct al_script *script;
    const struct num_watch *watch;
    struct al_attention_report report;
    struct num_err *err;
};

static float half_at(const struct num_tensor *t, size_t i) {
    uint16_t bits;
    memcpy(&bits, (const uint8_t *)t->data + 2 * i, sizeof bits);
    return num_f16_to_f32(bits);
}

static size_t count_at(const struct num_tensor *t, size_t i) {
    uint16_t n;
    memcpy(&n, (const uint8_t *)t->data + 2 * i, sizeof n);
    return n;
}

/* ---- Segments -------------------------------------------------------------------------------- */

static int32_t check_part(const struct aligner *a, const char *name, const struct part *p,
                          const char *start) {
    const uint64_t *shape = p->weights->shape;
    if (p->weights->dtype != NUM_F16 || p->weights->n_dims != 3 || shape[0] == 0 || shape[1] == 0 ||
        shape[1] > MAX_TOKENS || shape[2] == 0 || shape[2] > MAX_POSITION)
        return num_fail(a->err, SLUICE_INPUT,
                        "the attention's %s is not F16 [heads, tokens, positions]", name);
    if (!p->counts || p->counts->dtype != NUM_U16 || p->counts->n_dims != 1)
        return num_fail(a->err, SLUICE_INPUT,
                        "the attention has no tensor %s.words, U16, which says what tokens make "
                        "each word",
                        name);
    if (!start || !(p->start >= 0 && p->start <= AL_MAX_TIME_S))
        return num_fail(a->err, SLUICE_INPUT, "the attention's metadata has no %s.start in seconds",
                        name);
    return SLUICE_OK;
}

/* The tensors of segment `index`; *ret_weights NULL where it has none. */
static int32_t find_part(const struct aligner *a, size_t index, struct part *ret) {
    const json_t *id = json_object_get(a->script->segments[index].object, "id");
    char name[40], key[48];
    snprintf(name, sizeof name, "segment_%lld",
             json_is_integer(id) ? (long long)json_integer_value(id) : (long long)index);
    *ret = (struct part){.weights = num_safetensors_find(&a->st, name)};
    if (!ret->weights)
        return SLUICE_OK;
    snprintf(key, sizeof key, "%s.words", name);
    ret->counts = num_safetensors_find(&a->st, key);
    snprintf(key, sizeof key, "%s.start", name);
    const char *start = num_safetensors_meta(&a->st, key);
    ret->start = start ? strtod(start, NULL) : -1;
    return check_part(a, name, ret, start);
}

static bool same_window(const struct part *a, const struct part *b) {
    return a->weights && b->weights && a->start == b->start &&
           a->weights->shape[2] == b->weights->shape[2];
}

/* ---- Windows --------------------------------------------------------------------------------- */

/* The mean of the heads into rows of `to`. */
static void add_rows(const struct num_tensor *t, float *to) {
    size_t n = t->shape[1] * t->shape[2];
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (size_t h = 0; h < t->shape[0]; h++) {
            float w = half_at(t, h * n + i);
            sum += w > 0 && w <= 1 ? w : 0; /* no NaN */
        }
        to[i] = sum / (float)t->shape[0];
    }
}

/* Moves each start to the first position of its row that has START_SHARE of the row's largest. */
static void skip_to_share(const float *rows, size_t n_tokens, size_t n_frames, uint32_t *starts) {
    for (size_t i = 0; i < n_tokens; i++) {
        const float *row = rows + i * n_frames;
        size_t end = i + 1 < n_tokens ? starts[i + 1] : n_frames;
        float most = 0;
        for (size_t t = starts[i]; t < end; t++)
            most = fmaxf(most, row[t]);
        while (starts[i] + 1 < end && row[starts[i]] < START_SHARE * most)
            starts[i]++;
    }
}

/* Start positions of all tokens of a window. */
static int32_t find_starts(float *rows, size_t n_tokens, size_t n_frames, uint32_t *ret_starts,
                           struct num_err *err) {
    float *fit = malloc(n_tokens * n_frames * sizeof *fit);
    if (!fit)
        return num_fail_memory(err, "the alignment of words", n_tokens * n_frames * sizeof *fit);
    for (size_t i = 0; i < n_tokens * n_frames; i++)
        fit[i] = logf(rows[i] + FLOOR);
    int32_t status = num_dtw_rows(fit, n_tokens, n_frames, ret_starts, err);
    free(fit);
    if (!status)
        skip_to_share(rows, n_tokens, n_frames, ret_starts);
    return status;
}

/* Times of the words of segments [first, end), whose tokens start at `starts`. */
static void set_times(struct aligner *a, const struct part *parts, size_t first, size_t end,
                      const uint32_t *starts, size_t n_tokens) {
    double offset = parts[first].start, window_end;
    window_end = offset + FRAME_S * (double)parts[first].weights->shape[2];
    size_t token = 0, of_segments = 0;
    for (size_t i = first; i < end; i++) {
        const struct al_segment *s = &a->script->segments[i];
        of_segments += parts[i].weights->shape[1];
        if (parts[i].counts->n_elements != s->n) {
            a->report.n_others += s->n;
            token = of_segments;
            continue;
        }
        for (size_t k = 0; k < s->n; k++) {
            struct al_word *w = &a->script->words[s->first + k];
            w->start = offset + FRAME_S * starts[token < n_tokens ? token : n_tokens - 1];
            w->end = window_end;
            w->timed = true;
            token += count_at(parts[i].counts, k);
        }
        a->report.n_words += s->n;
    }
}

static int32_t align_window(struct aligner *a, const struct part *parts, size_t first, size_t end) {
    size_t n_frames = parts[first].weights->shape[2], n_tokens = 0, row = 0;
    for (size_t i = first; i < end; i++)
        n_tokens += parts[i].weights->shape[1];
    if (n_tokens > n_frames) {
        for (size_t i = first; i < end; i++)
            a->report.n_others += a->script->segments[i].n;
        return SLUICE_OK;
    }
    float *rows = malloc(n_tokens * n_frames * sizeof *rows);
    uint32_t *starts = malloc(n_tokens * sizeof *starts);
    int32_t status = SLUICE_OK;
    if (!rows || !starts)
        status = num_fail_memory(a->err, "the attention", n_tokens * n_frames * sizeof *rows);
    for (size_t i = first; !status && i < end; i++) {
        add_rows(parts[i].weights, rows + row * n_frames);
        row += parts[i].weights->shape[1];
    }
    if (!status)
        status = find_starts(rows, n_tokens, n_frames, starts, a->err);
    if (!status)
        set_times(a, parts, first, end, starts, n_tokens);
    free(rows);
    free(starts);
    return status;
}

/* ---- All ------------------------------------------------------------------------------------- */

/* No word lasts into the next one. */
static void end_at_next(struct al_script *script) {
    for (size_t i = 0; i + 1 < script->n_words; i++) {
        struct al_word *w = &script->words[i];
        if (w->timed && w[1].timed)
            w->end = fmax(w->start, fmin(w->end, w[1].start));
    }
}

static int32_t align_windows(struct aligner *a, struct part *parts) {
    size_t n = a->script->n_segments;
    int32_t status = SLUICE_OK;
    for (size_t first = 0, end; !status && first < n; first = end) {
        for (end = first + 1; end < n && same_window(&parts[first], &parts[end]);)
            end++;
        if (num_cancelled(a->watch))
            return num_fail(a->err, SLUICE_CANCELLED, "cancelled");
        if (parts[first].weights)
            status = align_window(a, parts, first, end);
        else
            a->report.n_others += a->script->segments[first].n;
        num_progress(a->watch, (double)end / (double)n);
    }
    return status;
}

static int32_t align_all(struct aligner *a) {
    size_t n = a->script->n_segments, n_found = 0;
    struct part *parts = calloc(n + 1, sizeof *parts);
    int32_t status = parts ? SLUICE_OK : num_fail_memory(a->err, "the segments", n * sizeof *parts);
    for (size_t i = 0; !status && i < n; i++) {
        status = find_part(a, i, &parts[i]);
        n_found += parts[i].weights != NULL;
    }
    if (!status && a->script->n_words > 0 && n_found == 0)
        status = num_fail(a->err, SLUICE_INPUT,
                          "the attention has no tensor for any of the %zu segments: connect the "
                          "attention of the stage that the transcript is from",
                          n);
    if (!status)
        status = align_windows(a, parts);
    free(parts);
    if (!status)
        end_at_next(a->script);
    return status;
}

int32_t al_attention_align(const void *data, size_t len, struct al_script *script,
                           const struct num_watch *watch, struct al_attention_report *ret_report,
                           struct num_err *err) {
    struct aligner a = {.script = script, .watch = watch, .err = err};
    int32_t status = num_safetensors_parse(data, len, "the attention", &a.st, err);
    if (status)
        return status;
    status = align_all(&a);
    num_safetensors_close(&a.st);
    if (!status)
        *ret_report = a.report;
    return status;
}

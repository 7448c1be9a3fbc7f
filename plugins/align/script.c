/*
 * The tree of a transcript and its words in a row: see script.h. The tree owns all texts; words
 * that are cut from a segment's text are put into the tree at once, so that there is one place
 * where a word lives.
 */
#include "align/script.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/json.h"
#include "num/utf8.h"

/* ---- Characters ------------------------------------------------------------------------------ */

size_t al_next_char(const char *text, uint32_t *ret) {
    size_t len = strnlen(text, 4), n;
    if (len == 0)
        return 0;
    n = num_utf8_next((const uint8_t *)text, len, ret);
    if (n)
        return n;
    n = *ret;
    *ret = 0xfffd;
    return n;
}

size_t al_count_chars(const char *text) {
    size_t n = 0;
    uint32_t c;
    for (size_t step; (step = al_next_char(text, &c)) > 0; text += step)
        n++;
    return n;
}

static bool is_blank(uint32_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0 || (c >= 0x2000 && c <= 0x200b) ||
           c == 0x3000;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool is_unspaced(const char *language) {
    static const char *const codes[] = {"zh", "ja", "th", "lo", "my", "yue", "km", "bo"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(language, codes[i]) == 0)
            return true;
    return false;
}

/* Bytes of the word that starts at `text`: blanks, then what is no blank; or one character. What is
 * left is blanks alone: all of it. */
static size_t word_bytes(const char *text, bool unspaced) {
    size_t at = 0, step;
    uint32_t c;
    while ((step = al_next_char(text + at, &c)) > 0 && is_blank(c))
        at += step;
    for (size_t n = 0; (step = al_next_char(text + at, &c)) > 0 && !is_blank(c); at += step)
        if (unspaced && n++ == 1)
            break;
    return at;
}

static bool has_more(const char *text) {
    uint32_t c;
    for (size_t step; (step = al_next_char(text, &c)) > 0; text += step)
        if (!is_blank(c))
            return true;
    return false;
}

/* A list of the text's words, each an object; NULL without memory. */
static json_t *cut_text(const char *text, bool unspaced) {
    json_t *words = json_array();
    while (words && has_more(text)) {
        size_t n = word_bytes(text, unspaced);
        if (json_array_append_new(words, json_pack("{s:s%}", "word", text, n))) {
            json_decref(words);
            return NULL;
        }
        text += n;
    }
    return words;
}

/* Whether it has times, in order. */
static bool times_of(const json_t *item, double *ret_start, double *ret_end) {
    return num_json_times(item, ret_start, ret_end) && *ret_start >= 0 && *ret_end >= *ret_start &&
           *ret_end <= AL_MAX_TIME_S;
}

static int32_t read_segment(struct al_script *s, size_t i, struct num_err *err) {
    struct al_segment *segment = &s->segments[i];
    segment->object = json_array_get(json_object_get(s->root, "segments"), i);
    if (!times_of(segment->object, &segment->start, &segment->end))
        return num_fail(err, SLUICE_INPUT,
                        "segments[%zu]: expected start and end, in seconds and in order", i);
    const char *text = json_string_value(json_object_get(segment->object, "text"));
    json_t *words = json_object_get(segment->object, "words");
    if (!text)
        return num_fail(err, SLUICE_INPUT, "segments[%zu].text: expected a text", i);
    if (words && !json_is_array(words) && !json_is_null(words))
        return num_fail(err, SLUICE_INPUT, "segments[%zu].words: expected a list", i);
    if (json_array_size(words) == 0) {
        words = cut_text(text, is_unspaced(s->language));
        if (!words || json_object_set_new(segment->object, "words", words))
            return num_fail_memory(err, "the words of a transcript", strlen(text));
    }
    segment->first = s->n_words;
    segment->n = json_array_size(words);
    s->n_words += segment->n;
    return SLUICE_OK;
}

static int32_t read_words(struct al_script *s, size_t i, struct num_err *err) {
    const struct al_segment *segment = &s->segments[i];
    const json_t *words = json_object_get(segment->object, "words");
    for (size_t k = 0; k < segment->n; k++) {
        struct al_word *w = &s->words[segment->first + k];
        w->object = json_array_get(words, k);
        w->text = json_string_value(json_object_get(w->object, "word"));
        w->probability = -1;
        w->timed = times_of(w->object, &w->start, &w->end);
        if (!w->text)
            return num_fail(err, SLUICE_INPUT, "segments[%zu].words[%zu]: expected a word", i, k);
    }
    return SLUICE_OK;
}

static int32_t parse(const void *json, size_t len, const struct num_watch *watch,
                     struct al_script *s, struct num_err *err) {
    int32_t status = num_json_parse(json, len, 0, "the transcript", watch, &s->root, err);
    if (status)
        return status;
    if (!json_is_array(json_object_get(s->root, "segments")))
        return num_fail(err, SLUICE_INPUT, "the transcript has no list of segments");
    const char *language = json_string_value(json_object_get(s->root, "language"));
    snprintf(s->language, sizeof s->language, "%s", language ? language : "");
    return SLUICE_OK;
}

int32_t al_script_read(const void *json, size_t len, const struct num_watch *watch,
                       struct al_script *ret, struct num_err *err) {
    struct al_script s = {0};
    int32_t status = parse(json, len, watch, &s, err);
    if (!status) {
        s.n_segments = json_array_size(json_object_get(s.root, "segments"));
        s.segments = calloc(s.n_segments + 1, sizeof *s.segments);
        if (!s.segments)
            status = num_fail_memory(err, "the segments", s.n_segments * sizeof *s.segments);
    }
    for (size_t i = 0; !status && i < s.n_segments; i++)
        status = read_segment(&s, i, err);
    if (!status && !(s.words = calloc(s.n_words + 1, sizeof *s.words)))
        status = num_fail_memory(err, "the words", s.n_words * sizeof *s.words);
    for (size_t i = 0; !status && i < s.n_segments; i++)
        status = read_words(&s, i, err);
    if (status)
        al_script_finish(&s);
    else
        *ret = s;
    return status;
}

void al_script_finish(struct al_script *script) {
    json_decref(script->root);
    free(script->segments);
    free(script->words);
    *script = (struct al_script){0};
}

/* ---- Settling -------------------------------------------------------------------------------- */

/* Words [from, to) share the time between `start` and `end` by their characters. */
static void share(struct al_word *words, size_t from, size_t to, double start, double end) {
    double total = 0, so_far = 0, span = end > start ? end - start : 0;
    for (size_t i = from; i < to; i++)
        total += (double)al_count_chars(words[i].text) + 1;
    for (size_t i = from; i < to; i++) {
        words[i].start = start + span * so_far / total;
        so_far += (double)al_count_chars(words[i].text) + 1;
        words[i].end = start + span * so_far / total;
    }
}

static void settle_segment(struct al_word *words, const struct al_segment *s) {
    double before = s->start;
    bool any = false;
    for (size_t i = 0; i < s->n; i++) {
        if (!words[i].timed)
            continue;
        words[i].start = any ? fmax(words[i].start, before) : words[i].start;
        words[i].end = fmax(words[i].end, words[i].start);
        before = words[i].start;
        any = true;
    }
    for (size_t from = 0, to; from < s->n; from = to + 1) {
        for (to = from; to < s->n && !words[to].timed;)
            to++;
        double start = from > 0 ? words[from - 1].end : s->start;
        double end = to < s->n ? words[to].start : s->end;
        if (any && from == 0)
            start = fmin(start, end);
        share(words, from, to, start, end);
    }
}

void al_script_settle(struct al_script *script) {
    for (size_t i = 0; i < script->n_segments; i++)
        settle_segment(script->words + script->segments[i].first, &script->segments[i]);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static bool set_number(json_t *object, const char *key, double value, double steps) {
    return json_object_set_new(object, key, json_real(round(value * steps) / steps)) == 0;
}

static bool write_segment(const struct al_script *script, const struct al_segment *s) {
    const struct al_word *words = script->words + s->first;
    bool ok = true;
    for (size_t i = 0; ok && i < s->n; i++) {
        ok = set_number(words[i].object, "start", words[i].start, 1e3) &&
             set_number(words[i].object, "end", words[i].end, 1e3);
        if (ok && words[i].probability >= 0 && !json_object_get(words[i].object, "probability"))
            ok = set_number(words[i].object, "probability", words[i].probability, 1e6);
    }
    if (!ok || s->n == 0)
        return ok;
    double end = 0;
    for (size_t i = 0; i < s->n; i++)
        end = fmax(end, words[i].end);
    return set_number(s->object, "start", words[0].start, 1e3) &&
           set_number(s->object, "end", end, 1e3);
}

int32_t al_script_write(struct al_script *script, char **ret, struct num_err *err) {
    bool ok = true;
    for (size_t i = 0; ok && i < script->n_segments; i++)
        ok = write_segment(script, &script->segments[i]);
    char *text = ok ? json_dumps(script->root, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    if (!text)
        return num_fail_memory(err, "the transcript", script->n_words * sizeof *script->words);
    *ret = text;
    return SLUICE_OK;
}

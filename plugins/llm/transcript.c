/* Transcripts: see transcript.h. Reads with jansson; strings are borrowed from its tree. */
#include "llm/transcript.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/json.h"
#include "num/unicode.h"

static int32_t read_time(const json_t *object, const char *key, size_t i, double *ret,
                         struct num_err *err) {
    const json_t *value = json_object_get(object, key);
    double seconds = json_number_value(value);
    if (!json_is_number(value) || !(seconds >= -LM_MAX_TIME_S && seconds <= LM_MAX_TIME_S))
        return num_fail(err, SLUICE_INPUT, "segments[%zu].%s: expected seconds", i, key);
    *ret = seconds < 0 ? 0 : seconds;
    return SLUICE_OK;
}

static int32_t read_segment(json_t *json, size_t i, struct lm_segment *ret, struct num_err *err) {
    const json_t *text = json_object_get(json, "text"), *speaker = json_object_get(json, "speaker");
    if (!json_is_string(text))
        return num_fail(err, SLUICE_INPUT, "segments[%zu].text: expected a string", i);
    if (speaker && !json_is_null(speaker) && !json_is_string(speaker))
        return num_fail(err, SLUICE_INPUT, "segments[%zu].speaker: expected a string", i);
    size_t begin;
    ret->json = json;
    ret->len = num_text_trim(json_string_value(text), json_string_length(text), &begin);
    ret->text = json_string_value(text) + begin;
    ret->speaker = speaker ? json_string_value(speaker) : NULL;
    int32_t status = read_time(json, "start", i, &ret->start, err);
    if (status == SLUICE_OK)
        status = read_time(json, "end", i, &ret->end, err);
    if (status == SLUICE_OK && ret->end < ret->start)
        ret->end = ret->start;
    return status;
}

static int32_t read_segments(struct lm_transcript *t, struct num_err *err) {
    json_t *list = json_object_get(t->root, "segments");
    if (!json_is_array(list))
        return num_fail(err, SLUICE_INPUT, "segments: expected a list");
    t->n_segments = json_array_size(list);
    t->segments = calloc(t->n_segments + 1, sizeof *t->segments);
    if (!t->segments)
        return num_fail_memory(err, "the segments", t->n_segments * sizeof *t->segments);
    int32_t status = SLUICE_OK;
    for (size_t i = 0; i < t->n_segments && status == SLUICE_OK; i++) {
        status = read_segment(json_array_get(list, i), i, &t->segments[i], err);
        if (status == SLUICE_OK && t->segments[i].end > t->duration)
            t->duration = t->segments[i].end;
    }
    return status;
}

int32_t lm_transcript_read(const void *data, size_t len, const struct num_watch *watch,
                           struct lm_transcript *ret, struct num_err *err) {
    struct lm_transcript t = {.language = ""};
    int32_t status =
        num_json_parse(data, len, JSON_ALLOW_NUL, "the transcript", watch, &t.root, err);
    if (status == SLUICE_OK)
        status = read_segments(&t, err);
    const json_t *language = json_object_get(t.root, "language");
    const json_t *duration = json_object_get(t.root, "duration");
    if (json_is_string(language))
        t.language = json_string_value(language);
    if (json_is_number(duration) && json_number_value(duration) > 0)
        t.duration = json_number_value(duration);
    if (status != SLUICE_OK)
        lm_transcript_finish(&t);
    else
        *ret = t;
    return status;
}

void lm_transcript_finish(struct lm_transcript *t) {
    free(t->segments);
    json_decref(t->root);
    *t = (struct lm_transcript){0};
}

/* ---- Completing ------------------------------------------------------------------------------ */

/* A word that can stay; its end comes after its start then. */
static bool complete_word(json_t *word) {
    double start, end;
    if (!num_json_times(word, &start, &end) || !json_is_string(json_object_get(word, "word")))
        return false;
    if (end < start)
        json_object_set_new(word, "end", json_real(start));
    return true;
}

static void complete_segment(struct lm_segment *s, size_t i) {
    json_t *words = json_object_get(s->json, "words");
    if (!json_is_number(json_object_get(s->json, "id")))
        json_object_set_new(s->json, "id", json_integer((json_int_t)i));
    if (json_number_value(json_object_get(s->json, "start")) != s->start)
        json_object_set_new(s->json, "start", json_real(s->start));
    if (json_number_value(json_object_get(s->json, "end")) != s->end)
        json_object_set_new(s->json, "end", json_real(s->end));
    if (words && !json_is_array(words))
        json_object_del(s->json, "words");
    for (size_t k = json_array_size(words); json_is_array(words) && k-- > 0;)
        if (!complete_word(json_array_get(words, k)))
            json_array_remove(words, k);
}

int32_t lm_transcript_complete(struct lm_transcript *t, struct num_err *err) {
    num_autobuf all = {0};
    for (size_t i = 0; i < t->n_segments; i++) {
        complete_segment(&t->segments[i], i);
        const json_t *text = json_object_get(t->segments[i].json, "text");
        num_buf_add(&all, json_string_value(text), json_string_length(text));
    }
    if (!json_is_string(json_object_get(t->root, "language")))
        json_object_set_new(t->root, "language", json_string(""));
    if (!json_is_number(json_object_get(t->root, "duration")))
        json_object_set_new(t->root, "duration", json_real(t->duration));
    if (all.failed ||
        json_object_set_new(t->root, "text", json_stringn(num_buf_text(&all), all.len)))
        return num_fail_memory(err, "the text", all.len);
    return SLUICE_OK;
}

bool lm_same_speaker(const struct lm_segment *a, const struct lm_segment *b) {
    return a->speaker && b->speaker ? strcmp(a->speaker, b->speaker) == 0
                                    : a->speaker == b->speaker;
}

void lm_transcript_print(const struct lm_transcript *t, size_t first, size_t last,
                         struct num_buf *out) {
    const struct lm_segment *before = NULL;
    for (size_t i = first; i < last; i++) {
        const struct lm_segment *s = &t->segments[i];
        if (s->len == 0)
            continue;
        bool goes_on = before && lm_same_speaker(before, s);
        if (before)
            num_buf_addc(out, goes_on ? ' ' : '\n');
        if (!goes_on && s->speaker)
            num_buf_addf(out, "%.200s: ", s->speaker);
        num_buf_add(out, s->text, s->len);
        before = s;
    }
    if (before)
        num_buf_addc(out, '\n');
}

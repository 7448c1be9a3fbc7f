/*
 * Builds transcript/1: see transcript.h. The text of the whole is the segments' texts in a row.
 */
#include "whisper/transcript.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define SIGNIFICANT_DIGITS                                                                         \
    12 /* enough for milliseconds of a week, few enough to hide binary fractions */

struct wh_transcript {
    json_t *segments;
};

int32_t wh_transcript_create(struct wh_transcript **ret, struct num_err *err) {
    struct wh_transcript *t = calloc(1, sizeof *t);
    if (t)
        t->segments = json_array();
    if (!t || !t->segments) {
        free(t);
        return num_fail_memory(err, "a transcript", sizeof *t);
    }
    *ret = t;
    return SLUICE_OK;
}

void wh_transcript_destroy(struct wh_transcript *transcript) {
    if (!transcript)
        return;
    json_decref(transcript->segments);
    free(transcript);
}

/* A number rounded to `digits` decimals; 0 where it is none. */
static json_t *rounded(double value, int digits) {
    double scale = pow(10, digits);
    return json_real(isfinite(value) ? round(value * scale) / scale : 0);
}

static json_t *token_list(const struct wh_segment *s) {
    json_t *tokens = json_array();
    for (uint32_t i = 0; i < s->n_tokens; i++)
        if (json_array_append_new(tokens, json_integer(s->tokens[i]))) {
            json_decref(tokens);
            return NULL;
        }
    return tokens;
}

static json_t *word_list(const struct wh_segment *s) {
    json_t *words = json_array();
    for (uint32_t i = 0; i < s->n_words; i++) {
        const struct wh_word *w = &s->words[i];
        json_t *o =
            json_pack("{s:s, s:o, s:o, s:o}", "word", w->text, "start", rounded(w->start, 3), "end",
                      rounded(w->end, 3), "probability", rounded(w->probability, 6));
        if (!o || json_array_append_new(words, o)) {
            json_decref(words);
            return NULL;
        }
    }
    return words;
}

int32_t wh_transcript_add(struct wh_transcript *transcript, const struct wh_segment *s,
                          struct num_err *err) {
    json_t *o = json_pack(
        "{s:I, s:I, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o}", "id", (json_int_t)s->id, "seek",
        (json_int_t)s->seek, "start", rounded(s->start, 3), "end", rounded(s->end, 3), "text",
        s->text, "tokens", token_list(s), "temperature", rounded(s->temperature, 3), "avg_logprob",
        rounded(s->avg_logprob, 6), "compression_ratio", rounded(s->compression_ratio, 6),
        "no_speech_prob", rounded(s->no_speech_prob, 6));
    bool failed = !o;
    if (o && s->language)
        failed |= json_object_set_new(o, "language", json_string(s->language)) != 0;
    if (o && s->words)
        failed |= json_object_set_new(o, "words", word_list(s)) != 0;
    if (failed) {
        json_decref(o);
        o = NULL;
    }
    if (!o || json_array_append_new(transcript->segments, o))
        return num_fail_memory(err, "a segment of the transcript", strlen(s->text));
    return SLUICE_OK;
}

char *wh_transcript_last(const struct wh_transcript *transcript) {
    size_t n = json_array_size(transcript->segments);
    return json_dumps(json_array_get(transcript->segments, n - 1),
                      JSON_COMPACT | JSON_REAL_PRECISION(SIGNIFICANT_DIGITS));
}

/* The texts of all segments in a row; malloc'ed. */
static char *joined_text(const json_t *segments) {
    size_t len = 0, at = 0, i;
    const json_t *s;
    json_array_foreach(segments, i, s) len += json_string_length(json_object_get(s, "text"));
    char *text = malloc(len + 1);
    if (!text)
        return NULL;
    json_array_foreach(segments, i, s) {
        const json_t *part = json_object_get(s, "text");
        memcpy(text + at, json_string_value(part), json_string_length(part));
        at += json_string_length(part);
    }
    text[len] = '\0';
    return text;
}

int32_t wh_transcript_text(const struct wh_transcript *transcript, const char *language,
                           double duration_s, char **ret_json, struct num_err *err) {
    char *text = joined_text(transcript->segments), *json = NULL;
    json_t *o =
        text ? json_pack("{s:s, s:o, s:s, s:O}", "language", language, "duration",
                         rounded(duration_s, 3), "text", text, "segments", transcript->segments)
             : NULL;
    if (o)
        json = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(SIGNIFICANT_DIGITS));
    json_decref(o);
    free(text);
    if (!json)
        return num_fail_memory(err, "the transcript", json_array_size(transcript->segments));
    *ret_json = json;
    return SLUICE_OK;
}

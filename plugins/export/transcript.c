/*
 * The transcript reader: jansson parses, this file checks and flattens.
 *
 * Segments and words become two plain arrays, sized by one pass over the tree before they are
 * filled, so that a long transcript costs two allocations beside the tree. Strings stay in the
 * tree. The reader does not judge text or order: cues (cue.h) do.
 */
#include "export/transcript.h"

#include <stdlib.h>

#include <sluice/types.h>

#include "export/text.h"
#include "num/json.h"

/* "a string", for messages about values of the wrong type. */
static const char *type_name(const json_t *value) {
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return "a truth value";
    }
}

/* The member, with null counting as absent. */
static json_t *member(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* Reads object[key], a time in seconds, whose place in the file is `where`. */
static int read_time(const json_t *object, const char *key, const char *where, double *ret,
                     struct num_err *err) {
    const json_t *value = member(object, key);
    if (!json_is_number(value))
        return num_fail(err, SLUICE_INPUT, "%s.%s: expected a number of seconds, found %s", where,
                        key, type_name(value));
    double seconds = json_number_value(value);
    if (!(seconds <= EX_MAX_TIME_S && seconds >= -EX_MAX_TIME_S))
        return num_fail(err, SLUICE_INPUT, "%s.%s: %g is no time of a recording in seconds", where,
                        key, seconds);
    *ret = seconds > 0 ? seconds : 0;
    return 0;
}

static int read_word(const json_t *item, const char *where, struct ex_word *ret,
                     struct num_err *err) {
    if (!json_is_object(item))
        return num_fail(err, SLUICE_INPUT, "%s: expected an object, found %s", where,
                        type_name(item));
    const json_t *text = member(item, "word");
    if (!json_is_string(text))
        return num_fail(err, SLUICE_INPUT, "%s.word: expected a string, found %s", where,
                        type_name(text));
    struct ex_word word = {-1, -1, ex_text_count(json_string_value(text))};
    if (member(item, "start") && member(item, "end")) {
        int status = read_time(item, "start", where, &word.start, err);
        if (status == 0)
            status = read_time(item, "end", where, &word.end, err);
        if (status < 0)
            return status;
    }
    *ret = word;
    return 0;
}

/* Fills segment->words, which has room for the items of `list`. */
static int read_words(const json_t *list, size_t segment_index, struct ex_word *words,
                      struct ex_segment *segment, struct num_err *err) {
    char where[80];
    for (size_t i = 0; i < json_array_size(list); i++) {
        snprintf(where, sizeof where, "segments[%zu].words[%zu]", segment_index, i);
        int status = read_word(json_array_get(list, i), where, &words[i], err);
        if (status < 0)
            return status;
    }
    segment->words = words;
    segment->n_words = json_array_size(list);
    return 0;
}

static int read_segment(const json_t *item, size_t index, struct ex_segment *ret,
                        struct num_err *err) {
    char where[40];
    snprintf(where, sizeof where, "segments[%zu]", index);
    if (!json_is_object(item))
        return num_fail(err, SLUICE_INPUT, "%s: expected an object, found %s", where,
                        type_name(item));
    struct ex_segment segment = {0};
    int status = read_time(item, "start", where, &segment.start, err);
    if (status == 0)
        status = read_time(item, "end", where, &segment.end, err);
    if (status < 0)
        return status;
    if (segment.end < segment.start)
        segment.end = segment.start;
    const json_t *text = member(item, "text");
    if (!json_is_string(text))
        return num_fail(err, SLUICE_INPUT, "%s.text: expected a string, found %s", where,
                        type_name(text));
    segment.text = json_string_value(text);
    const json_t *speaker = member(item, "speaker");
    if (speaker && !json_is_string(speaker))
        return num_fail(err, SLUICE_INPUT, "%s.speaker: expected a string, found %s", where,
                        type_name(speaker));
    if (speaker && json_string_length(speaker) > 0)
        segment.speaker = json_string_value(speaker);
    *ret = segment;
    return 0;
}

/* Number of words in all segments; lists of the wrong type are refused. */
static int count_words(const json_t *segments, size_t *ret_n, struct num_err *err) {
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(segments); i++) {
        const json_t *words = member(json_array_get(segments, i), "words");
        if (words && !json_is_array(words))
            return num_fail(err, SLUICE_INPUT, "segments[%zu].words: expected a list, found %s", i,
                            type_name(words));
        n += json_array_size(words);
    }
    *ret_n = n;
    return 0;
}

static int read_segments(const json_t *list, struct ex_transcript *t, struct num_err *err) {
    size_t n_words = 0;
    int status = count_words(list, &n_words, err);
    if (status < 0)
        return status;
    t->n_segments = json_array_size(list);
    t->segments = calloc(t->n_segments + 1, sizeof *t->segments);
    t->words = calloc(n_words + 1, sizeof *t->words);
    if (!t->segments || !t->words)
        return num_fail(err, SLUICE_RESOURCE, "out of memory for %zu segments", t->n_segments);
    struct ex_word *words = t->words;
    for (size_t i = 0; i < t->n_segments; i++) {
        const json_t *item = json_array_get(list, i);
        status = read_segment(item, i, &t->segments[i], err);
        if (status == 0)
            status = read_words(member(item, "words"), i, words, &t->segments[i], err);
        if (status < 0)
            return status;
        words += t->segments[i].n_words;
    }
    return 0;
}

int ex_transcript_read(const void *data, size_t len, const struct num_watch *watch,
                       struct ex_transcript *ret, struct num_err *err) {
    ex_autotranscript t = {0};
    int status = num_json_parse(data, len, 0, "the transcript", watch, &t.root, err);
    if (status < 0)
        return status;
    if (!json_is_object(t.root))
        return num_fail(err, SLUICE_INPUT, "the transcript is %s, not an object with `segments`",
                        type_name(t.root));
    const json_t *segments = member(t.root, "segments");
    if (!json_is_array(segments))
        return num_fail(err, SLUICE_INPUT, "segments: expected a list, found %s",
                        type_name(segments));
    status = read_segments(segments, &t, err);
    if (status < 0)
        return status;
    *ret = t;
    t = (struct ex_transcript){0};
    return 0;
}

void ex_transcript_finish(struct ex_transcript *transcript) {
    free(transcript->segments);
    free(transcript->words);
    json_decref(transcript->root);
    *transcript = (struct ex_transcript){0};
}

/*
 * The transcript is changed as a tree: what this file does not know is carried along. Two passes
 * over a segment: words get speakers, then the segment is cut into stretches of one speaker.
 */
#include "diarize/assign.h"

#include <stdlib.h>
#include <string.h>

#include "diarize/snap.h"
#include "diarize/who.h"
#include "num/json.h"

#define NOBODY UINT32_MAX

struct assign {
    const struct dz_turns *turns;
    struct dz_who who;
    double *time;     /* [n_speakers], of the segment at hand */
    uint32_t *chosen; /* of the words of the segment at hand */
    size_t capacity;  /* of chosen */
    struct dz_assign_options options;
    struct dz_assign_report report;
    struct num_err *err;
};

/* ---- words ---- */

static int32_t reserve(struct assign *a, size_t n) {
    if (n <= a->capacity)
        return SLUICE_OK;
    uint32_t *grown = reallocarray(a->chosen, n, sizeof *grown);
    if (!grown)
        return num_fail_memory(a->err, "the words of a segment", n * sizeof *grown);
    a->chosen = grown;
    a->capacity = n;
    return SLUICE_OK;
}

/* Words without times follow their neighbours. */
static void fill_gaps(uint32_t *chosen, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (chosen[i] == NOBODY)
            chosen[i] = chosen[i - 1];
    for (size_t i = n; i-- > 1;)
        if (chosen[i - 1] == NOBODY)
            chosen[i - 1] = chosen[i];
}

/* Chooses for each word; false where none has times. */
static bool choose(struct assign *a, const json_t *words) {
    size_t n = json_array_size(words);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        double start, end;
        bool is_near;
        a->chosen[i] = NOBODY;
        if (!num_json_times(json_array_get(words, i), &start, &end))
            continue;
        a->chosen[i] = dz_who_speaks(&a->who, start, end, &is_near);
        a->time[a->chosen[i]] += end > start ? end - start : 0;
        a->report.n_nearest += is_near;
        any = true;
    }
    fill_gaps(a->chosen, n);
    if (any)
        a->report.n_snapped += dz_snap(words, a->chosen, a->options.snap);
    return any;
}

static int32_t set_speaker(struct assign *a, json_t *object, uint32_t speaker) {
    if (json_object_set_new(object, "speaker", json_string(a->turns->speakers[speaker])) < 0)
        return num_fail_memory(a->err, "the speakers", 64);
    return SLUICE_OK;
}

/* Who has most of the words' time, `otherwise` where it is equal. */
static uint32_t most_time(const struct assign *a, uint32_t otherwise) {
    uint32_t best = otherwise;
    for (uint32_t i = 0; i < a->turns->n_speakers; i++)
        if (a->time[i] > a->time[best])
            best = i;
    return best;
}

/* ---- segments ---- */

/* The texts of words [from, to), one after the other. */
static json_t *text_of(const json_t *words, size_t from, size_t to) {
    size_t len = 0;
    for (size_t i = from; i < to; i++)
        len += json_string_length(json_object_get(json_array_get(words, i), "word"));
    char *text = malloc(len + 1);
    if (!text)
        return NULL;
    size_t at = 0;
    for (size_t i = from; i < to; i++) {
        const json_t *word = json_object_get(json_array_get(words, i), "word");
        memcpy(text + at, json_string_value(word), json_string_length(word));
        at += json_string_length(word);
    }
    json_t *value = json_stringn(text, at);
    free(text);
    return value;
}

/* The time where words [from, to) begin or end: that of the first or last one which has any. */
static double edge(const json_t *words, size_t from, size_t to, bool end, double otherwise) {
    for (size_t i = 0; i < to - from; i++) {
        double times[2];
        if (num_json_times(json_array_get(words, end ? to - 1 - i : from + i), &times[0],
                           &times[1]))
            return times[end];
    }
    return otherwise;
}

/* A copy of `segment` with words [from, to) alone. */
static json_t *part_of(const json_t *segment, const json_t *words, size_t from, size_t to) {
    double start = json_number_value(json_object_get(segment, "start"));
    double end = json_number_value(json_object_get(segment, "end"));
    if (from > 0)
        start = edge(words, from, to, false, start);
    if (to < json_array_size(words))
        end = edge(words, from, to, true, end);
    num_autojson *part = json_copy((json_t *)(uintptr_t)segment);
    num_autojson *list = json_array();
    for (size_t i = from; list && i < to; i++)
        json_array_append(list, json_array_get(words, i));
    json_object_del(part, "tokens");
    if (json_array_size(list) != to - from ||
        json_object_set_new(part, "start", json_real(start)) < 0 ||
        json_object_set_new(part, "end", json_real(end > start ? end : start)) < 0 ||
        json_object_set_new(part, "text", text_of(words, from, to)) < 0 ||
        json_object_set(part, "words", list) < 0)
        return NULL;
    json_t *ret = part;
    part = NULL;
    return ret;
}

static int32_t append(struct assign *a, json_t *out, json_t *segment, uint32_t speaker) {
    int32_t status = set_speaker(a, segment, speaker);
    if (status == SLUICE_OK &&
        (json_object_set_new(segment, "id", json_integer((json_int_t)json_array_size(out))) < 0 ||
         json_array_append(out, segment) < 0))
        status = num_fail_memory(a->err, "the segments", 64);
    return status;
}

/* One segment for each stretch of words of one speaker. */
static int32_t append_parts(struct assign *a, json_t *out, json_t *segment, const json_t *words) {
    size_t n = json_array_size(words);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && a->chosen[to] == a->chosen[from];)
            to++;
        num_autojson *part = part_of(segment, words, from, to);
        if (!part)
            return num_fail_memory(a->err, "a segment", 1024);
        int32_t status = append(a, out, part, a->chosen[from]);
        if (status != SLUICE_OK)
            return status;
    }
    a->report.n_splits++;
    return SLUICE_OK;
}

static bool changes(const struct assign *a, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (a->chosen[i] != a->chosen[0])
            return true;
    return false;
}

static int32_t assign_words(struct assign *a, json_t *out, json_t *segment, json_t *words,
                            uint32_t otherwise) {
    size_t n = json_array_size(words);
    for (size_t i = 0; i < n; i++) {
        int32_t status = set_speaker(a, json_array_get(words, i), a->chosen[i]);
        if (status != SLUICE_OK)
            return status;
    }
    a->report.n_words += n;
    if (a->options.split && changes(a, n))
        return append_parts(a, out, segment, words);
    return append(a, out, segment, most_time(a, otherwise));
}

static int32_t assign_segment(struct assign *a, json_t *out, json_t *segment) {
    json_t *words = json_object_get(segment, "words");
    int32_t status = reserve(a, json_array_size(words));
    if (status != SLUICE_OK)
        return status;
    memset(a->time, 0, a->turns->n_speakers * sizeof *a->time);
    if (choose(a, words))
        return assign_words(a, out, segment, words, a->chosen[0]);
    double start = 0, end = 0;
    bool is_near;
    num_json_times(segment, &start, &end);
    uint32_t speaker = dz_who_speaks(&a->who, start, end, &is_near);
    for (size_t i = 0; i < json_array_size(words); i++)
        a->chosen[i] = speaker;
    return assign_words(a, out, segment, words, speaker);
}

/* ---- the transcript ---- */

static int32_t check_times(const json_t *item, const char *where, struct num_err *err) {
    double start, end;
    if (num_json_times(item, &start, &end) && start >= 0 && end >= start && end <= DZ_MAX_TIME_S)
        return SLUICE_OK;
    return num_fail(err, SLUICE_INPUT, "%s: expected start and end, in seconds and in order",
                    where);
}

static int32_t check_words(const json_t *words, size_t segment, struct num_err *err) {
    char where[80];
    if (words && !json_is_array(words) && !json_is_null(words))
        return num_fail(err, SLUICE_INPUT, "segments[%zu].words: expected a list", segment);
    for (size_t i = 0; i < json_array_size(words); i++) {
        const json_t *word = json_array_get(words, i);
        snprintf(where, sizeof where, "segments[%zu].words[%zu]", segment, i);
        if (!json_is_string(json_object_get(word, "word")))
            return num_fail(err, SLUICE_INPUT, "%s: expected an object with a word", where);
        double start, end;
        int32_t status =
            num_json_times(word, &start, &end) ? check_times(word, where, err) : SLUICE_OK;
        if (status != SLUICE_OK)
            return status;
    }
    return SLUICE_OK;
}

static int32_t check_segments(const json_t *segments, struct num_err *err) {
    char where[40];
    if (!json_is_array(segments))
        return num_fail(err, SLUICE_INPUT, "segments: expected a list");
    for (size_t i = 0; i < json_array_size(segments); i++) {
        const json_t *segment = json_array_get(segments, i);
        snprintf(where, sizeof where, "segments[%zu]", i);
        int32_t status = check_times(segment, where, err);
        if (status == SLUICE_OK)
            status = check_words(json_object_get(segment, "words"), i, err);
        if (status != SLUICE_OK)
            return status;
    }
    return SLUICE_OK;
}

static int32_t assign_all(struct assign *a, json_t *root) {
    const json_t *segments = json_object_get(root, "segments");
    num_autojson *out = json_array();
    if (!out)
        return num_fail_memory(a->err, "the segments", 64);
    for (size_t i = 0; i < json_array_size(segments); i++) {
        int32_t status = num_go_on(a->options.watch, a->err);
        if (status == SLUICE_OK)
            status = assign_segment(a, out, json_array_get(segments, i));
        if (status != SLUICE_OK)
            return status;
    }
    if (json_object_set(root, "segments", out) < 0)
        return num_fail_memory(a->err, "the segments", 64);
    return SLUICE_OK;
}

int32_t dz_assign(const void *json, size_t len, const struct dz_turns *exclusive,
                  const struct dz_assign_options *options, char **ret,
                  struct dz_assign_report *report, struct num_err *err) {
    num_autojson *root = NULL;
    struct assign a = {.turns = exclusive, .options = *options, .err = err};
    int32_t status = num_json_parse(json, len, 0, "the transcript", options->watch, &root, err);
    if (status == SLUICE_OK)
        status = check_segments(json_object_get(root, "segments"), err);
    if (status == SLUICE_OK)
        status = num_go_on(options->watch, err);
    if (status == SLUICE_OK && exclusive->n_turns > 0) {
        status = dz_who_init(&a.who, exclusive, err);
        a.time = calloc(exclusive->n_speakers, sizeof *a.time);
        if (status == SLUICE_OK)
            status = a.time ? assign_all(&a, root) : num_fail_memory(err, "the speakers", 64);
    }
    if (status == SLUICE_OK)
        status = num_go_on(options->watch, err);
    char *text = status == SLUICE_OK ? json_dumps(root, JSON_COMPACT) : NULL;
    if (status == SLUICE_OK && !text)
        status = num_fail_memory(err, "the transcript", len);
    dz_who_finish(&a.who);
    free(a.time);
    free(a.chosen);
    if (status != SLUICE_OK)
        return status;
    *ret = text;
    *report = a.report;
    return SLUICE_OK;
}

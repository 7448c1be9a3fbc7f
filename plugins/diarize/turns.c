/*
 * turns/1 through jansson, and what readers of turns share. Recordings have a handful of speakers,
 * so names are found by looking at each.
 */
#include "diarize/turns.h"

#include <stdlib.h>
#include <string.h>

#include "num/json.h"

#define MAX_SPEAKERS 10000

void dz_turns_finish(struct dz_turns *turns) {
    for (uint32_t i = 0; i < turns->n_speakers; i++)
        free(turns->speakers[i]);
    free(turns->speakers);
    free(turns->turns);
    *turns = (struct dz_turns){0};
}

int32_t dz_speaker(struct dz_turns *turns, const char *name, uint32_t *ret, struct num_err *err) {
    for (uint32_t i = 0; i < turns->n_speakers; i++)
        if (strcmp(turns->speakers[i], name) == 0) {
            *ret = i;
            return SLUICE_OK;
        }
    if (turns->n_speakers == MAX_SPEAKERS)
        return num_fail(err, SLUICE_INPUT, "more than %d speakers", MAX_SPEAKERS);
    char **speakers = realloc(turns->speakers, (turns->n_speakers + 1) * sizeof *speakers);
    if (speakers)
        turns->speakers = speakers;
    char *copy = speakers ? strdup(name) : NULL;
    if (!copy)
        return num_fail_memory(err, "the speakers", strlen(name) + sizeof *speakers);
    turns->speakers[turns->n_speakers] = copy;
    *ret = turns->n_speakers++;
    return SLUICE_OK;
}

int32_t dz_append(struct dz_turns *turns, size_t *capacity, struct dz_turn turn,
                  struct num_err *err) {
    if (turns->n_turns == *capacity) {
        size_t more = *capacity ? 2 * *capacity : 64;
        struct dz_turn *grown = reallocarray(turns->turns, more, sizeof *grown);
        if (!grown)
            return num_fail_memory(err, "the turns", more * sizeof *grown);
        turns->turns = grown;
        *capacity = more;
    }
    turns->turns[turns->n_turns++] = turn;
    return SLUICE_OK;
}

static int by_start(const void *a, const void *b) {
    const struct dz_turn *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return (x->speaker > y->speaker) - (x->speaker < y->speaker);
}

void dz_turns_sort(struct dz_turns *turns) {
    if (turns->n_turns > 0)
        qsort(turns->turns, turns->n_turns, sizeof *turns->turns, by_start);
}

/* ---- reading ---- */

static int32_t read_time(const json_t *turn, const char *track, size_t i, const char *key,
                         double *ret, struct num_err *err) {
    const json_t *value = json_object_get(turn, key);
    if (!json_is_number(value))
        return num_fail(err, SLUICE_INPUT, "%s[%zu].%s: expected a number of seconds", track, i,
                        key);
    double seconds = json_number_value(value);
    if (!(seconds >= 0 && seconds <= DZ_MAX_TIME_S))
        return num_fail(err, SLUICE_INPUT, "%s[%zu].%s: %g is no time of a recording in seconds",
                        track, i, key, seconds);
    *ret = seconds;
    return SLUICE_OK;
}

static int32_t read_turn(const json_t *item, const char *track, size_t i, struct dz_turns *turns,
                         struct dz_turn *ret, struct num_err *err) {
    int32_t status = read_time(item, track, i, "start", &ret->start, err);
    if (status == SLUICE_OK)
        status = read_time(item, track, i, "end", &ret->end, err);
    if (status != SLUICE_OK)
        return status;
    if (ret->end < ret->start)
        return num_fail(err, SLUICE_INPUT, "%s[%zu].end: %g is before its start %g", track, i,
                        ret->end, ret->start);
    const char *name = json_string_value(json_object_get(item, "speaker"));
    if (!name || !*name)
        return num_fail(err, SLUICE_INPUT, "%s[%zu].speaker: expected a name", track, i);
    return dz_speaker(turns, name, &ret->speaker, err);
}

int32_t dz_turns_read(const void *json, size_t len, int exclusive, const struct num_watch *watch,
                      struct dz_turns *ret, struct num_err *err) {
    num_autojson *root = NULL;
    int32_t status = num_json_parse(json, len, 0, "the list of turns", watch, &root, err);
    if (status != SLUICE_OK)
        return status;
    const char *track = exclusive && json_object_get(root, "exclusive") ? "exclusive" : "turns";
    const json_t *list = json_object_get(root, track);
    if (!json_is_array(list))
        return num_fail(err, SLUICE_INPUT, "%s: expected a list", track);
    dz_autoturns turns = {0};
    size_t capacity = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct dz_turn turn;
        status = read_turn(json_array_get(list, i), track, i, &turns, &turn, err);
        if (status == SLUICE_OK)
            status = dz_append(&turns, &capacity, turn, err);
        if (status != SLUICE_OK)
            return status;
    }
    dz_turns_sort(&turns);
    *ret = turns;
    turns = (struct dz_turns){0};
    return SLUICE_OK;
}

/* ---- without overlap ---- */

/* Adds [start, end) of `speaker`, to the last turn where it goes on. */
static int32_t add_stretch(struct dz_turns *out, size_t *capacity, double start, double end,
                           uint32_t speaker, struct num_err *err) {
    if (end <= start)
        return SLUICE_OK;
    struct dz_turn *last = out->n_turns ? &out->turns[out->n_turns - 1] : NULL;
    if (last && last->speaker == speaker && last->end >= start) {
        last->end = end;
        return SLUICE_OK;
    }
    return dz_append(out, capacity, (struct dz_turn){start, end, speaker}, err);
}

static int32_t copy_speakers(const struct dz_turns *from, struct dz_turns *to,
                             struct num_err *err) {
    int32_t status = SLUICE_OK;
    for (uint32_t i = 0, index; status == SLUICE_OK && i < from->n_speakers; i++)
        status = dz_speaker(to, from->speakers[i], &index, err);
    return status;
}

int32_t dz_turns_exclusive(const struct dz_turns *turns, struct dz_turns *ret,
                           struct num_err *err) {
    dz_autoturns out = {0};
    size_t capacity = 0;
    int32_t status = copy_speakers(turns, &out, err);
    double until = 0; /* what lies before is given away */
    for (size_t i = 0; status == SLUICE_OK && i < turns->n_turns; i++) {
        const struct dz_turn *t = &turns->turns[i];
        double start = t->start > until ? t->start : until;
        status = add_stretch(&out, &capacity, start, t->end, t->speaker, err);
        if (t->end > until)
            until = t->end;
    }
    if (status != SLUICE_OK)
        return status;
    *ret = out;
    out = (struct dz_turns){0};
    return SLUICE_OK;
}

/* ---- writing ---- */

static json_t *track_of(const struct dz_turns *turns) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < turns->n_turns; i++) {
        const struct dz_turn *t = &turns->turns[i];
        json_t *item = json_pack("{s:f, s:f, s:s}", "start", t->start, "end", t->end, "speaker",
                                 turns->speakers[t->speaker]);
        if (!item || json_array_append_new(list, item) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

int32_t dz_turns_write(const struct dz_turns *turns, const struct dz_turns *exclusive, char **ret,
                       struct num_err *err) {
    dz_autoturns derived = {0};
    if (!exclusive) {
        int32_t status = dz_turns_exclusive(turns, &derived, err);
        if (status != SLUICE_OK)
            return status;
        exclusive = &derived;
    }
    num_autojson *root =
        json_pack("{s:o*, s:o*}", "turns", track_of(turns), "exclusive", track_of(exclusive));
    char *text = NULL;
    if (json_object_size(root) == 2)
        text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (!text)
        return num_fail_memory(err, "the turns", turns->n_turns * sizeof *turns->turns);
    *ret = text;
    return SLUICE_OK;
}

/* RTTM: lines of fields that white space separates; see turns.h. */
#include "diarize/turns.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/utf8.h"

#define MAX_FIELDS 10

/* One line, cut in place. */
struct line {
    char *fields[MAX_FIELDS];
    size_t n_fields;
    size_t number; /* from 1 */
};

static void cut_fields(char *text, struct line *line) {
    char *state = NULL;
    line->n_fields = 0;
    for (char *field = strtok_r(text, " \t\r\f\v", &state); field && line->n_fields < MAX_FIELDS;
         field = strtok_r(NULL, " \t\r\f\v", &state))
        line->fields[line->n_fields++] = field;
}

static int32_t read_seconds(const struct line *line, size_t field, const char *what, double *ret,
                            struct num_err *err) {
    char *end;
    double value = strtod(line->fields[field], &end);
    if (end == line->fields[field] || *end || !isfinite(value) || value < 0 ||
        value > DZ_MAX_TIME_S)
        return num_fail(err, SLUICE_INPUT, "line %zu: the %s %.40s is no time in seconds",
                        line->number, what, line->fields[field]);
    *ret = value;
    return SLUICE_OK;
}

/* A SPEAKER line: type, recording, channel, start, duration, two unused, speaker. */
static int32_t read_speaker(const struct line *line, struct dz_turns *turns, size_t *capacity,
                            struct num_err *err) {
    if (line->n_fields < 8)
        return num_fail(
            err, SLUICE_INPUT,
            "line %zu: a SPEAKER line has its speaker's name in the 8th field, this one "
            "has %zu",
            line->number, line->n_fields);
    struct dz_turn turn;
    double duration;
    int32_t status = read_seconds(line, 3, "start", &turn.start, err);
    if (status == SLUICE_OK)
        status = read_seconds(line, 4, "duration", &duration, err);
    if (status == SLUICE_OK)
        status = dz_speaker(turns, line->fields[7], &turn.speaker, err);
    if (status != SLUICE_OK)
        return status;
    turn.end = turn.start + duration;
    return dz_append(turns, capacity, turn, err);
}

/* Whether the line is of the recording that is read; the first one becomes it where none is
 * named. */
static int32_t choose_recording(const struct line *line, const char *wanted, const char **chosen,
                                int *ret_take, struct num_err *err) {
    const char *name = line->n_fields > 1 ? line->fields[1] : "";
    if (!wanted && *chosen && strcmp(*chosen, name) != 0)
        return num_fail(
            err, SLUICE_INPUT,
            "line %zu: the file holds the recordings %.60s and %.60s; say which to take",
            line->number, *chosen, name);
    if (!*chosen)
        *chosen = name;
    *ret_take = !wanted || strcmp(wanted, name) == 0;
    return SLUICE_OK;
}

static int32_t read_lines(char *text, const char *recording, struct dz_turns *turns,
                          struct num_err *err) {
    size_t capacity = 0, number = 0, n_others = 0;
    const char *chosen = NULL;
    char *state = text;
    for (char *row; (row = strsep(&state, "\n"));) {
        struct line line = {.number = ++number};
        cut_fields(row, &line);
        if (line.n_fields == 0 || strcmp(line.fields[0], "SPEAKER") != 0)
            continue;
        int take = 0;
        int32_t status = choose_recording(&line, recording, &chosen, &take, err);
        if (status == SLUICE_OK && take)
            status = read_speaker(&line, turns, &capacity, err);
        if (status != SLUICE_OK)
            return status;
        n_others += !take;
    }
    if (turns->n_turns == 0 && n_others > 0)
        return num_fail(err, SLUICE_INPUT,
                        "no SPEAKER line is of the recording %.80s; one is of %.80s", recording,
                        chosen);
    return SLUICE_OK;
}

static bool is_text(const char *text, size_t len) {
    for (size_t at = 0, n; at < len; at += n) {
        uint32_t c;
        n = num_utf8_next((const uint8_t *)text + at, len - at, &c);
        if (n == 0 || c == 0)
            return false;
    }
    return true;
}

int32_t dz_rttm_read(const char *text, size_t len, const char *recording, struct dz_turns *ret,
                     struct num_err *err) {
    if (!is_text(text, len))
        return num_fail(err, SLUICE_INPUT, "this is no RTTM file: it is not UTF-8 text");
    char *copy = malloc(len + 1);
    if (!copy)
        return num_fail_memory(err, "the RTTM file", len);
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = 0;
    dz_autoturns turns = {0};
    int32_t status = read_lines(copy, recording, &turns, err);
    free(copy);
    if (status != SLUICE_OK)
        return status;
    dz_turns_sort(&turns);
    *ret = turns;
    turns = (struct dz_turns){0};
    return SLUICE_OK;
}

/* A field: white space within would end it. */
static void print_field(FILE *out, const char *text) {
    if (!*text)
        fputs("<NA>", out);
    for (; *text; text++)
        fputc(strchr(" \t\r\n\f\v", *text) ? '_' : *text, out);
}

int32_t dz_rttm_write(const struct dz_turns *turns, const char *recording, char **ret,
                      struct num_err *err) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return num_fail_memory(err, "the RTTM file", turns->n_turns * 64);
    for (size_t i = 0; i < turns->n_turns; i++) {
        const struct dz_turn *t = &turns->turns[i];
        fputs("SPEAKER ", out);
        print_field(out, recording);
        fprintf(out, " 1 %.3f %.3f <NA> <NA> ", t->start, t->end - t->start);
        print_field(out, turns->speakers[t->speaker]);
        fputs(" <NA> <NA>\n", out);
    }
    int failed = ferror(out);
    if (fclose(out) != 0 || failed) {
        free(text);
        return num_fail_memory(err, "the RTTM file", turns->n_turns * 64);
    }
    *ret = text;
    return SLUICE_OK;
}

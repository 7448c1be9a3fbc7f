/*
 * A transcript/1 as align/words works on it: its words in one row, whose times are set and written
 * back into the tree. What this file does not know is carried along.
 */
#ifndef ALIGN_SCRIPT_H
#define ALIGN_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "num/watch.h"

#define AL_MAX_TIME_S 3.6e7 /* more than a year */

struct al_word {
    const char *text; /* UTF-8, with the blank before it where there is one; the tree's */
    json_t *object;   /* the tree's */
    double start, end;
    double probability; /* of words that had none; below 0: unknown */
    bool timed;         /* start and end say when the word is said */
};

struct al_segment {
    json_t *object;    /* the tree's */
    double start, end; /* as they were read */
    size_t first, n;   /* its words */
};

/* Owned by al_script_finish(). */
struct al_script {
    json_t *root;
    struct al_segment *segments;
    size_t n_segments;
    struct al_word *words; /* of all segments, in order */
    size_t n_words;
    char language[16]; /* "" where the transcript names none */
};

/*
 * Reads a transcript/1 and checks what it relies on: segments with text and with times in order.
 * A segment without words gets them from its text: cut before blanks, or, in languages that put no
 * blanks between words, at every character. They have no times. SLUICE_INPUT names the place;
 * SLUICE_CANCELLED: `watch` (NULL: nobody) said so.
 */
int32_t al_script_read(const void *json, size_t len, const struct num_watch *watch,
                       struct al_script *ret, struct num_err *err);
void al_script_finish(struct al_script *script); /* takes a zeroed one too */

/*
 * Times in order: no word starts before the one before it in its segment or ends before it starts,
 * and words without times (`timed` false) share the time between their neighbours that have some,
 * by their characters. Where none in a segment has, all share the segment's.
 */
void al_script_settle(struct al_script *script);

/*
 * Writes the words' times back, rounded to milliseconds; segments start and end with their words.
 * *ret is NUL-terminated JSON, the caller's to free.
 */
int32_t al_script_write(struct al_script *script, char **ret, struct num_err *err);

/* Bytes of the first character of `text`, at least 1 where there is one; its code point, or U+FFFD,
 * in *ret. */
size_t al_next_char(const char *text, uint32_t *ret);

/* Code points in a text. */
size_t al_count_chars(const char *text);

#endif

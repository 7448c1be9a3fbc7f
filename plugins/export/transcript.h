/*
 * Reads a transcript/1 (the verbose JSON of the Whisper ecosystem) into an array of segments.
 *
 * Required: `segments`, a list of objects with `start` and `end` (seconds) and `text`. Optional:
 * `speaker` and `words` of a segment, `start` and `end` of a word; null counts as absent.
 * Everything else is ignored.
 */
#ifndef EXPORT_TRANSCRIPT_H
#define EXPORT_TRANSCRIPT_H

#include <stddef.h>

#include "num/watch.h"

/* Times beyond this (10,000 hours) are refused as damage: no recording is that long. */
#define EX_MAX_TIME_S 3.6e7

struct ex_word {
    double start, end; /* seconds; below 0: not known */
    size_t n_chars;    /* code points of the word that are not white space */
};

struct ex_segment {
    double start, end;           /* seconds, 0 <= start <= end */
    const char *text;            /* UTF-8 as it came; borrowed from the transcript */
    const char *speaker;         /* borrowed; NULL: none */
    const struct ex_word *words; /* borrowed; [n_words] */
    size_t n_words;
};

struct ex_transcript {
    struct ex_segment *segments; /* [n_segments], in the order of the file */
    size_t n_segments;
    struct ex_word *words; /* of all segments, one after the other */
    struct json_t *root;   /* owns the strings */
};

/*
 * Parses `len` bytes at `data` into *ret. Negative times become 0 and an end before its start
 * becomes the start. Returns 0; SLUICE_INPUT: not a transcript, and `err` names the place
 * ("segments[3].end: ..."); SLUICE_RESOURCE: out of memory; SLUICE_CANCELLED: `watch` (NULL:
 * nobody) said so. Thread-safe.
 */
int ex_transcript_read(const void *data, size_t len, const struct num_watch *watch,
                       struct ex_transcript *ret, struct num_err *err);

/* Frees what a transcript holds; it may be zeroed. */
void ex_transcript_finish(struct ex_transcript *transcript);

#define ex_autotranscript __attribute__((cleanup(ex_transcript_finish))) struct ex_transcript

#endif

/*
 * A transcript/1 as the stages read it: segments with times, texts and speakers, and the JSON they
 * came from, so that a stage can change texts and write everything else back as it was.
 */
#ifndef LLM_TRANSCRIPT_H
#define LLM_TRANSCRIPT_H

#include <jansson.h>

#include "num/buf.h"
#include "num/watch.h"

/* Times beyond this (10,000 hours) are refused as damage: no recording is that long. */
#define LM_MAX_TIME_S 3.6e7

struct lm_segment {
    double start, end;   /* seconds */
    const char *text;    /* without white space at its ends; borrowed, not NUL-terminated */
    size_t len;          /* bytes of it */
    const char *speaker; /* borrowed; NULL: none */
    json_t *json;        /* borrowed */
};

struct lm_transcript {
    struct lm_segment *segments; /* [n_segments], in the order of the file */
    size_t n_segments;
    const char *language; /* borrowed; "" where it is not said */
    double duration;      /* seconds; the end of the last segment where it is not said */
    json_t *root;         /* owns the strings */
};

/*
 * Parses `len` bytes at `data`. SLUICE_INPUT: not a transcript, and the message names the place;
 * SLUICE_RESOURCE; SLUICE_CANCELLED: `watch` (NULL: nobody) said so. Thread-safe.
 */
int32_t lm_transcript_read(const void *data, size_t len, const struct num_watch *watch,
                           struct lm_transcript *ret, struct num_err *err);
/* Takes a zeroed struct too. */
void lm_transcript_finish(struct lm_transcript *transcript);

#define lm_autotranscript __attribute__((cleanup(lm_transcript_finish))) struct lm_transcript

/*
 * Puts into the JSON what every stage's transcript has and a stranger's may lack: language,
 * duration, the text of the whole (always anew), numbers and ordered times of segments. Words
 * without a text or without times are dropped. SLUICE_RESOURCE.
 */
int32_t lm_transcript_complete(struct lm_transcript *transcript, struct num_err *err);

/* Whether two segments have the same speaker; two without one have. */
bool lm_same_speaker(const struct lm_segment *a, const struct lm_segment *b);

/*
 * Appends segments [first, last) as people read them: a line a turn, "SPEAKER: text" where there
 * are speakers, the segments of a turn joined by spaces.
 */
void lm_transcript_print(const struct lm_transcript *transcript, size_t first, size_t last,
                         struct num_buf *out);

#endif

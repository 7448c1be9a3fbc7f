/*
 * The text of an answer as its tokens come: whole characters go out, what may still become one, or
 * a stop string, is held back. Memory is taken once.
 */
#ifndef LM_TEXT_H
#define LM_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "num/err.h"

struct lm_stop_string {
    const char *bytes;
    size_t len;
};

struct lm_text {
    char *raw; /* all bytes of tokens; `sent` of `len` have gone into `clean` */
    size_t len, sent, room;
    char *clean; /* valid UTF-8, NUL-terminated */
    size_t clean_len;
    const struct lm_stop_string *stops; /* borrowed */
    size_t n_stops;
};

/* Room for `room` bytes of tokens. */
int32_t lm_text_init(struct lm_text *t, size_t room, const struct lm_stop_string *stops,
                     size_t n_stops, struct num_err *err);
void lm_text_finish(struct lm_text *t); /* takes a zeroed struct too */

/* Adds bytes (what has no room is left out). True where a stop string is complete: the text then
 * ends before it. What is safe to show has been moved to `clean`. */
bool lm_text_add(struct lm_text *t, const void *bytes, size_t len);

/* Moves all that is left; nothing may be added after that. */
void lm_text_end(struct lm_text *t);

#endif

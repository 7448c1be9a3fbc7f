/*
 * UTF-8 text of segments: decoding, counting, and cleaning it for a line-based format. All
 * functions take valid UTF-8 (jansson checked it) and do not fail; bytes that are not valid count
 * as one character each.
 */
#ifndef EXPORT_TEXT_H
#define EXPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/buf.h"

/* The code point at *at, which must not be the terminating NUL, and moves *at behind it. */
uint32_t ex_text_next(const char **at);

/* White space in the sense of Unicode's White_Space, and the other control characters. */
bool ex_text_is_space(uint32_t c);

/* Takes no column of its own: combining marks, joiners, variation selectors, emoji modifiers. */
bool ex_text_is_mark(uint32_t c);

/* Code points of `text` that are not white space. */
size_t ex_text_count(const char *text);

/* Code points of `text` that take a column. */
size_t ex_text_columns(const char *text);

#define EX_TEXT_LINES   1u /* keep line breaks; without it they become spaces */
#define EX_TEXT_ARROW   2u /* "-->" becomes "->", as subtitle formats need */
#define EX_TEXT_NO_TABS 4u /* tabs become spaces */

/*
 * Appends `text` cleaned: no white space at either end of a line, no empty lines, control
 * characters but tabs as spaces. The result holds no NUL.
 */
void ex_text_clean(struct num_buf *out, const char *text, unsigned flags);

#endif

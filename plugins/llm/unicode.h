/*
 * What the stages know of characters: which make words, and their other case. Facts of the Unicode
 * character database, in tables made by tools/unicode_words.py.
 */
#ifndef LLM_UNICODE_H
#define LLM_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/unicode.h"

enum lm_char {
    LM_SIGN,      /* punctuation, symbols, bytes that are no UTF-8 */
    LM_SPACE,     /* white: num_char_is_white() */
    LM_LETTER,    /* a letter or a mark on one */
    LM_NUMBER,    /* a digit or other number */
    LM_IDEOGRAPH, /* a letter of a script without spaces: a word of its own */
};

enum lm_char lm_char_kind(uint32_t c);

/* Simple case mapping: one character for one, where it can be undone; else `c` itself. */
uint32_t lm_char_lower(uint32_t c);
uint32_t lm_char_upper(uint32_t c);

/*
 * The next word at or after *at: a run of letters and numbers, joined by single apostrophes,
 * hyphens and decimal points inside it ("don't", "3.5"), or one ideograph. False where there is
 * none. *at becomes its end, *ret_begin its first byte.
 */
bool lm_word_next(const char *text, size_t len, size_t *at, size_t *ret_begin);

#endif

/*
 * Two writings of the same words: what is left of a text without its case and punctuation, and how
 * the parts of one writing lie in the other.
 *
 * A text's marks are its letters and numbers in lower case, and signs that mean something beside
 * them ("%", "+", a minus before a number, a point between two digits). Punctuation and white space
 * are none.
 */
#ifndef LLM_WORDS_H
#define LLM_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* Whether both texts have the same words in the same order: words stand between white space, and
 * are the same where their marks are. Words without marks do not count. */
bool lm_same_words(const char *a, size_t a_len, const char *b, size_t b_len);

size_t lm_count_marks(const char *text, size_t len);

/*
 * The part of the text at *at that has the next `n` marks, and what follows them up to white space;
 * *at becomes its end, *ret_begin its first byte. White space before it is passed over.
 */
size_t lm_take_marks(const char *text, size_t len, size_t *at, size_t n, size_t *ret_begin);

#endif

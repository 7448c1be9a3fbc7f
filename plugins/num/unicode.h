/*
 * Kinds of characters, texts character by character, and Unicode's canonical composition (NFC).
 * Tables are made by tools/unicode_classes.py and tools/unicode_nfc.py.
 */
#ifndef NUM_UNICODE_H
#define NUM_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum num_char_kind {
    NUM_OTHER,
    NUM_LETTER, /* general category L */
    NUM_NUMBER, /* N */
    NUM_SPACE,  /* property White_Space */
};

enum num_char_kind num_char_kind(uint32_t c);
bool num_char_is_space(uint32_t c); /* NUM_SPACE */
/* What str.isspace() and str.strip() of Python take for white: NUM_SPACE and U+001C to U+001F. */
bool num_char_is_white(uint32_t c);

/* The character at `text` (len > 0) and its length; a byte that is no UTF-8 is U+FFFD, length 1. */
uint32_t num_char_next(const char *text, size_t len, size_t *ret_len);

/* The length of the text without what is white at its ends; *ret_begin: where it begins, `len`
 * where all of it is. */
size_t num_text_trim(const char *text, size_t len, size_t *ret_begin);

/* Characters [first, last] of a table in ascending order. */
struct num_char_range {
    uint32_t first, last, value;
};

/* The value of the range among n that holds c, `otherwise` where none does. */
uint32_t num_char_look_up(const struct num_char_range *ranges, size_t n, uint32_t c,
                          uint32_t otherwise);

/*
 * The normal form C of `len` bytes of valid UTF-8 into `ret`, which has room for 3 * len bytes;
 * returns its length. `work` has room for num_nfc_work(len) bytes, aligned for uint32_t.
 */
size_t num_nfc(const uint8_t *text, size_t len, uint8_t *ret, void *work);
size_t num_nfc_work(size_t len);

#ifdef __cplusplus
}
#endif

#endif

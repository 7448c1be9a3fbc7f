/*
 * UTF-8: decoding one character, and making any bytes valid.
 */
#ifndef NUM_UTF8_H
#define NUM_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The character at `text` (len > 0) into *ret, and its length in bytes. Where no valid character
 * starts, returns 0 and stores in *ret how many bytes form the invalid piece (at least 1), as
 * Unicode's "substitution of maximal subparts" counts them.
 */
size_t num_utf8_next(const uint8_t *text, size_t len, uint32_t *ret);

/* Whether all `len` bytes are valid characters; of none they are. */
bool num_utf8_is_valid(const char *text, size_t len);

/* Writes code point `c` (at most 0x10ffff) to `ret`, which has room for 4 bytes; returns its
 * length. */
size_t num_utf8_put(uint32_t c, uint8_t *ret);

/*
 * Copies `len` bytes to `ret`, with U+FFFD for each invalid piece and for NUL, and ends it with a
 * NUL. `ret` has room for 3 * len + 1 bytes. Returns the length without the NUL.
 */
size_t num_utf8_clean(const uint8_t *text, size_t len, char *ret);

#endif

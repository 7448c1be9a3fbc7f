/*
 * GPT-2's pieces of a text, the regular expression
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * as one look ahead. Bytes that are no UTF-8 count as other signs.
 */
#include <string.h>

#include "num/bpe_encode.h"
#include "num/unicode.h"
#include "num/utf8.h"

/* Kind and length of the character at `text`. */
static enum num_char_kind look(const uint8_t *text, size_t len, size_t *ret_len) {
    uint32_t c;
    *ret_len = num_utf8_next(text, len, &c);
    if (*ret_len)
        return num_char_kind(c);
    *ret_len = c;
    return NUM_OTHER;
}

/* Bytes of the run of characters of `kind` at the front; *ret_last: of its last character. */
static size_t run(const uint8_t *text, size_t len, enum num_char_kind kind, size_t *ret_last) {
    size_t at = 0, step;
    while (at < len && look(text + at, len - at, &step) == kind) {
        at += step;
        *ret_last = step;
    }
    return at;
}

static size_t ending(const uint8_t *text, size_t len) {
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(endings[i]);
        if (len >= n && memcmp(text, endings[i], n) == 0)
            return n;
    }
    return 0;
}

size_t num_bpe_piece(const uint8_t *text, size_t len) {
    size_t n = ending(text, len), step, last = 0, blank = text[0] == ' ' && len > 1;
    if (n)
        return n;
    enum num_char_kind kind = look(text + blank, len - blank, &step);
    if (kind != NUM_SPACE)
        return blank + run(text + blank, len - blank, kind, &last);
    n = run(text, len, NUM_SPACE, &last);
    return n < len && n > last ? n - last : n; /* the last blank belongs to what follows */
}

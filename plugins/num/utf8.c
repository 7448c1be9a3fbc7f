/*
 * UTF-8: see utf8.h. Follows the table of well-formed byte sequences of the Unicode standard (table
 * 3-7), so overlong forms and surrogates are invalid.
 */
#include "num/utf8.h"

#include <string.h>

#define REPLACEMENT 0xfffdu

/* Length by the first byte and the range of the second; 0 where the byte starts nothing. */
static size_t sequence(uint8_t first, uint8_t *ret_low, uint8_t *ret_high) {
    *ret_low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *ret_high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

size_t num_utf8_next(const uint8_t *text, size_t len, uint32_t *ret) {
    uint8_t low, high;
    size_t n = sequence(text[0], &low, &high);
    uint32_t c = n <= 1 ? text[0] : text[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++, low = 0x80, high = 0xbf) {
        if (i == len || text[i] < low || text[i] > high) {
            *ret = (uint32_t)i;
            return 0;
        }
        c = c << 6 | (text[i] & 0x3f);
    }
    *ret = n ? c : 1;
    return n;
}

bool num_utf8_is_valid(const char *text, size_t len) {
    for (size_t i = 0, step; i < len; i += step) {
        uint32_t c;
        step = num_utf8_next((const uint8_t *)text + i, len - i, &c);
        if (step == 0)
            return false;
    }
    return true;
}

size_t num_utf8_put(uint32_t c, uint8_t *ret) {
    if (c < 0x80) {
        ret[0] = (uint8_t)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        ret[i] = (uint8_t)(0x80 | (c & 0x3f));
    ret[0] = (uint8_t)(0xf0u << (4 - n) | c);
    return n;
}

size_t num_utf8_clean(const uint8_t *text, size_t len, char *ret) {
    size_t at = 0;
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = num_utf8_next(text + i, len - i, &c);
        bool valid = n > 0 && c != 0;
        if (valid)
            memcpy(ret + at, text + i, n);
        at += valid ? n : num_utf8_put(REPLACEMENT, (uint8_t *)ret + at);
        i += n ? n : c;
    }
    ret[at] = '\0';
    return at;
}

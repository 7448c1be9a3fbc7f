/*
 * Kinds of characters: see unicode.h. Letters and numbers are found by bisection in a table made by
 * tools/unicode_classes.py.
 */
#include "num/unicode.h"

#include "num/utf8.h"

static const struct num_char_range kinds[] = {
#include "num/unicode_classes.inc"
};

uint32_t num_char_look_up(const struct num_char_range *ranges, size_t n, uint32_t c,
                          uint32_t otherwise) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && c >= ranges[low].first ? ranges[low].value : otherwise;
}

bool num_char_is_space(uint32_t c) {
    return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

bool num_char_is_white(uint32_t c) {
    return num_char_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

enum num_char_kind num_char_kind(uint32_t c) {
    if (num_char_is_space(c))
        return NUM_SPACE;
    return (enum num_char_kind)num_char_look_up(kinds, sizeof kinds / sizeof *kinds, c, NUM_OTHER);
}

uint32_t num_char_next(const char *text, size_t len, size_t *ret_len) {
    uint32_t c;
    *ret_len = num_utf8_next((const uint8_t *)text, len, &c);
    if (*ret_len)
        return c;
    *ret_len = 1;
    return 0xfffd;
}

size_t num_text_trim(const char *text, size_t len, size_t *ret_begin) {
    size_t begin = 0, end = 0, step;
    while (begin < len && num_char_is_white(num_char_next(text + begin, len - begin, &step)))
        begin += step;
    end = begin;
    for (size_t at = begin; at < len; at += step)
        if (!num_char_is_white(num_char_next(text + at, len - at, &step)))
            end = at + step;
    *ret_begin = begin;
    return end - begin;
}

/*
 * Text cleaning. One pass over code points that writes as it reads: white space at the start of a
 * line is never written, and what was written after the last visible character is cut off when the
 * line ends.
 *
 * The tables of marks cover the scripts in which Whisper transcribes; they are not the whole of
 * Unicode.
 */
#include "export/text.h"

#include <string.h>

#include "num/unicode.h"

uint32_t ex_text_next(const char **at) {
    size_t step = 1;
    uint32_t c = (unsigned char)**at;
    if (c >= 0x80)
        c = num_char_next(*at, strnlen(*at, 4), &step);
    *at += step;
    return c;
}

static bool is_break(uint32_t c) {
    return c == '\n' || c == '\r' || c == 0x0b || c == 0x0c || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

bool ex_text_is_space(uint32_t c) {
    return c <= 0x20 || (c >= 0x7f && c <= 0xa0) || num_char_is_space(c);
}

bool ex_text_is_mark(uint32_t c) {
    static const struct num_char_range marks[] = {
        {0x0300, 0x036f, true}, {0x0483, 0x0489, true},   {0x0591, 0x05bd, true},
        {0x05bf, 0x05c7, true}, {0x0610, 0x061a, true},   {0x064b, 0x065f, true},
        {0x0670, 0x0670, true}, {0x06d6, 0x06dc, true},   {0x06df, 0x06e4, true},
        {0x0900, 0x0903, true}, {0x093a, 0x093c, true},   {0x093e, 0x094f, true},
        {0x0981, 0x0983, true}, {0x09bc, 0x09bc, true},   {0x09be, 0x09cd, true},
        {0x0a01, 0x0a03, true}, {0x0a3c, 0x0a4d, true},   {0x0a81, 0x0a83, true},
        {0x0abc, 0x0abc, true}, {0x0abe, 0x0acd, true},   {0x0b01, 0x0b03, true},
        {0x0b3c, 0x0b3c, true}, {0x0b3e, 0x0b57, true},   {0x0bbe, 0x0bcd, true},
        {0x0c00, 0x0c04, true}, {0x0c3e, 0x0c56, true},   {0x0c81, 0x0c83, true},
        {0x0cbc, 0x0cbc, true}, {0x0cbe, 0x0cd6, true},   {0x0d00, 0x0d03, true},
        {0x0d3e, 0x0d4d, true}, {0x0dca, 0x0ddf, true},   {0x0e31, 0x0e31, true},
        {0x0e34, 0x0e3a, true}, {0x0e47, 0x0e4e, true},   {0x0eb1, 0x0eb1, true},
        {0x0eb4, 0x0ebc, true}, {0x0ec8, 0x0ecd, true},   {0x102b, 0x103e, true},
        {0x17b4, 0x17d3, true}, {0x1ab0, 0x1aff, true},   {0x1dc0, 0x1dff, true},
        {0x200b, 0x200f, true}, {0x2060, 0x2064, true},   {0x20d0, 0x20f0, true},
        {0x3099, 0x309a, true}, {0xfe00, 0xfe0f, true},   {0xfe20, 0xfe2f, true},
        {0xfeff, 0xfeff, true}, {0x1f3fb, 0x1f3ff, true}, {0xe0100, 0xe01ef, true},
    };
    return num_char_look_up(marks, sizeof marks / sizeof *marks, c, false);
}

size_t ex_text_count(const char *text) {
    size_t n = 0;
    while (*text)
        n += !ex_text_is_space(ex_text_next(&text));
    return n;
}

size_t ex_text_columns(const char *text) {
    size_t n = 0;
    while (*text)
        n += !ex_text_is_mark(ex_text_next(&text));
    return n;
}

/* Shortens hyphens at the end of `out`, from `start` on, to one: an arrow's head follows. */
static void shorten_arrow(struct num_buf *out, size_t start) {
    while (out->len >= start + 2 && out->data[out->len - 1] == '-' &&
           out->data[out->len - 2] == '-')
        out->len--;
}

void ex_text_clean(struct num_buf *out, const char *text, unsigned flags) {
    const size_t start = out->len;
    size_t visible_end = start; /* end of the last visible character */
    size_t line_start = start;
    char separator = 0; /* to be written before the next line's first character */
    while (*text) {
        const char *from = text;
        uint32_t c = ex_text_next(&text);
        if (is_break(c)) {
            out->len = visible_end;
            separator = visible_end == start ? 0 : flags & EX_TEXT_LINES ? '\n' : ' ';
            line_start = visible_end;
            continue;
        }
        bool space = ex_text_is_space(c);
        if (space && out->len == line_start)
            continue;
        if (separator) {
            num_buf_addc(out, separator);
            separator = 0;
        }
        if (c == '>' && flags & EX_TEXT_ARROW)
            shorten_arrow(out, start);
        if (c == '\t' ? flags & EX_TEXT_NO_TABS : c < 0x20 || c == 0x7f)
            num_buf_addc(out, ' ');
        else
            num_buf_add(out, from, (size_t)(text - from));
        if (!space)
            visible_end = out->len;
    }
    out->len = visible_end;
}

/*
 * Characters: see unicode.h. Tables of ranges, found by bisection; small letters are looked up by
 * running through the runs of capitals, of which there are some 150.
 */
#include "llm/unicode.h"

static const struct num_char_range kinds[] = {
#include "llm/unicode_words.inc"
};

struct capitals {
    uint32_t first, last, step;
    int32_t distance;
};

static const struct capitals capitals[] = {
#include "llm/unicode_case.inc"
};

#define N_CAPITALS (sizeof capitals / sizeof *capitals)

enum lm_char lm_char_kind(uint32_t c) {
    if (num_char_is_white(c))
        return LM_SPACE;
    return (enum lm_char)num_char_look_up(kinds, sizeof kinds / sizeof *kinds, c, LM_SIGN);
}

uint32_t lm_char_lower(uint32_t c) {
    for (size_t i = 0; i < N_CAPITALS && capitals[i].first <= c; i++)
        if (c <= capitals[i].last && (c - capitals[i].first) % capitals[i].step == 0)
            return (uint32_t)((int32_t)c + capitals[i].distance);
    return c;
}

uint32_t lm_char_upper(uint32_t c) {
    for (size_t i = 0; i < N_CAPITALS; i++) {
        int64_t from = (int64_t)c - capitals[i].distance;
        if (from >= capitals[i].first && from <= capitals[i].last &&
            (from - capitals[i].first) % capitals[i].step == 0)
            return (uint32_t)from;
    }
    return c;
}

/* Signs that stay inside a word between two of its characters. */
static bool joins(uint32_t c) {
    return c == '\'' || c == 0x2019 || c == '-' || c == 0x2010 || c == 0x2011 || c == 0xad ||
           c == '.' || c == ',' || c == ':' || c == '_';
}

/* A point, comma or colon joins digits only: "3.5", not "end.Next". */
static bool may_join(uint32_t sign, enum lm_char before, enum lm_char after) {
    if (sign == '.' || sign == ',' || sign == ':')
        return before == LM_NUMBER && after == LM_NUMBER;
    return (before == LM_LETTER || before == LM_NUMBER) &&
           (after == LM_LETTER || after == LM_NUMBER);
}

/* Whether the character after the sign at `at` continues the word. */
static bool continues(const char *text, size_t len, size_t at, enum lm_char before) {
    size_t step, next;
    uint32_t sign = num_char_next(text + at, len - at, &step);
    if (!joins(sign) || at + step >= len)
        return false;
    return may_join(sign, before,
                    lm_char_kind(num_char_next(text + at + step, len - at - step, &next)));
}

bool lm_word_next(const char *text, size_t len, size_t *at, size_t *ret_begin) {
    size_t step;
    enum lm_char kind = LM_SIGN;
    for (; *at < len; *at += step) {
        kind = lm_char_kind(num_char_next(text + *at, len - *at, &step));
        if (kind >= LM_LETTER)
            break;
    }
    if (*at >= len)
        return false;
    *ret_begin = *at;
    *at += step;
    if (kind == LM_IDEOGRAPH)
        return true;
    while (*at < len) {
        enum lm_char next = lm_char_kind(num_char_next(text + *at, len - *at, &step));
        if (next == LM_LETTER || next == LM_NUMBER)
            kind = next;
        else if (!continues(text, len, *at, kind))
            break;
        *at += step;
    }
    return true;
}

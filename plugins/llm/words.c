/* Words without case and punctuation: see words.h. A cursor goes over the characters of a text and
 * says which of them are marks. */
#include "llm/words.h"

#include <stdint.h>
#include <string.h>

#include "llm/unicode.h"

struct cursor {
    const char *text;
    size_t len, at;
    uint32_t before; /* the character before `at`, 0 at the beginning */
};

static bool is_number(uint32_t c) {
    return lm_char_kind(c) == LM_NUMBER;
}

static bool is_alnum(uint32_t c) {
    enum lm_char kind = lm_char_kind(c);
    return kind == LM_LETTER || kind == LM_NUMBER || kind == LM_IDEOGRAPH;
}

/* Symbols that are read aloud. */
static bool is_symbol(uint32_t c) {
    return (c < 0x80 && strchr("$%&@#+=<>*/\\^|~", (int)c) && c) || (c >= 0x20a0 && c <= 0x20cf) ||
           c == 0xa3 || c == 0xa5 || c == 0xa7 || c == 0xb0 || c == 0xb1 || c == 0xd7 || c == 0xf7;
}

static uint32_t peek(const struct cursor *c) {
    size_t n;
    return c->at < c->len ? num_char_next(c->text + c->at, c->len - c->at, &n) : 0;
}

/* Goes over one character; true where it is a mark, which *ret_mark then is. */
static bool step(struct cursor *c, uint32_t *ret_mark, bool *ret_space) {
    size_t n;
    uint32_t before = c->before, x = num_char_next(c->text + c->at, c->len - c->at, &n);
    c->at += n;
    c->before = x;
    uint32_t after = peek(c);
    *ret_space = num_char_is_white(x);
    *ret_mark = lm_char_lower(x);
    if (is_alnum(x) || is_symbol(x))
        return true;
    if (*ret_space || !after || !is_number(after))
        return false;
    bool minus = x == '-' || x == 0x2212;
    return (before && is_number(before)) || (minus && !(before && is_alnum(before)));
}

/* The next mark; *ret_gap: white space lies before it. False at the end. */
static bool next_mark(struct cursor *c, uint32_t *ret_mark, bool *ret_gap) {
    *ret_gap = false;
    while (c->at < c->len) {
        bool space;
        if (step(c, ret_mark, &space))
            return true;
        *ret_gap |= space;
    }
    return false;
}

bool lm_same_words(const char *a, size_t a_len, const char *b, size_t b_len) {
    struct cursor x = {a, a_len, 0, 0}, y = {b, b_len, 0, 0};
    for (bool first = true;; first = false) {
        uint32_t mark_x, mark_y;
        bool gap_x, gap_y;
        bool more = next_mark(&x, &mark_x, &gap_x);
        if (more != next_mark(&y, &mark_y, &gap_y))
            return false;
        if (!more)
            return true;
        if (mark_x != mark_y || (!first && gap_x != gap_y))
            return false;
    }
}

size_t lm_count_marks(const char *text, size_t len) {
    struct cursor c = {text, len, 0, 0};
    size_t n = 0;
    uint32_t mark;
    bool gap;
    while (next_mark(&c, &mark, &gap))
        n++;
    return n;
}

/* A cursor at `at`, which is between characters. */
static struct cursor cursor_at(const char *text, size_t len, size_t at) {
    struct cursor c = {text, len, at, 0};
    size_t begin = at, n;
    while (begin > 0 && ((uint8_t)text[--begin] & 0xc0) == 0x80)
        ;
    if (at > 0)
        c.before = num_char_next(text + begin, at - begin, &n);
    return c;
}

size_t lm_take_marks(const char *text, size_t len, size_t *at, size_t n, size_t *ret_begin) {
    struct cursor c = cursor_at(text, len, *at);
    uint32_t mark;
    bool space = false;
    while (c.at < len && num_char_is_white(peek(&c)))
        step(&c, &mark, &space);
    *ret_begin = c.at;
    while (n > 0 && c.at < len)
        n -= step(&c, &mark, &space);
    while (c.at < len && !num_char_is_white(peek(&c))) {
        struct cursor next = c;
        if (step(&next, &mark, &space))
            break;
        c = next;
    }
    *at = c.at;
    return c.at - *ret_begin;
}

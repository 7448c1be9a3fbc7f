/*
 * Pieces of a text by the rules of model families, each a regular expression written as one look
 * ahead:
 *
 *   GPT-2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   Llama 3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
 *            ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *   Qwen 2   the same with \p{N} for \p{N}{1,3}
 *
 * The text is valid UTF-8.
 */
#include <string.h>

#include "llm/vocab.h"
#include "num/bpe_encode.h"
#include "num/unicode.h"
#include "num/utf8.h"

struct character {
    uint32_t c;
    enum num_char_kind kind;
    size_t len; /* 0: the text is over */
};

static struct character look(const uint8_t *text, size_t len) {
    struct character ch = {0};
    if (len == 0)
        return ch;
    ch.len = num_utf8_next(text, len, &ch.c);
    if (ch.len == 0) /* no valid UTF-8 */
        return (struct character){0xfffd, NUM_OTHER, 1};
    ch.kind = num_char_kind(ch.c);
    return ch;
}

/* Bytes of the run of characters of `kind` at the front, at most `most` of them. */
static size_t run(const uint8_t *text, size_t len, enum num_char_kind kind, size_t most) {
    size_t at = 0;
    for (size_t n = 0; n < most; n++) {
        struct character ch = look(text + at, len - at);
        if (ch.len == 0 || ch.kind != kind)
            break;
        at += ch.len;
    }
    return at;
}

static bool is_line_end(uint32_t c) {
    return c == '\r' || c == '\n';
}

/* Whether c is the letter x in either case; U+017F is an s. */
static bool is_letter(uint32_t c, char x) {
    return c == (uint32_t)x || c == (uint32_t)(x - 'a' + 'A') || (x == 's' && c == 0x17f);
}

/* Bytes of an English ending in any case, or 0. */
static size_t ending(const uint8_t *text, size_t len) {
    static const char *const endings[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    if (text[0] != '\'')
        return 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t at = 1;
        const char *want = endings[i];
        for (; *want; want++) {
            struct character ch = look(text + at, len - at);
            if (ch.len == 0 || !is_letter(ch.c, *want))
                break;
            at += ch.len;
        }
        if (!*want)
            return at;
    }
    return 0;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ where the text begins with a blank. */
static size_t blanks(const uint8_t *text, size_t len) {
    size_t at = 0, last = 0, line_end = 0;
    for (struct character ch; (ch = look(text + at, len - at)).len && ch.kind == NUM_SPACE;) {
        last = ch.len;
        at += ch.len;
        if (is_line_end(ch.c))
            line_end = at;
    }
    if (line_end)
        return line_end;
    return at < len && at > last ? at - last : at; /* the last blank belongs to what follows */
}

/* " ?[^\s\p{L}\p{N}]+[\r\n]*", or 0. */
static size_t signs(const uint8_t *text, size_t len) {
    size_t at = text[0] == ' ', n = run(text + at, len - at, NUM_OTHER, SIZE_MAX);
    if (n == 0)
        return 0;
    for (at += n; at < len && is_line_end(text[at]);)
        at++;
    return at;
}

static size_t llama3_piece(const uint8_t *text, size_t len, size_t most_digits) {
    size_t n = ending(text, len);
    struct character ch = look(text, len);
    if (n)
        return n;
    if (ch.kind == NUM_LETTER)
        return run(text, len, NUM_LETTER, SIZE_MAX);
    if (!is_line_end(ch.c) && ch.kind != NUM_NUMBER) {
        n = run(text + ch.len, len - ch.len, NUM_LETTER, SIZE_MAX);
        if (n)
            return ch.len + n;
    }
    if (ch.kind == NUM_NUMBER)
        return run(text, len, NUM_NUMBER, most_digits);
    n = signs(text, len);
    return n ? n : blanks(text, len);
}

/* Every number alone; between them, all that is none. */
static size_t digits_piece(const uint8_t *text, size_t len) {
    size_t at = 0;
    for (struct character ch; (ch = look(text + at, len - at)).len; at += ch.len)
        if (ch.kind == NUM_NUMBER)
            return at ? at : ch.len;
    return at;
}

static bool is_blank_mark(const uint8_t *text, size_t len) {
    return len >= 3 && memcmp(text, "\xe2\x96\x81", 3) == 0;
}

/* Up to the next U+2581. */
static size_t marks_piece(const uint8_t *text, size_t len) {
    size_t at = 1;
    while (at < len && !is_blank_mark(text + at, len - at))
        at++;
    return at;
}

size_t lm_split_piece(enum lm_split split, const uint8_t *text, size_t len) {
    switch (split) {
    case LM_SPLIT_GPT2:
        return num_bpe_piece(text, len);
    case LM_SPLIT_LLAMA3:
        return llama3_piece(text, len, 3);
    case LM_SPLIT_QWEN2:
        return llama3_piece(text, len, 1);
    case LM_SPLIT_DIGITS:
        return digits_piece(text, len);
    case LM_SPLIT_BLANKS:
        break;
    }
    return marks_piece(text, len);
}

/*
 * Sentences of a transcript: see sentences.h. Texts are copied into one buffer, a space between
 * segments; offsets become pointers at the end, when the buffer no longer moves.
 *
 * A full stop ends a sentence only before white space, and not after a single letter or a word that
 * has a full stop inside ("A. Smith", "e.g. this"): no list of abbreviations, so any language.
 */
#include "llm/sentences.h"

#include <stdlib.h>
#include <string.h>

#include "llm/unicode.h"

/* A sentence of this many words ends with its segment. */
#define LONG_WORDS 24

struct cutter {
    struct lm_sentences *out;
    size_t begin;     /* offset of the open sentence */
    size_t segment;   /* where it began */
    uint32_t n_words; /* of it, so far */
    size_t cap;
    bool failed;
};

static bool ends_wide(uint32_t c) {
    return c == 0x3002 || c == 0xff01 || c == 0xff1f || c == 0x0964 || c == 0x0965 || c == 0x06d4 ||
           c == 0x061f || c == 0x1362 || c == 0x104b;
}

static bool ends_narrow(uint32_t c) {
    return c == '.' || c == '!' || c == '?' || c == 0x2026 || c == 0x203c || c == 0x2047 ||
           c == 0x2048 || c == 0x2049;
}

/* Quotation marks and brackets that close behind the end of a sentence. */
static bool closes(uint32_t c) {
    return c == '"' || c == '\'' || c == ')' || c == ']' || c == 0x2019 || c == 0x201d ||
           c == 0xbb || c == 0x300d || c == 0x300f || c == 0xff09;
}

/* Whether the full stop at `dot` belongs to an abbreviation: a letter, or letters with full
 * stops. */
static bool abbreviates(const char *text, size_t begin, size_t dot) {
    size_t from = dot, n = 0, step;
    while (from > begin && !strchr(" \t\n", text[from - 1]))
        from--;
    if (memchr(text + from, '.', dot - from))
        return true;
    for (size_t at = from; at < dot; at += step, n++)
        if (lm_char_kind(num_char_next(text + at, dot - at, &step)) != LM_LETTER)
            return false;
    return n == 1;
}

static uint32_t count_words(const char *text, size_t len) {
    uint32_t n = 0;
    for (size_t at = 0, begin; lm_word_next(text, len, &at, &begin);)
        n++;
    return n;
}

/* Closes the open sentence at offset `end`. */
static void close_sentence(struct cutter *c, size_t end, size_t next_segment) {
    struct lm_sentences *out = c->out;
    size_t skip, len = num_text_trim(num_buf_text(&out->text) + c->begin, end - c->begin, &skip);
    struct lm_sentence s = {.len = len, .segment = c->segment};
    s.n_words = count_words(num_buf_text(&out->text) + c->begin + skip, len);
    s.text = (const char *)(uintptr_t)(c->begin + skip);
    c->begin = end;
    c->segment = next_segment;
    c->n_words = 0;
    if (s.n_words == 0 || c->failed)
        return;
    if (out->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        struct lm_sentence *items = reallocarray(out->items, cap, sizeof *items);
        c->failed = !items;
        if (!items)
            return;
        out->items = items;
        c->cap = cap;
    }
    out->items[out->n++] = s;
}

/* Whether a sentence ends with the sign at `at`; *ret_end: behind the signs that belong to it. */
static bool ends_at(const struct cutter *c, size_t at, size_t *ret_end) {
    const char *text = num_buf_text(&c->out->text);
    size_t len = c->out->text.len, step;
    uint32_t sign = num_char_next(text + at, len - at, &step);
    bool wide = ends_wide(sign);
    if (!wide && !ends_narrow(sign))
        return false;
    size_t end = at + step;
    while (end < len) {
        uint32_t next = num_char_next(text + end, len - end, &step);
        if (!ends_narrow(next) && !ends_wide(next) && !closes(next))
            break;
        end += step;
    }
    *ret_end = end;
    if (wide || end >= len)
        return true;
    return num_char_is_white(num_char_next(text + end, len - end, &step)) &&
           !(sign == '.' && end == at + 1 && abbreviates(text, c->begin, at));
}

/* Closes the sentences that end inside the buffer from offset `from`. */
static void scan(struct cutter *c, size_t from, size_t segment) {
    size_t step;
    for (size_t at = from; at < c->out->text.len; at += step) {
        size_t end;
        num_char_next(c->out->text.data + at, c->out->text.len - at, &step);
        if (!ends_at(c, at, &end))
            continue;
        step = end - at;
        close_sentence(c, end, segment);
    }
}

static void add_segment(struct cutter *c, const struct lm_transcript *t, size_t i) {
    const struct lm_segment *s = &t->segments[i];
    struct num_buf *text = &c->out->text;
    if (i > 0 && !lm_same_speaker(s, &t->segments[i - 1]))
        close_sentence(c, text->len, i);
    if (c->begin == text->len)
        c->segment = i;
    num_buf_addc(text, ' ');
    size_t from = text->len;
    num_buf_add(text, s->text, s->len);
    if (text->failed)
        return;
    scan(c, from, i);
    from = c->begin > from ? c->begin : from;
    c->n_words += count_words(text->data + from, text->len - from);
    if (c->n_words >= LONG_WORDS)
        close_sentence(c, text->len, i + 1);
}

int32_t lm_sentences_cut(const struct lm_transcript *t, struct lm_sentences *ret,
                         struct num_err *err) {
    struct lm_sentences out = {0};
    struct cutter c = {.out = &out};
    for (size_t i = 0; i < t->n_segments && !out.text.failed && !c.failed; i++)
        add_segment(&c, t, i);
    close_sentence(&c, out.text.len, t->n_segments);
    if (out.text.failed || c.failed) {
        lm_sentences_finish(&out);
        return num_fail_memory(err, "the sentences", t->n_segments * sizeof *out.items);
    }
    for (size_t i = 0; i < out.n; i++)
        out.items[i].text = num_buf_text(&out.text) + (uintptr_t)out.items[i].text;
    *ret = out;
    return SLUICE_OK;
}

void lm_sentences_finish(struct lm_sentences *s) {
    free(s->items);
    num_buf_finish(&s->text);
    *s = (struct lm_sentences){0};
}

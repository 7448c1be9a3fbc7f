/*
 * Text into tokens and back: see tokenizer.h. A text goes through these steps: it is made valid
 * UTF-8; added tokens are found in it (the leftmost, of those the longest); what lies between is
 * normalised, cut into pieces and given to merge.c or unigram.c.
 */
#include "llm/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "llm/vocab.h"
#include "num/buf.h"
#include "num/unicode.h"
#include "num/utf8.h"

#define MAX_TEXT_BYTES (256u << 20)
#define BLANK_MARK     "\xe2\x96\x81" /* U+2581 */

/* ---- Queries -------------------------------------------------------------------------------- */

static const struct lm_token *token_of(const struct lm_tokenizer *t, int32_t token) {
    bool there = token >= 0 && (uint32_t)token < t->n_tokens && t->tokens[token].used;
    return there ? &t->tokens[token] : NULL;
}

const uint8_t *lm_tokenizer_bytes(const struct lm_tokenizer *t, int32_t token, size_t *ret_len) {
    const struct lm_token *k = token_of(t, token);
    *ret_len = k ? k->bytes_len : 0;
    return k ? (const uint8_t *)t->text + k->bytes : (const uint8_t *)"";
}

const char *lm_tokenizer_name(const struct lm_tokenizer *t, int32_t token) {
    const struct lm_token *k = token_of(t, token);
    return k ? t->text + k->name : "";
}

int32_t lm_tokenizer_find(const struct lm_tokenizer *t, const char *name) {
    uint8_t first = (uint8_t)name[0];
    for (uint32_t i = t->first_added[first]; i < t->first_added[first + 1]; i++)
        if (strcmp(lm_tokenizer_name(t, t->added[i]), name) == 0)
            return t->added[i];
    return -1;
}

bool lm_tokenizer_is_special(const struct lm_tokenizer *t, int32_t token) {
    const struct lm_token *k = token_of(t, token);
    return k && k->special;
}

uint32_t lm_tokenizer_size(const struct lm_tokenizer *t) {
    return t->n_tokens;
}

int32_t lm_tokenizer_bos(const struct lm_tokenizer *t) {
    return t->bos;
}

int32_t lm_tokenizer_eos(const struct lm_tokenizer *t) {
    return t->eos;
}

bool lm_tokenizer_adds_bos(const struct lm_tokenizer *t) {
    return t->n_prefix > 0;
}

/* ---- Output --------------------------------------------------------------------------------- */

void lm_out_add(struct lm_out *out, int32_t token) {
    if (num_grow(&out->tokens, out->n, &out->room, sizeof token, "tokens", NULL))
        out->failed = true;
    else
        out->tokens[out->n++] = token;
}

void lm_out_unknown(const struct lm_tokenizer *t, const char *text, size_t len,
                    struct lm_out *out) {
    bool all = t->byte_fallback;
    for (size_t i = 0; all && i < len; i++)
        all = t->bytes[(uint8_t)text[i]] >= 0;
    for (size_t i = 0; all && i < len; i++)
        lm_out_add(out, t->bytes[(uint8_t)text[i]]);
    if (!all && t->unk >= 0)
        lm_out_add(out, t->unk);
}

/* ---- Between added tokens -------------------------------------------------------------------- */

struct encoding {
    const struct lm_tokenizer *t;
    struct lm_out *out;
    char *normal; /* room for 3 bytes for each of the text, and 4 more */
    void *work;   /* for num_nfc() */
};

/* Pieces by rule number `rule` and those behind it. */
static void pieces(const struct encoding *e, uint32_t rule, const char *text, size_t len) {
    const struct lm_tokenizer *t = e->t;
    if (rule == t->n_splits && t->kind == LM_UNIGRAM) {
        lm_unigram_piece(t, text, len, e->out);
        return;
    }
    if (rule == t->n_splits) {
        lm_merge_piece(t, text, len, e->out);
        return;
    }
    for (size_t at = 0, n; at < len; at += n) {
        n = lm_split_piece(t->splits[rule], (const uint8_t *)text + at, len - at);
        pieces(e, rule + 1, text + at, n);
    }
}

static bool begins(const char *text, size_t len, const char *with) {
    return len >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

/* The text with its blanks marked; `first`: it begins the whole text. Returns its length. */
static size_t mark_blanks(const struct encoding *e, const char *text, size_t len, bool first) {
    const struct lm_tokenizer *t = e->t;
    size_t n = 0;
    bool wanted = t->prepend == LM_PREPEND_ALWAYS || (t->prepend == LM_PREPEND_FIRST && first);
    bool there = begins(text, len, BLANK_MARK) || (t->blanks && begins(text, len, " "));
    if (wanted && !(t->prepend_unless && there)) {
        memcpy(e->normal, BLANK_MARK, 3);
        n = 3;
    }
    for (size_t i = 0; i < len; i++) {
        bool blank = t->blanks && text[i] == ' ';
        memcpy(e->normal + n, blank ? BLANK_MARK : text + i, blank ? 3 : 1);
        n += blank ? 3 : 1;
    }
    return n;
}

static void normalised(const struct encoding *e, const char *text, size_t len) {
    const struct lm_tokenizer *t = e->t;
    const struct lm_charsmap_rules rules = {t->trims, t->prepend == LM_PREPEND_ALWAYS};
    num_autobuf normal = {0};
    lm_charsmap_apply(&t->charsmap, rules, text, len, &normal);
    e->out->failed |= normal.failed;
    if (normal.len)
        pieces(e, 0, num_buf_text(&normal), normal.len);
}

static void between(const struct encoding *e, const char *text, size_t len, bool first) {
    const struct lm_tokenizer *t = e->t;
    if (len == 0)
        return;
    if (t->normalises) {
        normalised(e, text, len);
        return;
    }
    if (t->nfc) {
        len = num_nfc((const uint8_t *)text, len, (uint8_t *)e->normal, e->work);
        text = e->normal;
    } else if (t->blanks || t->prepend != LM_PREPEND_NEVER) {
        len = mark_blanks(e, text, len, first);
        text = e->normal;
    } else if (t->prepend_space && text[0] != ' ') {
        memcpy(e->normal + 1, text, len++);
        e->normal[0] = ' ';
        text = e->normal;
    }
    pieces(e, 0, text, len);
}

/* ---- Added tokens --------------------------------------------------------------------------- */

/* The longest added token that the text begins with, or -1. */
static int32_t added_at(const struct lm_tokenizer *t, const char *text, size_t len, bool special) {
    uint8_t first = (uint8_t)text[0];
    for (uint32_t i = t->first_added[first]; i < t->first_added[first + 1]; i++) {
        const struct lm_token *k = &t->tokens[t->added[i]];
        if ((special || !k->special) && k->name_len <= len &&
            memcmp(t->text + k->name, text, k->name_len) == 0)
            return t->added[i];
    }
    return -1;
}

/* Bytes of the blanks that the text begins with, and that it ends with. */
static size_t blanks_before(const char *text, size_t len) {
    size_t at = 0;
    while (at < len) {
        uint32_t c;
        size_t step = num_utf8_next((const uint8_t *)text + at, len - at, &c);
        if (step == 0 || num_char_kind(c) != NUM_SPACE)
            break;
        at += step;
    }
    return at;
}

static size_t blanks_behind(const char *text, size_t len) {
    size_t end = len;
    while (end > 0) {
        size_t at = end - 1;
        uint32_t c;
        while (at > 0 && ((uint8_t)text[at] & 0xc0) == 0x80)
            at--;
        size_t step = num_utf8_next((const uint8_t *)text + at, end - at, &c);
        if (step == 0 || num_char_kind(c) != NUM_SPACE)
            break;
        end = at;
    }
    return len - end;
}

static void encode_all(const struct encoding *e, const char *text, size_t len, bool special) {
    const struct lm_tokenizer *t = e->t;
    size_t from = 0;
    for (size_t at = 0; at < len;) {
        int32_t token = t->n_added ? added_at(t, text + at, len - at, special) : -1;
        if (token < 0) {
            at++;
            continue;
        }
        const struct lm_token *k = &t->tokens[token];
        size_t end = at - (k->lstrip ? blanks_behind(text + from, at - from) : 0);
        between(e, text + from, end - from, from == 0);
        lm_out_add(e->out, token);
        at += k->name_len;
        at += k->rstrip ? blanks_before(text + at, len - at) : 0;
        from = at;
    }
    between(e, text + from, len - from, from == 0);
}

/* ---- Texts ---------------------------------------------------------------------------------- */

/* Copies the text with U+FFFD for what is no UTF-8; `to` has room for 3 * len bytes. */
static size_t make_valid(const char *text, size_t len, char *to) {
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t step = num_utf8_next((const uint8_t *)text + i, len - i, &c);
        if (step)
            memcpy(to + n, text + i, step);
        n += step ? step : num_utf8_put(0xfffd, (uint8_t *)to + n);
        i += step ? step : c;
    }
    return n;
}

int32_t lm_tokenizer_encode(const struct lm_tokenizer *t, const char *text, size_t len,
                            uint32_t flags, int32_t **ret_tokens, size_t *ret_n,
                            struct num_err *err) {
    struct lm_out out = {0};
    if (len > MAX_TEXT_BYTES)
        return num_fail(err, SLUICE_INPUT, "a text of %zu bytes is too long to be cut into tokens",
                        len);
    char *valid = num_utf8_is_valid(text, len) ? NULL : malloc(3 * len + 1);
    bool failed = !valid && !num_utf8_is_valid(text, len);
    size_t valid_len = valid ? make_valid(text, len, valid) : len;
    struct encoding e = {t, &out, malloc(3 * valid_len + 4),
                         t->nfc ? malloc(num_nfc_work(valid_len)) : NULL};
    out.tokens = malloc(64 * sizeof *out.tokens);
    out.room = 64;
    failed |= !e.normal || !out.tokens || (t->nfc && !e.work);
    for (uint32_t i = 0; !failed && (flags & LM_ENCODE_BOS) && i < t->n_prefix; i++)
        lm_out_add(&out, t->prefix[i]);
    if (!failed)
        encode_all(&e, valid ? valid : text, valid_len, flags & LM_ENCODE_SPECIAL);
    free(valid);
    free(e.normal);
    free(e.work);
    if (failed || out.failed) {
        free(out.tokens);
        return num_fail_memory(err, "the tokens of a text", len * sizeof *out.tokens);
    }
    *ret_tokens = out.tokens;
    *ret_n = out.n;
    return SLUICE_OK;
}

/* Whether a blank at the front of a text stands for nothing. */
static bool strips_blank(const struct lm_tokenizer *t) {
    return t->kind != LM_BYTE_BPE && t->prepend != LM_PREPEND_NEVER;
}

/* Copies what n tokens stand for to `to` (NULL: only counts) and returns the length. */
static size_t join_bytes(const struct lm_tokenizer *t, const int32_t *tokens, size_t n,
                         bool special, uint8_t *to) {
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct lm_token *k = token_of(t, tokens[i]);
        if (!k)
            continue;
        bool name = k->special && special;
        size_t len = name ? k->name_len : k->bytes_len;
        if (to)
            memcpy(to + at, t->text + (name ? k->name : k->bytes), len);
        at += len;
    }
    return at;
}

int32_t lm_tokenizer_decode(const struct lm_tokenizer *t, const int32_t *tokens, size_t n,
                            bool special, char **ret_text, struct num_err *err) {
    size_t len = join_bytes(t, tokens, n, special, NULL), skip;
    uint8_t *bytes = malloc(len + 1);
    char *text = malloc(3 * len + 1);
    if (!bytes || !text) {
        free(bytes);
        free(text);
        return num_fail_memory(err, "a text", 4 * len);
    }
    join_bytes(t, tokens, n, special, bytes);
    skip = strips_blank(t) && len && bytes[0] == ' ';
    num_utf8_clean(bytes + skip, len - skip, text);
    free(bytes);
    *ret_text = text;
    return SLUICE_OK;
}

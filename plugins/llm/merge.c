/*
 * Byte-pair encoding of one piece: its bytes or characters are joined by num/bpe_merge.h, the
 * earliest merge (or the best score) first.
 */
#include <stdlib.h>
#include <string.h>

#include "llm/vocab.h"
#include "num/bpe_merge.h"
#include "num/utf8.h"

struct piece {
    const struct lm_tokenizer *t;
    const char *text;
    struct num_bpe_work work;
};

/* What two neighbours make, -1: nothing; *ret_order says when. Ranks below 2^24 are exact. */
static int32_t joined(const void *ctx, const struct num_bpe_part *a, const struct num_bpe_part *b,
                      float *ret_order) {
    const struct piece *p = ctx;
    if (p->t->merges) {
        const struct lm_merge *m =
            a->token < 0 || b->token < 0 ? NULL : lm_vocab_pair(p->t, a->token, b->token);
        *ret_order = m ? (float)m->rank : 0;
        return m ? m->to : -1;
    }
    int32_t to = lm_vocab_find(p->t, p->text + a->at, a->len + b->len);
    if (to >= 0 && p->t->tokens[to].special)
        return -1;
    *ret_order = to >= 0 ? -p->t->tokens[to].score : 0;
    return to;
}

/* One character as a part; with merges by rank, what is no token as bytes right away. */
static void add_character(struct piece *p, size_t at, size_t len) {
    const struct lm_tokenizer *t = p->t;
    int32_t token = lm_vocab_find(t, p->text + at, len);
    bool all = t->merges && t->byte_fallback && token < 0;
    for (size_t i = 0; all && i < len; i++)
        all = t->bytes[(uint8_t)p->text[at + i]] >= 0;
    if (!all) {
        num_bpe_add(&p->work, at, len, token);
        return;
    }
    for (size_t i = 0; i < len; i++)
        num_bpe_add(&p->work, at + i, 1, t->bytes[(uint8_t)p->text[at + i]]);
}

static void split_parts(struct piece *p, size_t len) {
    for (size_t at = 0, step; at < len; at += step) {
        uint32_t c;
        if (p->t->kind == LM_BYTE_BPE) {
            step = 1;
            num_bpe_add(&p->work, at, 1, p->t->bytes[(uint8_t)p->text[at]]);
            continue;
        }
        step = num_utf8_next((const uint8_t *)p->text + at, len - at, &c);
        step = step ? step : 1;
        add_character(p, at, step);
    }
}

static void put_parts(const struct piece *p, struct lm_out *out) {
    const struct num_bpe_work *w = &p->work;
    bool unknown = false;
    for (uint32_t i = 0; w->n_parts && i != NUM_BPE_NONE; i = w->parts[i].next) {
        const struct num_bpe_part *part = &w->parts[i];
        if (part->token >= 0)
            lm_out_add(out, part->token);
        else if (!(unknown && p->t->fuse_unk && !p->t->byte_fallback))
            lm_out_unknown(p->t, p->text + part->at, part->len, out);
        unknown = part->token < 0;
    }
}

/* The whole piece as one token: byte-level tokens by what they stand for. */
static int32_t whole(const struct lm_tokenizer *t, const char *text, size_t len) {
    if (!t->ignore_merges)
        return -1;
    if (t->kind != LM_BYTE_BPE)
        return lm_vocab_find(t, text, len);
    char name[512];
    size_t n = 0;
    if (2 * len > sizeof name)
        return -1;
    for (size_t i = 0; i < len; i++) {
        int32_t token = t->bytes[(uint8_t)text[i]];
        if (token < 0)
            return -1;
        memcpy(name + n, t->text + t->tokens[token].name, t->tokens[token].name_len);
        n += t->tokens[token].name_len;
    }
    return lm_vocab_find(t, name, n);
}

void lm_merge_piece(const struct lm_tokenizer *t, const char *text, size_t len,
                    struct lm_out *out) {
    struct num_bpe_part few_parts[64];
    struct num_bpe_pair few_pairs[3 * 64];
    struct piece p = {t, text, {few_parts, few_pairs, 0, 0, joined, &p}};
    struct num_bpe_work *w = &p.work;
    int32_t token = whole(t, text, len);
    if (token >= 0) {
        lm_out_add(out, token);
        return;
    }
    if (len > 64) {
        w->parts = malloc(len * sizeof *w->parts);
        w->heap = malloc(3 * len * sizeof *w->heap);
    }
    out->failed |= !w->parts || !w->heap;
    if (w->parts && w->heap) {
        split_parts(&p, len);
        num_bpe_merge(w);
        put_parts(&p, out);
    }
    if (len > 64) {
        free(w->parts);
        free(w->heap);
    }
}

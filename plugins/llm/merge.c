/*
 * Byte-pair encoding of one piece: parts in a linked list, and a heap of neighbours that join, the
 * earliest merge (or the best score) first, then the leftmost. An entry of the heap is stale where
 * its parts have changed since; it is skipped.
 */
#include <stdlib.h>
#include <string.h>

#include "llm/vocab.h"
#include "num/utf8.h"

#define NONE UINT32_MAX

/* Bytes [at, at + len) of the piece; len is 0 once it was joined to the part on its left. */
struct part {
    uint32_t at, len, previous, next; /* NONE at the ends */
    int32_t token;                    /* -1: none of the vocabulary */
};

struct pair {
    float order; /* less goes first */
    uint32_t left;
    uint32_t len; /* of both, when it was offered */
    int32_t to;
};

struct work {
    const struct lm_tokenizer *t;
    const char *text;
    struct part *parts;
    struct pair *heap; /* three for each part at most */
    size_t n_parts, n_heap;
};

static bool before(struct pair a, struct pair b) {
    return a.order != b.order ? a.order < b.order : a.left < b.left;
}

static void heap_push(struct work *w, struct pair p) {
    size_t at = w->n_heap++;
    for (; at > 0 && before(p, w->heap[(at - 1) / 2]); at = (at - 1) / 2)
        w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = p;
}

static struct pair heap_pop(struct work *w) {
    struct pair top = w->heap[0], p = w->heap[--w->n_heap];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < w->n_heap; at = child) {
        child += child + 1 < w->n_heap && before(w->heap[child + 1], w->heap[child]);
        if (!before(w->heap[child], p))
            break;
        w->heap[at] = w->heap[child];
    }
    w->heap[at] = p;
    return top;
}

/* What two neighbours make, -1: nothing; *ret_order says when. Ranks below 2^24 are exact. */
static int32_t joined(const struct work *w, const struct part *a, const struct part *b,
                      float *ret_order) {
    if (w->t->merges) {
        const struct lm_merge *m =
            a->token < 0 || b->token < 0 ? NULL : lm_vocab_pair(w->t, a->token, b->token);
        *ret_order = m ? (float)m->rank : 0;
        return m ? m->to : -1;
    }
    int32_t to = lm_vocab_find(w->t, w->text + a->at, a->len + b->len);
    if (to >= 0 && w->t->tokens[to].special)
        return -1;
    *ret_order = to >= 0 ? -w->t->tokens[to].score : 0;
    return to;
}

static void offer(struct work *w, uint32_t left) {
    const struct part *a = &w->parts[left];
    float order;
    if (left == NONE || a->next == NONE)
        return;
    int32_t to = joined(w, a, &w->parts[a->next], &order);
    if (to >= 0)
        heap_push(w, (struct pair){order, left, a->len + w->parts[a->next].len, to});
}

static void join(struct work *w, struct pair p) {
    struct part *a = &w->parts[p.left];
    float order;
    if (a->len == 0 || a->next == NONE)
        return;
    struct part *b = &w->parts[a->next];
    if (a->len + b->len != p.len || joined(w, a, b, &order) != p.to)
        return;
    a->len += b->len;
    a->token = p.to;
    a->next = b->next;
    b->len = 0;
    if (a->next != NONE)
        w->parts[a->next].previous = p.left;
    offer(w, a->previous);
    offer(w, p.left);
}

static void add_part(struct work *w, size_t at, size_t len, int32_t token) {
    uint32_t i = (uint32_t)w->n_parts++;
    w->parts[i] = (struct part){(uint32_t)at, (uint32_t)len, i ? i - 1 : NONE, NONE, token};
    if (i)
        w->parts[i - 1].next = i;
}

/* One character as a part; with merges by rank, what is no token as bytes right away. */
static void add_character(struct work *w, size_t at, size_t len) {
    const struct lm_tokenizer *t = w->t;
    int32_t token = lm_vocab_find(t, w->text + at, len);
    bool all = t->merges && t->byte_fallback && token < 0;
    for (size_t i = 0; all && i < len; i++)
        all = t->bytes[(uint8_t)w->text[at + i]] >= 0;
    if (!all) {
        add_part(w, at, len, token);
        return;
    }
    for (size_t i = 0; i < len; i++)
        add_part(w, at + i, 1, t->bytes[(uint8_t)w->text[at + i]]);
}

static void split_parts(struct work *w, size_t len) {
    for (size_t at = 0, step; at < len; at += step) {
        uint32_t c;
        if (w->t->kind == LM_BYTE_BPE) {
            step = 1;
            add_part(w, at, 1, w->t->bytes[(uint8_t)w->text[at]]);
            continue;
        }
        step = num_utf8_next((const uint8_t *)w->text + at, len - at, &c);
        step = step ? step : 1;
        add_character(w, at, step);
    }
}

static void put_parts(const struct work *w, struct lm_out *out) {
    bool unknown = false;
    for (uint32_t i = 0; w->n_parts && i != NONE; i = w->parts[i].next) {
        const struct part *p = &w->parts[i];
        if (p->token >= 0)
            lm_out_add(out, p->token);
        else if (!(unknown && w->t->fuse_unk && !w->t->byte_fallback))
            lm_out_unknown(w->t, w->text + p->at, p->len, out);
        unknown = p->token < 0;
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
    struct part few_parts[64];
    struct pair few_pairs[3 * 64];
    struct work w = {.t = t, .text = text, .parts = few_parts, .heap = few_pairs};
    int32_t token = whole(t, text, len);
    if (token >= 0) {
        lm_out_add(out, token);
        return;
    }
    if (len > 64) {
        w.parts = malloc(len * sizeof *w.parts);
        w.heap = malloc(3 * len * sizeof *w.heap);
    }
    out->failed |= !w.parts || !w.heap;
    if (w.parts && w.heap) {
        split_parts(&w, len);
        for (uint32_t i = 0; i < w.n_parts; i++)
            offer(&w, i);
        while (w.n_heap)
            join(&w, heap_pop(&w));
        put_parts(&w, out);
    }
    if (len > 64) {
        free(w.parts);
        free(w.heap);
    }
}

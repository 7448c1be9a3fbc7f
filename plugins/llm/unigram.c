/*
 * The division of a text into the tokens of the best sum of scores: Viterbi over positions, as
 * SentencePiece's EncodeOptimized and Hugging Face's encode_optimized do it (Kudo, "Subword
 * regularization", 2018). At equal sums the token that begins first wins.
 */
#include <stdlib.h>

#include "llm/vocab.h"
#include "num/utf8.h"

#define MAX_TOKEN 512 /* bytes; longer tokens are not looked for */

struct node {
    double score;
    uint32_t from; /* where the last token begins */
    int32_t token; /* -1: unknown; -2: not reached */
};

struct unigram {
    const struct lm_tokenizer *t;
    const char *text;
    size_t len;
    struct node *nodes; /* (len + 1): the best way to each place */
};

static double sum(const struct unigram *u, double a, float b) {
    return u->t->wide_scores ? a + (double)b : (double)((float)a + b);
}

static void reach(const struct unigram *u, size_t from, size_t to, int32_t token, float score) {
    double total = sum(u, u->nodes[from].score, score);
    if (u->nodes[to].token == -2 || total > u->nodes[to].score)
        u->nodes[to] = (struct node){total, (uint32_t)from, token};
}

/* All tokens that begin at a character of `step` bytes. */
static void step_from(const struct unigram *u, size_t at, size_t step) {
    const struct lm_tokenizer *t = u->t;
    size_t most = t->longest_name < MAX_TOKEN ? t->longest_name : MAX_TOKEN;
    most = u->len - at < most ? u->len - at : most;
    bool single = false;
    for (size_t n = 1; n <= most; n++) {
        int32_t token = lm_vocab_find(t, u->text + at, n);
        if (token < 0 || t->tokens[token].special || token == t->unk)
            continue;
        reach(u, at, at + n, token, t->tokens[token].score);
        single |= n == step;
    }
    if (!single)
        reach(u, at, at + step, -1, t->unk_score);
}

static void put(const struct unigram *u, struct lm_out *out) {
    size_t n = 0;
    for (size_t at = u->len; at; at = u->nodes[at].from)
        n++;
    uint32_t *ends = malloc((n + 1) * sizeof *ends);
    if (!ends) {
        out->failed = true;
        return;
    }
    for (size_t at = u->len, i = n; at; at = u->nodes[at].from)
        ends[--i] = (uint32_t)at;
    for (size_t i = 0; i < n; i++) {
        size_t from = u->nodes[ends[i]].from;
        if (u->nodes[ends[i]].token >= 0) {
            lm_out_add(out, u->nodes[ends[i]].token);
            continue;
        }
        while (u->t->fuse_unk && i + 1 < n && u->nodes[ends[i + 1]].token < 0)
            i++;
        lm_out_unknown(u->t, u->text + from, ends[i] - from, out);
    }
    free(ends);
}

void lm_unigram_piece(const struct lm_tokenizer *t, const char *text, size_t len,
                      struct lm_out *out) {
    struct unigram u = {t, text, len, malloc((len + 1) * sizeof *u.nodes)};
    if (!u.nodes) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i <= len; i++)
        u.nodes[i].token = -2;
    u.nodes[0] = (struct node){0};
    for (size_t at = 0, step; at < len; at += step) {
        uint32_t c;
        step = num_utf8_next((const uint8_t *)text + at, len - at, &c);
        step = step ? step : 1;
        if (u.nodes[at].token != -2)
            step_from(&u, at, step);
    }
    put(&u, out);
    free(u.nodes);
}

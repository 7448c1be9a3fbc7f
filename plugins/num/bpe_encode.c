/*
 * Text into tokens: see bpe_encode.h.
 *
 * A hash table with open addressing finds tokens by their bytes. A piece starts as single bytes,
 * which bpe_merge.c joins: the pair that makes the lowest number goes first.
 */
#include "num/bpe_encode.h"

#include <stdlib.h>
#include <string.h>

#include "num/bpe_merge.h"

#define MAX_TEXT_BYTES (1u << 30)

struct num_bpe_encoder {
    const struct num_bpe *bpe;
    int32_t *slots; /* ids, or -1 */
    size_t mask;    /* slots - 1, a power of two */
    size_t longest; /* bytes of the longest token */
};

static size_t hash(const uint8_t *bytes, size_t len) { /* FNV-1a */
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 32);
}

int32_t num_bpe_token(const struct num_bpe_encoder *encoder, const void *bytes, size_t len) {
    if (len > encoder->longest)
        return -1;
    for (size_t at = hash(bytes, len) & encoder->mask;; at = (at + 1) & encoder->mask) {
        int32_t id = encoder->slots[at];
        if (id < 0)
            return -1;
        const struct num_bpe_token *t = &encoder->bpe->tokens[id];
        if (t->len == len && memcmp(t->bytes, bytes, len) == 0)
            return id;
    }
}

static void add(struct num_bpe_encoder *e, int32_t id) {
    const struct num_bpe_token *t = &e->bpe->tokens[id];
    size_t at = hash(t->bytes, t->len) & e->mask;
    while (e->slots[at] >= 0)
        at = (at + 1) & e->mask;
    e->slots[at] = id;
    e->longest = t->len > e->longest ? t->len : e->longest;
}

int32_t num_bpe_encoder_create(const struct num_bpe *bpe, struct num_bpe_encoder **ret,
                               struct num_err *err) {
    size_t n = 16;
    while (n < 2 * bpe->n_tokens)
        n *= 2;
    struct num_bpe_encoder *e = calloc(1, sizeof *e);
    int32_t *slots = malloc(n * sizeof *slots);
    if (!e || !slots) {
        free(e);
        free(slots);
        return num_fail_memory(err, "a tokenizer's index", n * sizeof *slots);
    }
    memset(slots, 0xff, n * sizeof *slots);
    *e = (struct num_bpe_encoder){.bpe = bpe, .slots = slots, .mask = n - 1};
    for (size_t i = 0; i < bpe->n_tokens; i++) {
        const struct num_bpe_token *t = &bpe->tokens[i];
        if (t->bytes && t->len && !t->special && num_bpe_token(e, t->bytes, t->len) < 0)
            add(e, (int32_t)i);
    }
    *ret = e;
    return SLUICE_OK;
}

void num_bpe_encoder_destroy(struct num_bpe_encoder *encoder) {
    if (!encoder)
        return;
    free(encoder->slots);
    free(encoder);
}

/* ---- One piece ------------------------------------------------------------------------------- */

struct encoding {
    const struct num_bpe_encoder *encoder;
    const uint8_t *piece; /* at hand */
    struct num_bpe_work work;
    int32_t *tokens; /* of the whole text */
    size_t n_tokens;
};

/* Two neighbours make the token that has their bytes. */
static int32_t joined(const void *ctx, const struct num_bpe_part *a, const struct num_bpe_part *b,
                      float *ret_order) {
    const struct encoding *e = ctx;
    int32_t token = num_bpe_token(e->encoder, e->piece + a->at, a->len + b->len);
    *ret_order = (float)token;
    return token;
}

static void encode_piece(struct encoding *e, const uint8_t *piece, size_t len) {
    struct num_bpe_work *w = &e->work;
    int32_t whole = num_bpe_token(e->encoder, piece, len);
    if (whole >= 0) {
        e->tokens[e->n_tokens++] = whole;
        return;
    }
    e->piece = piece;
    w->n_parts = 0;
    for (size_t i = 0; i < len; i++)
        num_bpe_add(w, i, 1, num_bpe_token(e->encoder, piece + i, 1));
    num_bpe_merge(w);
    for (uint32_t i = 0; i != NUM_BPE_NONE; i = w->parts[i].next)
        if (w->parts[i].token >= 0)
            e->tokens[e->n_tokens++] = w->parts[i].token;
}

/* ---- A text ---------------------------------------------------------------------------------- */

int32_t num_bpe_encode(const struct num_bpe_encoder *encoder, const char *text, size_t len,
                       int32_t **ret_tokens, size_t *ret_n, struct num_err *err) {
    const uint8_t *bytes = (const uint8_t *)text;
    size_t longest = 0;
    if (len > MAX_TEXT_BYTES)
        return num_fail(err, SLUICE_INPUT, "a text of %zu bytes is too long to be cut into tokens",
                        len);
    for (size_t at = 0, n; at < len; at += n) {
        n = num_bpe_piece(bytes + at, len - at);
        longest = n > longest ? n : longest;
    }
    struct encoding e = {.encoder = encoder, .work = {.join = joined, .ctx = &e}};
    e.work.parts = malloc((longest + 1) * sizeof *e.work.parts);
    e.work.heap = malloc((3 * longest + 1) * sizeof *e.work.heap);
    e.tokens = malloc((len + 1) * sizeof *e.tokens);
    int32_t status = SLUICE_OK;
    if (!e.work.parts || !e.work.heap || !e.tokens)
        status = num_fail_memory(err, "the tokens of a text", len * sizeof *e.tokens);
    for (size_t at = 0, n; !status && at < len; at += n) {
        n = num_bpe_piece(bytes + at, len - at);
        encode_piece(&e, bytes + at, n);
    }
    free(e.work.parts);
    free(e.work.heap);
    if (status) {
        free(e.tokens);
        return status;
    }
    *ret_tokens = e.tokens;
    *ret_n = e.n_tokens;
    return SLUICE_OK;
}

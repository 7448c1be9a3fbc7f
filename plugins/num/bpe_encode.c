/*
 * Text into tokens: see bpe_encode.h.
 *
 * A hash table with open addressing finds tokens by their bytes. A piece starts as single bytes in
 * a linked list; a heap holds the pairs of neighbours that make a token, lowest number and leftmost
 * first. An entry of the heap is stale where its left part has grown or gone since; it is skipped.
 */
#include "num/bpe_encode.h"

#include <stdlib.h>
#include <string.h>

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

/* A part of the piece: bytes [at, at + len), where `at` is its index; len 0 once joined away. */
struct part {
    uint32_t len, previous; /* index of the part on its left */
};

struct pair {
    int32_t token; /* that the two parts make */
    uint32_t left; /* index of the left one */
};

struct work {
    const struct num_bpe_encoder *encoder;
    struct part *parts; /* of one piece */
    struct pair *heap;  /* at most three for each byte */
    size_t n_heap;
    int32_t *tokens; /* of the whole text */
    size_t n_tokens;
};

static bool before(struct pair a, struct pair b) {
    return a.token != b.token ? a.token < b.token : a.left < b.left;
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

/* Adds the pair that starts with part `left`, where it makes a token. */
static void offer(struct work *w, const uint8_t *piece, size_t len, uint32_t left) {
    uint32_t right = left + w->parts[left].len;
    if (right >= len)
        return;
    int32_t token =
        num_bpe_token(w->encoder, piece + left, w->parts[left].len + w->parts[right].len);
    if (token >= 0)
        heap_push(w, (struct pair){token, left});
}

/* Joins the pair, unless a part of it has changed since; offers its new neighbours. */
static void join(struct work *w, const uint8_t *piece, size_t len, struct pair pair) {
    struct part *left = &w->parts[pair.left];
    uint32_t right = pair.left + left->len;
    if (left->len == 0 || right >= len ||
        left->len + w->parts[right].len != w->encoder->bpe->tokens[pair.token].len)
        return;
    left->len += w->parts[right].len;
    w->parts[right].len = 0;
    uint32_t next = pair.left + left->len;
    if (next < len)
        w->parts[next].previous = pair.left;
    offer(w, piece, len, pair.left);
    if (pair.left > 0)
        offer(w, piece, len, left->previous);
}

static void encode_piece(struct work *w, const uint8_t *piece, size_t len) {
    int32_t whole = num_bpe_token(w->encoder, piece, len);
    if (whole >= 0) {
        w->tokens[w->n_tokens++] = whole;
        return;
    }
    for (uint32_t i = 0; i < len; i++)
        w->parts[i] = (struct part){1, i - 1};
    w->n_heap = 0;
    for (uint32_t i = 0; i < len; i++)
        offer(w, piece, len, i);
    while (w->n_heap)
        join(w, piece, len, heap_pop(w));
    for (uint32_t i = 0; i < len; i += w->parts[i].len) {
        int32_t token = num_bpe_token(w->encoder, piece + i, w->parts[i].len);
        if (token >= 0)
            w->tokens[w->n_tokens++] = token;
    }
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
    struct work w = {.encoder = encoder};
    w.parts = malloc((longest + 1) * sizeof *w.parts);
    w.heap = malloc((3 * longest + 1) * sizeof *w.heap);
    w.tokens = malloc((len + 1) * sizeof *w.tokens);
    int32_t status = SLUICE_OK;
    if (!w.parts || !w.heap || !w.tokens)
        status = num_fail_memory(err, "the tokens of a text", len * sizeof *w.tokens);
    for (size_t at = 0, n; !status && at < len; at += n) {
        n = num_bpe_piece(bytes + at, len - at);
        encode_piece(&w, bytes + at, n);
    }
    free(w.parts);
    free(w.heap);
    if (status) {
        free(w.tokens);
        return status;
    }
    *ret_tokens = w.tokens;
    *ret_n = w.n_tokens;
    return SLUICE_OK;
}

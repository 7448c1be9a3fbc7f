/* Masks of tokens: see mask.h. One pass over the sorted tokens; the states behind each byte of the
 * beginning that a token shares with the one before it are kept. */
#include "llm/mask.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TOKEN_BYTES 1024 /* longer tokens are never allowed */

struct token {
    size_t offset; /* of its bytes */
    uint32_t len;
    int32_t id;
    uint32_t shared; /* bytes that it begins with like the one before it */
};

struct lm_vocabulary {
    struct token *tokens; /* [n], sorted by their bytes */
    size_t n;
    uint32_t *place; /* [n_ids] where a token is in `tokens`; UINT32_MAX: nowhere */
    uint32_t n_ids;
    uint8_t *bytes;
};

static int by_bytes(const void *a, const void *b, void *ctx) {
    const struct token *x = a, *y = b;
    const uint8_t *bytes = ctx;
    uint32_t n = x->len < y->len ? x->len : y->len;
    int order = memcmp(bytes + x->offset, bytes + y->offset, n);
    if (order == 0)
        order = (x->len > y->len) - (x->len < y->len);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

static void share(struct lm_vocabulary *v) {
    for (size_t i = 1; i < v->n; i++) {
        struct token *t = &v->tokens[i], *before = t - 1;
        while (t->shared < t->len && t->shared < before->len &&
               v->bytes[t->offset + t->shared] == v->bytes[before->offset + t->shared])
            t->shared++;
    }
}

int32_t lm_vocabulary_create(const uint8_t *(*bytes)(const void *ctx, int32_t token,
                                                     size_t *ret_len),
                             const void *ctx, uint32_t n_tokens, struct lm_vocabulary **ret,
                             struct num_err *err) {
    size_t total = 0, len;
    struct lm_vocabulary *v = calloc(1, sizeof *v);
    for (uint32_t i = 0; i < n_tokens; i++, total += len)
        bytes(ctx, (int32_t)i, &len);
    if (v) {
        v->tokens = calloc((size_t)n_tokens + 1, sizeof *v->tokens);
        v->place = malloc(((size_t)n_tokens + 1) * sizeof *v->place);
        v->bytes = malloc(total + 1);
        v->n_ids = n_tokens;
    }
    if (!v || !v->tokens || !v->place || !v->bytes) {
        lm_vocabulary_destroy(v);
        return num_fail_memory(err, "the vocabulary", total);
    }
    total = 0;
    for (uint32_t i = 0; i < n_tokens; i++) {
        const uint8_t *data = bytes(ctx, (int32_t)i, &len);
        v->place[i] = UINT32_MAX;
        if (len == 0 || len > MAX_TOKEN_BYTES)
            continue;
        memcpy(v->bytes + total, data, len);
        v->tokens[v->n++] = (struct token){.offset = total, .len = (uint32_t)len, .id = (int32_t)i};
        total += len;
    }
    qsort_r(v->tokens, v->n, sizeof *v->tokens, by_bytes, v->bytes);
    share(v);
    for (size_t i = 0; i < v->n; i++)
        v->place[v->tokens[i].id] = (uint32_t)i;
    *ret = v;
    return SLUICE_OK;
}

void lm_vocabulary_destroy(struct lm_vocabulary *v) {
    if (!v)
        return;
    free(v->tokens);
    free(v->place);
    free(v->bytes);
    free(v);
}

void lm_vocabulary_mask(const struct lm_vocabulary *v, struct lm_matcher *m, int32_t state,
                        uint32_t *allowed, uint32_t n_tokens) {
    int32_t states[MAX_TOKEN_BYTES + 1] = {state};
    uint32_t alive = 0; /* bytes of the last token looked at that were allowed */
    for (size_t i = 0; i < v->n && state != LM_DEAD; i++) {
        const struct token *t = &v->tokens[i];
        if (t->shared > alive)
            continue; /* begins with what was ruled out */
        for (alive = t->shared; alive < t->len; alive++) {
            states[alive + 1] = lm_matcher_step(m, states[alive], v->bytes[t->offset + alive]);
            if (states[alive + 1] == LM_DEAD)
                break;
        }
        if (alive == t->len && (uint32_t)t->id < n_tokens)
            allowed[t->id / 32] |= UINT32_C(1) << (t->id % 32);
    }
}

int32_t lm_vocabulary_step(const struct lm_vocabulary *v, struct lm_matcher *m, int32_t state,
                           int32_t token) {
    if (token < 0 || (uint32_t)token >= v->n_ids || v->place[token] == UINT32_MAX)
        return LM_DEAD;
    const struct token *t = &v->tokens[v->place[token]];
    for (uint32_t i = 0; i < t->len && state != LM_DEAD; i++)
        state = lm_matcher_step(m, state, v->bytes[t->offset + i]);
    return state;
}

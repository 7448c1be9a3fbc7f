/* A grammar at work on tokens: see constraint.h. The completion is a search in breadth over the
 * states of the automaton, by bytes, so that the first end it meets is the nearest. */
#include "llm/constraint.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SEARCHED 50000 /* states */

static bool is_end(const struct lm_writer *w, int32_t token) {
    for (uint32_t i = 0; i < w->n_ends; i++)
        if (w->ends[i] == token)
            return true;
    return false;
}

static void mask(void *ctx, uint32_t *allowed, uint32_t n_tokens) {
    struct lm_writer *w = ctx;
    if (w->state == LM_DEAD)
        return;
    if (!lm_matcher_is_final(w->matcher, w->state))
        lm_vocabulary_mask(w->vocabulary, w->matcher, w->state, allowed, n_tokens);
    if (!lm_matcher_accepts(w->matcher, w->state))
        return;
    for (uint32_t i = 0; i < w->n_ends; i++)
        if ((uint32_t)w->ends[i] < n_tokens)
            allowed[w->ends[i] / 32] |= 1u << (w->ends[i] % 32);
}

static bool allows(void *ctx, int32_t token) {
    struct lm_writer *w = ctx;
    if (w->state == LM_DEAD)
        return false;
    if (is_end(w, token))
        return lm_matcher_accepts(w->matcher, w->state);
    return lm_vocabulary_step(w->vocabulary, w->matcher, w->state, token) != LM_DEAD;
}

static void accept(void *ctx, int32_t token) {
    struct lm_writer *w = ctx;
    size_t len;
    if (w->state == LM_DEAD || is_end(w, token))
        return;
    const uint8_t *bytes = lm_tokenizer_bytes(w->tokenizer, token, &len);
    num_buf_add(&w->text, bytes, len);
    w->state = lm_vocabulary_step(w->vocabulary, w->matcher, w->state, token);
    if (w->state != LM_DEAD)
        w->state = lm_matcher_tidy(w->matcher, w->state);
}

int32_t lm_writer_start(struct lm_writer *w, const struct lm_grammar *grammar,
                        const struct lm_vocabulary *vocabulary,
                        const struct lm_tokenizer *tokenizer, const int32_t *ends, uint32_t n_ends,
                        struct num_err *err) {
    *w = (struct lm_writer){
        .vocabulary = vocabulary, .ends = ends, .n_ends = n_ends, .tokenizer = tokenizer};
    int32_t status = lm_matcher_create(grammar, &w->matcher, err);
    if (status == SLUICE_OK)
        w->state = lm_matcher_start(w->matcher);
    return status;
}

void lm_writer_finish(struct lm_writer *w) {
    lm_matcher_destroy(w->matcher);
    num_buf_finish(&w->text);
    *w = (struct lm_writer){0};
}

struct lm_constraint lm_writer_constraint(struct lm_writer *w) {
    return (struct lm_constraint){w, mask, allows, accept};
}

/* ---- Completion ------------------------------------------------------------------------------ */

struct found {
    int32_t state;
    uint32_t from; /* the place in the list that it was reached from */
    uint8_t byte;
};

struct search {
    struct found *list; /* [n] */
    bool *seen;         /* by state, up to MAX_SEARCHED */
    uint32_t n;
};

static void visit(struct search *s, int32_t state, uint32_t from, uint8_t byte) {
    if (state == LM_DEAD || state >= MAX_SEARCHED || s->seen[state] || s->n == MAX_SEARCHED)
        return;
    s->seen[state] = true;
    s->list[s->n++] = (struct found){state, from, byte};
}

/* Appends the bytes that lead to place i. */
static void add_path(const struct search *s, uint32_t i, struct num_buf *out) {
    uint32_t n = 0;
    for (uint32_t at = i; at != 0; at = s->list[at].from)
        n++;
    size_t begin = out->len;
    for (uint32_t k = 0; k < n; k++)
        num_buf_addc(out, ' ');
    for (uint32_t at = i; at != 0 && !out->failed; at = s->list[at].from)
        out->data[begin + --n] = (char)s->list[at].byte;
}

static bool find_end(struct lm_writer *w, struct search *s) {
    visit(s, w->state, 0, 0);
    for (uint32_t i = 0; i < s->n; i++) {
        if (lm_matcher_accepts(w->matcher, s->list[i].state)) {
            add_path(s, i, &w->text);
            w->state = s->list[i].state;
            return true;
        }
        for (int byte = 0; byte < 256; byte++)
            visit(s, lm_matcher_step(w->matcher, s->list[i].state, (uint8_t)byte), i,
                  (uint8_t)byte);
    }
    return false;
}

int32_t lm_writer_complete(struct lm_writer *w, struct num_err *err) {
    struct search s = {malloc(MAX_SEARCHED * sizeof *s.list), calloc(MAX_SEARCHED, 1), 0};
    int32_t status = SLUICE_OK;
    if (!s.list || !s.seen)
        status = num_fail_memory(err, "the end of an answer", MAX_SEARCHED * sizeof *s.list);
    else if (w->state == LM_DEAD || !find_end(w, &s) || w->text.failed)
        status = num_fail(err, SLUICE_RESOURCE,
                          "the answer cannot be completed to what its schema or grammar accepts "
                          "within %d states; use a smaller one",
                          MAX_SEARCHED);
    free(s.list);
    free(s.seen);
    return status;
}

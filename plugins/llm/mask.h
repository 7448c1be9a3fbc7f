/*
 * Which tokens of a vocabulary may follow, by the automaton of a grammar: what constrained
 * generation asks before each token. Tokens are sorted by their bytes once, so that those with the
 * same beginning share the steps of the automaton, and a beginning that is not allowed rules out
 * all of them at once.
 */
#ifndef LLM_MASK_H
#define LLM_MASK_H

#include <stddef.h>

#include "llm/matcher.h"
#include "num/err.h"

struct lm_vocabulary; /* immutable once made; any thread may use it */

/*
 * `bytes` gives the bytes of token 0 to n_tokens - 1, borrowed for the call; a token without any (a
 * special one) is never allowed by a mask.
 */
int32_t lm_vocabulary_create(const uint8_t *(*bytes)(const void *ctx, int32_t token,
                                                     size_t *ret_len),
                             const void *ctx, uint32_t n_tokens, struct lm_vocabulary **ret,
                             struct num_err *err);
void lm_vocabulary_destroy(struct lm_vocabulary *v); /* takes NULL */

/* Sets bit t % 32 of word t / 32 of `allowed` for each token t below `n_tokens` that may follow
 * `state`. Nothing is allocated but by the matcher. */
void lm_vocabulary_mask(const struct lm_vocabulary *v, struct lm_matcher *m, int32_t state,
                        uint32_t *allowed, uint32_t n_tokens);

/* The state after a token's bytes, LM_DEAD where they are not allowed or there are none. */
int32_t lm_vocabulary_step(const struct lm_vocabulary *v, struct lm_matcher *m, int32_t state,
                           int32_t token);

#endif

/*
 * The automaton of a grammar: states and the bytes that lead from one to the next, made as they are
 * met and kept, so that what was seen once is a look into a table. A state stands for all ways in
 * which the grammar could have written the text so far.
 *
 * A matcher belongs to one text at a time and to one thread. State numbers hold until
 * lm_matcher_tidy().
 */
#ifndef LLM_MATCHER_H
#define LLM_MATCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "llm/grammar.h"
#include "num/err.h"

struct lm_matcher;

#define LM_DEAD (-1) /* the state of a text that the grammar does not allow */

/* The grammar is borrowed until the matcher is destroyed. */
int32_t lm_matcher_create(const struct lm_grammar *grammar, struct lm_matcher **ret,
                          struct num_err *err);
void lm_matcher_destroy(struct lm_matcher *m); /* takes NULL */

/* The state of the empty text. */
int32_t lm_matcher_start(const struct lm_matcher *m);
/* The state after one more byte, or LM_DEAD; also where memory ran out, see lm_matcher_failed(). */
int32_t lm_matcher_step(struct lm_matcher *m, int32_t state, uint8_t byte);
/* Whether the text may end here, and whether it has to. */
bool lm_matcher_accepts(const struct lm_matcher *m, int32_t state);
bool lm_matcher_is_final(struct lm_matcher *m, int32_t state);
/* True once a step needed more memory or more ways than there may be. */
bool lm_matcher_failed(const struct lm_matcher *m);

/* Forgets states when there are many; returns the new number of `state`. */
int32_t lm_matcher_tidy(struct lm_matcher *m, int32_t state);
/* Changes whenever state numbers do. */
uint32_t lm_matcher_generation(const struct lm_matcher *m);

/* For lm_grammar_finish(): every rule can be begun, that is, none is left-recursive. */
int32_t lm_matcher_check(const struct lm_grammar *grammar, struct num_err *err);

#endif

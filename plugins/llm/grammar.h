/*
 * Constrained output: a grammar over bytes says which texts are allowed, and which byte may follow
 * what has been written. It is made from a JSON schema (schema.h) or from a
 * text in GBNF (gbnf.h), is a program (grammar_program.h),
 * and is run by the automaton of matcher.h. Grammars without an end (a rule that never stops) and
 * left-recursive ones are refused when made, so that what has been written can always be completed.
 */
#ifndef LLM_GRAMMAR_H
#define LLM_GRAMMAR_H

struct lm_grammar; /* immutable once made; any thread may use it */

void lm_grammar_destroy(struct lm_grammar *grammar); /* takes NULL */

#endif

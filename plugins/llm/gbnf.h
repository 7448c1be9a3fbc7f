/*
 * Grammars in GBNF, the notation of llama.cpp (github.com/ggml-org/llama.cpp, grammars/README.md),
 * as programs of the automaton (grammar.h). The first rule to be used is `root`.
 *
 *     root   ::= "yes" | "no" reason?      # a comment
 *     reason ::= ", because " [^\n."]{1,80} "."
 *
 * Literals and classes have the escapes \n \r \t \\ \" \[ \] \- \xHH \uHHHH \UHHHHHHHH; "." is any
 * character; items are repeated by * + ? {n} {n,} {n,m}; a rule ends with its line, but within
 * parentheses and behind "|" or "::=" lines go on. Characters are Unicode's; the grammar and what
 * it allows are UTF-8. Tokens by number or name ("<[1]>") are not supported.
 */
#ifndef LLM_GBNF_H
#define LLM_GBNF_H

#include <stddef.h>

#include "llm/grammar.h"
#include "num/err.h"

/* SLUICE_INPUT: not a grammar, with line and column, or one of a rule that never ends or begins
 * with itself; SLUICE_RESOURCE: too large. Pure. */
int32_t lm_gbnf_compile(const char *text, size_t len, struct lm_grammar **ret, struct num_err *err);

#endif

/*
 * A grammar as a program, and its assembler. Instructions follow one another; a rule is a stretch
 * of them that ends in I_RETURN.
 *
 *     I_BYTES   set           takes one byte of the set
 *     I_SPLIT   a b           goes on at both
 *     I_JUMP    a
 *     I_CALL    rule          then goes on behind it
 *     I_RETURN                back to the caller; from the first rule: the text may end here
 *     I_COUNT                 pushes a counter at 0
 *     I_LOOP    a min max     below min: goes on behind it; within: that, or pops it and goes to a;
 *                             at max: pops it and goes to a
 *     I_NEXT    a             counts, and goes to a (an I_LOOP)
 */
#ifndef LLM_GRAMMAR_PROGRAM_H
#define LLM_GRAMMAR_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "llm/grammar.h"
#include "num/err.h"

enum lm_op_code { I_BYTES, I_SPLIT, I_JUMP, I_CALL, I_RETURN, I_COUNT, I_LOOP, I_NEXT };

#define LM_UNBOUNDED UINT32_MAX

struct lm_instruction {
    enum lm_op_code code;
    uint32_t a, b;     /* targets; I_BYTES: a is the set, I_CALL: a is the rule */
    uint32_t min, max; /* I_LOOP */
};

struct lm_byte_set {
    uint64_t bits[4];
};

struct lm_rule {
    char *name; /* owned */
    uint32_t start;
    bool defined;
};

struct lm_grammar {
    struct lm_instruction *code;
    struct lm_byte_set *sets; /* no two are equal */
    struct lm_rule *rules;    /* rule 0 is where it begins */
    size_t n_code, n_sets, n_rules;
    size_t code_cap, set_cap, rule_cap;
    uint8_t class_of[256]; /* bytes that all sets treat alike have one number, counted from 0 */
    uint32_t n_classes;
    bool failed; /* out of memory or too large */
};

/* ---- The assembler: failures stick in `failed` ---- */

struct lm_grammar *lm_grammar_new(void);
/* The number of the rule of that name, which is made where there is none. */
uint32_t lm_grammar_rule(struct lm_grammar *g, const char *name, size_t len);
/* What follows is the rule's code. */
void lm_grammar_begin(struct lm_grammar *g, uint32_t rule);

uint32_t lm_emit(struct lm_grammar *g, enum lm_op_code code, uint32_t a, uint32_t b);
void lm_emit_set(struct lm_grammar *g, const struct lm_byte_set *set);
void lm_emit_literal(struct lm_grammar *g, const char *bytes, size_t len);
/* One character of [first, last], as UTF-8; surrogates are left out. */
void lm_emit_chars(struct lm_grammar *g, const uint32_t (*ranges)[2], size_t n);
/*
 * A repetition: the code between the two is its body.
 *     size_t r = lm_emit_repeat(g, min, max); ...; lm_emit_repeated(g, r);
 */
size_t lm_emit_repeat(struct lm_grammar *g, uint32_t min, uint32_t max);
void lm_emit_repeated(struct lm_grammar *g, size_t repeat);
/*
 * Alternatives: each but the last between lm_emit_or() and the next.
 *     size_t end = LM_NO_END, split;
 *     split = lm_emit_or(g);  ...first...;  lm_emit_else(g, split, &end);
 *     split = lm_emit_or(g);  ...second...; lm_emit_else(g, split, &end);
 *     ...last...;                           lm_emit_end(g, end);
 */
#define LM_NO_END SIZE_MAX
size_t lm_emit_or(struct lm_grammar *g);
void lm_emit_else(struct lm_grammar *g, size_t split, size_t *end);
void lm_emit_end(struct lm_grammar *g, size_t end);

static inline void lm_set_add(struct lm_byte_set *set, unsigned first, unsigned last) {
    for (unsigned b = first; b <= last; b++)
        set->bits[b >> 6] |= UINT64_C(1) << (b & 63);
}
static inline bool lm_set_has(const struct lm_byte_set *set, unsigned byte) {
    return set->bits[byte >> 6] >> (byte & 63) & 1;
}

/* Checks what is complete now and works out the classes of bytes; frees the grammar on failure. */
int32_t lm_grammar_finish(struct lm_grammar *g, struct lm_grammar **ret, struct num_err *err);

#endif

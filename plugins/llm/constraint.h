/*
 * A grammar as what generation asks before each token (struct lm_constraint), and the text that was
 * written under it. An answer that was cut off is completed by the shortest text that the grammar
 * still allows, so that what comes out is always whole.
 */
#ifndef LM_GRAMMAR_CONSTRAINT_H
#define LM_GRAMMAR_CONSTRAINT_H

#include "num/buf.h"
#include "llm/generate.h"
#include "llm/mask.h"

#define LM_MAX_ENDS (2 * LM_MAX_EOS)

/* One answer's; belongs to one thread. Zeroed: finished. */
struct lm_writer {
    const struct lm_vocabulary *vocabulary; /* borrowed */
    const int32_t *ends;                    /* tokens that end a text; borrowed */
    uint32_t n_ends;
    struct lm_matcher *matcher;
    int32_t state;
    const struct lm_tokenizer *tokenizer; /* borrowed */
    struct num_buf text;                  /* bytes of the tokens taken */
};

/* The grammar, vocabulary, tokenizer and ends are borrowed until lm_writer_finish(). */
int32_t lm_writer_start(struct lm_writer *w, const struct lm_grammar *grammar,
                        const struct lm_vocabulary *vocabulary,
                        const struct lm_tokenizer *tokenizer, const int32_t *ends, uint32_t n_ends,
                        struct num_err *err);
void lm_writer_finish(struct lm_writer *w);

/* Borrows the writer. */
struct lm_constraint lm_writer_constraint(struct lm_writer *w);

/* Appends to w->text what the grammar still wants. SLUICE_RESOURCE where no end is found within the
 * limits of the automaton. */
int32_t lm_writer_complete(struct lm_writer *w, struct num_err *err);

#endif

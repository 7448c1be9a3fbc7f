/*
 * A transcript cut into sentences. A sentence never runs over a change of the speaker; it ends at a
 * sign that ends sentences in its script, or at the end of a segment once it is long, so that text
 * without punctuation is cut too.
 */
#ifndef LLM_SENTENCES_H
#define LLM_SENTENCES_H

#include "llm/transcript.h"

struct lm_sentence {
    const char *text; /* without white space at its ends; borrowed from the list */
    size_t len;
    size_t segment; /* where it begins */
    uint32_t n_words;
};

struct lm_sentences {
    struct lm_sentence *items; /* [n] */
    size_t n;
    struct num_buf text; /* of all turns */
};

/* SLUICE_RESOURCE without memory. */
int32_t lm_sentences_cut(const struct lm_transcript *transcript, struct lm_sentences *ret,
                         struct num_err *err);
/* Takes a zeroed struct too. */
void lm_sentences_finish(struct lm_sentences *sentences);

#define lm_autosentences __attribute__((cleanup(lm_sentences_finish))) struct lm_sentences

#endif

/*
 * llm/extractive's engine: a summary made of the sentences that the others have most in common
 * with.
 *
 * TextRank (Mihalcea and Tarau, "TextRank: Bringing Order into Texts", EMNLP 2004): sentences are
 * vertices, edges weigh how similar two are, PageRank scores them. Similarity is the cosine of
 * tf-idf vectors, as in LexRank (Erkan and Radev, JAIR 22, 2004), with frequencies of the
 * transcript itself, so that it needs no list of stop words. Damping 0.85, as both papers have it;
 * the random surfer lands on a sentence by its share of the words, so that two short courtesies
 * that are alike only each other do not come out on top. Sentences are then taken by score, without
 * those that repeat one that was taken (Carbonell and Goldstein, SIGIR 1998).
 */
#ifndef LLM_EXTRACTIVE_H
#define LLM_EXTRACTIVE_H

#include "llm/transcript.h"

struct lm_extractive_options {
    uint32_t max_sentences;        /* at least 1 */
    uint32_t max_words;            /* 0: no limit; one sentence is taken in any case */
    uint32_t min_words;            /* shorter sentences are taken only where there are no others */
    double max_similarity;         /* cosine from which a sentence repeats one that was taken */
    bool speakers;                 /* the speaker in front of each sentence */
    const struct num_watch *watch; /* NULL: nobody */
};

struct lm_extractive_report {
    size_t n_sentences, n_taken;
    uint32_t n_words; /* of those taken */
};

/*
 * Appends the chosen sentences to `out` in their order in the transcript, one a line; nothing for a
 * transcript without words. The same input gives the same bytes. SLUICE_RESOURCE, SLUICE_CANCELLED.
 */
int32_t lm_extract_summary(const struct lm_transcript *transcript,
                           const struct lm_extractive_options *options, struct num_buf *out,
                           struct lm_extractive_report *ret, struct num_err *err);

#endif

/*
 * One answer about a whole transcript, however long: where it does not fit the context, a model is
 * asked for notes on each window of it, and then for the answer from the notes, in rounds until
 * those fit (map-reduce). Windows end between turns where there is one in their second half, else
 * between segments; a segment that is longer than a window is cut between words.
 */
#ifndef LM_DIGEST_H
#define LM_DIGEST_H

#include "llm/session.h"
#include "llm/transcript.h"

struct lm_digest {
    const char *whole; /* the question that stands before a transcript or before notes */
    const char *part;  /* ... before a window of a transcript: it asks for notes */
    struct lm_ask ask; /* all but the user's text; grammar and text() are for the last question */
    void (*progress)(void *ctx, double fraction); /* NULL: nobody; gets ask.ctx */
};

struct lm_digest_report {
    uint32_t n_windows;          /* of the transcript; 1: it fitted */
    uint32_t n_rounds;           /* of notes */
    uint64_t n_prompt, n_tokens; /* of all questions and answers */
    bool cut;                    /* the last answer ended with max_tokens */
};

/*
 * Appends the answer to `out`; nothing for a transcript (or notes) without words, where
 * there is no grammar.
 * SLUICE_INPUT where the context is too small for the question and some text, with the numbers;
 * SLUICE_CANCELLED.
 */
int32_t lm_digest_run(struct lm_session *s, const struct lm_transcript *transcript,
                      const struct lm_digest *digest, struct num_buf *out,
                      struct lm_digest_report *ret, struct num_err *err);

#endif

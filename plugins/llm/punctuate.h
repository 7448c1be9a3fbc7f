/*
 * Punctuation and case for a transcript that has none, from a model, with every word as it was.
 *
 * Segments that follow each other in one turn are asked about together (ranges.h). An answer counts
 * only where its words are the same (words.h); a single segment without one stays as it is. The
 * answer is laid out on segments and on their words, which keep their times; numbers of tokens,
 * which would be of the old text, are dropped from changed segments.
 */
#ifndef LM_PUNCTUATE_H
#define LM_PUNCTUATE_H

#include "llm/ranges.h"
#include "llm/session.h"
#include "llm/transcript.h"

extern const char lm_punctuate_system[];

/*
 * Changes the texts in `transcript`, and completes it (transcript.h). SLUICE_CANCELLED,
 * SLUICE_RESOURCE, and what the session answers.
 */
int32_t lm_punctuate(struct lm_session *s, struct lm_transcript *transcript,
                     const struct lm_ranges_options *options, struct lm_ranges_report *ret,
                     struct num_err *err);

/*
 * Lays `text` out on segments [first, last): false, and nothing is changed, where its words are not
 * theirs. SLUICE_RESOURCE is in *ret_failed.
 */
bool lm_punctuate_apply(struct lm_transcript *transcript, size_t first, size_t last,
                        const char *text, size_t len, bool *ret_failed);

#endif

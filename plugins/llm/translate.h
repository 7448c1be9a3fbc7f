/*
 * A transcript in another language: every segment keeps its time and speaker and gets its text
 * translated.
 *
 * Segments that follow each other are asked about together (ranges.h), as JSON with a line for
 * each; the answer is held to as many lines by a grammar, or by a server's response_format. An
 * answer that is cut off or has another number of lines does not count; a single segment without
 * one that counts stays as it is. Words, whose times would be those of other words, and numbers of
 * tokens are dropped from segments that changed.
 */
#ifndef LM_TRANSLATE_H
#define LM_TRANSLATE_H

#include "llm/ranges.h"

/* In this text, and in that of the options, {language} stands for the language's name. */
extern const char lm_translate_system[];

/*
 * Changes the texts in `transcript` and its language, and completes it (transcript.h).
 * SLUICE_CANCELLED, SLUICE_RESOURCE, and what the session answers.
 */
int32_t lm_translate(struct lm_session *s, struct lm_transcript *transcript,
                     const struct lm_ranges_options *options, struct lm_ranges_report *ret,
                     struct num_err *err);

#endif

/*
 * The transcript/1 object: the verbose JSON of the Whisper ecosystem,
 *     {language, duration, text, segments: [{id, seek, start, end, text, tokens, temperature,
 *      avg_logprob, compression_ratio, no_speech_prob, language?, words?: [{word, start, end,
 *      probability}]}]}
 * Times are seconds, rounded to milliseconds; no number is ever NaN.
 */
#ifndef WH_TRANSCRIPT_H
#define WH_TRANSCRIPT_H

#include "whisper/longform.h"

struct wh_transcript;

int32_t wh_transcript_create(struct wh_transcript **ret, struct num_err *err);
void wh_transcript_destroy(struct wh_transcript *transcript);

/* Appends a segment. */
int32_t wh_transcript_add(struct wh_transcript *transcript, const struct wh_segment *segment,
                          struct num_err *err);

/* The segment that was added last, as one line of JSON; the caller frees it. NULL: none, or no
 * memory. */
char *wh_transcript_last(const struct wh_transcript *transcript);

/* The whole object as JSON text, freed by the caller. */
int32_t wh_transcript_text(const struct wh_transcript *transcript, const char *language,
                           double duration_s, char **ret_json, struct num_err *err);

#endif

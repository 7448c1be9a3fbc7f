/*
 * Collects attention/1: what the decoder looked at while it wrote each token, for stages that align
 * words. A safetensors file with two tensors for each segment of the transcript:
 *
 *     segment_N        F16 (n_heads, n_tokens, n_frames)   N is the segment's id
 *         token i is the segment's i-th text token (timestamps are left out); each row sums to 1;
 *         position t lies at  segment_N.start + 0.02 t  seconds
 *     segment_N.words  U16 (n_words)
 *         how many of the tokens make each of the segment's words, in order. The last word may have
 *         tokens of the next segment: where a segment ends, a word need not
 *     metadata         frame_s "0.02", and for each segment segment_N.start, seconds
 */
#ifndef WH_ATTENTION_H
#define WH_ATTENTION_H

#include "whisper/longform.h"

struct wh_attention_file;

int32_t wh_attention_create(struct wh_attention_file **ret, struct num_err *err);
void wh_attention_destroy(struct wh_attention_file *file);

/* Appends the segment's attention; nothing where it has none. */
int32_t wh_attention_add(struct wh_attention_file *file, const struct wh_segment *segment,
                         struct num_err *err);

/* The header of the file, freed by the caller; the values follow it: *ret_values, borrowed. */
int32_t wh_attention_finish(const struct wh_attention_file *file, void **ret_header,
                            size_t *ret_header_len, const void **ret_values, size_t *ret_values_len,
                            struct num_err *err);

#endif

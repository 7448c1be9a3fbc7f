/*
 * From the cross-attention of a text to the times of its tokens: pure functions on arrays, after
 * timing.py of github.com/openai/whisper.
 */
#ifndef NUM_DTW_H
#define NUM_DTW_H

#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_MEDIAN_WIDTH 7

/* Median of each value and its three neighbours on both sides, mirrored at the ends; n <= 3 values
 * are copied. `to` is not `from`. */
void num_median_filter(const float *from, size_t n, float *to);

/* Cuts rows of T values that sum to 1 to their first n_frames, which sum to 1 again, in place and
 * with the same stride. */
void num_attention_cut(float *weights, size_t n_rows, size_t T, size_t n_frames);

/*
 * How well each of the tokens [first, end) fits each of the first n_frames positions: the heads'
 * attention, cut to those positions, normalised over all tokens position by position, median
 * filtered, averaged over the heads. weights (n_heads, n_tokens, T), overwritten;
 * ret (end - first, n_frames).
 */
int32_t num_attention_matrix(float *weights, size_t n_heads, size_t n_tokens, size_t T,
                             size_t n_frames, size_t first, size_t end, float *ret,
                             struct num_err *err);

/*
 * Dynamic time warping: the monotonic path through `fit` (n_rows, n_frames), both at least 1, that
 * collects most; ret_starts[r] is the position where it enters row r.
 */
int32_t num_dtw(const float *fit, size_t n_rows, size_t n_frames, uint32_t *ret_starts,
                struct num_err *err);

/* The same for paths that stay at least one position in every row: n_frames is at least n_rows. */
int32_t num_dtw_rows(const float *fit, size_t n_rows, size_t n_frames, uint32_t *ret_starts,
                     struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

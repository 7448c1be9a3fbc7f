/*
 * The likeliest sequence of speakers over frames, where a change costs (A. Viterbi, 1967): a state
 * a speaker, all changes alike. Works on blocks of frames and carries its scores from one to the
 * next, so memory does not grow with the recording.
 */
#ifndef DIARIZE_VITERBI_H
#define DIARIZE_VITERBI_H

#include <stddef.h>
#include <stdint.h>

#include "diarize/gauss.h"
#include "num/err.h"

struct dz_viterbi;

/* For blocks of at most max_frames; change_cost is a log-likelihood, above 0. `speakers` is
 * borrowed until destroy. */
int32_t dz_viterbi_create(const struct dz_gauss *speakers, uint32_t n_speakers, float change_cost,
                          size_t max_frames, struct dz_viterbi **ret, struct num_err *err);
void dz_viterbi_destroy(struct dz_viterbi *viterbi);

/* The speaker of each of the next n frames (n, DZ_DIM) into ret [n]. */
void dz_viterbi_run(struct dz_viterbi *viterbi, const float *frames, size_t n, uint16_t *ret);

#endif

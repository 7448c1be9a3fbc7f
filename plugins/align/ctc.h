/*
 * CTC forced alignment: the likeliest path of a text's tokens through the output of a network that
 * was trained with connectionist temporal classification (Graves et al., 2006), where every token
 * lasts for some frames and blanks may lie between. Pure functions on arrays.
 */
#ifndef ALIGN_CTC_H
#define ALIGN_CTC_H

#include <stddef.h>
#include <stdint.h>

#include "num/watch.h"
#include "num/err.h"

struct al_ctc {
    const float *logp; /* (n_frames, n_columns): log probabilities; column 0 is the blank's */
    size_t n_frames, n_columns;
    const uint32_t *tokens; /* [n_tokens]: the column of each, not 0 */
    size_t n_tokens;
};

/* Frames [first, end) of a token, at least one. */
struct al_span {
    uint32_t first, end;
};

/* Frames that the tokens need at least: one each, and a blank between two equal ones. */
size_t al_ctc_frames(const uint32_t *tokens, size_t n_tokens);

/*
 * The path as the span of each token; all other frames are blanks. n_frames is at least
 * al_ctc_frames(), log probabilities are no NaN.
 *
 * Of equally likely paths it takes the one that stays longest in a token, seen from the end, as
 * torchaudio's forced_align does. (Where a blank and a token before are equally likely and better
 * than to stay, that function stays all the same and returns a path that is not the likeliest.)
 *
 * Costs are doubles. Memory: about 3,400 bytes a token for an hour of 20 ms frames, far less than
 * a bit for each cell, because steps are kept for one block of frames at a time and made again from
 * the costs where the block begins. SLUICE_CANCELLED, SLUICE_RESOURCE.
 */
int32_t al_ctc_align(const struct al_ctc *ctc, const struct num_watch *watch,
                     struct al_span *ret_spans, struct num_err *err);

#endif

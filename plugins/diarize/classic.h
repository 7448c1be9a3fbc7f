/*
 * Who speaks when, without a trained model: cepstra of stretches of speech, clustered by what one
 * normal distribution describes, and smoothed by a hidden Markov model with a state a speaker. The
 * scheme of the broadcast-news systems (S. Tranter and D. Reynolds, "An overview of automatic
 * speaker diarization systems", IEEE TASLP 14(5), 2006). One speaks at a time: overlapping speech
 * goes to one of them.
 *
 * Memory does not depend on the length of the recording but for a few numbers a turn: cepstra are
 * computed anew in each of five passes, minutes at a time.
 */
#ifndef DIARIZE_CLASSIC_H
#define DIARIZE_CLASSIC_H

#include <stddef.h>
#include <stdint.h>

#include "diarize/gauss.h"
#include "diarize/turns.h"
#include "num/watch.h"
#include "num/pool.h"

#define DZ_MAX_SPEAKERS   64
#define DZ_EMBEDDING_SIZE (2 * DZ_DIM)

/* A stretch of speech, in frames of 10 ms. */
struct dz_span {
    size_t first, n;
};

struct dz_classic_options {
    double penalty;        /* of clustering: higher finds fewer speakers */
    uint32_t min_speakers; /* 0 counts as 1 */
    uint32_t max_speakers; /* 0: DZ_MAX_SPEAKERS */
};

/*
 * Finds the turns in n_spans stretches of speech (in order, apart from each other) of mono 16 kHz
 * audio, borrowed for the call. Speakers are SPEAKER_00, SPEAKER_01, ... in the order in which they
 * begin. ret_embeddings gets a row of DZ_EMBEDDING_SIZE for each: mean and standard deviation of
 * the cepstra; it has room for DZ_MAX_SPEAKERS. SLUICE_CANCELLED where the watch says so.
 */
int32_t dz_classic_run(const float *pcm, size_t n_samples, const struct dz_span *spans,
                       size_t n_spans, const struct dz_classic_options *options,
                       struct num_pool *pool, const struct num_watch *watch, struct dz_turns *ret,
                       float *ret_embeddings, struct num_err *err);

#endif

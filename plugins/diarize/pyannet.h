/*
 * Who of a few local speakers speaks in each frame of a window: the network PyanNet (H. Bredin and
 * A. Laurent, "End-to-end speaker segmentation for overlap-aware resegmentation", Interspeech 2021)
 * with classes for sets of speakers (A. Plaquet and H. Bredin, "Powerset multi-class cross entropy
 * loss for neural speaker diarization", Interspeech 2023). As pyannote.audio 3.3.2 computes it.
 *
 * Samples are normalised over the window, then filtered by a bank of sinc filters (M. Ravanelli and
 * Y. Bengio, SincNet, 2018) and two convolutions, each followed by a maximum over three, a
 * normalisation over time and a leaky ReLU; LSTM layers, linear layers, and scores of the classes
 * follow.
 *
 * In float everything is. With bfloat16 the inputs and weights of products are rounded to it: the
 * filter bank's in two parts each (16 bits), since voices are quiet beside what lies below them in
 * frequency, the others' in one; sums, normalisations, cells and the classes' layer stay float.
 */
#ifndef DIARIZE_PYANNET_H
#define DIARIZE_PYANNET_H

#include "diarize/backend.h"
#include "num/cpu/kernels.h"
#include "num/pool.h"

struct dz_pyannet;

/* `weights` are copied; `compute`: F32 or BF16. SLUICE_INPUT: they are not what is expected, and
 * the message says what. */
int32_t dz_pyannet_create(const struct dz_weights *weights, enum num_compute compute,
                          struct num_pool *pool, struct dz_pyannet **ret, struct num_err *err);
void dz_pyannet_destroy(struct dz_pyannet *net);

void dz_pyannet_shape(const struct dz_pyannet *net, struct dz_pyannet_shape *ret);

/* The speakers of class `class`, a bit each. */
uint8_t dz_pyannet_set(const struct dz_pyannet *net, size_t class);

/* Windows that suit one call. */
#define DZ_PYANNET_BATCH DZ_BATCH

/*
 * Scores, logarithms of probabilities but for a constant, of n windows, n at most DZ_PYANNET_BATCH:
 * ret (n, n_frames, n_classes). windows[i] are `window` samples; NaN and infinity count as silence.
 * A window's scores do not depend on the others. One call at a time.
 */
int32_t dz_pyannet_run(struct dz_pyannet *net, const float *const *windows, size_t n, float *ret,
                       struct num_err *err);

#endif

/*
 * What a voice sounds like, as a vector: a residual network over filter banks (K. He et al., "Deep
 * residual learning for image recognition", 2016) whose output is pooled over the frames of one
 * speaker, as WeSpeaker trains it (H. Wang et al., "Wespeaker: a research and production oriented
 * speaker embedding learning toolkit", ICASSP 2023) and pyannote.audio 3.3.2 computes it.
 *
 * The network runs once for a window, whoever speaks in it; only pooling and the last layer are
 * done for each speaker.
 */
#ifndef DIARIZE_RESNET_H
#define DIARIZE_RESNET_H

#include "diarize/weights.h"
#include "num/cpu/linear.h"
#include "num/pool.h"

struct dz_resnet;

/* `weights` are copied; `compute`: F32, or BF16 for the convolutions. SLUICE_INPUT: they are not
 * what is expected, and the message says what. */
int32_t dz_resnet_create(const struct dz_weights *weights, enum num_compute compute,
                         struct num_pool *pool, struct dz_resnet **ret, struct num_err *err);
void dz_resnet_destroy(struct dz_resnet *net);

/* Values of an embedding. */
size_t dz_resnet_size(const struct dz_resnet *net);

/* Runs the network on pcm, n samples of 16 kHz in [-1, 1], at least 25 ms. What it gives stays
 * until the next call. One call at a time. */
int32_t dz_resnet_run(struct dz_resnet *net, const float *pcm, size_t n, struct num_err *err);

/* The embedding, ret (size), of the frames of the last run that `mask` (n_mask), which spans the
 * same time, weighs: 0 to 1, not all 0. */
int32_t dz_resnet_pool(const struct dz_resnet *net, const float *mask, size_t n_mask, float *ret,
                       struct num_err *err);

/* The last run's maps, for tests: (bands, frames, channels) of the deepest layer. */
const float *dz_resnet_maps(const struct dz_resnet *net, size_t *ret_bands, size_t *ret_frames,
                            size_t *ret_channels);

#endif

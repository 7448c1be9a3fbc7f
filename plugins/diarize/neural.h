/*
 * Who speaks when, with trained networks, as pyannote.audio 4.0 does it (H. Bredin, "pyannote.audio
 * 2.1 speaker diarization pipeline: principle, benchmark, and recipe", Interspeech 2023, and its
 * source): windows of ten seconds, a second apart, are segmented (pyannet.h); each local speaker of
 * each window gets an embedding (resnet.h); these are clustered (ahc.h, and vbx.h where there is a
 * PLDA), and the clusters' turns put together (tracks.h).
 *
 * Apart from the source: windows in which nobody speaks get no embeddings; a number of speakers
 * that VBx does not find is had by cutting the tree of the agglomerative clustering instead of
 * k-means; local speakers beyond the number of clusters go to the nearest; speakers whom no window
 * hears in a frame do not speak there.
 */
#ifndef DIARIZE_NEURAL_H
#define DIARIZE_NEURAL_H

#include "diarize/backend.h"
#include "diarize/turns.h"
#include "diarize/vbx.h"
#include "num/watch.h"

struct dz_neural {
    const struct dz_backend *backend; /* of the networks, */
    void *networks;                   /* which are its own */
    const struct dz_plda *plda;       /* or NULL: agglomerative clustering alone */
};

struct dz_neural_options {
    double threshold;      /* of the agglomerative clustering; 0: as published */
    double step_s;         /* from one window to the next */
    uint32_t min_speakers; /* 0 counts as 1 */
    uint32_t max_speakers; /* 0: DZ_MAX_CLUSTERS */
};

/*
 * The turns of mono 16 kHz audio, borrowed for the call, with and without overlap. *ret_embeddings,
 * the caller's to free, has a row of dz_resnet_size() for each speaker. Memory grows by some 4 KiB
 * a window. SLUICE_CANCELLED where the watch says so.
 */
int32_t dz_neural_run(const struct dz_neural *models, const float *pcm, size_t n_samples,
                      const struct dz_neural_options *options, const struct num_watch *watch,
                      struct dz_turns *ret, struct dz_turns *ret_exclusive, float **ret_embeddings,
                      struct num_err *err);

/*
 * The best pairs of n speakers, at most DZ_MAX_LOCAL, with n_clusters, at most DZ_MAX_CLUSTERS,
 * each in one pair at most and as many as there can be: those with the largest sum of scores (n,
 * n_clusters). ret (n): the cluster or -1.
 */
void dz_match(const double *scores, size_t n, size_t n_clusters, int8_t *ret);

#endif

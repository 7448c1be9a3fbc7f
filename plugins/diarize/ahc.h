/*
 * Agglomerative clustering of unit vectors: the two clusters whose centroids are nearest become
 * one, again and again; the tree that this makes is then cut. Centroid linkage (R. Sokal and C.
 * Michener, 1958), and the choice of the cut and of what becomes of small clusters, as
 * pyannote.audio 3.1 does with scipy's linkage() and fcluster():
 * github.com/pyannote/pyannote-audio, pipelines/clustering.py.
 *
 * Memory is that of the vectors; distances are computed when they are needed.
 */
#ifndef DIARIZE_AHC_H
#define DIARIZE_AHC_H

#include <stddef.h>
#include <stdint.h>

#include "num/watch.h"
#include "num/err.h"

/* A merge: nodes below n are vectors, node n + i is what merge i made. */
struct dz_merge {
    uint32_t a, b; /* a < b */
    uint32_t size; /* vectors in it */
    double distance;
};

/*
 * The n - 1 merges of x (n, dim), which has to be of length 1 each and is overwritten, into ret.
 * Distances may go down from one merge to the next: centroids do that. Time n^2 dim.
 * SLUICE_CANCELLED where `watch`, which may be NULL, says so.
 */
int32_t dz_ahc_link(float *x, size_t n, size_t dim, const struct num_watch *watch,
                    struct dz_merge *ret, struct num_err *err);

/*
 * Clusters of the n leaves, labels from 0 in the order of their first leaf, where a cluster is a
 * largest subtree without a merge beyond `threshold`. Returns how many.
 */
int32_t dz_ahc_cut(const struct dz_merge *merges, size_t n, double threshold, uint32_t *ret_labels,
                   size_t *ret_n, struct num_err *err);

struct dz_ahc_options {
    double threshold; /* of distances between unit centroids: 0 to 2 */
    size_t min_size;  /* smaller clusters join the nearest that is not; less where n is small */
    size_t at_least, at_most; /* clusters; 0 for at_most: any number */
};

/* The whole: labels of x (n, dim), of length 1 each, borrowed. */
int32_t dz_ahc_cluster(const struct dz_ahc_options *options, const float *x, size_t n, size_t dim,
                       const struct num_watch *watch, uint32_t *ret_labels, size_t *ret_n,
                       struct num_err *err);

#endif

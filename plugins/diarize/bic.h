/*
 * Bottom-up clustering by the Bayesian information criterion: the two clusters that one normal
 * distribution describes best become one, while that is better than two, weighed against the
 * parameters that it saves. After S. Chen and P. Gopalakrishnan, "Speaker, environment and channel
 * change detection and clustering via the Bayesian information criterion", DARPA 1998.
 */
#ifndef DIARIZE_BIC_H
#define DIARIZE_BIC_H

#include <stddef.h>
#include <stdint.h>

#include "diarize/gauss.h"
#include "num/err.h"

struct dz_bic {
    double penalty;      /* lambda: higher gives fewer clusters */
    const double *floor; /* [DZ_DIM]: added to variances */
    size_t at_least;     /* clusters, where there are as many sets; 0 counts as 1 */
    size_t at_most;      /* clusters, however different; 0: any number */
};

/*
 * Joins the n sets of frames `stats` in place: *ret_n of them are left, at the front, in the order
 * of their first set. Memory n^2 floats, time n^2 to n^3 likelihoods. SLUICE_RESOURCE: out of
 * memory.
 */
int32_t dz_bic_cluster(const struct dz_bic *bic, struct dz_stats *stats, size_t n, size_t *ret_n,
                       struct num_err *err);

#endif

/*
 * Normal distributions with full covariance over cepstra, kept as sums so that those of two sets of
 * frames add up to that of both.
 */
#ifndef DIARIZE_GAUSS_H
#define DIARIZE_GAUSS_H

#include <stddef.h>

#define DZ_DIM   24                          /* cepstral coefficients of a frame */
#define DZ_PAIRS (DZ_DIM * (DZ_DIM + 1) / 2) /* of a symmetric matrix: row i, columns 0 to i */

struct dz_stats {
    double n; /* frames */
    double sum[DZ_DIM], product[DZ_PAIRS];
};

/* Adds n frames of DZ_DIM values each, one after the other. */
void dz_stats_add(struct dz_stats *stats, const float *frames, size_t n);
void dz_stats_join(struct dz_stats *stats, const struct dz_stats *other);

/* Log of the covariance's determinant, after `floor` (DZ_DIM) is added to the variances. stats->n >
 * 0. */
double dz_stats_log_det(const struct dz_stats *stats, const double *floor);

/* A distribution made ready to be asked often. */
struct dz_gauss {
    float mean[DZ_DIM];
    float inverse[DZ_PAIRS]; /* of the covariance's Cholesky factor; lower triangle */
    float offset;            /* log-likelihood of the mean */
};

void dz_gauss_init(struct dz_gauss *gauss, const struct dz_stats *stats, const double *floor);

/* Log-likelihood of a frame. */
float dz_gauss_log_likelihood(const struct dz_gauss *gauss, const float *frame);

#endif

/* Sums are doubles: the covariance is their difference. */
#include "diarize/gauss.h"

#include <math.h>
#include <string.h>

#define AT(i, j) ((i) * ((i) + 1) / 2 + (j)) /* j <= i */

void dz_stats_add(struct dz_stats *stats, const float *frames, size_t n) {
    for (size_t t = 0; t < n; t++, frames += DZ_DIM)
        for (size_t i = 0; i < DZ_DIM; i++) {
            stats->sum[i] += frames[i];
            for (size_t j = 0; j <= i; j++)
                stats->product[AT(i, j)] += (double)frames[i] * frames[j];
        }
    stats->n += (double)n;
}

void dz_stats_join(struct dz_stats *stats, const struct dz_stats *other) {
    stats->n += other->n;
    for (size_t i = 0; i < DZ_DIM; i++)
        stats->sum[i] += other->sum[i];
    for (size_t i = 0; i < DZ_PAIRS; i++)
        stats->product[i] += other->product[i];
}

/* The Cholesky factor of the covariance with `floor` on its diagonal. */
static void factor(const struct dz_stats *stats, const double *floor, double *ret) {
    for (size_t i = 0; i < DZ_DIM; i++)
        for (size_t j = 0; j <= i; j++) {
            double value = stats->product[AT(i, j)] / stats->n -
                           stats->sum[i] / stats->n * (stats->sum[j] / stats->n);
            for (size_t k = 0; k < j; k++)
                value -= ret[AT(i, k)] * ret[AT(j, k)];
            if (i == j)
                ret[AT(i, i)] = sqrt(fmax(value + floor[i], floor[i]));
            else
                ret[AT(i, j)] = value / ret[AT(j, j)];
        }
}

double dz_stats_log_det(const struct dz_stats *stats, const double *floor) {
    double cholesky[DZ_PAIRS], sum = 0;
    factor(stats, floor, cholesky);
    for (size_t i = 0; i < DZ_DIM; i++)
        sum += log(cholesky[AT(i, i)]);
    return 2 * sum;
}

void dz_gauss_init(struct dz_gauss *gauss, const struct dz_stats *stats, const double *floor) {
    double cholesky[DZ_PAIRS], inverse[DZ_PAIRS], log_det = 0;
    factor(stats, floor, cholesky);
    for (size_t i = 0; i < DZ_DIM; i++) {
        inverse[AT(i, i)] = 1 / cholesky[AT(i, i)];
        log_det += log(cholesky[AT(i, i)]);
        for (size_t j = 0; j < i; j++) {
            double value = 0;
            for (size_t k = j; k < i; k++)
                value -= cholesky[AT(i, k)] * inverse[AT(k, j)];
            inverse[AT(i, j)] = value / cholesky[AT(i, i)];
        }
        gauss->mean[i] = (float)(stats->sum[i] / stats->n);
    }
    for (size_t i = 0; i < DZ_PAIRS; i++)
        gauss->inverse[i] = (float)inverse[i];
    gauss->offset = (float)(-log_det - 0.5 * DZ_DIM * log(2 * 3.14159265358979323846));
}

float dz_gauss_log_likelihood(const struct dz_gauss *gauss, const float *frame) {
    float centred[DZ_DIM], sum = 0;
    for (size_t i = 0; i < DZ_DIM; i++)
        centred[i] = frame[i] - gauss->mean[i];
    for (size_t i = 0; i < DZ_DIM; i++) {
        float z = 0;
        for (size_t j = 0; j <= i; j++)
            z += gauss->inverse[AT(i, j)] * centred[j];
        sum += z * z;
    }
    return gauss->offset - 0.5f * sum;
}

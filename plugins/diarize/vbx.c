/* See vbx.h. Matrices are as in the paper but for their order in memory: a row is an embedding, or
 * a speaker. */
#include "diarize/vbx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct dz_vbx_options dz_vbx_defaults = {0.07, 0.8, 7, 20, 1e-4};

/* ---- PLDA ---- */

int32_t dz_plda_load(const struct dz_weights *w, struct dz_plda *ret, struct num_err *err) {
    struct dz_plda p = {0};
    size_t in = 0, lda[] = {0, 0}, transform[] = {0, 0};
    int32_t status = dz_weights_take(w, 1, &in, &p.mean1, err, "mean1");
    lda[0] = in;
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 2, lda, &p.lda, err, "lda");
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, &lda[1], &p.mean2, err, "mean2");
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, &lda[1], &p.mu, err, "mu");
    transform[1] = lda[1];
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 2, transform, &p.transform, err, "transform");
    if (status == SLUICE_OK)
        status = dz_weights_take(w, 1, transform, &p.psi, err, "psi");
    for (size_t i = 0; status == SLUICE_OK && i < transform[0]; i++)
        if (!(p.psi[i] >= 0) || !isfinite(p.psi[i]))
            status = num_fail(err, SLUICE_INPUT, "psi[%zu] is %g, which is no variance", i,
                              (double)p.psi[i]);
    if (status != SLUICE_OK) {
        dz_plda_finish(&p);
        return status;
    }
    p.n_in = in;
    p.n_lda = lda[1];
    p.n_out = transform[0];
    *ret = p;
    return SLUICE_OK;
}

void dz_plda_finish(struct dz_plda *plda) {
    free(plda->mean1);
    free(plda->lda);
    free(plda->mean2);
    free(plda->mu);
    free(plda->transform);
    free(plda->psi);
    *plda = (struct dz_plda){0};
}

/* To the length sqrt(n), as the published transformation scales. */
static void rescale(double *x, size_t n) {
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += x[i] * x[i];
    double scale = sqrt((double)n / (square + 1e-300));
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

static void apply_one(const struct dz_plda *p, const float *x, double *in, double *middle,
                      double *ret) {
    for (size_t i = 0; i < p->n_in; i++)
        in[i] = (double)x[i] - p->mean1[i];
    rescale(in, p->n_in);
    for (size_t j = 0; j < p->n_lda; j++)
        middle[j] = -(double)p->mean2[j];
    for (size_t i = 0; i < p->n_in; i++)
        for (size_t j = 0; j < p->n_lda; j++)
            middle[j] += in[i] * p->lda[i * p->n_lda + j];
    rescale(middle, p->n_lda);
    for (size_t k = 0; k < p->n_out; k++) {
        ret[k] = 0;
        for (size_t j = 0; j < p->n_lda; j++)
            ret[k] += (middle[j] - p->mu[j]) * p->transform[k * p->n_lda + j];
    }
}

int32_t dz_plda_apply(const struct dz_plda *plda, const float *x, size_t n, double *ret,
                      struct num_err *err) {
    double *work = malloc((plda->n_in + plda->n_lda) * sizeof *work);
    if (!work)
        return num_fail_memory(err, "the PLDA", (plda->n_in + plda->n_lda) * sizeof *work);
    for (size_t i = 0; i < n; i++)
        apply_one(plda, x + i * plda->n_in, work, work + plda->n_in, ret + i * plda->n_out);
    free(work);
    return SLUICE_OK;
}

/* ---- VBx ---- */

struct vbx {
    const struct dz_vbx_options *options;
    const float *psi;
    size_t n, dim, n_speakers;
    double *rho;             /* (n, dim): x sqrt(psi), (18) */
    double *constant;        /* (n): of (23) */
    double *inverse, *alpha; /* (n_speakers, dim): (17), (16) */
    double *penalty;         /* (n_speakers) */
    double *shares, *priors;
};

static void start(struct vbx *v, const double *x, const uint32_t *labels) {
    double most = exp(v->options->smoothing), all = most + (double)v->n_speakers - 1;
    for (size_t t = 0; t < v->n; t++) {
        double square = 0;
        for (size_t d = 0; d < v->dim; d++) {
            square += x[t * v->dim + d] * x[t * v->dim + d];
            v->rho[t * v->dim + d] = x[t * v->dim + d] * sqrt(v->psi[d]);
        }
        v->constant[t] = -0.5 * (square + (double)v->dim * log(2 * M_PI));
        for (size_t s = 0; s < v->n_speakers; s++)
            v->shares[t * v->n_speakers + s] = (s == labels[t] ? most : 1) / all;
    }
    for (size_t s = 0; s < v->n_speakers; s++)
        v->priors[s] = 1 / (double)v->n_speakers;
}

/* (17), (16): a speaker's posterior from those who are his; penalty is the rest of (23). */
static void set_speaker(struct vbx *v, size_t s) {
    double ratio = v->options->fa / v->options->fb, n = 0;
    double *alpha = v->alpha + s * v->dim, *inverse = v->inverse + s * v->dim;
    memset(alpha, 0, v->dim * sizeof *alpha);
    for (size_t t = 0; t < v->n; t++) {
        double share = v->shares[t * v->n_speakers + s];
        n += share;
        for (size_t d = 0; d < v->dim; d++)
            alpha[d] += share * v->rho[t * v->dim + d];
    }
    v->penalty[s] = 0;
    for (size_t d = 0; d < v->dim; d++) {
        inverse[d] = 1 / (1 + ratio * n * v->psi[d]);
        alpha[d] *= ratio * inverse[d];
        v->penalty[s] += 0.5 * (inverse[d] + alpha[d] * alpha[d]) * v->psi[d];
    }
}

/* (23) and the responsibilities of embedding t; returns its log-likelihood. */
static double share_out(struct vbx *v, size_t t) {
    double *shares = v->shares + t * v->n_speakers, most = -INFINITY, sum = 0;
    for (size_t s = 0; s < v->n_speakers; s++) {
        double dot = 0;
        for (size_t d = 0; d < v->dim; d++)
            dot += v->rho[t * v->dim + d] * v->alpha[s * v->dim + d];
        shares[s] =
            v->options->fa * (dot - v->penalty[s] + v->constant[t]) + log(v->priors[s] + 1e-8);
        most = fmax(most, shares[s]);
    }
    for (size_t s = 0; s < v->n_speakers; s++)
        sum += exp(shares[s] - most);
    for (size_t s = 0; s < v->n_speakers; s++)
        shares[s] = exp(shares[s] - most) / sum;
    return most + log(sum);
}

static void set_priors(struct vbx *v) {
    memset(v->priors, 0, v->n_speakers * sizeof *v->priors);
    for (size_t t = 0; t < v->n; t++)
        for (size_t s = 0; s < v->n_speakers; s++)
            v->priors[s] += v->shares[t * v->n_speakers + s] / (double)v->n;
}

/* One round; returns the lower bound (25). */
static double iterate(struct vbx *v) {
    double bound = 0;
    for (size_t s = 0; s < v->n_speakers; s++)
        set_speaker(v, s);
    for (size_t t = 0; t < v->n; t++)
        bound += share_out(v, t);
    set_priors(v);
    for (size_t i = 0; i < v->n_speakers * v->dim; i++)
        bound += v->options->fb * 0.5 *
                 (log(v->inverse[i]) - v->inverse[i] - v->alpha[i] * v->alpha[i] + 1);
    return bound;
}

int32_t dz_vbx_run(const struct dz_vbx_options *options, const double *x, size_t n, size_t dim,
                   const float *psi, const uint32_t *labels, size_t n_labels, double *ret_shares,
                   double *ret_priors, struct num_err *err) {
    struct vbx v = {.options = options,
                    .psi = psi,
                    .n = n,
                    .dim = dim,
                    .n_speakers = n_labels,
                    .shares = ret_shares,
                    .priors = ret_priors};
    size_t n_values = n * (dim + 1) + n_labels * (2 * dim + 1);
    double *values = malloc((n_values + 1) * sizeof *values);
    if (!values)
        return num_fail_memory(err, "clustering", n_values * sizeof *values);
    v.rho = values;
    v.constant = v.rho + n * dim;
    v.inverse = v.constant + n;
    v.alpha = v.inverse + n_labels * dim;
    v.penalty = v.alpha + n_labels * dim;
    start(&v, x, labels);
    double before = 0;
    for (uint32_t i = 0; i < options->n_iterations; i++) {
        double bound = iterate(&v);
        if (i > 0 && bound - before < options->epsilon)
            break;
        before = bound;
    }
    free(values);
    return SLUICE_OK;
}

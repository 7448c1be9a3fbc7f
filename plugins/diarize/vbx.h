/*
 * Clustering of speaker embeddings by variational inference (F. Landini et al., "Bayesian HMM
 * clustering of x-vector sequences (VBx) in speaker diarization", Computer Speech & Language 71,
 * 2022; equation numbers are that paper's) in the space of a probabilistic linear discriminant
 * analysis: speakers that are not needed die out. Without the Markov chain, as pyannote.audio 4.0
 * uses it.
 */
#ifndef DIARIZE_VBX_H
#define DIARIZE_VBX_H

#include "diarize/weights.h"

/* From embeddings to a space in which the covariance within a speaker is the identity, that between
 * speakers diagonal. */
struct dz_plda {
    size_t n_in, n_lda, n_out;
    float *mean1, *lda, *mean2; /* (n_in), (n_in, n_lda), (n_lda) */
    float *mu, *transform;      /* (n_lda), (n_out, n_lda) */
    float *psi;                 /* (n_out): variances between speakers */
};

/* Copies what it needs. SLUICE_INPUT: not such a model. */
int32_t dz_plda_load(const struct dz_weights *weights, struct dz_plda *ret, struct num_err *err);
/* Takes a zeroed one too. */
void dz_plda_finish(struct dz_plda *plda);

/* x (n, n_in), of any length, to ret (n, n_out). */
int32_t dz_plda_apply(const struct dz_plda *plda, const float *x, size_t n, double *ret,
                      struct num_err *err);

struct dz_vbx_options {
    double fa, fb;    /* weights of the data and of the prior: a larger fb finds fewer speakers */
    double smoothing; /* of the first responsibilities: a label counts e^smoothing */
    uint32_t n_iterations;
    double epsilon; /* stops where the bound grows less */
};

/* As published: 0.07, 0.8, 7, 20, 1e-4. */
extern const struct dz_vbx_options dz_vbx_defaults;

/*
 * x (n, dim) with variances psi (dim) between speakers; labels (n), below n_labels, to begin with.
 * ret_shares (n, n_labels) are the responsibilities, ret_priors (n_labels) those of the speakers.
 */
int32_t dz_vbx_run(const struct dz_vbx_options *options, const double *x, size_t n, size_t dim,
                   const float *psi, const uint32_t *labels, size_t n_labels, double *ret_shares,
                   double *ret_priors, struct num_err *err);

#endif

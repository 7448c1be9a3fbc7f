/* The models of the neural method, from their folders. */
#ifndef DIARIZE_MODELS_H
#define DIARIZE_MODELS_H

#include "diarize/neural.h"

struct dz_model_paths {
    const char *segmentation, *embedding;
    const char *plda; /* or NULL */
    enum num_compute compute;
};

struct dz_models {
    struct dz_pyannet *segmentation;
    struct dz_resnet *embedding;
    bool has_plda;
    struct dz_plda plda;
    double threshold; /* of clustering these embeddings without a PLDA; 0: as published */
    char kind[32];    /* of the embeddings: "resnet-" and a number of the weights */
};

/* Messages begin with the parameter whose model they are about. `pool` is borrowed until finish. */
int32_t dz_models_load(const struct dz_model_paths *paths, struct num_pool *pool,
                       struct dz_models *ret, struct num_err *err);
/* Takes a zeroed one too. */
void dz_models_finish(struct dz_models *models);

#endif

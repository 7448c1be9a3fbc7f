/* The models of the neural method, from their folders. */
#ifndef DIARIZE_MODELS_H
#define DIARIZE_MODELS_H

#include "diarize/neural.h"
#include "diarize/pyannet.h"
#include "diarize/resnet.h"

struct dz_model_paths {
    const char *segmentation, *embedding;
    const char *plda; /* or NULL */
    struct dz_device_options options;
    const struct dz_backend *backend; /* NULL: the processor */
};

struct dz_models {
    const struct dz_backend *backend; /* NULL: nothing is loaded */
    struct dz_pyannet *segmentation;  /* on the processor; else NULL */
    struct dz_resnet *embedding;
    void *card; /* the backend's, where it is a card's */
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

/* What runs: borrowed from the models. */
struct dz_neural dz_models_neural(const struct dz_models *models);

#endif

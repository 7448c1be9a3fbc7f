/* See models.h: three times the same steps, a mapped file, what is made of it, and its name in messages. */
#include "diarize/models.h"

#include <stdio.h>

/* FNV-1a over the embedding's last layer: models that were trained apart get numbers apart. */
static void name_kind(const struct dz_weights *w, char *ret, size_t size) {
    const struct num_tensor *t = num_safetensors_find(&w->file, "embedding.weight");
    const unsigned char *data = t->data;
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < t->n_elements * num_dtype_size(t->dtype); i++)
        hash = (hash ^ data[i]) * UINT64_C(1099511628211);
    snprintf(ret, size, "resnet-%016llx", (unsigned long long)hash);
}

static int32_t load_segmentation(const char *path, enum num_compute compute, struct num_pool *pool,
                                 struct dz_models *m, struct num_err *err) {
    struct dz_weights w = {0};
    int32_t status = dz_weights_open(path, "pyannet", &w, err);
    if (status == SLUICE_OK)
        status = dz_pyannet_create(&w, compute, pool, &m->segmentation, err);
    dz_weights_close(&w);
    return status == SLUICE_OK ? status : num_fail_in(err, "segmentation");
}

static int32_t load_embedding(const char *path, enum num_compute compute, struct num_pool *pool,
                              struct dz_models *m, struct num_err *err) {
    struct dz_weights w = {0};
    int32_t status = dz_weights_open(path, "resnet", &w, err);
    if (status == SLUICE_OK)
        status = dz_resnet_create(&w, compute, pool, &m->embedding, err);
    if (status == SLUICE_OK)
        status = dz_weights_number(&w, "threshold", 0, 2, 0, &m->threshold, err);
    if (status == SLUICE_OK)
        name_kind(&w, m->kind, sizeof m->kind);
    dz_weights_close(&w);
    return status == SLUICE_OK ? status : num_fail_in(err, "embedding");
}

static int32_t load_plda(const char *path, struct dz_models *m, struct num_err *err) {
    struct dz_weights w = {0};
    int32_t status = dz_weights_open(path, "plda", &w, err);
    if (status == SLUICE_OK)
        status = dz_plda_load(&w, &m->plda, err);
    m->has_plda = status == SLUICE_OK;
    if (status == SLUICE_OK && m->plda.n_in != dz_resnet_size(m->embedding))
        status =
            num_fail(err, SLUICE_INPUT, "it is for embeddings of %zu values, and these have %zu",
                     m->plda.n_in, dz_resnet_size(m->embedding));
    dz_weights_close(&w);
    return status == SLUICE_OK ? status : num_fail_in(err, "plda");
}

int32_t dz_models_load(const struct dz_model_paths *paths, struct num_pool *pool,
                       struct dz_models *ret, struct num_err *err) {
    struct dz_models m = {0};
    int32_t status = load_segmentation(paths->segmentation, paths->compute, pool, &m, err);
    if (status == SLUICE_OK)
        status = load_embedding(paths->embedding, paths->compute, pool, &m, err);
    if (status == SLUICE_OK && paths->plda)
        status = load_plda(paths->plda, &m, err);
    if (status != SLUICE_OK) {
        dz_models_finish(&m);
        return status;
    }
    *ret = m;
    return SLUICE_OK;
}

void dz_models_finish(struct dz_models *models) {
    dz_pyannet_destroy(models->segmentation);
    dz_resnet_destroy(models->embedding);
    dz_plda_finish(&models->plda);
    *models = (struct dz_models){0};
}

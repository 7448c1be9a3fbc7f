/* See models.h. */
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

/* ---- the processor ---- */

static void cpu_shape(const void *self, struct dz_pyannet_shape *ret) {
    dz_pyannet_shape(((const struct dz_models *)self)->segmentation, ret);
}

static uint8_t cpu_set(const void *self, size_t class_) {
    return dz_pyannet_set(((const struct dz_models *)self)->segmentation, class_);
}

static size_t cpu_size(const void *self) {
    return dz_resnet_size(((const struct dz_models *)self)->embedding);
}

static int32_t cpu_segment(void *self, const float *const *windows, size_t n, float *ret,
                           struct num_err *err) {
    return dz_pyannet_run(((const struct dz_models *)self)->segmentation, windows, n, ret, err);
}

/* The network runs once a window, whoever is heard in it. */
static int32_t cpu_hear(void *self, const float *const *windows, size_t n,
                        const struct dz_heard *heard, size_t n_heard, struct num_err *err) {
    const struct dz_models *m = self;
    struct dz_pyannet_shape s;
    int32_t status = SLUICE_OK;
    (void)n;
    dz_pyannet_shape(m->segmentation, &s);
    for (size_t i = 0; status == SLUICE_OK && i < n_heard; i++) {
        const struct dz_heard *h = &heard[i];
        if (i == 0 || h->window != heard[i - 1].window)
            status = dz_resnet_run(m->embedding, windows[h->window], s.window, err);
        if (status == SLUICE_OK)
            status = dz_resnet_pool(m->embedding, h->mask, s.n_frames, h->ret, err);
    }
    return status;
}

const struct dz_backend dz_backend_cpu = {
    .name = "cpu",
    .n_windows = 1,
    .shape = cpu_shape,
    .set = cpu_set,
    .size = cpu_size,
    .segment = cpu_segment,
    .hear = cpu_hear,
};

/* ---- loading ---- */

static int32_t open_models(const struct dz_model_paths *paths, struct dz_weights *segmentation,
                           struct dz_weights *embedding, struct num_err *err) {
    int32_t status = dz_weights_open(paths->segmentation, "pyannet", segmentation, err);
    if (status != SLUICE_OK)
        return num_fail_in(err, "segmentation");
    status = dz_weights_open(paths->embedding, "resnet", embedding, err);
    return status == SLUICE_OK ? status : num_fail_in(err, "embedding");
}

static int32_t load_networks(const struct dz_model_paths *paths, struct num_pool *pool,
                             const struct dz_weights *segmentation,
                             const struct dz_weights *embedding, struct dz_models *m,
                             struct num_err *err) {
    enum num_compute compute = paths->options.compute;
    m->backend = paths->backend ? paths->backend : &dz_backend_cpu;
    if (m->backend->create)
        return m->backend->create(segmentation, embedding, &paths->options, &m->card, err);
    int32_t status = dz_pyannet_create(segmentation, compute, pool, &m->segmentation, err);
    if (status != SLUICE_OK)
        return num_fail_in(err, "segmentation");
    status = dz_resnet_create(embedding, compute, pool, &m->embedding, err);
    return status == SLUICE_OK ? status : num_fail_in(err, "embedding");
}

static int32_t load_plda(const char *path, struct dz_models *m, struct num_err *err) {
    struct dz_weights w = {0};
    struct dz_neural neural = dz_models_neural(m);
    size_t size = neural.backend->size(neural.networks);
    int32_t status = dz_weights_open(path, "plda", &w, err);
    if (status == SLUICE_OK)
        status = dz_plda_load(&w, &m->plda, err);
    m->has_plda = status == SLUICE_OK;
    if (status == SLUICE_OK && m->plda.n_in != size)
        status =
            num_fail(err, SLUICE_INPUT, "it is for embeddings of %zu values, and these have %zu",
                     m->plda.n_in, size);
    dz_weights_close(&w);
    return status == SLUICE_OK ? status : num_fail_in(err, "plda");
}

int32_t dz_models_load(const struct dz_model_paths *paths, struct num_pool *pool,
                       struct dz_models *ret, struct num_err *err) {
    struct dz_models m = {0};
    struct dz_weights segmentation = {0}, embedding = {0};
    int32_t status = open_models(paths, &segmentation, &embedding, err);
    if (status == SLUICE_OK)
        status = load_networks(paths, pool, &segmentation, &embedding, &m, err);
    if (status == SLUICE_OK)
        status = dz_weights_number(&embedding, "threshold", 0, 2, 0, &m.threshold, err);
    if (status == SLUICE_OK)
        name_kind(&embedding, m.kind, sizeof m.kind);
    if (status == SLUICE_OK && paths->plda)
        status = load_plda(paths->plda, &m, err);
    dz_weights_close(&segmentation);
    dz_weights_close(&embedding);
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
    if (models->card)
        models->backend->destroy(models->card);
    dz_plda_finish(&models->plda);
    *models = (struct dz_models){0};
}

struct dz_neural dz_models_neural(const struct dz_models *models) {
    return (struct dz_neural){models->backend, models->card ? models->card : (void *)models,
                              models->has_plda ? &models->plda : NULL};
}

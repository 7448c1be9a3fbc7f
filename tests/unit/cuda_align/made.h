/* Small models made in memory, without files, for the backends of align/words. Heads have 64
 * values, as on a card. */
#ifndef TESTS_UNIT_CUDA_ALIGN_MADE_H
#define TESTS_UNIT_CUDA_ALIGN_MADE_H

#include "unit/align/random_model.h"

#include "align/backend.h"

enum { MAX_FRAMES = 150 };

struct made {
    struct random_model model;
    struct num_safetensors file;
    struct al_files files;
    struct al_config config;
};

/* The configuration of random_model.h's variants. */
static inline struct al_config made_config(const struct random_model *m) {
    struct al_config c = {.hubert = m->prefix[0] == 'h',
                          .layer_norm_convs = m->layer_norms,
                          .conv_bias = m->layer_norms,
                          .stable = m->layer_norms,
                          .projection_norm = m->projection_norm,
                          .normalize = m->prefix[0] != 'h',
                          .n_convs = 7,
                          .conv_kernel = {10, 3, 3, 3, 3, 2, 2},
                          .conv_stride = {5, 2, 2, 2, 2, 2, 2},
                          .n_state = RM_D,
                          .n_layers = 2,
                          .n_heads = 1,
                          .n_ffn = RM_F,
                          .n_vocab = RM_V,
                          .pos_kernel = m->pos_kernel,
                          .pos_groups = 4,
                          .n_adapter = m->adapter ? 16 : 0};
    for (size_t i = 0; i < c.n_convs; i++)
        c.conv_dim[i] = RM_C;
    return c;
}

static inline void made_init(struct made *m, const char *variant) {
    rm_make(&m->model, variant);
    for (size_t i = 0; i < m->model.n; i++)
        m->model.tensors[i].data = m->model.values[i];
    m->file = (struct num_safetensors){.tensors = m->model.tensors, .n_tensors = m->model.n};
    m->files = (struct al_files){&m->file, 1};
    m->config = made_config(&m->model);
}

static inline int32_t made_create(const struct made *m, const struct al_backend *backend,
                                  enum num_compute compute, uint64_t limit, void **ret,
                                  struct num_err *err) {
    struct al_net_options options = {
        .compute = compute, .n_threads = 1, .max_frames = MAX_FRAMES, .device_memory = limit};
    return backend->create(&m->files, &m->config, &options, ret, err);
}

#endif

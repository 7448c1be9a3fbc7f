/*
 * Weights into panels, once. A layer is read a panel (32 outputs) at a time, so that few rows are
 * ever held as floats.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "align/net_own.h"
#include "align/tensors.h"

#define NAME_BYTES AL_NAME_BYTES
#define SHAPE      AL_SHAPE

struct loader {
    struct al_net *net;
    struct al_tensors tensors; /* its status counts for all */
};

/* ---- Tensors --------------------------------------------------------------------------------- */

static float *take(struct loader *l, size_t n) {
    float *floats = NULL;
    if (!l->tensors.status)
        l->tensors.status = num_arena_take(&l->net->arena, n * sizeof *floats,
                                           "the model's weights", &floats, l->tensors.err);
    return floats;
}

static void read_norm(struct loader *l, const char *name, uint64_t n, struct al_layer_norm *ret) {
    ret->gamma = take(l, n);
    ret->beta = take(l, n);
    al_tensors_norm(&l->tensors, name, n, ret->gamma, ret->beta);
}

/* ---- Layers ---------------------------------------------------------------------------------- */

struct packing {
    const struct al_net *net;
    struct num_linear *linear;
    const struct num_weights *parts; /* one below the other, part_rows each */
    size_t part_rows;
    size_t n_in, n_taps; /* (out, in, taps) becomes [out][tap][in] */
    float *rows;         /* of each thread: (NUM_PANEL + 1, k) */
};

static void pack_task(void *ctx, uint32_t panel, uint32_t thread) {
    const struct packing *p = ctx;
    size_t k = p->linear->k, first = (size_t)panel * NUM_PANEL, n = p->linear->n_out - first;
    float *rows = p->rows + thread * (NUM_PANEL + 1) * k, *raw = rows + NUM_PANEL * k;
    for (size_t o = 0; o < n && o < NUM_PANEL; o++) {
        const struct num_weights *w = &p->parts[(first + o) / p->part_rows];
        num_weights_to_f32(w, (first + o) % p->part_rows, 1, raw);
        for (size_t i = 0; i < p->n_in; i++)
            for (size_t tap = 0; tap < p->n_taps; tap++)
                rows[o * k + tap * p->n_in + i] = raw[i * p->n_taps + tap];
    }
    num_linear_pack(p->linear, p->net->kernels, panel, rows);
}

static void pack(struct loader *l, const struct num_weights *parts, size_t part_rows, size_t n_out,
                 size_t n_in, size_t n_taps, enum num_compute type, struct num_linear *ret) {
    struct packing p = {l->net, ret, parts, part_rows, n_in, n_taps, NULL};
    size_t bytes = l->net->n_threads * (NUM_PANEL + 1) * n_in * n_taps * sizeof(float);
    if (l->tensors.status)
        return;
    p.rows = malloc(bytes);
    l->tensors.status =
        p.rows ? num_linear_create(ret, type, n_out, n_in * n_taps, &l->net->arena, l->tensors.err)
               : num_fail_memory(l->tensors.err, "a layer's weights", bytes);
    if (!l->tensors.status)
        num_pool_run(l->net->pool, (uint32_t)NUM_PANELS(n_out), pack_task, &p);
    for (size_t i = 0; !l->tensors.status && i < n_out / part_rows; i++)
        al_files_forget(l->tensors.files, &parts[i]);
    free(p.rows);
}

static void read_linear(struct loader *l, const char *name, uint64_t n_out, uint64_t k,
                        enum num_compute type, struct num_linear *ret) {
    char full[NAME_BYTES];
    struct num_weights w;
    snprintf(full, sizeof full, "%s.weight", name);
    al_tensors_find(&l->tensors, full, SHAPE(n_out, k), &w);
    pack(l, &w, n_out, n_out, k, 1, type, ret);
    al_tensors_bias(&l->tensors, name, n_out, ret->bias);
}

/* Keys and values, one below the other. */
static void read_kv(struct loader *l, const char *prefix, uint64_t D, struct num_linear *ret) {
    char full[NAME_BYTES];
    struct num_weights w[2];
    for (size_t i = 0; i < 2; i++) {
        snprintf(full, sizeof full, "%sattention.%c_proj.weight", prefix, "kv"[i]);
        al_tensors_find(&l->tensors, full, SHAPE(D, D), &w[i]);
    }
    pack(l, w, D, 2 * D, D, 1, l->net->act, ret);
    for (size_t i = 0; i < 2; i++) {
        snprintf(full, sizeof full, "%sattention.%c_proj", prefix, "kv"[i]);
        al_tensors_bias(&l->tensors, full, D, ret->bias + (l->tensors.status ? 0 : i * D));
    }
}

static void read_layer(struct loader *l, uint32_t index, struct al_layer *ret) {
    uint64_t D = l->net->config.n_state, F = l->net->config.n_ffn, A = l->net->config.n_adapter;
    enum num_compute act = l->net->act;
    char prefix[64], name[NAME_BYTES];
    snprintf(prefix, sizeof prefix, "encoder.layers.%u.", index);
#define NAMED(rest) (snprintf(name, sizeof name, "%s%s", prefix, rest), name)
    read_norm(l, NAMED("layer_norm"), D, &ret->attention_norm);
    read_norm(l, NAMED("final_layer_norm"), D, &ret->final_norm);
    read_linear(l, NAMED("attention.q_proj"), D, D, act, &ret->q);
    read_kv(l, prefix, D, &ret->kv);
    read_linear(l, NAMED("attention.out_proj"), D, D, act, &ret->out);
    read_linear(l, NAMED("feed_forward.intermediate_dense"), F, D, act, &ret->fc1);
    read_linear(l, NAMED("feed_forward.output_dense"), D, F, act, &ret->fc2);
    if (A) {
        read_norm(l, NAMED("adapter_layer.norm"), D, &ret->adapter_norm);
        read_linear(l, NAMED("adapter_layer.linear_1"), A, D, NUM_COMPUTE_F32, &ret->adapter_in);
        read_linear(l, NAMED("adapter_layer.linear_2"), D, A, NUM_COMPUTE_F32, &ret->adapter_out);
    }
#undef NAMED
}

/* ---- Convolutions ---------------------------------------------------------------------------- */

static void read_conv(struct loader *l, uint32_t index, struct al_conv *ret) {
    const struct al_config *c = &l->net->config;
    uint64_t n_out = c->conv_dim[index], n_in = index ? c->conv_dim[index - 1] : 1;
    uint64_t taps = c->conv_kernel[index];
    char name[NAME_BYTES];
    struct num_weights w;
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%u.conv.weight", index);
    al_tensors_find(&l->tensors, name, SHAPE(n_out, n_in, taps), &w);
    pack(l, &w, n_out, n_out, n_in, taps, index ? l->net->act : NUM_COMPUTE_F32, &ret->linear);
    if (index == 0) {
        l->net->first_weight = take(l, n_out * taps);
        l->net->folded = take(l, n_out * taps);
        al_tensors_floats(&l->tensors, name, SHAPE(n_out, n_in, taps), l->net->first_weight);
    }
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%u.conv", index);
    if (c->conv_bias)
        al_tensors_bias(&l->tensors, name, n_out, ret->linear.bias);
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%u.layer_norm", index);
    if (c->layer_norm_convs || index == 0)
        read_norm(l, name, n_out, &ret->norm);
}

static void pack_positions(struct loader *l) {
    struct al_net *net = l->net;
    uint64_t D = net->config.n_state, taps = net->config.pos_kernel, G = net->config.pos_groups;
    uint64_t width = D / G;
    float *all = malloc(D * width * taps * sizeof *all), *bias = malloc(D * sizeof *bias);
    if (!l->tensors.status && (!all || !bias))
        l->tensors.status =
            num_fail_memory(l->tensors.err, "the positions", D * width * taps * sizeof *all);
    if (!l->tensors.status)
        l->tensors.status = num_arena_take(&net->arena, G * sizeof *net->positions, "the positions",
                                           &net->positions, l->tensors.err);
    if (!l->tensors.status)
        al_tensors_positions(&l->tensors, D, width, taps, all);
    if (!l->tensors.status)
        al_tensors_bias(&l->tensors, "encoder.pos_conv_embed.conv", D, bias);
    for (uint64_t g = 0; !l->tensors.status && g < G; g++) {
        struct num_weights w = {.type = NUM_WEIGHT_F32,
                                .n_dims = 3,
                                .shape = {width, width, taps},
                                .data = all + g * width * width * taps};
        uint64_t bytes;
        num_weights_measure(&w, &bytes);
        pack(l, &w, width, width, width, taps, net->act, &net->positions[g]);
        if (!l->tensors.status)
            memcpy(net->positions[g].bias, bias + g * width, width * sizeof *bias);
    }
    free(all);
    free(bias);
}

int32_t al_net_load(struct al_net *net, const struct al_files *files, struct num_err *err) {
    const struct al_config *c = &net->config;
    struct loader l = {.net = net, .tensors = {files, c->hubert, err, SLUICE_OK}};
    uint64_t D = c->n_state, width = c->conv_dim[c->n_convs - 1];
    for (uint32_t i = 0; i < c->n_convs; i++)
        read_conv(&l, i, &net->convs[i]);
    if (c->projection_norm)
        read_norm(&l, "feature_projection.layer_norm", width, &net->projection_norm);
    read_linear(&l, "feature_projection.projection", D, width, net->act, &net->projection);
    pack_positions(&l);
    read_norm(&l, "encoder.layer_norm", D, &net->encoder_norm);
    if (!l.tensors.status)
        l.tensors.status = num_arena_take(&net->arena, c->n_layers * sizeof *net->layers,
                                          "the layers", &net->layers, err);
    for (uint32_t i = 0; !l.tensors.status && i < c->n_layers; i++)
        read_layer(&l, i, &net->layers[i]);
    read_linear(&l, "lm_head", c->n_vocab, D, net->act, &net->head);
    return l.tensors.status;
}

/*
 * Places and weights of a network on a card: see net.h. A matrix is read as floats, brought into
 * the order and the type that products want, and copied; the largest of them is some MB, so one at
 * a time is fast enough.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "align/cuda/ctc.h"
#include "align/cuda/net.h"
#include "align/tensors.h"
#include "num/cuda/norm.h"

#define SHAPE AL_SHAPE

/* ---- Places ---------------------------------------------------------------------------------- */

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

static void *take(uintptr_t *at, size_t bytes) {
    uintptr_t place = *at;
    *at += (bytes + AL_CUDA_ALIGN - 1) / AL_CUDA_ALIGN * AL_CUDA_ALIGN;
    return (void *)place;
}

static void place_norm(uintptr_t *at, size_t n, struct al_cuda_norm *ret) {
    ret->gamma = take(at, n * sizeof(float));
    ret->beta = take(at, n * sizeof(float));
}

static void place_matrix(uintptr_t *at, enum num_cuda_type type, size_t n_out, size_t k,
                         struct al_cuda_matrix *ret) {
    ret->w = take(at, n_out * k * num_cuda_type_bytes(type));
    ret->bias = take(at, n_out * sizeof(float));
    ret->n_out = n_out;
    ret->k = k;
}

static void place_layer(uintptr_t *at, const struct al_cuda_net *net, struct al_cuda_layer *l) {
    const struct al_config *c = &net->config;
    size_t D = c->n_state, F = c->n_ffn, A = c->n_adapter;
    place_norm(at, D, &l->attention_norm);
    place_norm(at, D, &l->final_norm);
    place_matrix(at, net->type, 3 * D, D, &l->qkv);
    l->qkv_bias = take(at, 3 * D * num_cuda_type_bytes(net->type));
    place_matrix(at, net->type, D, D, &l->out);
    place_matrix(at, net->type, F, D, &l->fc1);
    place_matrix(at, net->type, D, F, &l->fc2);
    if (A == 0)
        return;
    place_norm(at, D, &l->adapter_norm);
    place_matrix(at, NUM_CUDA_F32, A, D, &l->adapter_in);
    place_matrix(at, NUM_CUDA_F32, D, A, &l->adapter_out);
}

static void place_weights(struct al_cuda_net *net, uintptr_t *at) {
    const struct al_config *c = &net->config;
    struct al_cuda_weights *w = &net->w;
    size_t D = c->n_state, width = D / c->pos_groups, last = c->conv_dim[c->n_convs - 1];
    w->first = take(at, (size_t)c->conv_kernel[0] * c->conv_dim[0] * sizeof(float));
    w->first_bias = take(at, c->conv_dim[0] * sizeof(float));
    for (size_t i = 0; i < c->n_convs; i++) {
        if (c->layer_norm_convs)
            place_norm(at, c->conv_dim[i], &w->conv_norms[i]);
        if (i > 0)
            place_matrix(at, net->type, c->conv_dim[i],
                         (size_t)c->conv_kernel[i] * c->conv_dim[i - 1], &w->convs[i]);
    }
    if (c->projection_norm)
        place_norm(at, last, &w->projection_norm);
    place_matrix(at, net->type, D, last, &w->projection);
    place_matrix(at, net->type, D, c->pos_kernel * width, &w->positions);
    place_norm(at, D, &w->encoder_norm);
    for (size_t i = 0; i < c->n_layers; i++)
        place_layer(at, net, &w->layers[i]);
    place_matrix(at, net->type, c->n_vocab, D, &w->head);
}

size_t al_cuda_samples(const struct al_config *config, size_t n) {
    size_t first, rows = al_conv_rows(config, 0, 0, n, &first);
    return (rows - 1) * config->conv_stride[0] + config->conv_kernel[0];
}

size_t al_cuda_logits(const struct al_config *config) {
    return (largest(config->n_vocab, config->n_adapter) + 3) / 4 * 4;
}

/* Values of the largest output of convolutions with an even number, or an odd one. */
static size_t output_values(const struct al_cuda_net *net, size_t parity) {
    size_t most = 0, first;
    for (size_t i = parity; i < net->config.n_convs; i += 2)
        most = largest(most, al_conv_rows(&net->config, i, 0, net->max_frames, &first) *
                                 net->config.conv_dim[i]);
    return most;
}

static void place_buffers(struct al_cuda_net *net, uintptr_t *at) {
    const struct al_config *c = &net->config;
    struct al_cuda_buffers *b = &net->b;
    size_t T = net->max_frames, D = c->n_state, value = num_cuda_type_bytes(net->type);
    b->samples = take(at, al_cuda_samples(c, T) * sizeof(float));
    for (size_t i = 0; i < 2; i++)
        b->convs[i] = take(at, output_values(net, i) * value);
    b->x = take(at, T * D * sizeof(float));
    b->y = take(at, T * D * sizeof(float));
    b->unfolded = take(at, AL_CUDA_UNFOLD * c->pos_kernel * D * value);
    b->input = take(at, T * largest(D, c->conv_dim[c->n_convs - 1]) * value);
    b->wide = take(at, T * largest(3 * D, c->n_ffn) * value);
    b->add = take(at, T * D * sizeof(float));
    b->logits = take(at, T * al_cuda_logits(c) * sizeof(float));
    b->logp = take(at, T * c->n_vocab * sizeof(float));
    b->texts = take(at, AL_CUDA_TEXT_BYTES);
    b->workspace = take(at, AL_CUDA_GEMM_BYTES);
}

size_t al_cuda_place(struct al_cuda_net *net, char *base) {
    uintptr_t at = (uintptr_t)base;
    place_weights(net, &at);
    place_buffers(net, &at);
    return at - (uintptr_t)base;
}

int32_t al_cuda_check(const struct al_config *c, struct num_err *err) {
    if (c->n_state != AL_CUDA_HEAD * c->n_heads)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "heads have %u values, and on a card they have to have %d; use device: cpu",
                        c->n_state / c->n_heads, AL_CUDA_HEAD);
    bool whole = c->n_state % 8 == 0 && c->n_ffn % 8 == 0 && c->n_adapter % 4 == 0 &&
                 c->n_state / c->pos_groups % 8 == 0;
    for (size_t i = 0; i < c->n_convs; i++)
        whole = whole && c->conv_dim[i] % 8 == 0 && c->conv_dim[i] <= NUM_CUDA_NORM_MAX;
    if (!whole || c->n_layers > AL_CUDA_LAYERS || c->n_state > NUM_CUDA_NORM_MAX)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "a card takes widths that are multiples of 8, at most %d values and %d "
                        "layers; use device: cpu",
                        NUM_CUDA_NORM_MAX, AL_CUDA_LAYERS);
    return SLUICE_OK;
}

/* ---- Weights --------------------------------------------------------------------------------- */

struct loader {
    struct al_cuda_net *net;
    struct al_tensors t;
    float *raw, *floats; /* a tensor as it is stored, and in the order of products */
    uint16_t *halves;
};

/* n floats to the card as `type`. */
static void send(struct loader *l, const float *from, size_t n, enum num_cuda_type type, void *to) {
    const void *data = from;
    if (l->t.status)
        return;
    if (type == NUM_CUDA_BF16) {
        num_kernels()->to_bf16(from, n, l->halves);
        data = l->halves;
    }
    cudaError_t error = cudaMemcpyAsync(to, data, n * num_cuda_type_bytes(type),
                                        cudaMemcpyHostToDevice, l->net->stream);
    if (!error)
        error = cudaStreamSynchronize(l->net->stream);
    l->t.status = num_cuda_fail(l->t.err, "copying the weights", error);
}

static void load_bias(struct loader *l, const char *name, uint64_t n, float *to) {
    al_tensors_bias(&l->t, name, n, l->raw);
    send(l, l->raw, n, NUM_CUDA_F32, to);
}

static void load_norm(struct loader *l, const char *name, uint64_t n,
                      const struct al_cuda_norm *to) {
    al_tensors_norm(&l->t, name, n, l->raw, l->raw + n);
    send(l, l->raw, n, NUM_CUDA_F32, to->gamma);
    send(l, l->raw + n, n, NUM_CUDA_F32, to->beta);
}

/* Outputs [first, first + n) of a matrix, and their biases. */
static void load_part(struct loader *l, const char *name, const struct al_cuda_matrix *m,
                      size_t first, uint64_t n, enum num_cuda_type type) {
    char full[AL_NAME_BYTES + 16];
    snprintf(full, sizeof full, "%s.weight", name);
    al_tensors_floats(&l->t, full, SHAPE(n, m->k), l->raw);
    send(l, l->raw, n * m->k, type, (char *)m->w + first * m->k * num_cuda_type_bytes(type));
    load_bias(l, name, n, m->bias + first);
}

static void load_matrix(struct loader *l, const char *name, const struct al_cuda_matrix *m) {
    load_part(l, name, m, 0, m->n_out, l->net->type);
}

/* (n_out, n_in, taps) to [out][tap][in]. */
static void spread_taps(struct loader *l, size_t n_out, size_t n_in, size_t taps) {
    for (size_t o = 0; o < n_out; o++)
        for (size_t i = 0; i < n_in; i++)
            for (size_t tap = 0; tap < taps; tap++)
                l->floats[(o * taps + tap) * n_in + i] = l->raw[(o * n_in + i) * taps + tap];
}

static void load_layer(struct loader *l, size_t index) {
    const struct al_cuda_net *net = l->net;
    const struct al_cuda_layer *to = &net->w.layers[index];
    size_t D = net->config.n_state;
    char prefix[64], name[AL_NAME_BYTES];
    snprintf(prefix, sizeof prefix, "encoder.layers.%zu.", index);
#define NAMED(rest) (snprintf(name, sizeof name, "%s%s", prefix, rest), name)
    load_norm(l, NAMED("layer_norm"), D, &to->attention_norm);
    load_norm(l, NAMED("final_layer_norm"), D, &to->final_norm);
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%sattention.%c_proj", prefix, "qkv"[i]);
        load_part(l, name, &to->qkv, i * D, D, net->type);
        send(l, l->raw, D, net->type,
             (char *)to->qkv_bias + i * D * num_cuda_type_bytes(net->type));
    }
    load_matrix(l, NAMED("attention.out_proj"), &to->out);
    load_matrix(l, NAMED("feed_forward.intermediate_dense"), &to->fc1);
    load_matrix(l, NAMED("feed_forward.output_dense"), &to->fc2);
    if (net->config.n_adapter) {
        load_norm(l, NAMED("adapter_layer.norm"), D, &to->adapter_norm);
        load_part(l, NAMED("adapter_layer.linear_1"), &to->adapter_in, 0, to->adapter_in.n_out,
                  NUM_CUDA_F32);
        load_part(l, NAMED("adapter_layer.linear_2"), &to->adapter_out, 0, D, NUM_CUDA_F32);
    }
#undef NAMED
}

/* ---- Convolutions ---------------------------------------------------------------------------- */

/* With a norm over time it stays on the host, from where every sound gets its own; else it goes to
 * the card, inputs outermost. */
static void load_first(struct loader *l) {
    const struct al_config *c = &l->net->config;
    struct al_cuda_net *net = l->net;
    uint64_t n = c->conv_dim[0], taps = c->conv_kernel[0];
    al_tensors_floats(&l->t, "feature_extractor.conv_layers.0.conv.weight", SHAPE(n, 1, taps),
                      net->first_weight);
    if (!c->layer_norm_convs) {
        al_tensors_norm(&l->t, "feature_extractor.conv_layers.0.layer_norm", n, net->gamma,
                        net->beta);
        return;
    }
    for (size_t o = 0; o < n; o++)
        for (size_t i = 0; i < taps; i++)
            l->floats[i * n + o] = net->first_weight[o * taps + i];
    send(l, l->floats, n * taps, NUM_CUDA_F32, net->w.first);
}

static void load_conv(struct loader *l, size_t i) {
    const struct al_config *c = &l->net->config;
    const struct al_cuda_weights *w = &l->net->w;
    uint64_t n = c->conv_dim[i], taps = c->conv_kernel[i];
    char name[AL_NAME_BYTES];
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%zu.conv.weight", i);
    if (i == 0) {
        load_first(l);
    } else {
        uint64_t n_in = c->conv_dim[i - 1];
        al_tensors_floats(&l->t, name, SHAPE(n, n_in, taps), l->raw);
        spread_taps(l, n, n_in, taps);
        send(l, l->floats, n * n_in * taps, l->net->type, w->convs[i].w);
    }
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%zu.conv", i);
    if (c->conv_bias)
        load_bias(l, name, n, i ? w->convs[i].bias : w->first_bias);
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%zu.layer_norm", i);
    if (c->layer_norm_convs)
        load_norm(l, name, n, &w->conv_norms[i]);
}

static void load_positions(struct loader *l) {
    const struct al_config *c = &l->net->config;
    const struct al_cuda_matrix *m = &l->net->w.positions;
    uint64_t D = c->n_state, width = D / c->pos_groups;
    al_tensors_positions(&l->t, D, width, c->pos_kernel, l->raw);
    spread_taps(l, D, width, c->pos_kernel);
    send(l, l->floats, D * m->k, l->net->type, m->w);
    load_bias(l, "encoder.pos_conv_embed.conv", D, m->bias);
}

/* ---- All ------------------------------------------------------------------------------------- */

/* Values of the largest tensor. */
static size_t most_values(const struct al_config *c) {
    size_t D = c->n_state,
           most = largest(D * largest(D, c->n_ffn), D * largest(c->n_vocab, c->n_adapter));
    most = largest(most, D * (D / c->pos_groups) * c->pos_kernel);
    most = largest(most, D * c->conv_dim[c->n_convs - 1]);
    for (size_t i = 0; i < c->n_convs; i++)
        most = largest(most,
                       (size_t)c->conv_dim[i] * c->conv_kernel[i] * (i ? c->conv_dim[i - 1] : 2));
    return 2 * largest(most, 2 * D);
}

static int32_t take_host(struct al_cuda_net *net, struct num_err *err) {
    size_t n = net->config.conv_dim[0], k = net->config.conv_kernel[0];
    net->first_weight = calloc(2 * n * k + 3 * n, sizeof(float));
    if (!net->first_weight)
        return num_fail_memory(err, "the first convolution", 2 * n * k * sizeof(float));
    net->gamma = net->first_weight + n * k;
    net->beta = net->gamma + n;
    net->folded = net->beta + n;
    return SLUICE_OK;
}

int32_t al_cuda_load(struct al_cuda_net *net, const struct al_files *files, struct num_err *err) {
    const struct al_config *c = &net->config;
    struct loader l = {.net = net, .t = {files, c->hubert, err, SLUICE_OK}};
    size_t n = most_values(c);
    int32_t status = take_host(net, err);
    if (status)
        return status;
    l.raw = malloc(2 * n * sizeof *l.raw + n * sizeof *l.halves);
    if (!l.raw)
        return num_fail_memory(err, "the model's weights", 2 * n * sizeof *l.raw);
    l.floats = l.raw + n;
    l.halves = (uint16_t *)(l.floats + n);
    for (size_t i = 0; i < c->n_convs; i++)
        load_conv(&l, i);
    if (c->projection_norm)
        load_norm(&l, "feature_projection.layer_norm", c->conv_dim[c->n_convs - 1],
                  &net->w.projection_norm);
    load_matrix(&l, "feature_projection.projection", &net->w.projection);
    load_positions(&l);
    load_norm(&l, "encoder.layer_norm", c->n_state, &net->w.encoder_norm);
    for (size_t i = 0; i < c->n_layers; i++)
        load_layer(&l, i);
    load_matrix(&l, "lm_head", &net->w.head);
    free(l.raw);
    return l.t.status;
}

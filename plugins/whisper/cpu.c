/*
 * The CPU backend: converts the weights once at load and owns every buffer; cpu_encoder.c and
 * cpu_decoder.c do the work. All arithmetic is float, whatever the weights are stored as.
 *
 * Weights that meet many rows stay row-major in one block, `floats`; those of the decoder become
 * panels. Memory is all taken at load, so a model that fits at the start cannot fail in the middle
 * of a file.
 */
#include "whisper/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Loading -------------------------------------------------------------------------------- */

struct loader {
    struct wh_cpu *cpu;
    const struct wh_weights *weights;
    struct num_err *err;
    float *staging; /* room for the largest matrix of the decoder */
    int32_t status;
};

#define SHAPE(...) ((const uint64_t[]){__VA_ARGS__, 0})
#define NAME_BYTES 160

/* The values of tensor `prefix` + `name` into `to`; after a failure it does nothing. */
static void read_tensor(struct loader *l, const char *prefix, const char *name,
                        const uint64_t *shape, float *to) {
    char full[NAME_BYTES + 16];
    if (l->status)
        return;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const struct num_weights *t = wh_weights_get(l->weights, l->err, full, shape);
    if (t)
        num_weights_to_f32(t, 0, t->rows, to);
    else
        l->status = l->err->status;
}

/* The next n floats of the block that holds the row-major weights. */
static float *take(struct loader *l, size_t n) {
    float *at = l->cpu->floats + l->cpu->used_floats;
    l->cpu->used_floats += (n + 15) / 16 * 16;
    return at;
}

static void read_norm(struct loader *l, const char *prefix, const char *name, struct wh_norm *ret) {
    char full[NAME_BYTES];
    uint64_t D = l->cpu->dims.n_state;
    ret->gamma = take(l, D);
    ret->beta = take(l, D);
    snprintf(full, sizeof full, "%s%s", prefix, name);
    read_tensor(l, full, ".weight", SHAPE(D), ret->gamma);
    read_tensor(l, full, ".bias", SHAPE(D), ret->beta);
}

/* weight (n_out, k) and bias (n_out; NULL: the layer has none) of the layer prefix + name. */
static void read_pair(struct loader *l, const char *prefix, const char *name, uint64_t n_out,
                      uint64_t k, float *weight, float *bias) {
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    read_tensor(l, full, ".weight", SHAPE(n_out, k), weight);
    if (bias)
        read_tensor(l, full, ".bias", SHAPE(n_out), bias);
}

/* The projections of an attention that `which` names, of "qkv", one below the other. */
static void read_projections(struct loader *l, const char *prefix, const char *attention,
                             const char *which, float *weight, float *bias) {
    size_t D = l->cpu->dims.n_state;
    for (size_t i = 0; which[i]; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "%s.%c_proj", attention, which[i]);
        bool has_bias = which[i] != 'k';
        if (!has_bias)
            memset(bias + i * D, 0, D * sizeof *bias);
        read_pair(l, prefix, name, D, D, weight + i * D * D, has_bias ? bias + i * D : NULL);
    }
}

static struct wh_dense take_dense(struct loader *l, size_t n_out, size_t k) {
    struct wh_dense dense;
    dense.weight = take(l, n_out * k);
    dense.bias = take(l, n_out);
    return dense;
}

/* (n_out, n_in, 3) as [out][tap][in]. */
static void read_conv(struct loader *l, const char *name, size_t n_out, size_t n_in,
                      struct wh_dense *ret) {
    *ret = take_dense(l, n_out, 3 * n_in);
    float *raw = l->staging;
    read_tensor(l, name, ".weight", SHAPE(n_out, n_in, 3), raw);
    read_tensor(l, name, ".bias", SHAPE(n_out), ret->bias);
    if (l->status)
        return;
    for (size_t o = 0; o < n_out; o++)
        for (size_t i = 0; i < n_in; i++)
            for (size_t tap = 0; tap < 3; tap++)
                ret->weight[(o * 3 + tap) * n_in + i] = raw[(o * n_in + i) * 3 + tap];
}

static void read_encoder(struct loader *l) {
    struct wh_cpu *cpu = l->cpu;
    size_t D = cpu->dims.n_state, F = cpu->dims.n_audio_ffn, T = cpu->dims.n_audio_ctx;
    read_conv(l, "model.encoder.conv1", D, cpu->dims.n_mels, &cpu->conv1);
    read_conv(l, "model.encoder.conv2", D, D, &cpu->conv2);
    cpu->audio_positions = take(l, T * D);
    read_tensor(l, "model.encoder.", "embed_positions.weight", SHAPE(T, D), cpu->audio_positions);
    for (uint32_t i = 0; i < cpu->dims.n_audio_layers; i++) {
        struct wh_encoder_layer *layer = &cpu->encoder[i];
        char prefix[64];
        snprintf(prefix, sizeof prefix, "model.encoder.layers.%u.", i);
        read_norm(l, prefix, "self_attn_layer_norm", &layer->attn_norm);
        read_norm(l, prefix, "final_layer_norm", &layer->mlp_norm);
        layer->qkv = take_dense(l, 3 * D, D);
        layer->out = take_dense(l, D, D);
        layer->fc1 = take_dense(l, F, D);
        layer->fc2 = take_dense(l, D, F);
        read_projections(l, prefix, "self_attn", "qkv", layer->qkv.weight, layer->qkv.bias);
        read_pair(l, prefix, "self_attn.out_proj", D, D, layer->out.weight, layer->out.bias);
        read_pair(l, prefix, "fc1", F, D, layer->fc1.weight, layer->fc1.bias);
        read_pair(l, prefix, "fc2", D, F, layer->fc2.weight, layer->fc2.bias);
    }
    read_norm(l, "model.encoder.", "layer_norm", &cpu->encoder_norm);
}

/* Packs what lies in the staging buffer: weight (n_out, k) and behind it the bias. */
static void pack(struct loader *l, size_t n_out, size_t k, bool has_bias, struct num_linear *ret) {
    if (!l->status)
        l->status = num_linear_init(ret, n_out, k, l->staging,
                                    has_bias ? l->staging + n_out * k : NULL, l->err);
}

static void read_linear(struct loader *l, const char *prefix, const char *name, size_t n_out,
                        size_t k, struct num_linear *ret) {
    read_pair(l, prefix, name, n_out, k, l->staging, l->staging + n_out * k);
    pack(l, n_out, k, true, ret);
}

static void read_decoder_layer(struct loader *l, uint32_t index) {
    struct wh_decoder_layer *layer = &l->cpu->decoder[index];
    size_t D = l->cpu->dims.n_state, F = l->cpu->dims.n_text_ffn;
    char prefix[64];
    snprintf(prefix, sizeof prefix, "model.decoder.layers.%u.", index);
    read_norm(l, prefix, "self_attn_layer_norm", &layer->attn_norm);
    read_norm(l, prefix, "encoder_attn_layer_norm", &layer->cross_norm);
    read_norm(l, prefix, "final_layer_norm", &layer->mlp_norm);
    read_projections(l, prefix, "self_attn", "qkv", l->staging, l->staging + 3 * D * D);
    pack(l, 3 * D, D, true, &layer->qkv);
    read_linear(l, prefix, "self_attn.out_proj", D, D, &layer->out);
    read_linear(l, prefix, "encoder_attn.q_proj", D, D, &layer->cross_q);
    read_linear(l, prefix, "encoder_attn.out_proj", D, D, &layer->cross_out);
    layer->cross_kv = take_dense(l, 2 * D, D);
    read_projections(l, prefix, "encoder_attn", "kv", layer->cross_kv.weight, layer->cross_kv.bias);
    read_linear(l, prefix, "fc1", F, D, &layer->fc1);
    read_linear(l, prefix, "fc2", D, F, &layer->fc2);
}

static void read_decoder(struct loader *l) {
    struct wh_cpu *cpu = l->cpu;
    size_t D = cpu->dims.n_state, V = cpu->dims.n_vocab, C = cpu->dims.n_text_ctx;
    cpu->embedding = take(l, V * D);
    cpu->text_positions = take(l, C * D);
    read_tensor(l, "model.decoder.", "embed_tokens.weight", SHAPE(V, D), cpu->embedding);
    read_tensor(l, "model.decoder.", "embed_positions.weight", SHAPE(C, D), cpu->text_positions);
    for (uint32_t i = 0; i < cpu->dims.n_text_layers; i++)
        read_decoder_layer(l, i);
    read_norm(l, "model.decoder.", "layer_norm", &cpu->decoder_norm);
    if (!l->status)
        l->status = num_linear_init(&cpu->logits, V, D, cpu->embedding, NULL, l->err);
}

/* ---- Sizes and buffers ---------------------------------------------------------------------- */

static size_t round_up(size_t n) {
    return NUM_PANELS(n) * NUM_PANEL;
}

/* Floats of the row-major weights, each piece rounded up as take() does. */
static size_t weight_floats(const struct wh_dims *s) {
    size_t D = s->n_state, F = s->n_audio_ffn, M = s->n_mels, piece = 16;
    size_t norms = (4 * (size_t)s->n_audio_layers + 6 * (size_t)s->n_text_layers + 4) * (D + piece);
    size_t convs = D * 3 * (M + D) + 2 * D + 4 * piece;
    size_t encoder = s->n_audio_layers * (4 * D * D + 2 * D * F + 5 * D + F + 8 * piece);
    size_t decoder = s->n_text_layers * (2 * D * D + 2 * D + 2 * piece);
    size_t tables = ((size_t)s->n_audio_ctx + s->n_text_ctx + s->n_vocab) * D + 3 * piece;
    return norms + convs + encoder + decoder + tables;
}

/* Floats of the largest layer that passes through the staging buffer, with its bias. */
static size_t staging_floats(const struct wh_dims *s) {
    size_t D = s->n_state, F = s->n_text_ffn, conv = 3 * D * (D > s->n_mels ? D : s->n_mels);
    size_t mlp = D * F + D + F, qkv = 3 * D * (D + 1);
    return conv > mlp ? (conv > qkv ? conv : qkv) : (mlp > qkv ? mlp : qkv);
}

static void kv_init(struct wh_kv *kv, size_t len32, size_t d, size_t d32, size_t n_heads,
                    size_t n_layers) {
    kv->len32 = len32;
    kv->head_floats = len32 * (d + d32);
    kv->layer_floats = kv->head_floats * n_heads;
    kv->row_floats = kv->layer_floats * n_layers;
}

float *wh_kv_keys(const struct wh_kv *kv, size_t row, size_t layer, size_t head) {
    return kv->base + row * kv->row_floats + layer * kv->layer_floats + head * kv->head_floats;
}

float *wh_kv_values(const struct wh_kv *kv, size_t row, size_t layer, size_t head, size_t d) {
    return wh_kv_keys(kv, row, layer, head) + kv->len32 * d;
}

/* n floats, aligned to a cache line, of any content. */
static int32_t floats_alloc(size_t n, const char *what, float **ret, struct num_err *err) {
    void *p = NULL;
    if (posix_memalign(&p, 64, (n + 16) * sizeof(float)))
        return num_fail_memory(err, what, n * sizeof(float));
    *ret = p;
    return SLUICE_OK;
}

static int32_t buffers_alloc(struct wh_cpu *cpu, struct num_err *err) {
    const struct wh_dims *s = &cpu->dims;
    kv_init(&cpu->self_kv, cpu->C32, cpu->text_d, cpu->text_d32, s->n_text_heads, s->n_text_layers);
    kv_init(&cpu->cross_kv, cpu->T32, cpu->text_d, cpu->text_d32, s->n_text_heads,
            s->n_text_layers);
    size_t rows = cpu->limits.n_rows, slots = cpu->limits.n_slots;
    const struct {
        size_t n;
        const char *what;
        float **ret;
    } wanted[] = {
        {weight_floats(s), "the model's weights", &cpu->floats},
        {cpu->self_kv.row_floats * rows, "the keys and values of tokens", &cpu->self_kv.base},
        {cpu->self_kv.row_floats * rows, "the keys and values of tokens", &cpu->reorder_work},
        {cpu->cross_kv.row_floats * slots, "the keys and values of windows", &cpu->cross_kv.base},
        {slots * s->n_audio_ctx * s->n_state, "the encoder's output", &cpu->encoded},
        {wh_encoder_work_floats(cpu), "the encoder's buffers", &cpu->encoder_work},
        {wh_decoder_work_floats(cpu), "the decoder's buffers", &cpu->decoder_work},
        {cpu->V32 * WH_LOGITS_ROWS, "the logits", &cpu->logits_work},
    };
    int32_t status = SLUICE_OK;
    for (size_t i = 0; !status && i < sizeof wanted / sizeof *wanted; i++)
        status = floats_alloc(wanted[i].n, wanted[i].what, wanted[i].ret, err);
    if (status)
        return status;
    cpu->n_floats = weight_floats(s);
    cpu->encoder = calloc(s->n_audio_layers, sizeof *cpu->encoder);
    cpu->decoder = calloc(s->n_text_layers, sizeof *cpu->decoder);
    cpu->row_len = calloc(rows, sizeof *cpu->row_len);
    cpu->row_slot = calloc(rows, sizeof *cpu->row_slot);
    if (!cpu->encoder || !cpu->decoder || !cpu->row_len || !cpu->row_slot)
        return num_fail_memory(err, "the model's layers", s->n_audio_layers * sizeof *cpu->encoder);
    return SLUICE_OK;
}

/* ---- The table ------------------------------------------------------------------------------ */

static void decoder_layer_finish(struct wh_decoder_layer *l) {
    num_linear_finish(&l->qkv);
    num_linear_finish(&l->out);
    num_linear_finish(&l->cross_q);
    num_linear_finish(&l->cross_out);
    num_linear_finish(&l->fc1);
    num_linear_finish(&l->fc2);
}

static void cpu_free(void *self) {
    struct wh_cpu *cpu = self;
    for (uint32_t i = 0; cpu->decoder && i < cpu->dims.n_text_layers; i++)
        decoder_layer_finish(&cpu->decoder[i]);
    num_linear_finish(&cpu->logits);
    num_pool_destroy(cpu->pool);
    float *blocks[] = {cpu->floats,  cpu->self_kv.base, cpu->reorder_work, cpu->cross_kv.base,
                       cpu->encoded, cpu->encoder_work, cpu->decoder_work, cpu->logits_work};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
    free(cpu->encoder);
    free(cpu->decoder);
    free(cpu->row_len);
    free(cpu->row_slot);
    free(cpu);
}

static int32_t read_weights(struct wh_cpu *cpu, const struct wh_weights *weights,
                            struct num_err *err) {
    struct loader l = {.cpu = cpu, .weights = weights, .err = err};
    int32_t status = floats_alloc(staging_floats(&cpu->dims), "a layer's weights", &l.staging, err);
    if (status)
        return status;
    read_encoder(&l);
    if (!l.status)
        read_decoder(&l);
    free(l.staging);
    return l.status;
}

/* Finds one tensor for every size of the configuration, so that no size is believed before memory
 * is taken. */
static int32_t check_sizes(const struct wh_weights *w, const struct wh_dims *s,
                           struct num_err *err) {
    const struct {
        const char *format;
        uint32_t layer;
        uint64_t shape[4];
    } tensors[] = {
        {"model.encoder.conv1.weight", 0, {s->n_state, s->n_mels, 3}},
        {"model.encoder.embed_positions.weight", 0, {s->n_audio_ctx, s->n_state}},
        {"model.encoder.layers.%u.fc1.weight", s->n_audio_layers - 1, {s->n_audio_ffn, s->n_state}},
        {"model.decoder.embed_tokens.weight", 0, {s->n_vocab, s->n_state}},
        {"model.decoder.embed_positions.weight", 0, {s->n_text_ctx, s->n_state}},
        {"model.decoder.layers.%u.fc1.weight", s->n_text_layers - 1, {s->n_text_ffn, s->n_state}},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, tensors[i].format, tensors[i].layer);
        if (!wh_weights_get(w, err, name, tensors[i].shape))
            return err->status;
    }
    return SLUICE_OK;
}

static int32_t cpu_load(const struct wh_weights *weights, const struct wh_dims *dims,
                        const struct wh_limits *limits, void **ret_self, struct num_err *err) {
    int32_t status = check_sizes(weights, dims, err);
    if (status)
        return status;
    struct wh_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return num_fail_memory(err, "the model", sizeof *cpu);
    cpu->dims = *dims;
    cpu->limits = *limits;
    cpu->kernels = num_kernels();
    cpu->d = dims->n_state / dims->n_audio_heads;
    cpu->text_d = dims->n_state / dims->n_text_heads;
    cpu->text_d32 = round_up(cpu->text_d);
    cpu->T32 = round_up(dims->n_audio_ctx);
    cpu->C32 = round_up(dims->n_text_ctx);
    cpu->V32 = round_up(dims->n_vocab);
    status = num_pool_create(limits->n_threads, &cpu->pool, err);
    if (!status) {
        cpu->limits.n_threads = num_pool_threads(cpu->pool);
        status = buffers_alloc(cpu, err);
    }
    if (!status)
        status = read_weights(cpu, weights, err);
    if (status)
        cpu_free(cpu);
    else
        *ret_self = cpu;
    return status;
}

static int32_t cpu_reorder(void *self, const uint32_t *to, const uint32_t *from, uint32_t n,
                           struct num_err *err) {
    struct wh_cpu *cpu = self;
    size_t floats = cpu->self_kv.row_floats;
    for (uint32_t i = 0; i < n; i++) {
        if (to[i] >= cpu->limits.n_rows || from[i] >= cpu->limits.n_rows || i >= cpu->limits.n_rows)
            return num_fail(err, SLUICE_INTERNAL, "row %u cannot become row %u", from[i], to[i]);
        memcpy(cpu->reorder_work + i * floats, cpu->self_kv.base + from[i] * floats,
               floats * sizeof(float));
    }
    uint32_t lens[n + 1], slots[n + 1];
    for (uint32_t i = 0; i < n; i++) {
        lens[i] = cpu->row_len[from[i]];
        slots[i] = cpu->row_slot[from[i]];
    }
    for (uint32_t i = 0; i < n; i++) {
        memcpy(cpu->self_kv.base + to[i] * floats, cpu->reorder_work + i * floats,
               floats * sizeof(float));
        cpu->row_len[to[i]] = lens[i];
        cpu->row_slot[to[i]] = slots[i];
    }
    return SLUICE_OK;
}

static const float *cpu_encoded(void *self, uint32_t slot) {
    struct wh_cpu *cpu = self;
    return cpu->encoded + (size_t)slot * cpu->dims.n_audio_ctx * cpu->dims.n_state;
}

const struct wh_backend wh_backend_cpu = {
    .name = "cpu",
    .load = cpu_load,
    .free = cpu_free,
    .encode = wh_cpu_encode,
    .prefill = wh_cpu_prefill,
    .step = wh_cpu_step,
    .reorder = cpu_reorder,
    .attention = wh_cpu_attention,
    .encoded = cpu_encoded,
};

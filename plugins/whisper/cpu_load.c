/*
 * Weights into panels, once, at load; or copied as the blocks that they are. A layer is read a
 * panel (32 outputs) at a time, each a task of the pool: no more than 32 rows for each thread are
 * ever held as floats, and what was read is dropped from memory again where it is a mapped file.
 */
#include <stdio.h>
#include <string.h>

#include "num/files.h"
#include "whisper/cpu.h"

#define NAME_BYTES 160
#define MAX_PARTS  3 /* queries, keys and values in one layer */
#define SHAPE(...) ((const uint64_t[]){__VA_ARGS__, 0})

struct loader {
    struct wh_cpu *cpu;
    const struct wh_weights *weights;
    struct num_err *err;
    float *staging; /* of each thread: staging_floats */
    size_t staging_floats;
    int32_t status; /* after a failure nothing more is done */
};

static const struct num_weights *find(struct loader *l, const char *prefix, const char *name,
                                      const uint64_t *shape) {
    char full[4 * NAME_BYTES];
    if (l->status)
        return NULL;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const struct num_weights *w = wh_weights_get(l->weights, l->err, full, shape);
    if (!w)
        l->status = l->err->status;
    return w;
}

/* A mapped tensor that will not be read again. */
static void drop(const struct loader *l, const struct num_weights *w) {
    if (l->weights->mapped)
        num_file_forget(w->data, w->rows * w->row_bytes);
}

/* All values of a small tensor. */
static void read_floats(struct loader *l, const char *prefix, const char *name,
                        const uint64_t *shape, float *to) {
    const struct num_weights *w = find(l, prefix, name, shape);
    if (w)
        num_weights_to_f32(w, 0, w->rows, to);
}

static float *take(struct loader *l, size_t n) {
    float *floats = NULL;
    if (!l->status)
        l->status = num_arena_take(&l->cpu->arena, n * sizeof *floats, "the model's weights",
                                   &floats, l->err);
    return floats;
}

static void read_norm(struct loader *l, const char *prefix, const char *name, struct wh_norm *ret) {
    char full[NAME_BYTES];
    uint64_t D = l->cpu->dims.n_state;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    ret->gamma = take(l, D);
    ret->beta = take(l, D);
    read_floats(l, full, ".weight", SHAPE(D), ret->gamma);
    read_floats(l, full, ".bias", SHAPE(D), ret->beta);
}

/* ---- Layers --------------------------------------------------------------------------------- */

struct packing {
    struct loader *l;
    struct num_linear *linear;
    const struct num_weights *parts[MAX_PARTS]; /* one below the other, part_rows each */
    size_t part_rows;
    size_t conv_in, conv_width; /* a convolution: (out, in, 3) becomes [out][tap][width] */
};

/* Row `from` (in, 3) of a convolution as k values of a layer: `to` is zeros. */
static void spread_taps(const struct packing *p, const float *from, float *to) {
    for (size_t i = 0; i < p->conv_in; i++)
        for (size_t tap = 0; tap < 3; tap++)
            to[tap * p->conv_width + i] = from[i * 3 + tap];
}

static void pack_task(void *ctx, uint32_t index, uint32_t thread) {
    struct packing *p = ctx;
    size_t k = p->linear->k, n = p->linear->n_out - (size_t)index * NUM_PANEL;
    float *rows = p->l->staging + thread * p->l->staging_floats, *raw = rows + NUM_PANEL * k;
    n = n < NUM_PANEL ? n : NUM_PANEL;
    for (size_t o = 0; o < n; o++) {
        size_t row = (size_t)index * NUM_PANEL + o;
        const struct num_weights *w = p->parts[row / p->part_rows];
        if (p->conv_in == 0) {
            num_weights_to_f32(w, row % p->part_rows, 1, rows + o * k);
            continue;
        }
        num_weights_to_f32(w, row, 1, raw);
        memset(rows + o * k, 0, k * sizeof *rows);
        spread_taps(p, raw, rows + o * k);
    }
    num_linear_pack(p->linear, p->l->cpu->kernels, index, rows);
}

static void pack(struct packing *p, enum num_compute type, size_t n_out, size_t k) {
    struct loader *l = p->l;
    if (l->status)
        return;
    l->status = num_linear_create(p->linear, type, n_out, k, &l->cpu->arena, l->err);
    if (l->status)
        return;
    num_pool_run(l->cpu->pool, (uint32_t)NUM_PANELS(n_out), pack_task, p);
    for (size_t i = 0; i < MAX_PARTS && p->parts[i]; i++)
        drop(l, p->parts[i]);
}

static void read_bias(struct loader *l, const char *name, float *to, uint64_t n) {
    if (!l->status)
        read_floats(l, name, ".bias", SHAPE(n), to);
}

/*
 * Which layers stay as they are: those whose steps take no longer than packed ones'
 * (performance.md); 6 and 8 bits beside bytes do. Without wide vectors all would.
 */
static bool stored_pays(const struct wh_cpu *cpu, enum num_weight_type type) {
    bool wide = type == NUM_WEIGHT_Q6_K || type == NUM_WEIGHT_Q8_0;
    return cpu->stored && !(wide && cpu->compute == NUM_COMPUTE_INT8);
}

/* Takes a layer of the decoder as it is, or packs it. */
static void store_or_pack(struct packing *p, struct wh_linear *ret, size_t n_out, size_t k) {
    struct loader *l = p->l;
    size_t n = n_out / p->part_rows;
    if (!l->status && num_stored_fits(p->parts, n) && stored_pays(l->cpu, p->parts[0]->type)) {
        l->status = num_stored_init(&ret->stored, p->parts, n, &l->cpu->arena, l->err);
        if (!l->status)
            l->status = num_stored_copy(&ret->stored, &l->cpu->arena, l->err);
        for (size_t i = 0; i < n; i++)
            drop(l, p->parts[i]);
        return;
    }
    p->linear = &ret->packed;
    pack(p, l->cpu->compute, n_out, k);
}

/* Of a layer in either form. */
static float *bias_of(const struct wh_linear *linear) {
    return linear->stored.k ? linear->stored.bias : linear->packed.bias;
}

/* A layer of the encoder. */
static void read_linear(struct loader *l, const char *prefix, const char *name, uint64_t n_out,
                        uint64_t k, struct num_linear *ret) {
    char full[NAME_BYTES];
    struct packing p = {.l = l, .linear = ret, .part_rows = n_out};
    snprintf(full, sizeof full, "%s%s", prefix, name);
    p.parts[0] = find(l, full, ".weight", SHAPE(n_out, k));
    pack(&p, l->cpu->compute, n_out, k);
    read_bias(l, full, ret->bias, n_out);
}

/* A layer of the decoder. */
static void read_either(struct loader *l, const char *prefix, const char *name, uint64_t n_out,
                        uint64_t k, struct wh_linear *ret) {
    char full[NAME_BYTES];
    struct packing p = {.l = l, .part_rows = n_out};
    snprintf(full, sizeof full, "%s%s", prefix, name);
    p.parts[0] = find(l, full, ".weight", SHAPE(n_out, k));
    store_or_pack(&p, ret, n_out, k);
    read_bias(l, full, bias_of(ret), n_out);
}

/* The projections of an attention that `which` names, of "qkv", one below the other: into
 * `either`, or where that is NULL into `packed`. */
static void read_projections(struct loader *l, const char *prefix, const char *attention,
                             const char *which, struct num_linear *packed,
                             struct wh_linear *either) {
    uint64_t D = l->cpu->dims.n_state;
    char full[MAX_PARTS][NAME_BYTES];
    struct packing p = {.l = l, .linear = packed, .part_rows = D};
    size_t n = strlen(which);
    for (size_t i = 0; i < n; i++) {
        snprintf(full[i], sizeof full[i], "%s%s.%c_proj", prefix, attention, which[i]);
        p.parts[i] = find(l, full[i], ".weight", SHAPE(D, D));
    }
    if (either)
        store_or_pack(&p, either, n * D, D);
    else
        pack(&p, l->cpu->compute, n * D, D);
    float *bias = either ? bias_of(either) : packed->bias;
    for (size_t i = 0; i < n; i++)
        if (which[i] != 'k')
            read_bias(l, full[i], bias + i * D, D);
}

/* `width` inputs of each tap, of which n_in count. */
static void read_conv(struct loader *l, const char *name, uint64_t n_in, size_t width,
                      struct num_linear *ret) {
    uint64_t D = l->cpu->dims.n_state;
    struct packing p = {
        .l = l, .linear = ret, .part_rows = D, .conv_in = n_in, .conv_width = width};
    p.parts[0] = find(l, name, ".weight", SHAPE(D, n_in, 3));
    pack(&p, l->cpu->act, D, 3 * width);
    read_bias(l, name, ret->bias, D);
}

static void read_encoder(struct loader *l) {
    struct wh_cpu *cpu = l->cpu;
    uint64_t D = cpu->dims.n_state, F = cpu->dims.n_audio_ffn, T = cpu->dims.n_audio_ctx;
    read_conv(l, "model.encoder.conv1", cpu->dims.n_mels, cpu->dims.n_mels, &cpu->conv1);
    read_conv(l, "model.encoder.conv2", D, cpu->W, &cpu->conv2);
    cpu->audio_positions = take(l, T * D);
    read_floats(l, "model.encoder.", "embed_positions.weight", SHAPE(T, D), cpu->audio_positions);
    for (uint32_t i = 0; i < cpu->dims.n_audio_layers; i++) {
        struct wh_encoder_layer *layer = &cpu->encoder[i];
        char prefix[64];
        snprintf(prefix, sizeof prefix, "model.encoder.layers.%u.", i);
        read_norm(l, prefix, "self_attn_layer_norm", &layer->attn_norm);
        read_norm(l, prefix, "final_layer_norm", &layer->mlp_norm);
        read_projections(l, prefix, "self_attn", "q", &layer->q, NULL);
        read_projections(l, prefix, "self_attn", "kv", &layer->kv, NULL);
        read_linear(l, prefix, "self_attn.out_proj", D, D, &layer->out);
        read_linear(l, prefix, "fc1", F, D, &layer->fc1);
        read_linear(l, prefix, "fc2", D, F, &layer->fc2);
    }
    read_norm(l, "model.encoder.", "layer_norm", &cpu->encoder_norm);
}

static void read_decoder_layer(struct loader *l, uint32_t index) {
    struct wh_decoder_layer *layer = &l->cpu->decoder[index];
    uint64_t D = l->cpu->dims.n_state, F = l->cpu->dims.n_text_ffn;
    char prefix[64];
    snprintf(prefix, sizeof prefix, "model.decoder.layers.%u.", index);
    read_norm(l, prefix, "self_attn_layer_norm", &layer->attn_norm);
    read_norm(l, prefix, "encoder_attn_layer_norm", &layer->cross_norm);
    read_norm(l, prefix, "final_layer_norm", &layer->mlp_norm);
    read_projections(l, prefix, "self_attn", "qkv", NULL, &layer->qkv);
    read_either(l, prefix, "self_attn.out_proj", D, D, &layer->out);
    read_either(l, prefix, "encoder_attn.q_proj", D, D, &layer->cross_q);
    read_either(l, prefix, "encoder_attn.out_proj", D, D, &layer->cross_out);
    read_projections(l, prefix, "encoder_attn", "kv", &layer->cross_kv, NULL);
    read_either(l, prefix, "fc1", F, D, &layer->fc1);
    read_either(l, prefix, "fc2", D, F, &layer->fc2);
}

static void read_decoder(struct loader *l) {
    struct wh_cpu *cpu = l->cpu;
    uint64_t D = cpu->dims.n_state, V = cpu->dims.n_vocab, C = cpu->dims.n_text_ctx;
    struct packing p = {.l = l, .part_rows = V};
    cpu->text_positions = take(l, C * D);
    read_floats(l, "model.decoder.", "embed_positions.weight", SHAPE(C, D), cpu->text_positions);
    for (uint32_t i = 0; i < cpu->dims.n_text_layers; i++)
        read_decoder_layer(l, i);
    read_norm(l, "model.decoder.", "layer_norm", &cpu->decoder_norm);
    p.parts[0] = find(l, "model.decoder.", "embed_tokens.weight", SHAPE(V, D));
    store_or_pack(&p, &cpu->vocabulary, V, D);
}

/* ---- All ------------------------------------------------------------------------------------ */

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

int32_t wh_cpu_read(struct wh_cpu *cpu, const struct wh_weights *weights, struct num_err *err) {
    const struct wh_dims *s = &cpu->dims;
    struct loader l = {.cpu = cpu, .weights = weights, .err = err};
    struct num_arena arena = {0};
    size_t conv = 3 * max_size(cpu->W, s->n_mels), k = max_size(s->n_audio_ffn, s->n_text_ffn);
    l.staging_floats = (NUM_PANEL + 1) * max_size(conv, max_size(k, s->n_state));
    l.status = num_arena_take(&arena, cpu->limits.n_threads * l.staging_floats * sizeof(float),
                              "a layer's weights", &l.staging, err);
    if (!l.status)
        read_encoder(&l);
    if (!l.status)
        read_decoder(&l);
    num_arena_finish(&arena);
    return l.status;
}

int32_t wh_cpu_check_sizes(const struct wh_weights *w, const struct wh_dims *s,
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

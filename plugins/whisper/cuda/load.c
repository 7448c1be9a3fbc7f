/*
 * Weights for a CUDA device: see load.h. A piece is as many rows of one matrix as a stage holds;
 * its rows are read, converted and packed by the threads of the pool, each row by one thread. The
 * device's copies run while the next piece is made.
 */
#include "whisper/cuda/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/half.h"
#include "whisper/cpu.h"

#define NAME_BYTES 160
#define MAX_PARTS  3 /* queries, keys and values in one matrix */
#define SHAPE(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* ---- Values --------------------------------------------------------------------------------- */

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Values too large become infinite, those below the normal range are rounded as subnormals. */
static uint16_t to_f16(float x) {
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (rest >= 0x477ff000)
        return (uint16_t)(sign | 0x7c00);
    if (rest <
        0x38800000) /* 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits */
        return (uint16_t)(sign | (bits_of(num_bits_to_f32(rest) + 0.5f) - bits_of(0.5f)));
    rest += 0xfff + (rest >> 13 & 1);
    return (uint16_t)(sign | (rest - (112u << 23)) >> 13);
}

void wh_cuda_convert(enum num_cuda_type type, const float *from, size_t n, void *to) {
    uint16_t *halves = to;
    switch (type) {
    case NUM_CUDA_F32:
        memcpy(to, from, n * sizeof *from);
        break;
    case NUM_CUDA_F16:
        for (size_t i = 0; i < n; i++)
            halves[i] = to_f16(from[i]);
        break;
    case NUM_CUDA_BF16:
        for (size_t i = 0; i < n; i++)
            halves[i] = num_f32_to_bf16(from[i]);
        break;
    }
}

static float largest(const float *x, size_t n) {
    float max = 0;
    for (size_t i = 0; i < n; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    return max;
}

static void pack_int4(const float *from, size_t n, uint8_t *to, float *scales) {
    for (size_t g = 0; g < n; g += WH_CUDA_GROUP) {
        float scale = largest(from + g, WH_CUDA_GROUP) / 7, inverse = scale > 0 ? 1 / scale : 0;
        scales[g / WH_CUDA_GROUP] = scale;
        for (size_t i = g; i < g + WH_CUDA_GROUP; i += 2) {
            int low = (int)rintf(from[i] * inverse) + 8,
                high = (int)rintf(from[i + 1] * inverse) + 8;
            to[i / 2] = (uint8_t)(low | high << 4);
        }
    }
}

void wh_cuda_pack_row(enum wh_cuda_packing packing, const float *from, size_t n, void *to,
                      float *ret_scales) {
    if (packing == WH_CUDA_INT4) {
        pack_int4(from, n, to, ret_scales);
        return;
    }
    float scale = largest(from, n) / 127, inverse = scale > 0 ? 1 / scale : 0;
    int8_t *bytes = to;
    *ret_scales = scale;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (int8_t)rintf(from[i] * inverse);
}

/* ---- Pieces --------------------------------------------------------------------------------- */

struct loader {
    const struct wh_cuda_config *c;
    const struct wh_weights *weights;
    struct num_pool *pool;
    const struct wh_cuda_sink *sink;
    float *rows;   /* of each thread: 2 row_floats */
    float *scales; /* of one piece of a packed matrix */
    size_t row_floats;
    struct num_err *err;
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

static void put(struct loader *l, void *to, size_t bytes) {
    if (!l->status)
        l->status = l->sink->put(l->sink->ctx, to, bytes, l->err);
}

static char *stage(struct loader *l) {
    char *room = l->status ? NULL : l->sink->stage(l->sink->ctx, l->err);
    if (!l->status && !room)
        l->status = l->err->status;
    return room;
}

/* A matrix on its way: rows of up to three tensors, one below the other. */
struct piece {
    struct loader *l;
    const struct wh_cuda_matrix *m;
    const struct num_weights *parts[MAX_PARTS];
    size_t part_rows;
    size_t conv_in; /* a convolution: (out, in, 3) becomes [out][tap][in] */
    size_t first;   /* row */
    char *to;
    size_t row_bytes, row_scales;
};

static void spread_taps(size_t n_in, const float *from, float *to) {
    for (size_t i = 0; i < n_in; i++)
        for (size_t tap = 0; tap < 3; tap++)
            to[tap * n_in + i] = from[i * 3 + tap];
}

static void convert_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct piece *p = ctx;
    struct loader *l = p->l;
    size_t row = p->first + index, n = p->m->n_in;
    float *values = l->rows + (size_t)thread * 2 * l->row_floats;
    char *to = p->to + index * p->row_bytes;
    num_weights_to_f32(p->parts[row / p->part_rows], row % p->part_rows, 1, values);
    if (p->conv_in) {
        spread_taps(p->conv_in, values, values + l->row_floats);
        values += l->row_floats;
    }
    if (p->m->packing == WH_CUDA_PLAIN)
        wh_cuda_convert(l->c->type, values, n, to);
    else
        wh_cuda_pack_row(p->m->packing, values, n, to, l->scales + index * p->row_scales);
}

static void measure(struct piece *p) {
    size_t n = p->m->n_in;
    switch (p->m->packing) {
    case WH_CUDA_PLAIN:
        p->row_bytes = n * num_cuda_type_bytes(p->l->c->type);
        break;
    case WH_CUDA_INT8:
        p->row_bytes = n;
        p->row_scales = 1;
        break;
    case WH_CUDA_INT4:
        p->row_bytes = n / 2;
        p->row_scales = n / WH_CUDA_GROUP;
        break;
    }
}

/* The scales of the piece's n rows, through a stage of their own. */
static void send_scales(struct piece *p, size_t n) {
    size_t bytes = n * p->row_scales * sizeof(float);
    char *room = stage(p->l);
    if (!room)
        return;
    memcpy(room, p->l->scales, bytes);
    put(p->l, p->m->scales + p->first * p->row_scales, bytes);
}

static void send(struct piece *p) {
    struct loader *l = p->l;
    measure(p);
    size_t most = WH_CUDA_STAGE_BYTES / p->row_bytes;
    for (p->first = 0; !l->status && p->first < p->m->n_out; p->first += most) {
        size_t left = p->m->n_out - p->first, n = left < most ? left : most;
        if (!(p->to = stage(l)))
            return;
        num_pool_run(l->pool, (uint32_t)n, convert_task, p);
        put(l, (char *)p->m->w + p->first * p->row_bytes, n * p->row_bytes);
        if (p->row_scales)
            send_scales(p, n);
    }
}

/* n floats of a small tensor, as often as a stage has to be filled; zeros where there is none. */
static void send_floats(struct loader *l, const struct num_weights *w, uint64_t n, float *to) {
    uint64_t rows = w ? w->rows : 1, cols = n / rows;
    uint64_t most = WH_CUDA_STAGE_BYTES / (cols * sizeof(float));
    for (uint64_t at = 0; !l->status && at < rows; at += most) {
        uint64_t some = rows - at < most ? rows - at : most;
        float *room = (float *)(void *)stage(l);
        if (!room)
            return;
        if (w)
            num_weights_to_f32(w, at, some, room);
        else
            memset(room, 0, some * cols * sizeof *room);
        put(l, to + at * cols, some * cols * sizeof *room);
    }
}

static void read_floats(struct loader *l, const char *prefix, const char *name,
                        const uint64_t *shape, float *to) {
    uint64_t n = shape[0] * (shape[1] ? shape[1] : 1);
    const struct num_weights *w = find(l, prefix, name, shape);
    if (w)
        send_floats(l, w, n, to);
}

/* ---- Layers --------------------------------------------------------------------------------- */

static void read_norm(struct loader *l, const char *prefix, const char *name,
                      const struct wh_cuda_norm *norm) {
    char full[NAME_BYTES];
    uint64_t D = l->c->dims.n_state;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    read_floats(l, full, ".weight", SHAPE(D), norm->gamma);
    read_floats(l, full, ".bias", SHAPE(D), norm->beta);
}

static void read_matrix(struct loader *l, const char *prefix, const char *name,
                        const struct wh_cuda_matrix *m) {
    char full[NAME_BYTES];
    struct piece p = {.l = l, .m = m, .part_rows = m->n_out};
    snprintf(full, sizeof full, "%s%s", prefix, name);
    p.parts[0] = find(l, full, ".weight", SHAPE(m->n_out, m->n_in));
    if (l->status)
        return;
    send(&p);
    if (m->bias)
        read_floats(l, full, ".bias", SHAPE(m->n_out), m->bias);
}

/* The projections that `which` names, of "qkv", one below the other; keys have no bias. */
static void read_projections(struct loader *l, const char *prefix, const char *attention,
                             const char *which, const struct wh_cuda_matrix *m) {
    uint64_t D = l->c->dims.n_state;
    char full[MAX_PARTS][NAME_BYTES];
    struct piece p = {.l = l, .m = m, .part_rows = D};
    size_t n = strlen(which);
    for (size_t i = 0; i < n; i++) {
        snprintf(full[i], sizeof full[i], "%s%s.%c_proj", prefix, attention, which[i]);
        p.parts[i] = find(l, full[i], ".weight", SHAPE(D, D));
    }
    if (l->status)
        return;
    send(&p);
    for (size_t i = 0; i < n; i++) {
        if (which[i] == 'k')
            send_floats(l, NULL, D, m->bias + i * D);
        else
            read_floats(l, full[i], ".bias", SHAPE(D), m->bias + i * D);
    }
}

static void read_conv(struct loader *l, const char *name, uint64_t n_in,
                      const struct wh_cuda_matrix *m) {
    struct piece p = {.l = l, .m = m, .part_rows = m->n_out, .conv_in = n_in};
    p.parts[0] = find(l, name, ".weight", SHAPE(m->n_out, n_in, 3));
    if (l->status)
        return;
    send(&p);
    read_floats(l, name, ".bias", SHAPE(m->n_out), m->bias);
}

static void read_encoder(struct loader *l, const struct wh_cuda_weights *w) {
    const struct wh_dims *s = &l->c->dims;
    read_conv(l, "model.encoder.conv1", s->n_mels, &w->conv1);
    read_conv(l, "model.encoder.conv2", s->n_state, &w->conv2);
    read_floats(l, "model.encoder.", "embed_positions.weight", SHAPE(s->n_audio_ctx, s->n_state),
                w->audio_positions);
    for (uint32_t i = 0; i < s->n_audio_layers; i++) {
        const struct wh_cuda_encoder_layer *layer = &w->encoder[i];
        char prefix[64];
        snprintf(prefix, sizeof prefix, "model.encoder.layers.%u.", i);
        read_norm(l, prefix, "self_attn_layer_norm", &layer->attn_norm);
        read_norm(l, prefix, "final_layer_norm", &layer->mlp_norm);
        read_projections(l, prefix, "self_attn", "qkv", &layer->qkv);
        read_matrix(l, prefix, "self_attn.out_proj", &layer->out);
        read_matrix(l, prefix, "fc1", &layer->fc1);
        read_matrix(l, prefix, "fc2", &layer->fc2);
    }
    read_norm(l, "model.encoder.", "layer_norm", &w->encoder_norm);
}

static void read_decoder(struct loader *l, const struct wh_cuda_weights *w) {
    const struct wh_dims *s = &l->c->dims;
    read_floats(l, "model.decoder.", "embed_positions.weight", SHAPE(s->n_text_ctx, s->n_state),
                w->text_positions);
    for (uint32_t i = 0; i < s->n_text_layers; i++) {
        const struct wh_cuda_decoder_layer *layer = &w->decoder[i];
        char prefix[64];
        snprintf(prefix, sizeof prefix, "model.decoder.layers.%u.", i);
        read_norm(l, prefix, "self_attn_layer_norm", &layer->attn_norm);
        read_norm(l, prefix, "encoder_attn_layer_norm", &layer->cross_norm);
        read_norm(l, prefix, "final_layer_norm", &layer->mlp_norm);
        read_projections(l, prefix, "self_attn", "qkv", &layer->qkv);
        read_matrix(l, prefix, "self_attn.out_proj", &layer->out);
        read_matrix(l, prefix, "encoder_attn.q_proj", &layer->cross_q);
        read_matrix(l, prefix, "encoder_attn.out_proj", &layer->cross_out);
        read_projections(l, prefix, "encoder_attn", "kv", &layer->cross_kv);
        read_matrix(l, prefix, "fc1", &layer->fc1);
        read_matrix(l, prefix, "fc2", &layer->fc2);
    }
    read_norm(l, "model.decoder.", "layer_norm", &w->decoder_norm);
    read_matrix(l, "model.decoder.", "embed_tokens", &w->vocabulary);
}

/* ---- All ------------------------------------------------------------------------------------ */

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

int32_t wh_cuda_check_sizes(const struct wh_weights *weights, const struct wh_dims *dims,
                            struct num_err *err) {
    return wh_cpu_check_sizes(weights, dims, err);
}

int32_t wh_cuda_weights_load(const struct wh_cuda_weights *places, const struct wh_cuda_config *c,
                             const struct wh_weights *weights, struct num_pool *pool,
                             const struct wh_cuda_sink *sink, struct num_err *err) {
    const struct wh_dims *s = &c->dims;
    struct loader l = {.c = c, .weights = weights, .pool = pool, .sink = sink, .err = err};
    size_t conv = 3 * max_size(s->n_state, s->n_mels);
    l.row_floats = max_size(conv, max_size(s->n_audio_ffn, s->n_text_ffn));
    size_t bytes = num_pool_threads(pool) * 2 * l.row_floats * sizeof *l.rows;
    size_t scales = c->packing == WH_CUDA_PLAIN ? 1 : WH_CUDA_STAGE_BYTES;
    l.rows = malloc(bytes);
    l.scales = malloc(scales);
    if (!l.rows || !l.scales)
        l.status = num_fail_memory(err, "a layer's weights", bytes + scales);
    if (!l.status)
        read_encoder(&l, places);
    if (!l.status)
        read_decoder(&l, places);
    free(l.rows);
    free(l.scales);
    return l.status;
}

/*
 * Weights onto the card, once. A matrix is cut into planes (matrix.h) a few rows at a time by the
 * threads of the pool, in pinned memory, and copied. Floats become bfloat16 where the model
 * computes so; other types stay as they are. Where gate and up have different types, which no one
 * kernel reads, both take the wider form below.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "llm/cuda/cuda.h"
#include "num/files.h"
#include "num/half.h"

#define STAGE_BYTES ((size_t)16 << 20)
#define SPARE_BYTES ((size_t)256 << 20) /* of what is free: for graphs, and what the driver takes */

struct loader {
    const struct lm_model *m;
    struct lm_cuda_weights *w;
    uintptr_t at; /* where the next thing lies; counts from 0 while only measured */
    bool measure;
    char *stage;
    float *rows; /* of each thread: row_floats */
    size_t row_floats;
    struct num_err *err;
    int32_t status;
};

static void *take(struct loader *l, size_t bytes) {
    uintptr_t place = l->at;
    l->at += (bytes + LM_CUDA_ALIGN - 1) / LM_CUDA_ALIGN * LM_CUDA_ALIGN;
    return (void *)place;
}

static const struct num_weights *find(struct loader *l, enum lm_tensor what, uint32_t layer,
                                      bool bias, uint64_t rows, uint64_t cols) {
    if (l->status)
        return NULL;
    const struct num_weights *w =
        lm_weights_find(l->m->files, what, layer, bias, rows, cols, false, l->err);
    if (!w)
        l->status = l->err->status;
    return w;
}

static void send(struct loader *l, void *to, const void *from, size_t bytes) {
    if (l->status)
        return;
    cudaError_t error = cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, l->w->stream);
    if (!error)
        error = cudaStreamSynchronize(l->w->stream);
    l->status = num_cuda_fail(l->err, "copying the weights", error);
}

/* ---- Vectors -------------------------------------------------------------------------------- */

/* n floats, with zeros up to whole groups; `head` as lm_row_of() has it. */
static float *vector(struct loader *l, enum lm_tensor what, uint32_t layer, bool bias, uint64_t n,
                     size_t head) {
    const struct num_weights *w = find(l, what, layer, bias, 1, n);
    size_t width = lm_cuda_width(n);
    float *to = take(l, width * sizeof *to), *floats = (float *)(void *)l->stage;
    if (l->measure || !w)
        return to;
    memset(floats, 0, width * sizeof *floats);
    num_weights_to_f32(w, 0, 1, l->rows);
    for (size_t i = 0; i < n; i++)
        floats[i] = l->rows[lm_row_of(i, head)];
    send(l, to, floats, width * sizeof *floats);
    return to;
}

/* ---- Groups ---------------------------------------------------------------------------------- */

/* 32 numbers of a quantised row: as they are stored, without an offset, and what belongs to
 * them. */
struct group {
    uint8_t q[LM_CUDA_GROUP]; /* Q8_0: signed */
    uint8_t meta[4], super[4];
};

static void nibbles(const uint8_t qs[16], const uint8_t *qh, uint8_t *q) {
    uint32_t high = 0;
    if (qh)
        memcpy(&high, qh, 4);
    for (int i = 0; i < 32; i++)
        q[i] = (uint8_t)((i < 16 ? qs[i] & 15 : qs[i - 16] >> 4) | (high >> i & 1) << 4);
}

/* Part p of a Q4_K or Q5_K block. */
static void k_part(const uint8_t *scales, const uint8_t *qs, const uint8_t *qh, int p,
                   struct group *ret) {
    int scale, min;
    num_k_scale(scales, p, &scale, &min);
    ret->meta[0] = (uint8_t)scale;
    ret->meta[1] = (uint8_t)min;
    for (int i = 0; i < 32; i++) {
        uint8_t byte = qs[32 * (p / 2) + i];
        ret->q[i] = (uint8_t)((p % 2 ? byte >> 4 : byte & 15) | (qh ? qh[i] >> p & 1 : 0) << 4);
    }
}

static void q6_part(const struct num_q6_k *b, int part, struct group *ret) {
    int h = part / 4, p = part % 4;
    memcpy(ret->meta, b->scales + 8 * h + 2 * p, 2);
    memcpy(ret->super, &b->d, 2);
    for (int i = 0; i < 32; i++) {
        uint8_t low = b->ql[64 * h + 32 * (p % 2) + i], high = b->qh[32 * h + i];
        ret->q[i] = (uint8_t)((p < 2 ? low & 15 : low >> 4) | (high >> 2 * p & 3) << 4);
    }
}

static void read_group(enum num_weight_type type, const uint8_t *row, size_t g, struct group *ret) {
    const uint8_t *block =
        row + g * LM_CUDA_GROUP / num_weight_block(type) * num_weight_block_bytes(type);
    int part = (int)(g % (NUM_SUPER_BLOCK / LM_CUDA_GROUP));
    memset(ret, 0, sizeof *ret);
    memcpy(ret->meta, block, lm_cuda_planes_of(type).meta); /* K types: replaced */
    switch (type) {
    case NUM_WEIGHT_Q4_0:
        nibbles(block + 2, NULL, ret->q);
        break;
    case NUM_WEIGHT_Q4_1:
        nibbles(block + 4, NULL, ret->q);
        break;
    case NUM_WEIGHT_Q5_0:
        nibbles(block + 6, block + 2, ret->q);
        break;
    case NUM_WEIGHT_Q5_1:
        nibbles(block + 8, block + 4, ret->q);
        break;
    case NUM_WEIGHT_Q8_0:
        memcpy(ret->q, block + 2, 32);
        break;
    case NUM_WEIGHT_Q4_K:
        memcpy(ret->super, block, 4);
        k_part(block + 4, block + 16, NULL, part, ret);
        break;
    case NUM_WEIGHT_Q5_K:
        memcpy(ret->super, block, 4);
        k_part(block + 4, block + 48, block + 16, part, ret);
        break;
    case NUM_WEIGHT_Q6_K:
        q6_part((const struct num_q6_k *)(const void *)block, part, ret);
        break;
    default:
        break;
    }
}

/* The low plane's bytes of a group, and the high one's. */
static void pack_group(enum num_weight_type type, const struct group *g, uint8_t *low,
                       uint32_t high[2]) {
    high[0] = high[1] = 0;
    if (type == NUM_WEIGHT_Q8_0) {
        memcpy(low, g->q, 32);
        return;
    }
    for (int i = 0; i < 16; i++)
        low[i] = (uint8_t)((g->q[2 * i] & 15) | (g->q[2 * i + 1] & 15) << 4);
    for (int i = 0; i < 32; i++)
        if (type == NUM_WEIGHT_Q6_K)
            high[i / 16] |= (uint32_t)(g->q[i] >> 4) << 2 * (i % 16);
        else
            high[0] |= (uint32_t)(g->q[i] >> 4) << i;
}

/* ---- Matrices -------------------------------------------------------------------------------- */

struct source {
    struct loader *l;
    const struct num_weights *w;
    const struct lm_cuda_matrix *to;
    size_t head, first, n; /* rows [first, first + n) of the outputs */
    char *low, *high, *meta, *super;
};

/* Piece by piece, as matrix.h orders them. */
static void put_low(const struct source *s, size_t row, size_t g, const void *bytes) {
    size_t pieces = lm_cuda_planes_of(s->to->type).low / 16, tile = g / LM_CUDA_TILE;
    size_t left = s->to->groups - tile * LM_CUDA_TILE;
    size_t wide = left < LM_CUDA_TILE ? left : LM_CUDA_TILE;
    char *to = s->low + (row * s->to->groups + tile * LM_CUDA_TILE) * pieces * 16;
    for (size_t p = 0; p < pieces; p++)
        memcpy(to + (p * wide + g % LM_CUDA_TILE) * 16, (const char *)bytes + p * 16, 16);
}

static void put_quantised(const struct source *s, size_t row, const uint8_t *from) {
    enum num_weight_type type = s->to->type;
    struct lm_cuda_planes planes = lm_cuda_planes_of(type);
    for (size_t g = 0; g < s->to->groups; g++) {
        struct group group;
        uint8_t low[32];
        uint32_t high[2];
        size_t at = row * s->to->groups + g;
        read_group(type, from, g, &group);
        pack_group(type, &group, low, high);
        put_low(s, row, g, low);
        memcpy(s->high + at * planes.high, high, planes.high);
        memcpy(s->meta + at * planes.meta, group.meta, planes.meta);
        memcpy(s->super + at / 8 * planes.super, group.super, planes.super);
    }
}

static uint16_t to_half(enum num_weight_type type, float x) {
    return type == NUM_WEIGHT_F16 ? num_f32_to_f16(x) : num_f32_to_bf16(x);
}

/* `x`: the row, with zeros up to whole groups. */
static void put_plain(const struct source *s, size_t row, const float *x) {
    for (size_t g = 0; g < s->to->groups; g++) {
        uint16_t halves[LM_CUDA_GROUP];
        for (size_t i = 0; i < LM_CUDA_GROUP; i++)
            halves[i] = to_half(s->to->type, x[g * LM_CUDA_GROUP + i]);
        put_low(s, row, g,
                s->to->type == NUM_WEIGHT_F32 ? (const void *)(x + g * LM_CUDA_GROUP) : halves);
    }
}

#define ROWS_OF_TASK 16

static void rows_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct source *s = ctx;
    float *x = s->l->rows + thread * s->l->row_floats;
    size_t end = ((size_t)index + 1) * ROWS_OF_TASK;
    for (size_t r = (size_t)index * ROWS_OF_TASK; r < s->n && r < end; r++) {
        size_t row = lm_row_of(s->first + r, s->head);
        if (num_weight_block(s->to->type) > 1) {
            put_quantised(s, r, (const uint8_t *)s->w->data + row * s->w->row_bytes);
            continue;
        }
        memset(x, 0, s->to->groups * LM_CUDA_GROUP * sizeof *x);
        num_weights_to_f32(s->w, row, 1, x);
        put_plain(s, r, x);
    }
}

/* Rows at a time that fit the stage. */
static void copy_matrix(struct source *s) {
    const struct lm_cuda_matrix *to = s->to;
    const struct lm_cuda_planes p = lm_cuda_planes_of(to->type);
    size_t low = (size_t)to->groups * p.low, high = (size_t)to->groups * p.high;
    size_t meta = (size_t)to->groups * p.meta, super = (size_t)to->groups / 8 * p.super;
    size_t fit = STAGE_BYTES / (low + high + meta + super);
    for (s->first = 0; s->first < to->n_out && !s->l->status; s->first += s->n) {
        s->n = to->n_out - s->first < fit ? to->n_out - s->first : fit;
        s->low = s->l->stage;
        s->high = s->low + s->n * low;
        s->meta = s->high + s->n * high;
        s->super = s->meta + s->n * meta;
        num_pool_run(s->l->m->pool, (uint32_t)((s->n + ROWS_OF_TASK - 1) / ROWS_OF_TASK), rows_task,
                     s);
        send(s->l, to->low + s->first * low, s->low, s->n * low);
        if (high)
            send(s->l, to->high + s->first * high, s->high, s->n * high);
        if (meta)
            send(s->l, to->meta + s->first * meta, s->meta, s->n * meta);
        if (super)
            send(s->l, to->super + s->first * super, s->super, s->n * super);
    }
    num_file_forget(s->w->data, s->w->rows * s->w->row_bytes);
}

static enum num_weight_type type_of(const struct loader *l, const struct num_weights *w) {
    return w->type == NUM_WEIGHT_F32 && l->m->compute != LM_F32 ? NUM_WEIGHT_BF16 : w->type;
}

/* `plain`: not in blocks, whatever the file has. */
static void matrix(struct loader *l, enum lm_tensor what, uint32_t layer, uint64_t n_out,
                   uint64_t k, bool bias, size_t head, bool plain, struct lm_cuda_matrix *ret) {
    struct source s = {.l = l, .w = find(l, what, layer, false, n_out, k), .to = ret, .head = head};
    if (!s.w)
        return;
    enum num_weight_type type = type_of(l, s.w);
    if (plain)
        type = l->m->compute == LM_F32 ? NUM_WEIGHT_F32 : NUM_WEIGHT_BF16;
    struct lm_cuda_planes p = lm_cuda_planes_of(type);
    *ret = (struct lm_cuda_matrix){.type = type, .n_out = (uint32_t)n_out, .k = (uint32_t)k};
    ret->groups = lm_cuda_width(k) / LM_CUDA_GROUP;
    size_t n = n_out * ret->groups;
    ret->low = take(l, n * p.low);
    ret->high = take(l, n * p.high);
    ret->meta = take(l, n * p.meta);
    ret->super = take(l, n / 8 * p.super);
    if (!l->measure)
        copy_matrix(&s);
    if (bias)
        ret->bias = vector(l, what, layer, true, n_out, head);
}

static bool same_type(struct loader *l, uint32_t i, uint64_t F, uint64_t D) {
    const struct num_weights *gate = find(l, LM_GATE, i, false, F, D);
    const struct num_weights *up = find(l, LM_UP, i, false, F, D);
    return gate && up && type_of(l, gate) == type_of(l, up);
}

static void read_layer(struct loader *l, uint32_t i) {
    const struct lm_config *c = &l->m->config;
    struct lm_cuda_layer *to = &l->w->layers[i];
    uint64_t D = c->n_state, F = c->n_ffn, d = c->head_dim, q = c->n_heads * d;
    uint64_t kv = c->n_kv_heads * d;
    size_t head = c->permuted ? d : 0;
    bool plain = !same_type(l, i, F, D);
    to->attn_norm = vector(l, LM_ATTN_NORM, i, false, D, 0);
    to->mlp_norm = vector(l, LM_MLP_NORM, i, false, D, 0);
    if (c->qk_norm) {
        to->q_norm = vector(l, LM_Q_NORM, i, false, d, 0);
        to->k_norm = vector(l, LM_K_NORM, i, false, d, 0);
    }
    matrix(l, LM_Q, i, q, D, c->qkv_bias, head, false, &to->q);
    matrix(l, LM_K, i, kv, D, c->qkv_bias, head, false, &to->k);
    matrix(l, LM_V, i, kv, D, c->qkv_bias, 0, false, &to->v);
    matrix(l, LM_OUT, i, D, q, c->out_bias, 0, false, &to->out);
    matrix(l, LM_GATE, i, F, D, c->mlp_bias, 0, plain, &to->gate);
    matrix(l, LM_UP, i, F, D, c->mlp_bias, 0, plain, &to->up);
    matrix(l, LM_DOWN, i, D, F, c->mlp_bias, 0, false, &to->down);
}

static void read_model(struct loader *l) {
    const struct lm_config *c = &l->m->config;
    for (uint32_t i = 0; i < c->n_layers && !l->status; i++)
        read_layer(l, i);
    l->w->final_norm = vector(l, LM_FINAL_NORM, 0, false, c->n_state, 0);
    matrix(l, c->tied ? LM_EMBEDDING : LM_VOCABULARY, 0, c->n_vocab, c->n_state, false, 0, false,
           &l->w->vocabulary);
}

/* ---- All of it ------------------------------------------------------------------------------ */

static size_t widest(const struct lm_config *c) {
    size_t most = (size_t)c->n_heads * c->head_dim;
    most = c->n_state > most ? c->n_state : most;
    return lm_cuda_width(c->n_ffn > most ? c->n_ffn : most);
}

static int32_t check(const struct lm_model *m, struct num_err *err) {
    const struct lm_config *c = &m->config;
    if (m->compute == LM_INT8)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "compute: int8 is for the processor; on a card take bf16 with a quantised "
                        "file, or device: cpu");
    if (c->head_dim % 8 || c->head_dim > LM_CUDA_MAX_HEAD)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "heads of %" PRIu32 " values; on a card they are multiples of 8 up to %d; "
                        "use device: cpu",
                        c->head_dim, LM_CUDA_MAX_HEAD);
    if (widest(c) > STAGE_BYTES / sizeof(float))
        return num_fail(err, SLUICE_UNSUPPORTED, "layers of %zu inputs; on a card at most %zu",
                        widest(c), STAGE_BYTES / sizeof(float));
    return SLUICE_OK;
}

static int32_t start(struct loader *l) {
    cudaError_t error = cudaStreamCreateWithFlags(&l->w->stream, cudaStreamNonBlocking);
    if (!error)
        error = cudaHostAlloc((void **)&l->stage, STAGE_BYTES, cudaHostAllocDefault);
    if (error)
        return num_cuda_fail(l->err, "pinned memory and a stream", error);
    l->row_floats = widest(&l->m->config);
    size_t bytes = num_pool_threads(l->m->pool) * l->row_floats * sizeof *l->rows;
    l->rows = malloc(bytes);
    l->w->layers = calloc(l->m->config.n_layers, sizeof *l->w->layers);
    return l->rows && l->w->layers ? SLUICE_OK
                                   : num_fail_memory(l->err, "the model's layers", bytes);
}

/* What weights and engine may take. */
static uint64_t room_of(const struct num_cuda_device *device, uint64_t memory) {
    uint64_t room = device->free_bytes > SPARE_BYTES ? device->free_bytes - SPARE_BYTES : 1;
    return memory && memory < room ? memory : room;
}

static int32_t take_block(struct loader *l, uint64_t room) {
    l->measure = true;
    read_model(l);
    if (l->status)
        return l->status;
    l->w->bytes = l->at;
    if (l->w->bytes > room)
        return num_fail(l->err, SLUICE_RESOURCE,
                        "the model's weights take %" PRIu64
                        " MiB of the card's memory where %" PRIu64
                        " MiB may be used; allow more gpu_memory, or take a model of fewer bits",
                        ((uint64_t)l->w->bytes >> 20) + 1, room >> 20);
    int32_t status = num_cuda_block_alloc((void **)&l->w->block, l->w->bytes, 0, l->err);
    l->at = (uintptr_t)l->w->block;
    l->measure = false;
    return status;
}

int32_t lm_cuda_load(const struct lm_model *m, int device, uint64_t memory, void **ret_weights,
                     uint64_t *ret_bytes, uint64_t *ret_room, struct num_err *err) {
    struct lm_cuda_weights *w = calloc(1, sizeof *w);
    struct loader l = {.m = m, .w = w, .err = err};
    uint64_t room = 0;
    if (!w)
        return num_fail_memory(err, "a model", sizeof *w);
    l.status = check(m, err);
    if (!l.status)
        l.status = num_cuda_device_open(device, &w->device, err);
    if (!l.status)
        l.status = num_cuda_gemm_open(&w->gemm, err);
    if (!l.status)
        l.status = start(&l);
    if (!l.status) {
        room = room_of(&w->device, memory);
        l.status = take_block(&l, room);
    }
    if (!l.status)
        read_model(&l);
    if (l.stage)
        cudaFreeHost(l.stage);
    free(l.rows);
    if (l.status) {
        lm_cuda_unload(w);
        return l.status;
    }
    *ret_weights = w;
    *ret_bytes = w->bytes;
    *ret_room = room;
    return SLUICE_OK;
}

void lm_cuda_unload(void *weights) {
    struct lm_cuda_weights *w = weights;
    if (!w)
        return;
    if (w->stream)
        cudaStreamDestroy(w->stream);
    num_cuda_block_free(w->block);
    num_cuda_gemm_close(w->gemm);
    free(w->layers);
    free(w);
}

/*
 * Weights into layers, once, at load. A layer is made a panel (32 outputs) at a time, each a task
 * of the pool: blocks are turned as they are, other weights pass through floats. What was read is
 * dropped from memory again, since the file is mapped. The embedding stays in the file: a token
 * reads one row of it.
 *
 * Where a GGUF file has the rows of queries and keys in interleaved order (config.h), they are
 * taken in the order of the pairs (e, e + d / 2), so that one way to turn them serves all.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "llm/cpu.h"
#include "num/files.h"

struct loader {
    struct lm_model *m;
    float *staging; /* of each thread: staging_floats */
    size_t staging_floats;
    struct num_err *err;
    int32_t status; /* after a failure nothing more is done */
};

/* ---- Finding -------------------------------------------------------------------------------- */

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

static float *vector(struct loader *l, enum lm_tensor what, uint32_t layer, uint64_t n) {
    const struct num_weights *w = find(l, what, layer, false, 1, n);
    float *floats = NULL;
    if (w)
        l->status = num_arena_take(&l->m->arena, n * sizeof *floats, "the model's weights", &floats,
                                   l->err);
    if (w && !l->status)
        num_weights_to_f32(w, 0, 1, floats);
    return floats;
}

/* ---- Layers --------------------------------------------------------------------------------- */

struct source {
    struct loader *l;
    const struct num_weights *w;
    struct lm_linear *to;
    size_t head; /* rows of a head whose pairs are interleaved; 0: rows are in order */
};

static void turn_task(void *ctx, uint32_t panel, uint32_t thread) {
    const struct source *s = ctx;
    const uint8_t *rows[NUM_PANEL] = {NULL};
    (void)thread;
    for (size_t o = 0; o < NUM_PANEL; o++) {
        size_t out = (size_t)panel * NUM_PANEL + o;
        if (out < s->w->rows)
            rows[o] = (const uint8_t *)s->w->data + lm_row_of(out, s->head) * s->w->row_bytes;
    }
    num_stored_turn(&s->to->stored, s->l->m->kernels, panel, rows);
}

static void pack_task(void *ctx, uint32_t panel, uint32_t thread) {
    const struct source *s = ctx;
    size_t k = s->w->cols, first = (size_t)panel * NUM_PANEL;
    float *rows = s->l->staging + thread * s->l->staging_floats;
    for (size_t o = 0; o < NUM_PANEL && first + o < s->w->rows; o++)
        num_weights_to_f32(s->w, lm_row_of(first + o, s->head), 1, rows + o * k);
    num_linear_pack(&s->to->packed, s->l->m->kernels, panel, rows);
}

static enum num_compute packed_type(const struct lm_model *m) {
    return m->compute == LM_F32    ? NUM_COMPUTE_F32
           : m->compute == LM_BF16 ? NUM_COMPUTE_BF16
                                   : NUM_COMPUTE_INT8;
}

static bool is_stored(const struct lm_model *m, const struct num_weights *w) {
    return num_quant_has(w->type) && m->compute != LM_F32;
}

static void read_bias(struct loader *l, const struct source *s, enum lm_tensor what, uint32_t layer,
                      float *to) {
    size_t n = s->w->rows;
    const struct num_weights *bias = find(l, what, layer, true, 1, n);
    if (!bias)
        return;
    float *floats = l->staging;
    num_weights_to_f32(bias, 0, 1, floats);
    for (size_t o = 0; o < n; o++)
        to[o] = floats[lm_row_of(o, s->head)];
}

static void linear(struct loader *l, enum lm_tensor what, uint32_t layer, uint64_t n_out,
                   uint64_t k, bool bias, size_t head, struct lm_linear *ret) {
    struct lm_model *m = l->m;
    struct source s = {l, find(l, what, layer, false, n_out, k), ret, head};
    if (!s.w)
        return;
    bool stored = is_stored(m, s.w);
    l->status = stored
                    ? num_stored_create(&ret->stored, s.w->type, n_out, k, &m->arena, l->err)
                    : num_linear_create(&ret->packed, packed_type(m), n_out, k, &m->arena, l->err);
    if (l->status)
        return;
    m->bytes +=
        stored ? num_stored_bytes(s.w->type, n_out, k) : num_linear_bytes(packed_type(m), n_out, k);
    num_pool_run(m->pool, (uint32_t)NUM_PANELS(n_out), stored ? turn_task : pack_task, &s);
    num_file_forget(s.w->data, s.w->rows * s.w->row_bytes);
    if (bias)
        read_bias(l, &s, what, layer, stored ? ret->stored.bias : ret->packed.bias);
}

static void read_layer(struct loader *l, uint32_t i) {
    const struct lm_config *c = &l->m->config;
    struct lm_layer *to = &l->m->layers[i];
    uint64_t D = c->n_state, F = c->n_ffn, d = c->head_dim, q = c->n_heads * d;
    uint64_t kv = c->n_kv_heads * d;
    size_t head = c->permuted ? d : 0;
    to->attn_norm = vector(l, LM_ATTN_NORM, i, D);
    to->mlp_norm = vector(l, LM_MLP_NORM, i, D);
    if (c->qk_norm) {
        to->q_norm = vector(l, LM_Q_NORM, i, d);
        to->k_norm = vector(l, LM_K_NORM, i, d);
    }
    linear(l, LM_Q, i, q, D, c->qkv_bias, head, &to->q);
    linear(l, LM_K, i, kv, D, c->qkv_bias, head, &to->k);
    linear(l, LM_V, i, kv, D, c->qkv_bias, 0, &to->v);
    linear(l, LM_OUT, i, D, q, c->out_bias, 0, &to->out);
    linear(l, LM_GATE, i, F, D, c->mlp_bias, 0, &to->gate);
    linear(l, LM_UP, i, F, D, c->mlp_bias, 0, &to->up);
    linear(l, LM_DOWN, i, D, F, c->mlp_bias, 0, &to->down);
}

/* ---- The plan ------------------------------------------------------------------------------- */

/* Whether any matrix is stored as blocks. */
static bool is_quantised(const struct lm_model *m, struct num_err *err) {
    const struct lm_config *c = &m->config;
    const struct num_weights *w =
        lm_weights_find(m->files, LM_GATE, 0, false, c->n_ffn, c->n_state, true, err);
    return w && num_quant_has(w->type);
}

static uint64_t linear_bytes(const struct loader *l, enum lm_tensor what, uint32_t layer,
                             uint64_t n_out, uint64_t k) {
    const struct lm_model *m = l->m;
    const struct num_weights *w =
        lm_weights_find(m->files, what, layer, false, n_out, k, true, NULL);
    return !w                ? 0
           : is_stored(m, w) ? num_stored_bytes(w->type, n_out, k)
                             : num_linear_bytes(packed_type(m), n_out, k);
}

/* Bytes that all layers will take: so that a model that does not fit is refused before it is
 * read. */
static uint64_t planned_bytes(const struct loader *l) {
    const struct lm_config *c = &l->m->config;
    uint64_t D = c->n_state, F = c->n_ffn, q = c->n_heads * (uint64_t)c->head_dim;
    uint64_t kv = c->n_kv_heads * (uint64_t)c->head_dim;
    uint64_t bytes = linear_bytes(l, c->tied ? LM_EMBEDDING : LM_VOCABULARY, 0, c->n_vocab, D);
    for (uint32_t i = 0; i < c->n_layers; i++)
        bytes += linear_bytes(l, LM_Q, i, q, D) + linear_bytes(l, LM_K, i, kv, D) +
                 linear_bytes(l, LM_V, i, kv, D) + linear_bytes(l, LM_OUT, i, D, q) +
                 linear_bytes(l, LM_GATE, i, F, D) + linear_bytes(l, LM_UP, i, F, D) +
                 linear_bytes(l, LM_DOWN, i, D, F);
    return bytes;
}

/* One tensor for every size, so that no size is believed before memory is taken. */
static int32_t check(struct loader *l, uint64_t memory) {
    struct lm_model *m = l->m;
    const struct lm_config *c = &m->config;
    m->embedding = find(l, LM_EMBEDDING, 0, false, c->n_vocab, c->n_state);
    find(l, LM_GATE, c->n_layers - 1, false, c->n_ffn, c->n_state);
    find(l, LM_OUT, c->n_layers - 1, false, c->n_state, (uint64_t)c->n_heads * c->head_dim);
    uint64_t bytes = l->status ? 0 : planned_bytes(l);
    if (memory && bytes > memory)
        return l->status = num_fail(l->err, SLUICE_RESOURCE,
                                    "the model's weights take %" PRIu64 " MiB where %" PRIu64
                                    " MiB are allowed; allow more, or take a model of fewer bits",
                                    (bytes >> 20) + 1, memory >> 20);
    return l->status;
}

/* ---- All of it ------------------------------------------------------------------------------ */

static void read_model(struct loader *l) {
    struct lm_model *m = l->m;
    const struct lm_config *c = &m->config;
    size_t widest = c->n_ffn > c->n_state ? c->n_ffn : c->n_state, q = c->n_heads * c->head_dim;
    widest = q > widest ? q : widest;
    l->staging_floats = NUM_PANEL * widest;
    l->staging = malloc(num_pool_threads(m->pool) * l->staging_floats * sizeof(float));
    m->layers = calloc(c->n_layers, sizeof *m->layers);
    if (!l->staging || !m->layers) {
        l->status = num_fail_memory(l->err, "the model's layers", l->staging_floats * 4);
        return;
    }
    for (uint32_t i = 0; i < c->n_layers; i++)
        read_layer(l, i);
    m->final_norm = vector(l, LM_FINAL_NORM, 0, c->n_state);
    if (c->has_rope_factors)
        m->rope_factors = vector(l, LM_ROPE_FACTORS, 0, c->head_dim / 2);
    linear(l, c->tied ? LM_EMBEDDING : LM_VOCABULARY, 0, c->n_vocab, c->n_state, false, 0,
           &m->vocabulary);
}

static enum lm_compute choose(const struct lm_model *m, enum lm_compute wanted,
                              struct num_err *err) {
    if (m->card)
        return wanted == LM_AUTO ? LM_BF16 : wanted;
    if (wanted != LM_AUTO)
        return wanted;
    return is_quantised(m, err) || m->kernels->native_bf16 ? LM_BF16 : LM_F32;
}

/* What passes read on the host, and the rest on the card. */
static void load_card(struct loader *l, int device, uint64_t memory) {
    struct lm_model *m = l->m;
    if (m->config.has_rope_factors)
        m->rope_factors = vector(l, LM_ROPE_FACTORS, 0, m->config.head_dim / 2);
    if (!l->status)
        l->status = m->card->load(m, device, memory, &m->on_card, &m->bytes, &m->card_room, l->err);
}

int32_t lm_model_load(const char *path, enum lm_compute compute, struct num_pool *pool,
                      uint64_t memory, struct lm_model **ret, struct num_err *err) {
    return lm_model_load_on(path, compute, pool, memory, NULL, 0, ret, err);
}

int32_t lm_model_load_on(const char *path, enum lm_compute compute, struct num_pool *pool,
                         uint64_t memory, const struct lm_card *card, int device,
                         struct lm_model **ret, struct num_err *err) {
    struct lm_model *m = calloc(1, sizeof *m);
    struct loader l = {.m = m, .err = err};
    if (!m)
        return num_fail_memory(err, "a model", sizeof *m);
    m->pool = pool;
    m->card = card;
    m->kernels = num_kernels();
    m->quant = num_quant_kernels(m->kernels);
    l.status = lm_weights_open(path, &m->files, err);
    if (!l.status) {
        m->config = *lm_weights_config(m->files);
        m->compute = choose(m, compute, err);
        check(&l, card ? 0 : memory);
    }
    if (!l.status)
        l.status = lm_weights_tokenizer(m->files, &m->tokenizer, err);
    if (!l.status)
        l.status = lm_weights_chat_template(m->files, &m->chat_template, err);
    if (!l.status && card)
        load_card(&l, device, memory);
    else if (!l.status)
        read_model(&l);
    free(l.staging);
    if (l.status)
        lm_model_free(m);
    else
        *ret = m;
    return l.status;
}

void lm_model_free(struct lm_model *m) {
    if (!m)
        return;
    if (m->card)
        m->card->unload(m->on_card);
    lm_tokenizer_destroy(m->tokenizer);
    lm_weights_close(m->files);
    num_arena_finish(&m->arena);
    free(m->chat_template);
    free(m->layers);
    free(m);
}

bool lm_model_card(const struct lm_model *m, struct lm_card_info *ret) {
    if (m->card)
        m->card->info(m->on_card, ret);
    return m->card != NULL;
}

const struct lm_config *lm_model_config(const struct lm_model *m) {
    return &m->config;
}

const struct lm_tokenizer *lm_model_tokenizer(const struct lm_model *m) {
    return m->tokenizer;
}

const char *lm_model_chat_template(const struct lm_model *m) {
    return m->chat_template;
}

enum lm_compute lm_model_compute(const struct lm_model *m) {
    return m->compute;
}

uint64_t lm_model_bytes(const struct lm_model *m) {
    return m->bytes;
}

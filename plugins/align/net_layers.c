/*
 * The transformer and the head. A layer is three parallel loops: projections by blocks of rows,
 * keys and values going straight into panels; attention by head and block (attend.c); output, norms
 * and MLP by blocks. A row's result does not depend on its block, so the number of threads changes
 * nothing.
 */
#include <math.h>
#include <string.h>

#include "align/net_own.h"

#define BLOCK 128 /* rows: even, so that pairs of positions share a block */

/* One thread's part. */
struct scratch {
    char *input;  /* (BLOCK, D + AL_PAD) act */
    char *hidden; /* (BLOCK, max(F, 2 D) + AL_PAD) act; logits as floats */
    float *row;   /* (D) */
};

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t rows_bytes(size_t width, size_t bytes) {
    return al_lines((BLOCK + AL_SLACK_ROWS) * (width + AL_PAD) * bytes);
}

static size_t hidden_bytes(const struct al_net *net) {
    const struct al_config *c = &net->config;
    size_t act = rows_bytes(max_size(c->n_ffn, 2 * c->n_state), net->act_bytes);
    size_t floats =
        rows_bytes(max_size(NUM_PANELS(c->n_vocab) * NUM_PANEL, c->n_adapter + NUM_PANEL), 4);
    return max_size(act, floats);
}

size_t al_layers_scratch(const struct al_net *net) {
    return rows_bytes(net->config.n_state, 4) + hidden_bytes(net) +
           al_lines(4 * net->config.n_state);
}

static struct scratch scratch_of(const struct al_net *net, uint32_t thread) {
    char *at = net->scratch + thread * net->scratch_bytes;
    struct scratch s = {.input = at};
    s.hidden = at += rows_bytes(net->config.n_state, 4);
    s.row = (float *)(at + hidden_bytes(net));
    return s;
}

static uint32_t n_blocks(const struct al_net *net) {
    return (uint32_t)((net->T + BLOCK - 1) / BLOCK);
}

static size_t rows_of(const struct al_net *net, uint32_t block, size_t *ret_first) {
    *ret_first = (size_t)block * BLOCK;
    return net->T - *ret_first < BLOCK ? net->T - *ret_first : BLOCK;
}

static void norm_rows(const struct al_net *net, const struct al_layer_norm *norm, float *x,
                      size_t n) {
    size_t D = net->config.n_state;
    for (size_t r = 0; r < n; r++)
        net->kernels->layer_norm(x + r * D, D, norm->gamma, norm->beta, x + r * D);
}

/* Rows of the stream, normed (or, without a norm, as they are), as inputs of layers of `act`. */
static void load_input(const struct al_net *net, const struct scratch *s, const float *x, size_t n,
                       const struct al_layer_norm *norm) {
    size_t D = net->config.n_state, bytes = (D + AL_PAD) * net->act_bytes;
    for (size_t r = 0; r < n; r++) {
        const float *row = x + r * D;
        if (norm) {
            net->kernels->layer_norm(row, D, norm->gamma, norm->beta, s->row);
            row = s->row;
        }
        al_to_act(net, row, D, s->input + r * bytes);
    }
}

static enum num_form plain(const struct al_net *net) {
    return net->act == NUM_COMPUTE_F32 ? NUM_FORM_F32 : NUM_FORM_BF16;
}

static enum num_form with_gelu(const struct al_net *net) {
    return net->act == NUM_COMPUTE_F32 ? NUM_FORM_GELU_F32 : NUM_FORM_GELU_BF16;
}

/* ---- Loops ----------------------------------------------------------------------------------- */

static void qkv_task(void *ctx, uint32_t index, uint32_t thread) {
    struct al_net *net = ctx;
    struct scratch s = scratch_of(net, thread);
    size_t D = net->config.n_state, H = net->config.n_heads, first, n = rows_of(net, index, &first);
    size_t ld = D + AL_PAD, ldx = ld * net->act_bytes, ld_kv = 2 * D + AL_PAD;
    const struct al_layer *l = net->layer;
    load_input(net, &s, net->x + first * D, n, net->config.stable ? &l->attention_norm : NULL);
    al_linear(net, &l->q, s.input, ldx, n, plain(net), net->queries + first * ldx, ld);
    al_linear(net, &l->kv, s.input, ldx, n, plain(net), s.hidden, ld_kv);
    for (size_t h = 0; h < H; h++) {
        const char *k = s.hidden + h * (D / H) * net->act_bytes;
        num_kv_fill(&net->kv, net->heads + h * net->kv.head_words, first, n, k,
                    k + D * net->act_bytes, ld_kv);
    }
}

/* x += linear_2(relu(linear_1(norm(x)))): the adapters of MMS. */
static void adapt(const struct al_net *net, const struct scratch *s, float *x, size_t n) {
    const struct al_layer *l = net->layer;
    size_t D = net->config.n_state, width = NUM_PANELS(net->config.n_adapter) * NUM_PANEL;
    float *input = (float *)s->input, *hidden = (float *)s->hidden;
    for (size_t r = 0; r < n; r++)
        net->kernels->layer_norm(x + r * D, D, l->adapter_norm.gamma, l->adapter_norm.beta,
                                 input + r * D);
    al_linear(net, &l->adapter_in, input, D * sizeof *input, n, NUM_FORM_F32, hidden, width);
    for (size_t i = 0; i < n * width; i++)
        hidden[i] = fmaxf(hidden[i], 0);
    al_linear(net, &l->adapter_out, hidden, width * sizeof *hidden, n, NUM_FORM_ADD_F32, x, D);
}

static void mlp_task(void *ctx, uint32_t index, uint32_t thread) {
    struct al_net *net = ctx;
    struct scratch s = scratch_of(net, thread);
    size_t D = net->config.n_state, first, n = rows_of(net, index, &first);
    size_t ld = D + AL_PAD, ldx = ld * net->act_bytes, ld_hidden = net->config.n_ffn + AL_PAD;
    const struct al_layer *l = net->layer;
    bool stable = net->config.stable;
    float *x = net->x + first * D;
    al_linear(net, &l->out, net->queries + first * ldx, ldx, n, NUM_FORM_ADD_F32, x, D);
    if (!stable)
        norm_rows(net, &l->attention_norm, x, n);
    load_input(net, &s, x, n, stable ? &l->final_norm : NULL);
    al_linear(net, &l->fc1, s.input, ldx, n, with_gelu(net), s.hidden, ld_hidden);
    al_linear(net, &l->fc2, s.hidden, ld_hidden * net->act_bytes, n, NUM_FORM_ADD_F32, x, D);
    if (net->config.n_adapter)
        adapt(net, &s, x, n);
    if (!stable)
        norm_rows(net, &l->final_norm, x, n);
}

static void norm_task(void *ctx, uint32_t index, uint32_t thread) {
    struct al_net *net = ctx;
    size_t first, n = rows_of(net, index, &first);
    (void)thread;
    norm_rows(net, &net->encoder_norm, net->x + first * net->config.n_state, n);
}

/* Logits, and from them log probabilities. */
static void head_task(void *ctx, uint32_t index, uint32_t thread) {
    struct al_net *net = ctx;
    struct scratch s = scratch_of(net, thread);
    size_t D = net->config.n_state, V = net->config.n_vocab, first, n = rows_of(net, index, &first);
    size_t ld = NUM_PANELS(V) * NUM_PANEL;
    float *logits = (float *)s.hidden;
    load_input(net, &s, net->x + first * D, n, NULL);
    al_linear(net, &net->head, s.input, (D + AL_PAD) * net->act_bytes, n, NUM_FORM_F32, logits, ld);
    for (size_t r = 0; r < n; r++) {
        const float *row = logits + r * ld;
        float top = net->kernels->max(row, V);
        float sum = top + logf(net->kernels->sum_exp(row, V, top));
        for (size_t v = 0; v < V; v++)
            net->ret[(first + r) * V + v] = row[v] - sum;
    }
}

/* ---- All ------------------------------------------------------------------------------------- */

static void tap_layer(const struct al_net *net) {
    if (net->tap)
        net->tap(net->tap_ctx, "layer", net->x, net->config.n_state, net->T, net->config.n_state);
}

int32_t al_layers_run(struct al_net *net, const struct num_watch *watch, struct num_err *err) {
    uint32_t blocks = n_blocks(net);
    if (!net->config.stable)
        num_pool_run(net->pool, blocks, norm_task, net);
    for (uint32_t i = 0; i < net->config.n_layers; i++) {
        net->layer = &net->layers[i];
        num_pool_run(net->pool, blocks, qkv_task, net);
        al_attend(net);
        num_pool_run(net->pool, blocks, mlp_task, net);
        tap_layer(net);
        if (num_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
    }
    if (net->config.stable)
        num_pool_run(net->pool, blocks, norm_task, net);
    num_pool_run(net->pool, blocks, head_task, net);
    return SLUICE_OK;
}

/*
 * Passes of the network on a card. The host looks up embeddings, finds the turns of positions, and
 * brings them with the lists of pages in one copy.
 *
 * A step of tokens multiplies weights as they are stored; it is recorded as a graph for each
 * rounded number of tokens and of parts of texts, and replayed. A prompt's tokens go through
 * products of the library: each matrix is unpacked into the type that they multiply, which its 256
 * rows pay for. These products always have 256 rows: the library may sum in another order for
 * another number, and what a token yields would depend on how much of the prompt the cache held.
 * Rows behind the tokens hold anything, and nothing reads their results.
 */
#include <math.h>
#include <string.h>

#include "llm/cuda/run.h"

/* Calls go on only while nothing has failed. */
struct pass {
    struct lm_cuda_run *r;
    struct lm_cuda_inputs in; /* on the card */
    uint32_t n, n_splits;
    struct num_err *err;
    int32_t status;
};

static void check(struct pass *p, const char *what, cudaError_t error) {
    if (!p->status && error)
        p->status = num_cuda_fail(p->err, what, error);
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

static void put_item(const struct lm_cuda_run *r, const struct lm_cuda_inputs *to, size_t i,
                     const struct lm_item *item, uint32_t table) {
    const struct lm_config *c = &r->m->config;
    size_t half = c->head_dim / 2;
    float *x = to->x + i * r->ld;
    to->items[i] = (struct lm_cuda_item){(int32_t)item->position, table};
    num_weights_to_f32(r->m->embedding, (uint64_t)item->token, 1, x);
    memset(x + c->n_state, 0, (r->ld - c->n_state) * sizeof *x);
    for (size_t e = 0; e < half; e++) {
        float angle = (float)item->position * r->frequencies[e];
        to->cosines[i * half + e] = (float)cos((double)angle) * r->rope_scale;
        to->sines[i * half + e] = (float)sin((double)angle) * r->rope_scale;
    }
}

static void put_table(const struct lm_cuda_run *r, const struct lm_cuda_inputs *to, uint32_t table,
                      const struct lm_item *last) {
    memcpy(to->tables + (size_t)table * r->cache.max_pages, last->pages,
           (last->position / LM_PAGE + 1) * sizeof *to->tables);
}

/* Rows from n on do nothing: they have no position. */
static void bring(struct pass *p, const struct lm_item *items, size_t n, bool prompt) {
    struct lm_cuda_run *r = p->r;
    struct lm_cuda_inputs host;
    uint32_t n_tables = prompt ? 1 : p->n;
    size_t bytes = lm_cuda_inputs_place(r, p->n, n_tables, r->pinned, &host);
    lm_cuda_inputs_place(r, p->n, n_tables, r->inputs, &p->in);
    r->cache.tables = p->in.tables;
    for (size_t i = 0; i < n; i++) {
        put_item(r, &host, i, &items[i], prompt ? 0 : (uint32_t)i);
        if (!prompt)
            put_table(r, &host, (uint32_t)i, &items[i]);
    }
    if (prompt)
        put_table(r, &host, 0, &items[n - 1]);
    for (size_t i = n; i < p->n; i++) {
        host.items[i] = (struct lm_cuda_item){-1, 0};
        memset(host.x + i * r->ld, 0, r->ld * sizeof *host.x);
    }
    check(p, "the tokens of a pass",
          cudaMemcpyAsync(r->inputs, r->pinned, bytes, cudaMemcpyHostToDevice, r->w->stream));
}

/* ---- What both kinds share ------------------------------------------------------------------- */

static struct lm_cuda_cache cache_of(const struct lm_cuda_run *r, uint32_t layer) {
    struct lm_cuda_cache cache = r->cache;
    cache.layer = layer * cache.head_bytes * cache.n_kv_heads;
    return cache;
}

static struct lm_cuda_place place_of(const struct pass *p, uint32_t layer) {
    const struct lm_cuda_layer *w = &p->r->w->layers[layer];
    return (struct lm_cuda_place){.items = p->in.items,
                                  .cosines = p->in.cosines,
                                  .sines = p->in.sines,
                                  .cache = cache_of(p->r, layer),
                                  .q_norm = w->q_norm,
                                  .k_norm = w->k_norm,
                                  .eps = (float)p->r->m->config.norm_eps,
                                  .n_heads = p->r->m->config.n_heads};
}

/* `prompt`: items are of one; floats are exact either way. */
static void attend(struct pass *p, uint32_t layer, bool prompt) {
    const struct lm_config *c = &p->r->m->config;
    bool fast = prompt && p->r->type != NUM_CUDA_F32 && lm_cuda_attends_prompts(&p->r->cache);
    const struct lm_cuda_attention a = {.cache = cache_of(p->r, layer),
                                        .items = p->in.items,
                                        .q = p->r->qkv,
                                        .ret = p->r->mixed,
                                        .ldq = p->r->ld_qkv,
                                        .ld_ret = p->r->ld_q,
                                        .n = p->n,
                                        .n_heads = c->n_heads,
                                        .window = layer >= c->window_first_layer ? c->window : 0,
                                        .split = p->r->split,
                                        .n_splits = p->n_splits,
                                        .partial = p->r->partial,
                                        .arrived = p->r->arrived};
    if (!p->status)
        check(p, "attention",
              fast ? lm_cuda_attend_prompt(&a, p->r->w->stream)
                   : lm_cuda_attend(&a, p->r->w->stream));
}

/* x (n, width) as the rows of the products that follow. */
static void convert(struct pass *p, const float *x, uint32_t n, uint32_t k, uint32_t width,
                    const float *gamma) {
    if (!p->status)
        check(p, "rows",
              lm_cuda_rows(x, n, k, width, gamma, (float)p->r->m->config.norm_eps, p->r->type,
                           p->r->typed, p->r->w->stream));
}

static void run_product(struct pass *p, const char *what, const struct lm_cuda_product *product) {
    const struct lm_cuda_weights *w = p->r->w;
    if (p->r->many)
        convert(p, product->x, product->n, product->parts[0]->k, product->ldx, product->gamma);
    if (!p->status)
        check(p, what,
              p->r->many ? lm_cuda_product_many(product, p->r->typed, (uint32_t)w->device.sm_count,
                                                w->stream)
                         : lm_cuda_product_run(product, w->stream));
}

/* y = or += the matrix times x, which is normed where gamma is given. */
static void multiply(struct pass *p, const struct lm_cuda_matrix *matrix, const float *gamma,
                     const float *x, uint32_t ldx, uint32_t n, float *y, uint32_t ldy,
                     enum lm_cuda_form form) {
    const struct lm_cuda_product product = {.parts = {matrix},
                                            .n_parts = 1,
                                            .x = x,
                                            .ldx = ldx,
                                            .gamma = gamma,
                                            .eps = (float)p->r->m->config.norm_eps,
                                            .n = n,
                                            .y = y,
                                            .ldy = ldy,
                                            .form = form};
    run_product(p, "a product", &product);
}

/* Logits of n rows of the stream. */
static void logits(struct pass *p, const float *x, uint32_t n) {
    struct lm_cuda_run *r = p->r;
    multiply(p, &r->w->vocabulary, r->w->final_norm, x, r->ld, n, r->logits, r->m->config.n_vocab,
             LM_CUDA_STORE);
}

static void fetch_logits(struct pass *p, size_t n) {
    struct lm_cuda_run *r = p->r;
    if (!p->status && n)
        check(p, "logits",
              cudaMemcpyAsync(r->host_logits, r->logits, n * r->m->config.n_vocab * sizeof(float),
                              cudaMemcpyDeviceToHost, r->w->stream));
    cudaError_t error = cudaStreamSynchronize(r->w->stream);
    check(p, "a pass", error);
}

/* ---- A step of tokens ------------------------------------------------------------------------ */

/* Queries, keys and values; neighbours of one type in one launch. Where the product cannot turn
 * heads and put them into the cache, a kernel behind it does. */
static void project(struct pass *p, uint32_t layer) {
    struct lm_cuda_run *r = p->r;
    const struct lm_cuda_layer *w = &r->w->layers[layer];
    const struct lm_cuda_matrix *const all[] = {&w->q, &w->k, &w->v};
    const struct lm_cuda_place place = place_of(p, layer);
    bool fused = !w->q_norm && r->cache.type != NUM_CACHE_Q8;
    uint32_t column = 0;
    for (uint32_t i = 0, n; !p->status && i < 3; i += n) {
        struct lm_cuda_product product = {.x = p->in.x,
                                          .ldx = r->ld,
                                          .gamma = w->attn_norm,
                                          .eps = place.eps,
                                          .n = p->n,
                                          .y = fused ? r->qkv : r->qkv + column,
                                          .ldy = r->ld_qkv,
                                          .form = fused ? LM_CUDA_PLACE : LM_CUDA_STORE,
                                          .place = &place,
                                          .first_head = column / place.cache.d};
        for (n = 0; i + n < 3 && all[i + n]->type == all[i]->type; n++) {
            product.parts[product.n_parts++] = all[i + n];
            column += all[i + n]->n_out;
        }
        run_product(p, "queries, keys and values", &product);
    }
    if (!p->status && !fused)
        check(p, "heads", lm_cuda_heads(&place, r->qkv, r->ld_qkv, p->n, r->w->stream));
}

static void token_layer(struct pass *p, uint32_t layer) {
    struct lm_cuda_run *r = p->r;
    const struct lm_cuda_layer *w = &r->w->layers[layer];
    const struct lm_cuda_product gated = {.parts = {&w->gate, &w->up},
                                          .n_parts = 2,
                                          .x = p->in.x,
                                          .ldx = r->ld,
                                          .gamma = w->mlp_norm,
                                          .eps = (float)r->m->config.norm_eps,
                                          .n = p->n,
                                          .y = r->gate,
                                          .ldy = r->ld_ffn,
                                          .form = LM_CUDA_GATE};
    project(p, layer);
    attend(p, layer, false);
    multiply(p, &w->out, NULL, r->mixed, r->ld_q, p->n, p->in.x, r->ld, LM_CUDA_ADD);
    run_product(p, "the gated layer", &gated);
    multiply(p, &w->down, NULL, r->gate, r->ld_ffn, p->n, p->in.x, r->ld, LM_CUDA_ADD);
}

/* Few graphs serve all numbers: up to 4 each, to 16 by fours, then by eights. */
static uint32_t round_up(uint32_t n, uint32_t most) {
    uint32_t step = n <= 4 ? 1 : n <= 16 ? 4 : 8;
    n = (n + step - 1) / step * step;
    return n < most ? n : most;
}

/* Parts of the longest text, as a power of two. */
static uint32_t splits_of(const struct lm_cuda_run *r, const struct lm_item *items, size_t n) {
    uint32_t longest = 0, splits = 1;
    for (size_t i = 0; i < n; i++)
        longest = items[i].position > longest ? items[i].position : longest;
    while (splits * r->split < longest + 1)
        splits *= 2;
    return splits;
}

static void forget_oldest(struct lm_cuda_run *r) {
    cudaGraphExecDestroy(r->graphs[0].exec);
    memmove(r->graphs, r->graphs + 1, --r->n_graphs * sizeof *r->graphs);
}

static cudaGraphExec_t record(struct pass *p) {
    struct lm_cuda_run *r = p->r;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    check(p, "recording a step", cudaStreamBeginCapture(r->w->stream, NUM_CUDA_CAPTURE));
    if (p->status)
        return NULL;
    for (uint32_t i = 0; !p->status && i < r->m->config.n_layers; i++)
        token_layer(p, i);
    logits(p, p->in.x, p->n);
    cudaError_t error = cudaStreamEndCapture(r->w->stream, &graph);
    check(p, "recording a step", error);
    if (!p->status)
        check(p, "recording a step", cudaGraphInstantiate(&exec, graph, 0));
    if (graph)
        cudaGraphDestroy(graph);
    if (p->status)
        return NULL;
    if (r->n_graphs == LM_CUDA_MAX_GRAPHS)
        forget_oldest(r);
    r->graphs[r->n_graphs++] = (struct lm_cuda_graph){p->n, p->n_splits, exec};
    return exec;
}

static cudaGraphExec_t graph_of(struct pass *p) {
    const struct lm_cuda_run *r = p->r;
    for (uint32_t i = 0; i < r->n_graphs; i++)
        if (r->graphs[i].n == p->n && r->graphs[i].n_splits == p->n_splits)
            return r->graphs[i].exec;
    return record(p);
}

int32_t lm_cuda_tokens(void *run, const struct lm_item *items, size_t n, struct num_err *err) {
    struct lm_cuda_run *r = run;
    struct pass p = {.r = r, .err = err};
    p.n = round_up((uint32_t)n, r->plan.n_requests);
    p.n_splits = splits_of(r, items, n);
    bring(&p, items, n, false);
    cudaGraphExec_t exec = p.status ? NULL : graph_of(&p);
    if (!p.status)
        check(&p, "a step", cudaGraphLaunch(exec, r->w->stream));
    fetch_logits(&p, n);
    return p.status;
}

/* ---- A prompt -------------------------------------------------------------------------------- */

/* ret (LM_CHUNK rows) = or += (`add`) the matrix times the converted rows. */
static void gemm(struct pass *p, const struct lm_cuda_matrix *matrix, float *ret, uint32_t ld_ret,
                 bool add) {
    struct lm_cuda_run *r = p->r;
    if (!p->status)
        check(p, "a matrix", lm_cuda_unpack(matrix, r->type, r->unpacked, r->w->stream));
    const struct num_cuda_product product = {.type = r->type,
                                             .ret_type = NUM_CUDA_F32,
                                             .m = LM_CHUNK,
                                             .n = matrix->n_out,
                                             .k = (size_t)matrix->groups * LM_CUDA_GROUP,
                                             .x = r->typed,
                                             .w = r->unpacked,
                                             .ret = ret,
                                             .ld_ret = ld_ret,
                                             .bias = matrix->bias,
                                             .residual = add ? ret : NULL};
    if (!p->status)
        p->status = num_cuda_gemm_run(r->w->gemm, &product, r->workspace, LM_CUDA_GEMM_BYTES,
                                      r->w->stream, p->err);
}

static void prompt_layer(struct pass *p, uint32_t layer) {
    struct lm_cuda_run *r = p->r;
    const struct lm_config *c = &r->m->config;
    const struct lm_cuda_layer *w = &r->w->layers[layer];
    const struct lm_cuda_place place = place_of(p, layer);
    convert(p, p->in.x, p->n, c->n_state, r->ld, w->attn_norm);
    gemm(p, &w->q, r->qkv, r->ld_qkv, false);
    gemm(p, &w->k, r->qkv + w->q.n_out, r->ld_qkv, false);
    gemm(p, &w->v, r->qkv + w->q.n_out + w->k.n_out, r->ld_qkv, false);
    if (!p->status)
        check(p, "heads", lm_cuda_heads(&place, r->qkv, r->ld_qkv, p->n, r->w->stream));
    attend(p, layer, true);
    convert(p, r->mixed, p->n, w->out.k, r->ld_q, NULL);
    gemm(p, &w->out, p->in.x, r->ld, true);

    convert(p, p->in.x, p->n, c->n_state, r->ld, w->mlp_norm);
    gemm(p, &w->gate, r->gate, r->ld_ffn, false);
    gemm(p, &w->up, r->up, r->ld_ffn, false);
    if (!p->status)
        check(p, "the gated layer",
              lm_cuda_gate(r->gate, r->up, p->n, r->ld_ffn, r->type, r->typed, r->w->stream));
    gemm(p, &w->down, p->in.x, r->ld, true);
}

int32_t lm_cuda_prompt(void *run, const struct lm_item *items, size_t n, bool wants_logits,
                       bool (*stop)(void *ctx), void *ctx, bool *ret_stopped, struct num_err *err) {
    struct lm_cuda_run *r = run;
    struct pass p = {.r = r, .n = (uint32_t)n, .n_splits = 1, .err = err};
    bool stopped = false;
    bring(&p, items, n, true);
    for (uint32_t i = 0; !stopped && !p.status && i < r->m->config.n_layers; i++) {
        stopped = stop && stop(ctx);
        if (!stopped)
            prompt_layer(&p, i);
    }
    if (wants_logits && !stopped)
        logits(&p, p.in.x + (n - 1) * r->ld, 1);
    fetch_logits(&p, wants_logits && !stopped ? 1 : 0);
    *ret_stopped = stopped;
    return p.status;
}

/*
 * The CUDA backend of language models: plans an engine's memory on the card, takes it as one block
 * at create, and gives it back. Weights are in load.c, passes in pass.c.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "llm/cuda/run.h"

/* ---- Places ---------------------------------------------------------------------------------- */

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static void *take(char *base, size_t *at, size_t bytes) {
    char *place = base ? base + *at : NULL;
    *at += (bytes + LM_CUDA_ALIGN - 1) / LM_CUDA_ALIGN * LM_CUDA_ALIGN;
    return place;
}

size_t lm_cuda_inputs_place(const struct lm_cuda_run *r, uint32_t n, uint32_t n_tables, char *base,
                            struct lm_cuda_inputs *ret) {
    size_t at = 0, half = r->m->config.head_dim / 2;
    ret->items = take(base, &at, n * sizeof *ret->items);
    ret->tables = take(base, &at, (size_t)n_tables * r->cache.max_pages * sizeof *ret->tables);
    ret->cosines = take(base, &at, n * half * sizeof(float));
    ret->sines = take(base, &at, n * half * sizeof(float));
    ret->x = take(base, &at, (size_t)n * r->ld * sizeof(float));
    return at;
}

static size_t inputs_bytes(const struct lm_cuda_run *r) {
    struct lm_cuda_inputs ignored;
    return lm_cuda_inputs_place(r, LM_CHUNK, r->plan.n_requests, NULL, &ignored);
}

static size_t value_bytes(enum num_cache_type type) {
    return type == NUM_CACHE_F32 ? 4 : type == NUM_CACHE_F16 ? 2 : 1;
}

static enum num_cache_type cache_type(enum lm_kv_type kv) {
    return kv == LM_KV_F32 ? NUM_CACHE_F32 : kv == LM_KV_F16 ? NUM_CACHE_F16 : NUM_CACHE_Q8;
}

static struct lm_cuda_cache cache_of(const struct lm_config *c, enum lm_kv_type kv,
                                     uint32_t context) {
    struct lm_cuda_cache cache = {
        .type = cache_type(kv), .n_kv_heads = c->n_kv_heads, .d = c->head_dim};
    cache.max_pages = (context + LM_PAGE - 1) / LM_PAGE;
    cache.head_bytes = (size_t)2 * LM_PAGE * c->head_dim * value_bytes(cache.type);
    if (cache.type == NUM_CACHE_Q8)
        cache.head_bytes += (size_t)2 * LM_PAGE * sizeof(float);
    cache.page_bytes = cache.head_bytes * c->n_kv_heads * c->n_layers;
    return cache;
}

static uint32_t power_of_two(uint32_t n) {
    uint32_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

/* Sizes that follow from model and plan. */
static struct lm_cuda_run describe(const struct lm_model *m, const struct lm_plan *plan) {
    const struct lm_config *c = &m->config;
    struct lm_cuda_run r = {.m = m, .w = m->on_card, .plan = *plan};
    uint32_t each = (plan->context + LM_CUDA_SPLITS - 1) / LM_CUDA_SPLITS;
    r.type = m->compute == LM_F32 ? NUM_CUDA_F32 : NUM_CUDA_BF16;
    r.many = r.type == NUM_CUDA_BF16 && plan->n_requests > LM_CUDA_FEW;
    r.cache = cache_of(c, plan->kv, plan->context);
    r.ld = lm_cuda_width(c->n_state);
    r.ld_q = lm_cuda_width((size_t)c->n_heads * c->head_dim);
    r.ld_qkv = lm_cuda_width(((size_t)c->n_heads + 2 * c->n_kv_heads) * c->head_dim);
    r.ld_ffn = lm_cuda_width(c->n_ffn);
    r.split = (each + 255) / 256 * 256;
    r.split = r.split > LM_CUDA_SPLIT_LEAST ? r.split : LM_CUDA_SPLIT_LEAST;
    r.most_splits = power_of_two((plan->context + r.split - 1) / r.split);
    return r;
}

/* Gives every buffer its place from `base` on (NULL: only counts) and returns the bytes. */
static size_t buffers_place(struct lm_cuda_run *r, char *base) {
    const struct lm_config *c = &r->m->config;
    size_t at = 0, n = r->plan.n_requests, type = num_cuda_type_bytes(r->type);
    size_t widest = max_size(max_size(r->ld, r->ld_q), r->ld_ffn);
    size_t attention = (size_t)c->n_heads * c->head_dim * r->ld;
    attention = max_size(attention, (size_t)c->n_state * r->ld_q);
    size_t mlp = max_size((size_t)c->n_ffn * r->ld, (size_t)c->n_state * r->ld_ffn);
    size_t parts = n * c->n_heads * r->most_splits * (c->head_dim + 2);
    r->inputs = take(base, &at, inputs_bytes(r));
    r->qkv = take(base, &at, (size_t)LM_CHUNK * r->ld_qkv * 4);
    r->mixed = take(base, &at, (size_t)LM_CHUNK * r->ld_q * 4);
    r->gate = take(base, &at, (size_t)LM_CHUNK * r->ld_ffn * 4);
    r->up = take(base, &at, (size_t)LM_CHUNK * r->ld_ffn * 4);
    r->typed = take(base, &at, LM_CHUNK * widest * type);
    r->unpacked = take(base, &at, max_size(attention, mlp) * type);
    r->workspace = take(base, &at, LM_CUDA_GEMM_BYTES);
    r->logits = take(base, &at, n * c->n_vocab * 4);
    r->partial = take(base, &at, parts * 4);
    r->arrived = take(base, &at, n * c->n_kv_heads * 4);
    return at;
}

static uint64_t cuda_work_bytes(const struct lm_model *m, uint32_t n_requests, uint32_t context) {
    const struct lm_plan plan = {.n_requests = n_requests, .context = context, .kv = LM_KV_F16};
    struct lm_cuda_run r = describe(m, &plan);
    return buffers_place(&r, NULL);
}

static uint64_t cuda_page_bytes(const struct lm_model *m, enum lm_kv_type kv) {
    return cache_of(&m->config, kv, LM_PAGE).page_bytes;
}

/* ---- Create and destroy ---------------------------------------------------------------------- */

static void cuda_destroy(void *run) {
    struct lm_cuda_run *r = run;
    if (!r)
        return;
    cudaStreamSynchronize(r->w->stream);
    for (uint32_t i = 0; i < r->n_graphs; i++)
        cudaGraphExecDestroy(r->graphs[i].exec);
    if (r->pinned)
        cudaFreeHost(r->pinned);
    num_cuda_block_free(r->block);
    free(r->frequencies);
    free(r);
}

static int32_t take_memory(struct lm_cuda_run *r, struct num_err *err) {
    size_t pages = r->plan.n_pages * r->cache.page_bytes, work = buffers_place(r, NULL);
    size_t inputs = inputs_bytes(r);
    size_t logits = (size_t)r->plan.n_requests * r->m->config.n_vocab * sizeof(float);
    pages = (pages + LM_CUDA_ALIGN - 1) / LM_CUDA_ALIGN * LM_CUDA_ALIGN;
    int32_t status = num_cuda_block_alloc((void **)&r->block, pages + work, 0, err);
    if (status)
        return num_fail_in(err, "keys, values and buffers");
    r->cache.pages = r->block;
    buffers_place(r, r->block + pages);
    cudaError_t error = cudaHostAlloc((void **)&r->pinned, inputs + logits, cudaHostAllocDefault);
    if (!error)
        error = cudaMemsetAsync(r->block + pages, 0, work, r->w->stream);
    r->host_logits = (float *)(void *)(r->pinned + inputs);
    return num_cuda_fail(err, "pinned memory and buffers", error);
}

static int32_t set_frequencies(struct lm_cuda_run *r, struct num_err *err) {
    size_t half = r->m->config.head_dim / 2;
    r->frequencies = malloc(half * sizeof *r->frequencies);
    if (!r->frequencies)
        return num_fail_memory(err, "frequencies", half * sizeof *r->frequencies);
    lm_rope_frequencies(&r->m->config, r->plan.context, r->frequencies, &r->rope_scale);
    for (size_t i = 0; r->m->rope_factors && i < half; i++)
        r->frequencies[i] /= r->m->rope_factors[i];
    return SLUICE_OK;
}

static int32_t cuda_create(const struct lm_model *m, const struct lm_plan *plan, void **ret_run,
                           struct num_err *err) {
    struct lm_cuda_run *r = malloc(sizeof *r);
    if (!r)
        return num_fail_memory(err, "an engine", sizeof *r);
    *r = describe(m, plan);
    int32_t status = set_frequencies(r, err);
    if (!status)
        status = take_memory(r, err);
    if (status)
        cuda_destroy(r);
    else
        *ret_run = r;
    return status;
}

static void cuda_info(const void *weights, struct lm_card_info *ret) {
    const struct lm_cuda_weights *w = weights;
    memcpy(ret->name, w->device.name, sizeof ret->name);
    ret->bytes = w->bytes;
    ret->lost = num_cuda_is_broken();
}

static const float *cuda_logits(const void *run) {
    return ((const struct lm_cuda_run *)run)->host_logits;
}

const struct lm_card lm_card_cuda = {
    "cuda",      lm_cuda_load, lm_cuda_unload, cuda_info,      cuda_work_bytes, cuda_page_bytes,
    cuda_create, cuda_destroy, lm_cuda_prompt, lm_cuda_tokens, cuda_logits,
};

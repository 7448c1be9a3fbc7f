/* An engine's part on the card: memory, and what a pass works on (backend.c, pass.c). */
#ifndef LM_CUDA_RUN_H
#define LM_CUDA_RUN_H

#include "llm/cuda/cuda.h"

#define LM_CUDA_MAX_GRAPHS 32

/* What the host brings for a pass; packed, so that one copy does. */
struct lm_cuda_inputs {
    struct lm_cuda_item *items;
    uint32_t *tables;       /* (n_tables, max_pages) */
    float *cosines, *sines; /* (n, d / 2) */
    float *x;               /* (n, ld): embeddings, and then the residual stream */
};

/* A step of tokens, recorded. */
struct lm_cuda_graph {
    uint32_t n, n_splits;
    cudaGraphExec_t exec;
};

struct lm_cuda_run {
    const struct lm_model *m;
    struct lm_cuda_weights *w;
    struct lm_plan plan;
    enum num_cuda_type type; /* of a prompt's products */
    /* steps of tokens use lm_cuda_product_many(), of one token too: sums do not depend on the
     * others */
    bool many;
    struct lm_cuda_cache cache;
    uint32_t ld, ld_q, ld_qkv, ld_ffn; /* floats from row to row */
    uint32_t split, most_splits;
    float *frequencies; /* (d / 2), on the host */
    float rope_scale;

    char *block;  /* pages, then buffers */
    char *inputs; /* packed */
    float *qkv, *mixed, *gate, *up;
    void *typed;    /* (LM_CHUNK, widest): a prompt's rows in the type */
    void *unpacked; /* one matrix in the type */
    char *workspace;
    float *logits; /* (n_requests, V) */
    float *partial;
    uint32_t *arrived;

    char *pinned; /* inputs, then logits */
    float *host_logits;
    struct lm_cuda_graph graphs[LM_CUDA_MAX_GRAPHS];
    uint32_t n_graphs;
};

/* Places for n rows and so many tables from `base` on; returns the bytes. */
size_t lm_cuda_inputs_place(const struct lm_cuda_run *r, uint32_t n, uint32_t n_tables, char *base,
                            struct lm_cuda_inputs *ret);

/* pass.c */
int32_t lm_cuda_prompt(void *run, const struct lm_item *items, size_t n, bool logits,
                       bool (*stop)(void *ctx), void *ctx, bool *ret_stopped, struct num_err *err);
int32_t lm_cuda_tokens(void *run, const struct lm_item *items, size_t n, struct num_err *err);

#endif

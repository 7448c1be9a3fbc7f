/*
 * A language model on a card: what load.c brings there, what backend.c makes an engine of, and the
 * kernels of a pass. Two blocks are taken: weights at load; keys, values and buffers at create.
 * Letters for sizes as in llm/cpu.h. Rows of floats are filled up with zeros to groups of 32.
 */
#ifndef LM_CUDA_CUDA_H
#define LM_CUDA_CUDA_H

#include <cuda_runtime_api.h>

#include "llm/cpu.h"
#include "llm/cuda/matrix.h"
#include "num/cuda/device.h"
#include "num/cuda/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LM_CUDA_ALIGN       256
#define LM_CUDA_SPLITS      64 /* parts of a text that are attended to at the same time, at most, */
#define LM_CUDA_SPLIT_LEAST 512 /* ... of so many positions, at least */
#define LM_CUDA_MAX_HEAD    256
#define LM_CUDA_GEMM_BYTES  ((size_t)32 << 20)

struct lm_cuda_layer {
    float *attn_norm, *mlp_norm; /* (D) */
    float *q_norm, *k_norm;      /* (d), or NULL */
    struct lm_cuda_matrix q, k, v, out, gate, up, down;
};

struct lm_cuda_weights {
    struct num_cuda_device device;
    struct num_cuda_gemm *gemm;
    cudaStream_t stream;
    char *block;
    size_t bytes;
    struct lm_cuda_layer *layers;
    float *final_norm;
    struct lm_cuda_matrix vocabulary;
};

/* What a token of a pass is, on the card. */
struct lm_cuda_item {
    int32_t position; /* -1: none, a row that fills up */
    uint32_t table;   /* row of the tables of pages */
};

static inline uint32_t lm_cuda_width(size_t n) {
    return (uint32_t)((n + LM_CUDA_GROUP - 1) / LM_CUDA_GROUP * LM_CUDA_GROUP);
}

/* ---- load.c ---------------------------------------------------------------------------------- */

int32_t lm_cuda_load(const struct lm_model *model, int device, uint64_t memory, void **ret_weights,
                     uint64_t *ret_bytes, uint64_t *ret_room, struct num_err *err);
void lm_cuda_unload(void *weights);

/* ---- Keys and values (attend.cu, rows.cu, products.cu) --------------------------------------- */

/* A page: [layer][head] keys (32, d), values (32, d), and of bytes the scales of keys (32) and
 * values (32). */
struct lm_cuda_cache {
    char *pages;
    size_t page_bytes, head_bytes; /* head_bytes: of one head of a layer */
    size_t layer;                  /* where the layer's first head begins in a page, bytes */
    enum num_cache_type type;
    const uint32_t *tables; /* rows of max_pages */
    uint32_t max_pages, n_kv_heads, d;
};

/* ---- Products of rows (products.cu, products_many.cu) ---------------------------------------- */

#define LM_CUDA_FEW  8  /* rows that lm_cuda_product_run() reads weights once for */
#define LM_CUDA_MANY 64 /* ... and lm_cuda_product_many() */

enum lm_cuda_form {
    LM_CUDA_STORE, /* y = */
    LM_CUDA_ADD,   /* y += */
    LM_CUDA_GATE,  /* two matrices: y = silu(first) * second */
    /* queries, keys, values: turned by their positions; queries to y, the others to the cache */
    LM_CUDA_PLACE,
};

/* What heads are turned by, and norms in each head (rows.cu). */
struct lm_cuda_place {
    const struct lm_cuda_item *items;
    const float *cosines, *sines; /* (n, d / 2) */
    struct lm_cuda_cache cache;
    const float *q_norm, *k_norm; /* or NULL */
    float eps;
    uint32_t n_heads;
};

#define LM_CUDA_PARTS 3

struct lm_cuda_product {
    /* side by side in y; n_parts of one type and k */
    const struct lm_cuda_matrix *parts[LM_CUDA_PARTS];
    uint32_t n_parts;
    const float *x; /* (n, ldx), zeros behind k */
    uint32_t ldx;
    const float *gamma; /* (k, filled up): x is normed first; or NULL */
    float eps;
    uint32_t n;
    float *y;
    uint32_t ldy;
    enum lm_cuda_form form;
    const struct lm_cuda_place *place; /* LM_CUDA_PLACE */
    uint32_t first_head; /* LM_CUDA_PLACE: of part 0, counted over queries, keys, values */
};

/* Sums are floats in an order that does not depend on n. LM_CUDA_GATE and PLACE: as lm_cuda_fuses()
 * allows. */
cudaError_t lm_cuda_product_run(const struct lm_cuda_product *product, cudaStream_t stream);

/* The same for up to LM_CUDA_MANY rows with matrix instructions (products_many.cu), which read
 * weights once and round them to bfloat16: x (n, ldx) are the inputs in bfloat16, normed already;
 * `x`, `gamma` and `eps` of the product are not looked at. n_processors: multiprocessors of the
 * card, among which the work is divided. What a row yields does not depend on the others either,
 * but it is not what lm_cuda_product_run() makes of it. */
cudaError_t lm_cuda_product_many(const struct lm_cuda_product *product, const void *x,
                                 uint32_t n_processors, cudaStream_t stream);

/* ret (n_out, groups * 32) in the type, exact but for its rounding. */
cudaError_t lm_cuda_unpack(const struct lm_cuda_matrix *matrix, enum num_cuda_type type, void *ret,
                           cudaStream_t stream);

/* ---- Rows (rows.cu) -------------------------------------------------------------------------- */

/* ret (n, width) in the type = x (n, width), normed where gamma (width) is given; `k` counts for
 * the mean. */
cudaError_t lm_cuda_rows(const float *x, uint32_t n, uint32_t k, uint32_t width, const float *gamma,
                         float eps, enum num_cuda_type type, void *ret, cudaStream_t stream);

/* ret (n, width) in the type = silu(gate) * up, (n, width) floats. */
cudaError_t lm_cuda_gate(const float *gate, const float *up, uint32_t n, uint32_t width,
                         enum num_cuda_type type, void *ret, cudaStream_t stream);

/* y (n, ldy): queries, keys and values of n items. Norms and turns heads, puts keys and values into
 * the cache. */
cudaError_t lm_cuda_heads(const struct lm_cuda_place *place, float *y, uint32_t ldy, uint32_t n,
                          cudaStream_t stream);

/* ---- Attention (attend.cu) ------------------------------------------------------------------- */

struct lm_cuda_attention {
    struct lm_cuda_cache cache;
    const struct lm_cuda_item *items;
    const float *q; /* (n, ldq) */
    float *ret;     /* (n, ld_ret) */
    uint32_t ldq, ld_ret;
    uint32_t n, n_heads;
    uint32_t window;          /* 0: none */
    uint32_t split, n_splits; /* positions of a part; parts */
    float *partial;           /* (n, H, n_splits, d + 2); unused where there is one part */
    uint32_t *arrived;        /* (n, G) zeros, and again after it */
};

/* Causal: an item sees what came before it in its text, and itself. Sums are floats; what an item
 * yields depends on `split`, not on the other items. */
cudaError_t lm_cuda_attend(const struct lm_cuda_attention *attention, cudaStream_t stream);

/* The same with matrix instructions, for items of one prompt at consecutive positions
 * (attend_prompt.cu); `split` and what follows it are not looked at. Queries and weights are halves
 * on the way. Only where lm_cuda_attends_prompts(). */
bool lm_cuda_attends_prompts(const struct lm_cuda_cache *cache);
cudaError_t lm_cuda_attend_prompt(const struct lm_cuda_attention *attention, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

/*
 * The network on the CPU: loaded weights (load.c), products of several layers at once (products.c),
 * attention over pages of keys and values (attend.c), and the pass through all layers (cpu.c).
 * Letters for sizes: D width of the stream, H heads of queries, G of keys and values, d width of a
 * head, F inside the MLP, V tokens. Rows of buffers are whole panels of 32 floats.
 *
 * Two kinds of pass. A prompt's tokens go through together, up to LM_CHUNK at a time: weights that
 * are stored as blocks become bfloat16 a panel at a time. Tokens of running requests, one each,
 * meet blocks as they are. What a token yields depends on its kind of pass and on what came before
 * it in its own text, not on its neighbours.
 */
#ifndef LM_CPU_H
#define LM_CPU_H

#include "llm/card.h"
#include "llm/generate.h"
#include "llm/weights.h"
#include "num/cpu/linear.h"
#include "num/cpu/quant.h"

#define LM_PAGE     NUM_CACHE_BLOCK /* positions */
#define LM_CHUNK    256             /* tokens of a prompt in one pass */
#define LM_MAX_JOBS 3               /* layers that share inputs: queries, keys, values */

/* ---- Weights -------------------------------------------------------------------------------- */

/* A layer in one of two forms. */
struct lm_linear {
    struct num_stored stored; /* turned blocks; its k is 0: packed */
    struct num_linear packed;
};

struct lm_layer {
    float *attn_norm, *mlp_norm;     /* (D) */
    float *q_norm, *k_norm;          /* (d), or NULL */
    struct lm_linear q, k, v;        /* D -> H d, G d, G d */
    struct lm_linear out;            /* H d -> D */
    struct lm_linear gate, up, down; /* D -> F, D -> F, F -> D */
};

struct lm_model {
    struct lm_config config;
    enum lm_compute compute;
    const struct num_kernels *kernels;
    const struct num_quant_kernels *quant;
    struct num_pool *pool;
    struct lm_weights *files;
    const struct num_weights *embedding; /* (V, D), in the mapped file */
    struct num_arena arena;              /* owns what follows */
    struct lm_layer *layers;
    float *final_norm;           /* (D) */
    float *rope_factors;         /* (d / 2), or NULL */
    struct lm_linear vocabulary; /* D -> V */
    uint64_t bytes;
    const struct lm_card *card; /* where it runs; NULL: the processor, which has `layers` */
    void *on_card;              /* the card's weights */
    uint64_t card_room;         /* for these and an engine, bytes */
    struct lm_tokenizer *tokenizer;
    char *chat_template;
};

static inline size_t lm_padded(size_t n) {
    return NUM_PANELS(n) * NUM_PANEL;
}

/* The row of the file that holds output `out`; `head`: rows of a head whose pairs are interleaved,
 * 0 where rows are in order. */
static inline size_t lm_row_of(size_t out, size_t head) {
    if (head == 0)
        return out;
    size_t e = out % head, half = head / 2;
    return out - e + (e < half ? 2 * e : 2 * (e - half) + 1);
}

/* ---- Products (products.c) ------------------------------------------------------------------- */

struct lm_job {
    const struct lm_linear *layer;
    enum num_form form;
    float *y;
    size_t ldy;
};

struct lm_products {
    const struct lm_model *model;
    char *inputs[LM_MAX_JOBS]; /* converted rows; the first has room for the widest layer */
    float *scales[LM_MAX_JOBS];
    char *panels; /* of each thread: panel_bytes */
    size_t panel_bytes;
};

/* Bytes of one row of k inputs, whatever layer it is for. */
size_t lm_input_bytes(size_t k);

/* n rows of x (k wide, ldx floats apart) through n_jobs layers; `prompt`: the kind of pass. */
void lm_products_run(const struct lm_products *p, const struct lm_job *jobs, size_t n_jobs,
                     const float *x, size_t ldx, size_t n, bool prompt);

/* ---- Passes (cpu.c) -------------------------------------------------------------------------- */

struct lm_item {
    int32_t token;
    uint32_t position;
    const uint32_t *pages; /* of its request, one for every LM_PAGE positions */
};

struct lm_cpu {
    const struct lm_model *model;
    enum num_cache_type kv_type;
    size_t head_bytes;  /* of one head in a page, keys and values */
    size_t layer_bytes; /* G of them */
    size_t page_bytes;  /* all layers */
    char *pages;
    float *frequencies; /* (d / 2) */
    float rope_scale;
    struct num_arena arena; /* owns frequencies and buffers */
    struct num_arena page_arena;

    struct lm_products products;
    size_t ld, ld_q, ld_kv, ld_ffn, ld_logits;       /* floats from row to row */
    float *x, *norm, *q, *k, *v, *mixed, *gate, *up; /* (LM_CHUNK, ...) */
    float *cosines, *sines;                          /* (LM_CHUNK, d / 2) */
    float *logits;                                   /* (n_requests, ld_logits) */
    char *scratch;     /* of each thread, for attention: lm_attend_bytes() */
    char *prompt_work; /* keys and values of one prompt as panels: lm_attend_prompt_bytes() */
    uint32_t context;
};

/* What a runtime of n_requests takes beside its pages, and one page, bytes. */
uint64_t lm_cpu_work_bytes(const struct lm_model *model, uint32_t n_requests, uint32_t context);
uint64_t lm_cpu_page_bytes(const struct lm_model *model, enum lm_kv_type kv);

/* `kv` is none of LM_KV_AUTO; `context` is the longest text (for LM_ROPE_DYNAMIC). */
int32_t lm_cpu_create(const struct lm_model *model, uint32_t n_requests, uint32_t n_pages,
                      uint32_t context, enum lm_kv_type kv, struct lm_cpu **ret,
                      struct num_err *err);
void lm_cpu_destroy(struct lm_cpu *cpu); /* takes NULL */

/* Up to LM_CHUNK tokens of one prompt, at consecutive positions; `logits`: those of the last one
 * are wanted, in cpu->logits. `stop` (or NULL) is asked between layers; false: it said yes. */
bool lm_cpu_prompt(struct lm_cpu *cpu, const struct lm_item *items, size_t n, bool logits,
                   bool (*stop)(void *ctx), void *ctx);

/* One token each of n requests; logits of all, in order. */
void lm_cpu_tokens(struct lm_cpu *cpu, const struct lm_item *items, size_t n);

/* ---- Attention (attend.c) -------------------------------------------------------------------- */

struct lm_attention {
    const struct lm_cpu *cpu;
    const struct lm_item *items;
    size_t n, layer;
    uint32_t window; /* 0: none */
    bool prompt;     /* items are of one prompt */
};

size_t lm_attend_bytes(const struct lm_model *model);

/* Puts keys and values of all items into their pages, then mixes for each item: cpu->q to
 * cpu->mixed. */
void lm_attend(const struct lm_attention *a);

/* The block that holds a position's keys and values, of one head, in the pages of an item. */
struct num_cache_block lm_attention_block(const struct lm_attention *a, size_t item, size_t head,
                                          size_t position);

/* Positions [*ret_low, *ret_high) are what an item sees. */
void lm_attention_visible(const struct lm_attention *a, size_t item, size_t *ret_low,
                          size_t *ret_high);

/* Mixing in bfloat16 for the items of one prompt (attend_prompt.c), where that pays; bytes of each
 * thread and of all. */
bool lm_attend_prompt_pays(const struct lm_model *model);
size_t lm_attend_prompt_scratch(const struct lm_model *model);
size_t lm_attend_prompt_bytes(const struct lm_model *model, uint32_t context);
void lm_attend_prompt(const struct lm_attention *a);

#endif

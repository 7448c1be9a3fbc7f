/*
 * The decoder's passes on a CUDA device, shared by decoder.cu (the backend's table), pass.cu (the
 * order of kernels, graphs), products.cu and decoder_attention.cu.
 *
 * A pass takes up to N items, each a token at a position of a row, through all layers; a step is a
 * pass of one item a row. What an item is, and which items read one window, lies on the device, so
 * that one recorded graph serves every step of up to as many items:
 *
 *     embed -> (norm, qkv, cells) -> self -> (out, add) -> (norm, q) -> cross -> (out, add)
 *           -> (norm, fc1, gelu) -> (fc2, add) -> ... -> (norm, logits)
 *
 * Brackets are one kernel each where few items pass, and a norm and a product otherwise.
 */
#ifndef WH_CUDA_DECODER_H
#define WH_CUDA_DECODER_H

#include "whisper/cuda/align.h"
#include "whisper/cuda/cuda.h"
#include "whisper/cuda/decoder_plan.h"
#include "whisper/cuda/rows.h"

#define WH_CUDA_FEW        32 /* items of a pass that the kernels for few rows take */
#define WH_CUDA_MAX_GRAPHS 64

#ifdef __cplusplus
namespace wh {
struct pass; /* pass.cuh */
}
typedef void wh_cuda_run(struct wh::pass *p);
#else
typedef void wh_cuda_run(void *pass);
#endif

/* How many items a pass takes, in how many groups of how many items at most. */
struct wh_cuda_shape {
    uint32_t n, n_groups, shared;
};

/* A recorded step, and what it was recorded from. */
struct wh_cuda_graph {
    struct wh_cuda_shape shape;
    wh_cuda_run *run;
    cudaGraphExec_t exec;
};

/* The search on its way: search.cu. */
struct wh_cuda_searches {
    struct wh_cuda_search_host host; /* pinned: starts at `admitted` */
    uint32_t *live;                  /* (n_rows): first rows of the requests, in their order */
    uint32_t n_live, n_tickets;
    bool laid_out; /* the items on the device are those of `live`, in this shape */
    struct wh_cuda_shape shape;
    cudaEvent_t run_over[2]; /* behind every other run of steps */
    uint32_t turn;           /* of the next run */
    bool under_way;          /* the run before it is to be waited for */
};

struct wh_cuda_decoder {
    struct wh_cuda_decoder_work work;
    struct wh_cuda_decoder_work host; /* pinned, the inputs only: what goes into work's */
    cudaEvent_t inputs_read;          /* behind the copy of `host`, where inputs_busy */
    bool inputs_busy;
    struct wh_cuda_rows rows;
    struct wh_cuda_searches search;
    struct wh_cuda_align_text to_align[WH_CUDA_TEXTS]; /* on their way to work.to_align */
    void *wishes;                                      /* (n_tokens): of wh_cuda_prefill() */
    struct wh_cuda_graph graphs[WH_CUDA_MAX_GRAPHS];
    uint32_t n_graphs;
};

/* Whether kernels may start before the one before has ended: see decoder.cuh. */
static inline bool wh_cuda_early(const struct wh_cuda *m) {
    return m->device.capability >= 90;
}

/* The cells of a layer, (n_rows, C, 2 D). */
static inline char *wh_cuda_cells(const struct wh_cuda *m, uint32_t layer) {
    size_t row = (size_t)m->c.dims.n_text_ctx * 2 * m->c.dims.n_state;
    return m->block + m->plan.self_kv + layer * m->c.n_rows * row * num_cuda_type_bytes(m->c.type);
}

/* (wh_cuda_logits_rows(), V). */
static inline float *wh_cuda_logits(const struct wh_cuda *m) {
    return (float *)(void *)(m->block + m->plan.logits);
}

/* search.cu; called by the decoder's. destroy() takes what create() has left on failure. */
int32_t wh_cuda_search_create(struct wh_cuda *m, struct num_err *err);
void wh_cuda_search_destroy(struct wh_cuda *m);
#ifdef __cplusplus
extern "C" const struct wh_backend_search wh_cuda_search_table;
#endif

#endif

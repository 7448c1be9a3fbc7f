/*
 * The decoder's items and buffers on a CUDA device: sizes and places, without a CUDA type. Letters
 * for sizes as in model.h; N is config.n_tokens, d = WH_CUDA_HEAD.
 */
#ifndef WH_CUDA_DECODER_PLAN_H
#define WH_CUDA_DECODER_PLAN_H

#include "whisper/cuda/plan.h"
#include "whisper/cuda/search.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WH_CUDA_SHARED 8  /* items of one window that attend to it together, at most */
#define WH_CUDA_TEXTS  64 /* that are aligned together, at most */
#define WH_CUDA_CHUNKS 32 /* parts that the keys of a window are cut into, at most */

/* A token at a position; row < 0: nothing. `cell`: see rows.h. */
struct wh_cuda_item {
    int32_t row, position, token;
    uint32_t slot, cell;
};

struct wh_cuda_align_text; /* align.h */

/* Items [first, first + n) read window `slot`; n is at most WH_CUDA_SHARED, 0: nothing. */
struct wh_cuda_group {
    uint32_t first, n, slot;
};

/* Buffers between kernels, on the device. (N, ...) each. */
struct wh_cuda_decoder_work {
    /* The inputs of a pass: they lie side by side, and come from the host in one copy. */
    struct wh_cuda_item *items;
    struct wh_cuda_group *groups;
    uint32_t *wanted;           /* items whose logits are wanted */
    int32_t *targets;           /* of each of these: the token whose probability is wanted */
    struct wh_cuda_seat *seats; /* of the items, where the search chooses their tokens */
    size_t inputs_bytes;        /* from items on */

    uint16_t *cells;     /* (n_rows, C) */
    uint16_t *cell_copy; /* (n_rows, C) */
    float *x;            /* (N, D): the residual stream */
    void *norm;          /* (N, D) in the type */
    float *qkv;          /* (N, 3 D) */
    void *mixed;         /* (N, D) in the type: what attention found */
    void *hidden;        /* (N, F) in the type */
    float *partial;      /* (parts, H, d + 2): sums of a chunk of keys, its maximum and its sum */
    uint32_t *arrived;   /* (N, H): chunks that are done; zeros between kernels */
    void *absorbed;    /* (N, H, D) in the type: queries through the keys' matrix; but in STORED */
    float *found;      /* (absorbed parts, H, D): sums of a chunk of positions; likewise */
    float *found_sums; /* (absorbed parts, H, 2): maximum and sum of their weights; likewise */
    float *weights;    /* (alignment heads, N, T): of attention() */
    float *probs;      /* (N): likewise */
    struct wh_cuda_align_text *to_align; /* (WH_CUDA_TEXTS): likewise, as are ... */
    float *fit;                          /* (N, T) */
    uint8_t *steps;                      /* (N, T) */
    uint32_t *starts;                    /* (N) */
    float *chosen; /* (logits rows, D): the rows of x whose logits are wanted */

    /* Of the search: struct wh_cuda_choice says what they are. */
    struct wh_cuda_search *searches;
    int32_t *listed; /* (n_rows, WH_CUDA_LISTED) */
    uint16_t *own;
    int32_t *texts;
    uint32_t *over;
    struct wh_cuda_part *parts;
    struct wh_cuda_offer *offers;
    size_t bytes;
};

/* Parts that `partial` has room for: an item's chunk each. */
static inline size_t wh_cuda_parts(const struct wh_cuda_config *c) {
    return WH_CUDA_SHARED * ((size_t)c->n_tokens + 256);
}

/* Parts that `found` has room for. */
static inline size_t wh_cuda_absorbed_parts(const struct wh_cuda_config *c) {
    return c->cross == WH_CUDA_STORED ? 0 : 2 * (size_t)c->n_tokens + 288;
}

/* Whether a pass of so many groups of up to `shared` items reads the encoder's output instead of
 * keys and values. Items that share a window share what is read of it, and only add to the work:
 * then stored ones are the better choice. */
static inline bool wh_cuda_absorbs(const struct wh_cuda_config *c, uint32_t n_groups,
                                   uint32_t shared) {
    return c->cross == WH_CUDA_ABSORBED ||
           (c->cross == WH_CUDA_BY_BATCH && shared == 1 && n_groups >= WH_CUDA_ABSORB_FROM);
}

/* Gives every buffer its place from `base` on (NULL: only counts). */
void wh_cuda_decoder_place(struct wh_cuda_decoder_work *work, const struct wh_cuda_config *c,
                           void *base);

/* The same for the search's pinned memory; returns the bytes. */
size_t wh_cuda_search_place(struct wh_cuda_search_host *host, const struct wh_cuda_config *c,
                            void *base);

/* Keys that one block of the cross-attention takes, where n_groups groups of up to `shared` items
 * attend, at most n_tokens in all: enough blocks for the card, no more parts than there is room
 * for, no more scores than shared memory holds. In the exact mode always the same. */
uint32_t wh_cuda_chunk_keys(const struct wh_cuda_config *c, uint32_t n_groups, uint32_t shared,
                            int sm_count);

/* The same for blocks of cross_absorbed.cu, n_rows of them for all groups: a multiple of 16. */
uint32_t wh_cuda_absorbed_chunk(const struct wh_cuda_config *c, uint32_t n_items, uint32_t n_rows,
                                int sm_count);

#ifdef __cplusplus
}
#endif

#endif

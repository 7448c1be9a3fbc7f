/*
 * Attention of many queries of one head to keys and values in panels (kv.h): softmax(q K^T /
 * sqrt(d)) V without ever holding more than a few scores. Queries may see all positions, or each a
 * range of its own (a prompt's tokens see what came before them, within a window or not).
 *
 * Blocks of keys meet some queries with a running softmax over blocks (Milakov and Gimelshein,
 * "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022). Blocks
 * begin at fixed positions, whatever a query sees, so its result does not depend on its neighbours.
 * In bfloat16, weights are rounded and their sum is not (on matrix tiles it is of rounded ones).
 */
#ifndef NUM_CPU_ATTEND_H
#define NUM_CPU_ATTEND_H

#include "num/cpu/kv.h"

/* Blocks of so many positions begin at multiples of it: from the one that holds the lowest position
 * that a query sees, all positions up to its last are read. */
#define NUM_ATTEND_KEYS 256

/* Positions [low, high), not empty. */
struct num_sight {
    size_t low, high;
};

struct num_attend {
    const struct num_kernels *kernels;
    const struct num_kv *kv;
    const uint32_t *head;          /* keys and values, as kv says */
    size_t n_keys;                 /* positions that each query sees, */
    const struct num_sight *sight; /* or (n_queries), if not NULL; neither end ever falls */
    size_t n_queries;
    const void *q; /* (n_queries, d_words words) in kv's type; NUM_ROW_PAD more rows may be read */
    size_t ldq;    /* bytes from one row to the next */
    enum num_compute out_type; /* float or bfloat16 */
    void *out;                 /* (n_queries, d); may be where the queries are */
    size_t ld_out;             /* bytes */
};

/* Bytes of working memory, on a cache line's boundary. */
size_t num_attend_bytes(const struct num_kernels *kernels, const struct num_kv *kv);

/* On the calling thread, and not between the kernels' enter() and leave(). */
void num_attend(const struct num_attend *a, void *work);

#endif

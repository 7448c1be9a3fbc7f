/*
 * Keys and values of one head of an attention, in panels (kernels.h), so that attention is two
 * products:
 *
 *     keys   (len / 32, d_words, 32)    scores = q K^T   position t: panel t / 32, column t % 32
 *     values (d / 32, len_words, 32)    out = weights V  element e: panel e / 32, column e % 32
 *
 * The values lie behind the keys. Floats or bfloat16. Memory is the caller's; where it comes
 * zeroed, or was only ever written through these functions, products may read all of it. Functions
 * that write may run on any thread, on different heads or panels of positions at the same time.
 */
#ifndef NUM_CPU_KV_H
#define NUM_CPU_KV_H

#include "num/cpu/kernels.h"

struct num_kv {
    enum num_compute type;
    size_t d, len;                /* of one position; positions, whole panels */
    size_t d_words, len_words;    /* words of one position, and of all */
    size_t key_words, head_words; /* of all keys; of keys and values */
};

void num_kv_init(struct num_kv *ret, enum num_compute type, size_t len, size_t d);

/* Sets position t: k and v (d). */
void num_kv_set(const struct num_kv *kv, uint32_t *head, size_t t, const float *k, const float *v);

/* Sets n positions from `first` (even) on; rows of k and v, in kv's type, lie ld values apart.
 * Where n is odd the position behind them becomes zero. */
void num_kv_fill(const struct num_kv *kv, uint32_t *head, size_t first, size_t n, const void *k,
                 const void *v, size_t ld);

/* Zeroes what products read beyond n positions of d elements, which num_kv_fill() does not
 * write. */
void num_kv_prepare(const struct num_kv *kv, uint32_t *head, size_t n);

/* Copies the first n positions. */
void num_kv_copy(const struct num_kv *kv, size_t n, uint32_t *to, const uint32_t *from);

#endif

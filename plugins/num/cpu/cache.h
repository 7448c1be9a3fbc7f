/*
 * Keys and values of attention, kept in blocks of 32 positions for one head. Within a block
 *
 *     keys    (d, 32)            element e of position t at [e][t]: 32 scores at once, no sums
 *                                across
 *     values  (dp / 32, 32, 32)  element e of position t at [e / 32][t][e % 32]; dp: d up to whole
 *                                32
 *
 * as floats, half floats or signed bytes; bytes have a scale for each position, of keys and of
 * values. Sums run over e, and over t, in order: a row's result does not depend on the other rows.
 */
#ifndef NUM_CPU_CACHE_H
#define NUM_CPU_CACHE_H

#include <stddef.h>
#include <stdint.h>

#define NUM_CACHE_BLOCK 32

enum num_cache_type { NUM_CACHE_F32, NUM_CACHE_F16, NUM_CACHE_Q8 };

static inline size_t num_cache_element(enum num_cache_type type) {
    return type == NUM_CACHE_F32 ? 4 : type == NUM_CACHE_F16 ? 2 : 1;
}

/* d up to whole panels. */
static inline size_t num_cache_width(size_t d) {
    return (d + 31) / 32 * 32;
}

/* Bytes of one block, whole cache lines: keys, values, then scales of keys and of values. */
static inline size_t num_cache_bytes(enum num_cache_type type, size_t d) {
    size_t values = NUM_CACHE_BLOCK * (d + num_cache_width(d)) * num_cache_element(type);
    return (values + (type == NUM_CACHE_Q8 ? 2 * NUM_CACHE_BLOCK * sizeof(float) : 0) + 63) / 64 *
           64;
}

struct num_cache_block {
    enum num_cache_type type;
    size_t d;
    void *at; /* num_cache_bytes(), on a cache line */
};

static inline void *num_cache_values(const struct num_cache_block *b) {
    return (char *)b->at + NUM_CACHE_BLOCK * b->d * num_cache_element(b->type);
}

/* Scales of keys; those of values are the 32 behind them. */
static inline float *num_cache_scales(const struct num_cache_block *b) {
    return (float *)((char *)b->at + NUM_CACHE_BLOCK * (b->d + num_cache_width(b->d)));
}

#endif

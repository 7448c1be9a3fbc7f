/*
 * Innermost loops of networks on the CPU, one table for each instruction set; num_kernels() picks
 * the best that this processor has. The loops are written once (vec.inc, products.inc, rows.inc)
 * and compiled for each set; kernels_amx.c adds products on matrix tiles.
 *
 * Numbers come in three types. Whatever the type, a matrix is seen as 32-bit words along k: one
 * float, two bfloat16 or four signed bytes to a word.
 *
 * "Panels" are the layout of every matrix that stays: W (n_out, k) is cut into groups of 32
 * outputs, each stored with the words of its outputs side by side, so that a product streams
 * through memory in order whatever the number of rows. What is missing to whole panels and whole
 * words is filled up with zeros.
 *
 *     W[n][word]  ->  w[n / 32][word][n % 32]
 *
 * The same layout is a row of vectors for the dot-product instructions and a pair of tiles for
 * AMX.
 */
#ifndef NUM_CPU_KERNELS_H
#define NUM_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/cpu/cache.h"

#define NUM_PANEL 32

/* Panels needed for n outputs. */
#define NUM_PANELS(n) (((n) + NUM_PANEL - 1) / NUM_PANEL)

/* Rows of operands and sums that block() may touch beyond n_rows: up to a multiple of this. */
#define NUM_ROW_PAD 16

enum num_compute { NUM_COMPUTE_F32, NUM_COMPUTE_BF16, NUM_COMPUTE_INT8 };

/* Words of k values: floats as they are; 16 words (a tile's row, 64 bytes) at a time for the
 * others. */
static inline size_t num_words(enum num_compute type, size_t k) {
    size_t per_row = type == NUM_COMPUTE_BF16 ? 32 : 64;
    return type == NUM_COMPUTE_F32 ? k : (k + per_row - 1) / per_row * 16;
}

/* Elements in a word. */
static inline size_t num_per_word(enum num_compute type) {
    return type == NUM_COMPUTE_F32 ? 1 : type == NUM_COMPUTE_BF16 ? 2 : 4;
}

/* One product of some rows with some panels. Sums are float, int32 for bytes. */
struct num_product {
    enum num_compute type;
    const void *x;      /* (n_rows, n_words words) */
    size_t ldx;         /* bytes from one row to the next */
    size_t n_words;     /* a multiple of 16 but for floats */
    const uint32_t *w;  /* n_panels panels of (n_words, 32) words, */
    size_t panel_words; /* each so many words behind the one before */
    size_t n_panels;
    const int32_t *offset; /* bytes only: -128 sum_k W[n][k] for each output (see products.inc) */
    const void *ahead;     /* what block() is to bring closer meanwhile, in whole lines */
    size_t ahead_bytes;
};

/* What becomes of sums. GELU is the exact form (with erf; within 1e-6 of it) where floats come out,
 * and within 1e-4 of it where bfloat16 do. */
enum num_form {
    NUM_FORM_F32,      /* y = sum + bias */
    NUM_FORM_ADD_F32,  /* y += sum + bias */
    NUM_FORM_GELU_F32, /* y = gelu(sum + bias) */
    NUM_FORM_BF16,     /* as above, rounded to nearest even */
    NUM_FORM_GELU_BF16,
};

struct num_finish {
    enum num_form form;
    void *y;                /* float or bfloat16 */
    size_t ldy;             /* elements */
    const float *bias;      /* (n_out), or NULL */
    const float *out_scale; /* bytes: (n_out); else NULL and the sums are floats */
    const float *row_scale; /* bytes: (n_rows) */
};

/* Attention of up to NUM_FLASH_ROWS queries of one head to all of n_keys keys, all bfloat16. */
struct num_flash {
    const void *q; /* (n_queries, 32 words) */
    size_t ldq;    /* bytes */
    size_t n_queries, n_keys, len_words;
    const uint32_t *keys, *values; /* panels, as num/cpu/kv.h has them */
    float scale;                   /* of scores, for powers of 2 */
    float *out; /* (n_queries, ld_out): sums of weights times values, 64 elements */
    size_t ld_out;
    float *sums; /* (n_queries): of weights */
};

#define NUM_FLASH_ROWS 32
#define NUM_FLASH_MOST 0x1p60f

/* Softmax of one block of scores in a running softmax over blocks, for each row. */
struct num_running {
    float max; /* largest scaled score so far; start at minus infinity */
    float sum; /* of 2^(score - max); start at 0 */
    float fix; /* out: what sums of earlier blocks are to be multiplied with */
};

struct num_kernels {
    const char *name;        /* "amx", "avx512bf16", "avx512", "avx2", "sse2"; "neon" */
    bool native_bf16;        /* products of bfloat16 are no slower than those of floats */
    size_t block_rows;       /* rows that block() likes at a time, */
    uint8_t block_panels[3]; /* and panels, for each type */
    size_t few_rows;         /* up to so many rows, few() beats block() */

    /* To be called by a thread before block(), and after its last one. */
    void (*enter)(void);
    void (*leave)(void);

    /*
     * sums[r][n] (rows ld words apart) = or += sum_k x[r][k] W[n][k]. Every sum runs over k in
     * order (AMX: two interleaved orders), so the result of a row does not depend on the other
     * rows. Rows of x may be read and rows of sums written up to a multiple of NUM_ROW_PAD.
     */
    void (*block)(const struct num_product *p, size_t n_rows, bool accumulate, void *sums,
                  size_t ld);

    /* The same for few rows, none touched beyond n_rows: reads the panels at the speed of memory.
     * A float row comes out as from block(), to the bit. */
    void (*few)(const struct num_product *p, size_t n_rows, void *sums, size_t ld);

    /* Finishes sums of outputs [first_out, first_out + n_out), n_out whole panels, of n_rows rows
     * that start at first_row of f's y and row_scale. y and the vectors have room for whole panels.
     */
    void (*finish)(const struct num_finish *f, const void *sums, size_t ld, size_t first_row,
                   size_t n_rows, size_t first_out, size_t n_out);

    /* block() and finish() at once, where that is faster for bfloat16 and bytes; else NULL. p's row
     * 0 is first_row of f's y and row_scale, its first output first_out. f has a bias. The same
     * sums. */
    void (*layer)(const struct num_product *p, size_t n_rows, const struct num_finish *f,
                  size_t first_row, size_t first_out);

    /* y[r][n] = sum_k x[r][k] * W[n][k] (+ bias[n]) (+ y[r][n] where `accumulate`) with panels of
     * floats: block() and finish() as one call. bias may be NULL. */
    void (*panels)(const float *x, size_t ldx, size_t n_rows, size_t k, const float *w,
                   size_t n_panels, const float *bias, int accumulate, float *y, size_t ldy);

    /* y = (x - mean) / sqrt(variance + 1e-5) * gamma + beta over n values; y may be x. */
    void (*layer_norm)(const float *x, size_t n, const float *gamma, const float *beta, float *y);

    /* y = gamma x / sqrt(mean of x^2 + eps) over n values; y may be x. */
    void (*rms_norm)(const float *x, size_t n, const float *gamma, float eps, float *y);

    /* y = gate / (1 + exp(-gate)) * up over n values; y may be either. */
    void (*swiglu)(const float *gate, const float *up, size_t n, float *y);

    /* Sets position t of a block: k and v (d), finite. */
    void (*cache_put)(const struct num_cache_block *block, size_t t, const float *k,
                      const float *v);

    /* scores[r][t] = q[r] . key of position t, for all 32 positions of the block and n_rows rows,
     * ldq and ld floats apart. */
    void (*cache_scores)(const struct num_cache_block *block, const float *q, size_t ldq,
                         size_t n_rows, float *scores, size_t ld);

    /* sums[r][e] += sum over the block's first n positions of p[r][t] times the value at t; rows of
     * sums have room for whole panels. */
    void (*cache_mix)(const struct num_cache_block *block, size_t n, const float *p, size_t ldp,
                      size_t n_rows, float *sums, size_t ld);

    /* The block as panels of bfloat16, to be multiplied with many rows: keys as d / 2 words (those
     * up to whole panels of words stay as they are) of 32 positions, values as 16 words of 32
     * elements, panel_words from one panel of elements to the next; zeros for values from position
     * n on. */
    void (*cache_unpack)(const struct num_cache_block *block, size_t n, uint32_t *keys,
                         uint32_t *values, size_t panel_words);

    /* x = exp(x - max) / sum over n values, in place. */
    void (*softmax)(float *x, size_t n);

    /*
     * For each of n_rows rows (ld and ldp values apart): p = 2^(scale x - max) over n values, zeros
     * up to n_padded, where max is the larger of the row's `run` and of this block; updates `run`.
     * p is float (within 1e-6; p may be x) or bfloat16 (relative error below 2e-4 before rounding).
     */
    void (*running_softmax)(enum num_compute type, const float *x, size_t ld, size_t n_rows,
                            size_t n, size_t n_padded, float scale, struct num_running *run,
                            void *p, size_t ldp);

    /* Attention in one go, where there is a way better than block() and running_softmax(); else
     * NULL. Heads of 33 to 64 elements only. Between enter() and leave(). A row whose sum is not
     * below NUM_FLASH_MOST has to be done in another way. `work`: flash_bytes, on a cache line. */
    void (*flash)(const struct num_flash *f, void *work);
    size_t flash_bytes;

    /* Largest of n values; minus infinity where there are none but NaN. */
    float (*max)(const float *x, size_t n);

    /* Sum of exp(x[i] - max). */
    float (*sum_exp)(const float *x, size_t n, float max);

    /* x += bias (bias may be NULL: nothing is added), over n values. */
    void (*add)(float *x, const float *bias, size_t n);

    /* x *= factor. */
    void (*scale)(float *x, float factor, size_t n);

    /* Rounded to nearest even. */
    void (*to_bf16)(const float *x, size_t n, uint16_t *y);

    /* y = round(x / s) with s = max |x| / 127, which is returned. */
    float (*to_int8)(const float *x, size_t n, int8_t *y);
    float (*bf16_to_int8)(const uint16_t *x, size_t n, int8_t *y);
};

/* The table for this processor, or the one that the environment variable SLUICE_CPU names where the
 * processor has it. Static, immutable. */
const struct num_kernels *num_kernels(void);

#define NUM_MAX_KERNELS 5

/* Every table that this processor can run, best first, for tests; returns how many. */
size_t num_kernels_all(const struct num_kernels *ret[NUM_MAX_KERNELS]);

#endif

/*
 * The loops of the diarization networks that are no products: gates, activations, pooling. Written
 * once (cells.inc) and compiled for each instruction set; dz_cells() picks the best that this
 * processor has.
 *
 * exp, and with it the logistic function and tanh, are within 2e-7 of the exact values.
 */
#ifndef DIARIZE_CELLS_H
#define DIARIZE_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dz_cells {
    /* A step of an LSTM for one row: gates (4, n), input, forget, cell and output as torch orders
     * them. Updates state (n) and sets ret (n): floats or, with `bf16`, bfloat16. */
    void (*lstm)(const float *gates, size_t n, float *state, bool bf16, void *ret);

    /* y = max(0, sums + bias + more) over n values; more may be NULL. `to` gets floats or, with
     * `bf16`, bfloat16; more has the same type. */
    void (*relu)(const float *sums, const float *bias, const void *more, bool bf16, size_t n,
                 void *to);
    /* y = sums + bias in the same two types. */
    void (*plain)(const float *sums, const float *bias, bool bf16, size_t n, void *to);

    /* ret (n_rows / 3, n): the largest of three rows of n values, `ld` apart; of their magnitudes
     * with `magnitudes`. */
    void (*pool3)(const float *x, size_t ld, size_t n_rows, size_t n, bool magnitudes, float *ret);

    /* x = leaky(scale x + shift) over rows of n values, leaky(x) = x > 0 ? x : 0.01 x. */
    void (*leaky)(float *x, size_t n_rows, size_t n, const float *scale, const float *shift);

    /* low = x less what `high`, x as bfloat16, holds of it. */
    void (*rest)(const float *x, const uint16_t *high, size_t n, uint16_t *low);

    /* Adds values and squares of n_rows rows (n) to sum and square, each (n). */
    void (*moments)(const float *x, size_t n_rows, size_t n, float *sum, float *square);
};

const struct dz_cells *dz_cells(void);

#endif

/*
 * Innermost loops on float rows, one table for each instruction set; num_kernels() picks the best
 * that this processor has. The loops are written once, in kernels.inc, and compiled for each set.
 *
 * "Panels" are the layout of every matrix that stays: W (n_out, k) is cut into groups of 32
 * outputs, each stored with its outputs side by side, so that a product streams through memory in
 * order whatever the number of rows. The last panel is filled up with zeros.
 *
 *     W[n][k]  ->  w[n / 32][k][n % 32]
 */
#ifndef NUM_CPU_KERNELS_H
#define NUM_CPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define NUM_PANEL 32

/* Panels needed for n outputs. */
#define NUM_PANELS(n) (((n) + NUM_PANEL - 1) / NUM_PANEL)

struct num_kernels {
    const char *name; /* "avx512", "avx2", "sse2" */

    /*
     * y[r][n] = sum_k x[r][k] * W[n][k] (+ bias[n]) (+ y[r][n] where `accumulate`), for all rows
     * and the outputs of n_panels panels. Every sum runs over k in order in one accumulator: the
     * result of a row does not depend on the other rows. Rows of y, and bias, must have room for
     * whole panels. bias may be NULL.
     */
    void (*panels)(const float *x, size_t ldx, size_t n_rows, size_t k, const float *w,
                   size_t n_panels, const float *bias, int accumulate, float *y, size_t ldy);

    /* y = (x - mean) / sqrt(variance + 1e-5) * gamma + beta over n values; y may be x. */
    void (*layer_norm)(const float *x, size_t n, const float *gamma, const float *beta, float *y);

    /* x = exp(x - max) / sum over n values, in place. */
    void (*softmax)(float *x, size_t n);

    /* Largest of n values; minus infinity where there are none but NaN. */
    float (*max)(const float *x, size_t n);

    /* Sum of exp(x[i] - max). */
    float (*sum_exp)(const float *x, size_t n, float max);

    /* x += bias (bias may be NULL: nothing is added), over n values. */
    void (*add)(float *x, const float *bias, size_t n);

    /* x = gelu(x + bias), the exact form with erf; within 1e-6 of it. bias may be NULL. */
    void (*gelu)(float *x, const float *bias, size_t n);
};

/* The table for this processor. Static, immutable. */
const struct num_kernels *num_kernels(void);

/* Every table that this processor can run, best first, for tests; returns how many (at most 3). */
size_t num_kernels_all(const struct num_kernels *ret[3]);

#endif

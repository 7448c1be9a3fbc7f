/*
 * Matrix products of a network on the CPU, in two forms:
 *
 *   wide    many rows (an encoder's frames): plain row-major weights, oneDNN's sgemm on one
 *           thread. The caller cuts the rows into blocks and gives each to a thread, with blocks
 *           that depend on the model only, so results do not depend on the number of threads.
 *   narrow  few rows (a decoder's tokens): weights packed into panels once at load, our own
 *           kernels; a row's result does not depend on the other rows, so tokens do not depend on
 *           what they are batched with.
 */
#ifndef NUM_CPU_LINEAR_H
#define NUM_CPU_LINEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "num/cpu/kernels.h"
#include "num/pool.h"

/*
 * Wide product: C (m, n; rows ldc apart) = alpha * A (m, k; lda) * op(B) + beta * C.
 * `b_transposed`: B is (n, k) with rows ldb apart, as weights are stored; else (k, n).
 * Runs on the calling thread alone. SLUICE_INTERNAL where oneDNN refuses.
 */
int32_t num_gemm(bool b_transposed, size_t m, size_t n, size_t k, float alpha, const float *a,
                 size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* A narrow layer: y = W x + b, panels as in kernels.h. */
struct num_linear {
    size_t n_out, k;
    float *panels; /* (NUM_PANELS(n_out), k, 32) */
    float *bias;   /* (NUM_PANELS(n_out) * 32), zeros where there is none */
};

/* Packs `weight` (n_out, k) and `bias` (n_out, or NULL); both stay the caller's. */
int32_t num_linear_init(struct num_linear *ret, size_t n_out, size_t k, const float *weight,
                        const float *bias, struct num_err *err);
void num_linear_finish(struct num_linear *linear);

/*
 * y[r] = W x[r] + b (added to y where `accumulate`) for n_rows rows; rows of y have room for whole
 * panels. Split over the pool by outputs where the work is worth it.
 */
void num_linear_run(const struct num_linear *linear, struct num_pool *pool, const float *x,
                    size_t ldx, size_t n_rows, bool accumulate, float *y, size_t ldy);

#endif

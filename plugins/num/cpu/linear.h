/*
 * Layers of a network on the CPU: y = W x + b, with weights packed once into panels (kernels.h) of
 * floats, bfloat16 or bytes, for any number of rows.
 *
 *   f32   exact: every sum runs over k in order, in float.
 *   bf16  weights and inputs rounded to bfloat16, sums in float.
 *   int8  weights as signed bytes with one scale an output, inputs as signed bytes with one scale a
 *         row (largest magnitude: 127), sums exact in 32 bits.
 *
 * A row's result depends neither on the other rows nor on the number of threads.
 */
#ifndef NUM_CPU_LINEAR_H
#define NUM_CPU_LINEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "num/cpu/arena.h"
#include "num/cpu/kernels.h"
#include "num/pool.h"

struct num_linear {
    enum num_compute type;
    size_t n_out, k;
    size_t n_words;   /* of k, as kernels.h counts them */
    uint32_t *panels; /* (NUM_PANELS(n_out), n_words, 32) */
    float *bias;      /* (NUM_PANELS(n_out) * 32), zeros where there is none */
    float *scale;     /* int8: likewise, the value of one unit; else NULL */
    int32_t *offset;  /* int8: see struct num_product */
};

/* A layer of zeros; its memory is the arena's. */
int32_t num_linear_create(struct num_linear *ret, enum num_compute type, size_t n_out, size_t k,
                          struct num_arena *arena, struct num_err *err);

/* Bytes that num_linear_create() takes. */
size_t num_linear_bytes(enum num_compute type, size_t n_out, size_t k);

/* Sets the outputs of one panel to `rows`, (n, k), where n is 32 or what the last panel has. Any
 * thread; different panels at the same time. */
void num_linear_pack(struct num_linear *linear, const struct num_kernels *kernels, size_t panel,
                     const float *rows);

/* All of it: weight (n_out, k), bias (n_out) or NULL. */
int32_t num_linear_init(struct num_linear *ret, enum num_compute type, size_t n_out, size_t k,
                        const float *weight, const float *bias, struct num_arena *arena,
                        struct num_err *err);

/* The weights of one output as floats, ret (k). */
void num_linear_row(const struct num_linear *linear, size_t out, float *ret);

/* ---- Inputs --------------------------------------------------------------------------------- */

/*
 * Inputs of a layer: n_words words a row in the layer's type. What follows k in a row meets zero
 * weights and has to be finite. Rows may be read up to a multiple of NUM_ROW_PAD, whatever they
 * hold.
 */
struct num_rows {
    const void *x;
    size_t ldx;         /* bytes */
    const float *scale; /* int8: (n_rows) */
};

/* Bytes from row to row for k values of `type`. */
size_t num_rows_bytes(enum num_compute type, size_t k);

/* One row of k floats as `type` into `to` (num_rows_bytes(), filled up with zeros); scale is
 * written for int8. */
void num_row_convert(const struct num_kernels *kernels, enum num_compute type, const float *x,
                     size_t k, void *to, float *ret_scale);

/* ---- Products ------------------------------------------------------------------------------- */

/*
 * Rows [first_row, first_row + n_rows) of x through the outputs of n_panels panels, on the calling
 * thread. Form, y and ldy of `finish` count; y's row 0 belongs to x's row 0, its column 0 to output
 * 0, and its rows have room for whole panels.
 */
void num_linear_rows(const struct num_linear *linear, const struct num_kernels *kernels,
                     size_t first_panel, size_t n_panels, const struct num_rows *x,
                     size_t first_row, size_t n_rows, const struct num_finish *finish);

/* A product in the order that suits the caches: like block(), accumulating or not, for any sizes.
 * To be called between the kernels' enter() and leave(). */
void num_product_run(const struct num_kernels *kernels, const struct num_product *product,
                     size_t n_rows, bool accumulate, float *sums, size_t ld);

/* The whole layer for n_rows rows, split over the pool by outputs where the work is worth it. */
void num_linear_run(const struct num_linear *linear, const struct num_kernels *kernels,
                    struct num_pool *pool, const struct num_rows *x, size_t n_rows,
                    const struct num_finish *finish);

#endif

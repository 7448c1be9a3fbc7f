/*
 * The decoder's matrix products: y = x W^T + bias for the items of a pass, with what stands before
 * and behind them. One function; the kernels of products.cu where few items pass and in the exact
 * mode, and the library's products (num/cuda/gemm.h) where many do.
 */
#ifndef WH_CUDA_PRODUCTS_H
#define WH_CUDA_PRODUCTS_H

#include "whisper/cuda/decoder.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a product's results go. */
enum wh_cuda_form {
    WH_CUDA_TO_CELLS,  /* (3 D): queries to y (n, 3 D) float, keys and values to the items' cells */
    WH_CUDA_TO_FLOATS, /* y (n, n_out) float */
    WH_CUDA_TO_HIDDEN, /* exact GELU, then y (n, n_out) in the type */
    WH_CUDA_ADD,       /* added to y (n, n_out) float */
};

struct wh_cuda_product {
    const struct wh_cuda_matrix *matrix;
    const struct wh_cuda_norm *norm; /* NULL: x is (n, n_in) in the type; else x is (n, D) float,
                                        normed on the way */
    const void *x;
    void *y;
    uint32_t n; /* rows */
    enum wh_cuda_form form;
    char *cells; /* TO_CELLS: the layer's cells, (n_rows, C, 2 D) in the type */
};

/* Queues the product on the decoder's stream. With more than WH_CUDA_FEW rows it writes to
 * work.norm on the way. */
int32_t wh_cuda_product_run(struct wh_cuda *m, const struct wh_cuda_product *p,
                            struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

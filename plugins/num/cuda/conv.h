/*
 * The two convolutions of Whisper, width 3 over time with a padding of one, and the exact GELU
 * behind: through cuDNN where it is there and has a way, else as the product of unfolded rows
 * (num/cuda/unfold.h) and the filters.
 */
#ifndef NUM_CUDA_CONV_H
#define NUM_CUDA_CONV_H

#include "num/cuda/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

struct num_cuda_conv; /* cuDNN and the plans of the shapes seen; for one thread at a time */

/* Succeeds without cuDNN as well, as num_cuda_conv_name() then says. Closed by
 * num_cuda_conv_close(), which takes NULL. */
int32_t num_cuda_conv_open(struct num_cuda_conv **ret_conv, struct num_err *err);
void num_cuda_conv_close(struct num_cuda_conv *conv);

/* "cuDNN 9.12.0", or "matrix products (libcudnn.so.9 was not found)"; lives as long as conv. */
const char *num_cuda_conv_name(const struct num_cuda_conv *conv);

/*
 * ret[b, t, o] = gelu(bias[o] + sum over j < 3 and i of x[b, stride t + j - 1, i] w[o, j, i]),
 * zeros outside of x. n_in is a multiple of 8, n of the stride (1 or 2). F32 never goes through
 * cuDNN.
 */
struct num_cuda_convolution {
    enum num_cuda_type type;   /* of w, ret and what is multiplied */
    enum num_cuda_type x_type; /* F32 or `type`; cuDNN needs `type` */
    size_t n_batch, n, n_in, n_out, stride;
    const void *x;     /* (n_batch, n, n_in) */
    const void *w;     /* (n_out, 3, n_in) */
    const float *bias; /* (n_out) */
    void *ret;         /* (n_batch, n / stride, n_out) */
    void *rows;        /* (n_batch, n / stride, 3, n_in) in `type`: for the unfolded rows */
};

/* Queues it on `stream`; the workspace as in gemm.h. The first of a shape may compile a kernel
 * (seconds); capture a shape after it has run once. */
int32_t num_cuda_conv_run(struct num_cuda_conv *conv, struct num_cuda_gemm *gemm,
                          const struct num_cuda_convolution *convolution, void *workspace,
                          size_t workspace_bytes, cudaStream_t stream, struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

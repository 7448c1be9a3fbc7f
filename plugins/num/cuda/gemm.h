/*
 * Matrix products on the card: cuBLASLt, opened when a backend asks for it, with our own kernel
 * behind it for what it has no epilogue for. On the emulated card plain loops stand in for the
 * library.
 *
 *     ret[m, n] = act(sum over k of x[m, k] w[n, k] + bias[n]) + residual[m, n]
 *
 * All matrices are row-major; rows are `ld` values apart. F32 products are f32 throughout (TF32 is
 * never used), summed in an order that the shape alone decides (no split sums); the others multiply
 * half types and add in f32.
 */
#ifndef NUM_CUDA_GEMM_H
#define NUM_CUDA_GEMM_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#include "num/cuda/type.h"
#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct num_cuda_gemm; /* the library and the plans of the shapes seen; for one thread at a time */

/* SLUICE_UNSUPPORTED where no library of a known version is found: the sentence names those looked
 * for. Closed by num_cuda_gemm_close(), which takes NULL. */
int32_t num_cuda_gemm_open(struct num_cuda_gemm **ret_gemm, struct num_err *err);
void num_cuda_gemm_close(struct num_cuda_gemm *gemm);

/* "cuBLASLt 13.0.2", for the log; lives as long as gemm. */
const char *num_cuda_gemm_name(const struct num_cuda_gemm *gemm);

enum num_cuda_act {
    NUM_CUDA_ACT_NONE,
    NUM_CUDA_ACT_GELU,      /* x Phi(x): in a kernel behind the product, which also adds the bias */
    NUM_CUDA_ACT_GELU_TANH, /* its approximation by tanh (within 5e-4), in the product's epilogue */
};

struct num_cuda_product {
    enum num_cuda_type type;     /* of x and w */
    enum num_cuda_type ret_type; /* of ret and residual: F32, or `type` */
    size_t m, n, k;
    const void *x;             /* (m, k) */
    const void *w;             /* (n, k) */
    void *ret;                 /* (m, n) */
    size_t ld_x, ld_w, ld_ret; /* 0: k, k, n */
    const float *bias;         /* (n), or NULL */
    /* the same in ret_type, or NULL. Where ret_type is a half type the library can add only this
     * one; without it a kernel behind the product adds `bias`. */
    const void *bias_typed;
    /* (m, n), rows ld_ret apart, or NULL; may be ret; only without an activation */
    const void *residual;
    enum num_cuda_act act;
    /* 0 and 1: one. Else that many, the pointers moving by these many values; bias stays. */
    size_t n_batch;
    size_t stride_x, stride_w, stride_ret; /* residual moves as ret */
};

/*
 * Queues the product on `stream`. Pointers are the card's, multiples of 16 bytes, as are rows (ld x
 * size); borrowed until the stream has passed. `workspace`: `workspace_bytes` on the card that no
 * other stream uses; NULL: none. The first product of a shape asks the library for its way to do it
 * (some 50 us on the host) and loads its kernels; capture a shape after it has run once. m = 0 does
 * nothing.
 */
int32_t num_cuda_gemm_run(struct num_cuda_gemm *gemm, const struct num_cuda_product *product,
                          void *workspace, size_t workspace_bytes, cudaStream_t stream,
                          struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

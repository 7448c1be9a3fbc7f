/*
 * The convolutions of Whisper: through cuDNN, or as products of unfolded rows. See conv.h.
 */
#include "num/cuda/conv.h"

#include <stdio.h>
#include <stdlib.h>

#include "num/cuda/conv_dnn.h"
#include "num/cuda/device.h"
#include "num/cuda/unfold.h"

struct num_cuda_conv {
    struct num_cuda_dnn *dnn; /* NULL: none */
    char name[160];
};

int32_t num_cuda_conv_open(struct num_cuda_conv **ret_conv, struct num_err *err) {
    struct num_cuda_conv *conv = calloc(1, sizeof *conv);
    char why[120] = "";
    if (!conv)
        return num_fail_memory(err, "convolutions", sizeof *conv);
    conv->dnn = num_cuda_dnn_open(why, sizeof why);
    snprintf(conv->name, sizeof conv->name, conv->dnn ? "%s" : "matrix products (%s)", why);
    *ret_conv = conv;
    return SLUICE_OK;
}

void num_cuda_conv_close(struct num_cuda_conv *conv) {
    if (!conv)
        return;
    num_cuda_dnn_close(conv->dnn);
    free(conv);
}

const char *num_cuda_conv_name(const struct num_cuda_conv *conv) {
    return conv->name;
}

/* A filter (n_out, 3, n_in) is the matrix of the product as it lies. */
static int32_t run_as_product(struct num_cuda_gemm *gemm, const struct num_cuda_convolution *c,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream,
                              struct num_err *err) {
    struct num_cuda_unfold unfold = {c->x, c->rows, c->n_batch, c->n, c->n_in, c->stride};
    cudaError_t error = num_cuda_unfold_run(&unfold, c->x_type, c->type, stream);
    if (error)
        return num_cuda_fail(err, "the rows of a convolution", error);
    struct num_cuda_product product = {
        .type = c->type,
        .ret_type = c->type,
        .m = c->n_batch * (c->n / c->stride),
        .n = c->n_out,
        .k = 3 * c->n_in,
        .x = c->rows,
        .w = c->w,
        .ret = c->ret,
        .bias = c->bias,
        .act = NUM_CUDA_ACT_GELU,
    };
    return num_cuda_gemm_run(gemm, &product, workspace, workspace_bytes, stream, err);
}

int32_t num_cuda_conv_run(struct num_cuda_conv *conv, struct num_cuda_gemm *gemm,
                          const struct num_cuda_convolution *convolution, void *workspace,
                          size_t workspace_bytes, cudaStream_t stream, struct num_err *err) {
    const struct num_cuda_convolution *c = convolution;
    if (conv->dnn && c->type != NUM_CUDA_F32 && c->x_type == c->type &&
        num_cuda_dnn_run(conv->dnn, c, workspace, workspace_bytes, stream))
        return SLUICE_OK;
    return run_as_product(gemm, c, workspace, workspace_bytes, stream, err);
}

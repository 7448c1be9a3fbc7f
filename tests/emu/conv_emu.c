/*
 * Stands in for cuDNN on the emulated card: there is none.
 */
#include <stdio.h>

#include "num/cuda/conv_dnn.h"

struct num_cuda_dnn *num_cuda_dnn_open(char *why, size_t size) {
    snprintf(why, size, "the emulated card has no cuDNN");
    return NULL;
}

void num_cuda_dnn_close(struct num_cuda_dnn *dnn) {
    (void)dnn;
}

bool num_cuda_dnn_run(struct num_cuda_dnn *dnn, const struct num_cuda_convolution *convolution, void *workspace,
                      size_t workspace_bytes, cudaStream_t stream) {
    (void)dnn, (void)convolution, (void)workspace, (void)workspace_bytes, (void)stream;
    return false;
}

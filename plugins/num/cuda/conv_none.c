/*
 * In the place of cuDNN where there is none: on the emulated card, and where its headers were not
 * there to build with. Convolutions run as matrix products then.
 */
#include <stdio.h>

#include "num/cuda/conv_dnn.h"

struct num_cuda_dnn *num_cuda_dnn_open(char *why, size_t size) {
#ifdef SLUICE_CUDA_EMU
    snprintf(why, size, "the emulated card has no cuDNN");
#else
    snprintf(why, size, "built without cuDNN");
#endif
    return NULL;
}

void num_cuda_dnn_close(struct num_cuda_dnn *dnn) {
    (void)dnn;
}

bool num_cuda_dnn_run(struct num_cuda_dnn *dnn, const struct num_cuda_convolution *convolution,
                      void *workspace, size_t workspace_bytes, cudaStream_t stream) {
    (void)dnn, (void)convolution, (void)workspace, (void)workspace_bytes, (void)stream;
    return false;
}

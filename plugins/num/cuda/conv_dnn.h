/*
 * Convolutions of cuDNN, with bias and GELU in the same kernel where it has an engine for that:
 * behind conv.c.
 */
#ifndef NUM_CUDA_CONV_DNN_H
#define NUM_CUDA_CONV_DNN_H

#include <stdbool.h>

#include "num/cuda/conv.h"

#ifdef __cplusplus
extern "C" {
#endif

struct num_cuda_dnn;

/* NULL where cuDNN cannot be used; `why` (of `size` bytes) then says why, else it names the
 * version. Closed by num_cuda_dnn_close(), which takes NULL. */
struct num_cuda_dnn *num_cuda_dnn_open(char *why, size_t size);
void num_cuda_dnn_close(struct num_cuda_dnn *dnn);

/* Queues the convolution. False where cuDNN has no engine for the shape: nothing was queued
 * then. */
bool num_cuda_dnn_run(struct num_cuda_dnn *dnn, const struct num_cuda_convolution *convolution,
                      void *workspace, size_t workspace_bytes, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

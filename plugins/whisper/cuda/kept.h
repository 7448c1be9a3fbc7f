/*
 * Keys and values of windows in bytes, on a CUDA device: what the encoder makes in a half type is
 * stored as WH_CUDA_KEPT_FP8 or WH_CUDA_KEPT_INT8.
 */
#ifndef WH_CUDA_KEPT_H
#define WH_CUDA_KEPT_H

#include "whisper/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Queues the conversion of a layer's keys and values for slots [slot, slot + n): `from` (n, T, 2 D)
 * in the type, which is a half type, on the device. */
cudaError_t wh_cuda_keep(const struct wh_cuda *m, uint32_t layer, uint32_t slot, uint32_t n,
                         const void *from, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

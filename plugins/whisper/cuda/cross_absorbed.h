/*
 * The decoder's attention to windows whose keys and values are not stored, on a CUDA device. Half
 * types; everything is queued on the decoder's stream.
 */
#ifndef WH_CUDA_CROSS_ABSORBED_H
#define WH_CUDA_CROSS_ABSORBED_H

#include "whisper/cuda/decoder.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether a card whose blocks have so much shared memory can. */
bool wh_cuda_absorbed_fits(const struct wh_cuda_config *c, size_t shared_bytes);

/* What wh_cuda_attend_cross() does, from the encoder's output. */
cudaError_t wh_cuda_absorbed_run(struct wh_cuda *m, uint32_t layer, uint32_t n, uint32_t n_groups,
                                 uint32_t shared);

/* Queries in work.qkv (n, D) through the keys' matrix of heads [first_head, first_head + n_heads),
 * to work.absorbed (n, n_heads, D). */
cudaError_t wh_cuda_absorb(struct wh_cuda *m, uint32_t layer, uint32_t n, uint32_t first_head,
                           uint32_t n_heads);

#ifdef __cplusplus
}
#endif

#endif

/*
 * The decoder's attention on a CUDA device: of a row to its own tokens, and of items to the window
 * that they read. Kernels are queued on the decoder's stream; items and groups lie in `work`.
 */
#ifndef WH_CUDA_DECODER_ATTENTION_H
#define WH_CUDA_DECODER_ATTENTION_H

#include "whisper/cuda/decoder.h"

#ifdef __cplusplus
extern "C" {
#endif

/* work.mixed of n items, from the queries in work.qkv and the cells of `layer`. */
int32_t wh_cuda_attend_self(struct wh_cuda *m, uint32_t layer, uint32_t n, struct num_err *err);

/*
 * work.mixed of n items in n_groups groups of at most `shared` (1 to WH_CUDA_SHARED) items each,
 * from the queries (n, D) in work.qkv and what the windows of `layer` hold: stored keys and values,
 * or the encoder's output where wh_cuda_absorbs() says so.
 */
int32_t wh_cuda_attend_cross(struct wh_cuda *m, uint32_t layer, uint32_t n, uint32_t n_groups,
                             uint32_t shared, struct num_err *err);

/* The weights with which head `head` of `layer` looks at the window, for n items in n_groups groups
 * whose queries (n, D) lie in work.qkv: (n, T) to `ret` on the device. */
int32_t wh_cuda_attend_capture(struct wh_cuda *m, uint32_t layer, uint32_t head, uint32_t n,
                               uint32_t n_groups, float *ret, struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

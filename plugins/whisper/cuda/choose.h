/*
 * The kernels of the search, on the decoder's stream: see search.h.
 */
#ifndef WH_CUDA_CHOOSE_H
#define WH_CUDA_CHOOSE_H

#include "whisper/cuda/decoder.h"

/* Takes n requests, those of host->admitted, from pinned memory. */
cudaError_t wh_cuda_admit(struct wh_cuda *m, uint32_t n);

/* The probability of silence of each of n rows of the logits whose work.targets is a request. */
cudaError_t wh_cuda_judge_silence(struct wh_cuda *m, uint32_t n);

/* Chooses the tokens of n seats. `first`: behind a prompt, where no items are to be written. */
cudaError_t wh_cuda_choose(struct wh_cuda *m, uint32_t n, bool first);

/* Writes the items of n seats; groups of requests that are over become empty. */
cudaError_t wh_cuda_seat_items(struct wh_cuda *m, uint32_t n);

#endif

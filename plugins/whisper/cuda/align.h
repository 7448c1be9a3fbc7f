/*
 * Times of tokens from cross-attention, for many texts at once on a CUDA device: what
 * num_attention_cut(), num_attention_matrix() and num_dtw() of num/dtw.h do one after the other.
 */
#ifndef WH_CUDA_ALIGN_H
#define WH_CUDA_ALIGN_H

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WH_CUDA_ALIGN_ROWS 1024 /* most tokens of a text */

/* One text. Pointers are the device's. */
struct wh_cuda_align_text {
    float *weights; /* (n_heads, n_tokens, T): softmaxed attention, overwritten */
    size_t head;    /* values from one head to the next, at least n_tokens * T */
    uint32_t n_tokens;
    uint32_t n_frames;    /* positions that hold audio, 1 ... T */
    uint32_t first, end;  /* tokens to align, at least one, at most WH_CUDA_ALIGN_ROWS */
    float *fit;           /* (end - first, n_frames): work */
    uint8_t *steps;       /* (end - first, n_frames): work */
    uint32_t *ret_starts; /* (end - first): the position where each token starts */
};

/*
 * texts (n_texts) lie on the device; max_tokens and max_frames are the most of any of them. Sums of
 * rows and columns are doubles, as on the CPU; the path is the CPU's wherever the attention is.
 */
cudaError_t wh_cuda_align(const struct wh_cuda_align_text *texts, size_t n_texts, size_t n_heads,
                          size_t T, size_t max_tokens, size_t max_frames, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

/*
 * CTC forced alignment of many texts at once on a card: for each text the path that al_ctc_align()
 * (align/ctc.h) finds, to the frame. Costs are doubles, added in the same order.
 */
#ifndef ALIGN_CUDA_CTC_H
#define ALIGN_CUDA_CTC_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#include "align/ctc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A text on the card: as struct al_ctc, and what the kernel needs for it. */
struct al_cuda_text {
    const float *logp;      /* (n_frames, n_columns) */
    const uint32_t *tokens; /* [n_tokens] */
    uint32_t n_frames, n_columns, n_tokens;
    double *costs;         /* (2, 2 n_tokens + 1): before a frame and behind it */
    uint8_t *steps;        /* (n_frames, n_tokens + 1): choices, as in align/ctc.c */
    struct al_span *spans; /* [n_tokens] */
};

/* Bytes on the card of a text's parts, each on a boundary of AL_CUDA_ALIGN, beside the struct
 * itself. */
#define AL_CUDA_ALIGN 256
size_t al_cuda_text_bytes(const struct al_ctc *ctc);

/* Sets the pointers of a text whose parts lie from `base` on, in the order costs, steps, spans,
 * logp, tokens. */
void al_cuda_text_place(const struct al_ctc *ctc, char *base, struct al_cuda_text *ret);

/* Queues the alignment of n texts, each with at least one token and the frames that it needs.
 * `texts` and what it points to are the card's. */
cudaError_t al_cuda_ctc_run(const struct al_cuda_text *texts, size_t n, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

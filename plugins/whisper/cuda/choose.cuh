/*
 * What the kernels of the search share: see search.h.
 */
#ifndef WH_CUDA_CHOOSE_CUH
#define WH_CUDA_CHOOSE_CUH

#include <limits.h>
#include <math.h>

#include "num/cuda/warp.cuh"
#include "whisper/cuda/choose.h"
#include "whisper/cuda/decoder.cuh"

namespace wh {

enum { TEXT, TIMES, CLASSES };

/* A token that could be chosen; none has the key minus infinity and comes last. */
struct pick {
    float key;
    int token;
};

__device__ inline bool is_before(pick a, pick b) {
    return a.key > b.key || (a.key == b.key && a.token < b.token);
}

__device__ inline pick no_pick() {
    return {-INFINITY, INT_MAX};
}

__device__ inline pick warp_first(pick x) {
    for (int by = 16; by > 0; by /= 2) {
        const pick other = {__shfl_xor_sync(num::ALL_LANES, x.key, by),
                            __shfl_xor_sync(num::ALL_LANES, x.token, by)};
        if (is_before(other, x))
            x = other;
    }
    return x;
}

inline wh_cuda_choice choice_of(const struct wh_cuda *m) {
    const struct wh_cuda_decoder_work *w = &m->decoder->work;
    const struct wh_dims *s = &m->c.dims;
    return {w->seats,
            w->searches,
            w->own,
            w->cells,
            w->texts,
            w->over,
            w->parts,
            w->offers,
            wh_cuda_logits(m),
            w->items,
            w->groups,
            s->n_vocab,
            s->n_text_ctx,
            wh_cuda_parts_of(s->n_vocab)};
}

/* The kernel before decide: fills the parts and offers of n seats. */
cudaError_t scan_seats(struct wh_cuda *m, const wh_cuda_choice &a, uint32_t n);

} // namespace wh

#endif

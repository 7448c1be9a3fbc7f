/*
 * The path of a text: see ctc.h, and align/ctc.c for what is computed. A block takes a text.
 * Forward, a thread takes every THREADS-th token with the blank before it, and a barrier ends each
 * frame; the choices go to memory, a byte each. Back, a path moves by at most one token a frame, so
 * the choices of the next TILE frames and tokens are fetched together by a warp and then followed
 * in shared memory by one thread.
 *
 * Bound by the barriers: 1500 frames take about 1.5 ms, the same for one text as for as many as the
 * card has multiprocessors. Choices are 0.75 MB for 30 s and 500 tokens.
 */
#include "align/cuda/ctc.h"

#include <math.h>

#include "num/cuda/launch.cuh"

namespace {

constexpr unsigned THREADS = 256, TILE = 32;

enum step : uint8_t {
    STAY = 0,
    FROM_BLANK = 1,
    FROM_TOKEN = 2,
    BLANK_MOVES = 4
}; /* as in align/ctc.c */

struct costs {
    double *blank; /* [n + 1] */
    double *token; /* [n] */
};

__device__ costs costs_of(const al_cuda_text &a, unsigned which) {
    double *at = a.costs + (size_t)which * (2 * (size_t)a.n_tokens + 1);
    return {at, at + a.n_tokens + 1};
}

/* Token j and the blank before it; j = n is the last blank alone. */
__device__ void move(const al_cuda_text &a, const costs &from, const costs &to, const float *logp,
                     unsigned j, uint8_t *steps) {
    const unsigned n = a.n_tokens;
    const double blank = from.blank[j], before = j ? from.token[j - 1] : -INFINITY;
    const bool blank_moves = j > 0 && before > blank;
    unsigned step = blank_moves ? BLANK_MOVES : STAY;
    to.blank[j] = (blank_moves ? before : blank) + (double)logp[0];
    if (j < n) {
        const double token = from.token[j];
        const bool may_skip = j > 0 && a.tokens[j] != a.tokens[j - 1];
        double best = blank > token ? blank : token;
        step |= blank > token ? FROM_BLANK : STAY;
        if (may_skip && before > best) {
            best = before;
            step = (step & BLANK_MOVES) | FROM_TOKEN;
        }
        to.token[j] = best + (double)logp[a.tokens[j]];
    }
    steps[j] = (uint8_t)step;
}

/* A place on the path: token j, or the blank before it. */
struct place {
    unsigned j;
    bool in_token;
};

/* Follows the path from `frame` back through `some` frames, whose choices for the TILE tokens up to
 * at.j lie in `tile`. */
__device__ place follow(const al_cuda_text &a, place at, unsigned frame, unsigned some,
                        const uint8_t (&tile)[TILE][TILE]) {
    const unsigned top = at.j;
    for (unsigned i = 0; i < some; i++, frame--) {
        const unsigned step = tile[i][top - at.j];
        if (!at.in_token) {
            if (step & BLANK_MOVES)
                at = {at.j - 1, true};
            continue;
        }
        a.spans[at.j].first = frame;
        if (a.spans[at.j].end == 0)
            a.spans[at.j].end = frame + 1;
        if ((step & 3) == FROM_BLANK)
            at.in_token = false;
        else if ((step & 3) == FROM_TOKEN)
            at.j--;
    }
    return at;
}

/* The first warp's. */
__device__ void trace(const al_cuda_text &a, const costs &last) {
    __shared__ uint8_t tile[TILE][TILE];
    __shared__ place shared_at;
    const unsigned n = a.n_tokens, lane = threadIdx.x;
    if (lane == 0)
        shared_at = last.token[n - 1] >= last.blank[n] ? place{n - 1, true} : place{n, false};
    __syncwarp();
    for (unsigned left = a.n_frames; left > 0;) {
        const place at = shared_at;
        const unsigned some = left < TILE ? left : TILE;
        for (unsigned i = 0; i < some; i++)
            if (lane <= at.j)
                tile[i][lane] = a.steps[(size_t)(left - 1 - i) * (n + 1) + at.j - lane];
        __syncwarp();
        if (lane == 0)
            shared_at = follow(a, at, left - 1, some, tile);
        __syncwarp();
        left -= some;
    }
}

/* Grid: texts. */
__global__ void __launch_bounds__(THREADS) find_path(const al_cuda_text *texts) {
    const al_cuda_text a = texts[blockIdx.x];
    const unsigned n = a.n_tokens, thread = threadIdx.x;
    costs now = costs_of(a, 0), next = costs_of(a, 1);
    for (unsigned j = thread; j <= n; j += THREADS) {
        now.blank[j] = j ? -INFINITY : 0;
        if (j < n) {
            now.token[j] = -INFINITY;
            a.spans[j].first = a.spans[j].end = 0;
        }
    }
    __syncthreads();
    for (unsigned frame = 0; frame < a.n_frames; frame++) {
        for (unsigned j = thread; j <= n; j += THREADS)
            move(a, now, next, a.logp + (size_t)frame * a.n_columns, j,
                 a.steps + (size_t)frame * (n + 1));
        const costs swap = now;
        now = next;
        next = swap;
        __syncthreads();
    }
    if (thread < TILE)
        trace(a, now);
}

size_t whole(size_t bytes) {
    return (bytes + AL_CUDA_ALIGN - 1) / AL_CUDA_ALIGN * AL_CUDA_ALIGN;
}

} // namespace

size_t al_cuda_text_bytes(const struct al_ctc *ctc) {
    const size_t n = ctc->n_tokens, T = ctc->n_frames;
    return whole((4 * n + 2) * sizeof(double)) + whole(T * (n + 1)) +
           whole(n * sizeof(struct al_span)) + whole(T * ctc->n_columns * sizeof(float)) +
           whole(n * sizeof(uint32_t));
}

void al_cuda_text_place(const struct al_ctc *ctc, char *base, struct al_cuda_text *ret) {
    const size_t n = ctc->n_tokens, T = ctc->n_frames;
    struct al_cuda_text a = {};
    a.n_frames = (uint32_t)T;
    a.n_columns = (uint32_t)ctc->n_columns;
    a.n_tokens = (uint32_t)n;
    a.costs = (double *)base;
    a.steps = (uint8_t *)base + whole((4 * n + 2) * sizeof(double));
    a.spans = (struct al_span *)(a.steps + whole(T * (n + 1)));
    char *logp = (char *)a.spans + whole(n * sizeof(struct al_span));
    a.logp = (const float *)logp;
    a.tokens = (const uint32_t *)(logp + whole(T * ctc->n_columns * sizeof(float)));
    *ret = a;
}

cudaError_t al_cuda_ctc_run(const struct al_cuda_text *texts, size_t n, cudaStream_t stream) {
    if (n == 0)
        return cudaSuccess;
    return num::launch(find_path, dim3((unsigned)n), dim3(THREADS), 0, stream, texts);
}

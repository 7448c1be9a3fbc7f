/*
 * Attention to token times: see align.h. Four kernels, each over all texts:
 *
 *     cut_rows           rows sum to one over the positions that hold audio     a warp a row
 *     normalise_columns  mean 0 and deviation 1 over the tokens of a position   a thread a column
 *     make_fit           median of seven positions, averaged over the heads     a thread a value
 *     warp_path          dynamic time warping and its way back                  a block a text
 *
 * The first three are bound by memory: 10 heads x 100 tokens x 1500 positions are 6 MB, read four
 * times and written twice, 8 us a text at 4.3 TB/s. Costs of the path are computed along diagonals,
 * a thread a token, one barrier a diagonal: 1600 of them are about 60 us, the same for one text as
 * for as many as the card has multiprocessors. The way back is one warp's: it looks at 32 positions
 * of a row at once and goes to the next place where the path leaves the row.
 */
#include "whisper/cuda/align.h"

#include <math.h>

#include "num/cuda/launch.cuh"
#include "num/cuda/warp.cuh"

namespace {

using text = wh_cuda_align_text;

constexpr int THREADS = 128;
constexpr int WARPS = THREADS / num::WARP;

enum step : uint8_t { BOTH, ROW, FRAME }; /* as in num/dtw.c */

/* Grid: (rows of all heads / WARPS, texts). */
__global__ void __launch_bounds__(THREADS)
    cut_rows(const text *texts, unsigned n_heads, unsigned T) {
    const text a = texts[blockIdx.y];
    const unsigned row = blockIdx.x * WARPS + threadIdx.x / num::WARP,
                   lane = threadIdx.x % num::WARP;
    if (row >= n_heads * a.n_tokens)
        return;
    float *weights = a.weights + row / a.n_tokens * a.head + (size_t)(row % a.n_tokens) * T;
    double sum = 0;
    for (unsigned t = lane; t < a.n_frames; t += num::WARP)
        sum += weights[t];
#pragma unroll
    for (int by = num::WARP / 2; by > 0; by /= 2)
        sum += __shfl_xor_sync(num::ALL_LANES, sum, by);
    for (unsigned t = lane; t < a.n_frames && sum > 0; t += num::WARP)
        weights[t] = (float)(weights[t] / sum);
}

/* Grid: (positions / THREADS, heads, texts). */
__global__ void __launch_bounds__(THREADS) normalise_columns(const text *texts, unsigned T) {
    const text a = texts[blockIdx.z];
    const unsigned t = blockIdx.x * THREADS + threadIdx.x;
    if (t >= a.n_frames)
        return;
    float *column = a.weights + blockIdx.y * a.head + t;
    double mean = 0, variance = 0;
    for (unsigned i = 0; i < a.n_tokens; i++)
        mean += column[(size_t)i * T];
    mean /= a.n_tokens;
    for (unsigned i = 0; i < a.n_tokens; i++) {
        const double d = column[(size_t)i * T] - mean;
        variance += d * d;
    }
    const double scale = variance > 0 ? 1 / sqrt(variance / a.n_tokens) : 0;
    for (unsigned i = 0; i < a.n_tokens; i++)
        column[(size_t)i * T] = (float)((column[(size_t)i * T] - mean) * scale);
}

__device__ void exchange(float &a, float &b) {
    const float low = fminf(a, b);
    b = fmaxf(a, b);
    a = low;
}

/* The fourth of seven, after Devillard's "Fast median search" (1998). */
__device__ float median(float (&x)[7]) {
    exchange(x[0], x[5]), exchange(x[0], x[3]), exchange(x[1], x[6]), exchange(x[2], x[4]);
    exchange(x[0], x[1]), exchange(x[3], x[5]), exchange(x[2], x[6]), exchange(x[2], x[3]);
    exchange(x[3], x[6]), exchange(x[4], x[5]), exchange(x[1], x[4]), exchange(x[1], x[3]);
    exchange(x[3], x[4]);
    return x[3];
}

/* Position t of a row mirrored at its ends, without repeating them; n > 3. */
__device__ int mirrored(int t, int n) {
    t = t < 0 ? -t : t;
    return t > n - 1 ? 2 * (n - 1) - t : t;
}

/* Grid: (positions / THREADS, tokens, texts). */
__global__ void __launch_bounds__(THREADS)
    make_fit(const text *texts, unsigned n_heads, unsigned T) {
    const text a = texts[blockIdx.z];
    const int n = (int)a.n_frames, t = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (blockIdx.y >= a.end - a.first || t >= n)
        return;
    float sum = 0;
    for (unsigned h = 0; h < n_heads; h++) {
        const float *row = a.weights + h * a.head + (size_t)(a.first + blockIdx.y) * T;
        float x[7];
#pragma unroll
        for (int i = 0; i < 7; i++)
            x[i] = row[n > 3 ? mirrored(t + i - 3, n) : t];
        sum += median(x) / n_heads;
    }
    a.fit[(size_t)blockIdx.y * n + t] = sum;
}

/* The way back: the smallest position of each row remains. One warp. */
__device__ void trace(const text &a, unsigned lane) {
    int r = (int)(a.end - a.first) - 1, t = (int)a.n_frames - 1;
    while (r > 0) {
        const int at = t - (int)lane;
        const int here = at > 0 ? a.steps[(size_t)r * a.n_frames + at] : (int)ROW;
        const unsigned leaves = __ballot_sync(num::ALL_LANES, here != FRAME);
        if (!leaves) {
            t -= num::WARP;
            continue;
        }
        const int by = __ffs((int)leaves) - 1;
        const int step = __shfl_sync(num::ALL_LANES, here, by);
        t -= by;
        if (lane == 0)
            a.ret_starts[r] = (uint32_t)t;
        t -= step == BOTH;
        r--;
    }
    if (lane == 0)
        a.ret_starts[0] = 0;
}

/*
 * Grid: texts; a thread for each token, whole warps. Shared memory: costs of the last three
 * diagonals, (3, threads + 1) floats; entry r + 1 is token r's, entry 0 stands before the first.
 * Token r is at position d - r of diagonal d.
 */
__global__ void __launch_bounds__(WH_CUDA_ALIGN_ROWS) warp_path(const text *texts) {
    float *costs = num::dynamic_shared<float>();
    const text a = texts[blockIdx.x];
    const int n_rows = (int)(a.end - a.first), n_frames = (int)a.n_frames, r = (int)threadIdx.x;
    const int ld = (int)blockDim.x + 1;
    for (int i = r; i < 3 * ld; i += (int)blockDim.x)
        costs[i] = INFINITY;
    __syncthreads();
    float *before = costs, *last = costs + ld, *now = costs + 2 * ld;
    for (int d = 0; d < n_rows + n_frames - 1; d++) {
        const int t = d - r;
        float cost = INFINITY;
        if (r < n_rows && t >= 0 && t < n_frames) {
            const float both = d == 0 ? 0 : before[r], row = last[r], frame = last[r + 1];
            const step step = both < row && both < frame  ? BOTH
                              : row < both && row < frame ? ROW
                                                          : FRAME;
            const float least = step == BOTH ? both : step == ROW ? row : frame;
            cost = (float)((double)least - (double)a.fit[(size_t)r * n_frames + t]);
            a.steps[(size_t)r * n_frames + t] = step;
        }
        now[r + 1] = cost;
        __syncthreads();
        float *const next = before;
        before = last;
        last = now;
        now = next;
    }
    if (threadIdx.x < num::WARP)
        trace(a, threadIdx.x);
}

unsigned blocks(size_t n, size_t each) {
    return (unsigned)((n + each - 1) / each);
}

} // namespace

cudaError_t wh_cuda_align(const struct wh_cuda_align_text *texts, size_t n_texts, size_t n_heads,
                          size_t T, size_t max_tokens, size_t max_frames, cudaStream_t stream) {
    const unsigned n = (unsigned)n_texts, heads = (unsigned)n_heads;
    const unsigned threads = blocks(max_tokens, num::WARP) * num::WARP;
    if (threads > WH_CUDA_ALIGN_ROWS)
        return cudaErrorInvalidValue;
    if (n == 0)
        return cudaSuccess;
    const unsigned columns = blocks(max_frames, THREADS);
    cudaError_t e = cudaSuccess;
    if (heads)
        e = num::launch(cut_rows, dim3(blocks(n_heads * max_tokens, WARPS), n), dim3(THREADS), 0,
                        stream, texts, heads, (unsigned)T);
    if (e == cudaSuccess && heads)
        e = num::launch(normalise_columns, dim3(columns, heads, n), dim3(THREADS), 0, stream, texts,
                        (unsigned)T);
    if (e == cudaSuccess)
        e = num::launch(make_fit, dim3(columns, (unsigned)max_tokens, n), dim3(THREADS), 0, stream,
                        texts, heads, (unsigned)T);
    if (e == cudaSuccess)
        e = num::launch(warp_path, dim3(n), dim3(threads), 3 * (threads + 1) * sizeof(float),
                        stream, texts);
    return e;
}

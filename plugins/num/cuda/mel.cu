/*
 * Log-mel spectrogram: see mel.h.
 *
 * A block turns FRAMES frames into mel powers. The 400-point transform of a frame is two rounds of
 * 20-point ones (Cooley and Tukey, 1965), n = 20 n1 + n2, k = k1 + 20 k2:
 *
 *     A[k1][n2] = sum over n1 of x[20 n1 + n2] w20^(n1 k1)    real input: k1 <= 10 suffices
 *     X[k]      = sum over n2 of (A[k1][n2] w400^(n2 k1)) w20^(n2 k2)
 *
 * Each 20-point transform lives in one thread's registers and folds n with 20 - n, so that it costs
 * a half of its products: 8.6 thousand multiply-adds a frame instead of 161 thousand. Then one
 * thread sums a band of a frame; bands have few bins that are not zero.
 *
 * A window of 30 s (3000 frames) has 1.9 MB of samples and 1.5 MB of results at 128 bands, and
 * 26 million multiply-adds: about 2 us of an H200, bound by latency and launch rather than by
 * bytes. Maxima are of positive floats, whose bits order as integers do.
 */
#include "num/cuda/mel.h"

#include <math.h>

#include "num/cuda/launch.cuh"
#include "num/cuda/vec8.cuh"
#include "num/cuda/warp.cuh"
extern "C" {
#include "num/mel.h"
}

namespace {

constexpr int FRAME = NUM_MEL_FRAME, HOP = NUM_MEL_HOP, BINS = NUM_MEL_BINS;
constexpr int N = 20;         /* N x N points */
constexpr int K1 = N / 2 + 1; /* rows of the first round that are kept */
constexpr int FRAMES = 16;    /* of a block */
constexpr int THREADS = 20 * FRAMES;
constexpr int SPAN = (FRAMES - 1) * HOP + FRAME; /* samples of a block */
constexpr int POWER_LD = BINS + 2;
constexpr int MAX_WEIGHTS = 2 * BINS; /* a bin lies in at most two triangles */

/* cos and sin of 2 pi j / 20. */
__device__ constexpr float COS[N] = {1,  0.95105652f,  0.80901699f,  0.58778525f,  0.30901699f,
                                     0,  -0.30901699f, -0.58778525f, -0.80901699f, -0.95105652f,
                                     -1, -0.95105652f, -0.80901699f, -0.58778525f, -0.30901699f,
                                     0,  0.30901699f,  0.58778525f,  0.80901699f,  0.95105652f};

__device__ constexpr float cosine(int j) {
    return COS[j % N];
}

__device__ constexpr float sine(int j) {
    return COS[(j + 15) % N];
}

struct band {
    int first, n; /* bins */
    int at;       /* of the first weight */
    int unused;
};

/* What lies at `tables`, followed by n_mels bands. */
struct tables {
    float window[FRAME];
    float2 turn[K1][N]; /* w400^(n2 k1) */
    float weights[MAX_WEIGHTS];
};

/* Shared memory of a block. Samples are done with when powers come. */
struct workspace {
    union {
        float pcm[SPAN];
        float power[FRAMES][POWER_LD];
    };
    float window[FRAME];
    float2 turned[FRAMES][K1][N];
    float max[32];
};

/* Sample `at` of the signal: mirrored at its start, silence behind its end. */
__device__ float sample(const num_cuda_mel_piece &p, int64_t at) {
    const uint64_t i = (uint64_t)(at < 0 ? -at : at);
    const float x = i < p.n_samples ? p.pcm[i - p.start] : 0;
    return isfinite(x) ? x : 0;
}

/* First round: one frame, one n2. */
__device__ void transform_columns(const float *pcm, const float *window, const tables *t, int n2,
                                  float2 (*to)[N]) {
    float sum[N / 2 + 1], difference[N / 2 + 1];
    sum[0] = pcm[n2] * window[n2];
    sum[N / 2] = pcm[N / 2 * N + n2] * window[N / 2 * N + n2];
#pragma unroll
    for (int n = 1; n < N / 2; n++) {
        const int at = n * N + n2, mirrored = (N - n) * N + n2;
        const float a = pcm[at] * window[at], b = pcm[mirrored] * window[mirrored];
        sum[n] = a + b;
        difference[n] = a - b;
    }
#pragma unroll
    for (int k = 0; k < K1; k++) {
        float re = sum[0] + (k % 2 ? -sum[N / 2] : sum[N / 2]), im = 0;
#pragma unroll
        for (int n = 1; n < N / 2; n++) {
            re += sum[n] * cosine(n * k);
            im -= difference[n] * sine(n * k);
        }
        const float2 w = t->turn[k][n2];
        to[k][n2] = make_float2(re * w.x - im * w.y, re * w.y + im * w.x);
    }
}

/* Stores the power of bin k1 + 20 k2 where it is one of the first half; those of the second half
 * mirror bins that no other k1 has. */
__device__ void store_power(float *power, int k1, int k2, float re, float im) {
    const int k = k1 + N * k2, bin = k < BINS ? k : FRAME - k;
    power[bin] = re * re + im * im;
}

/* Second round: one frame, one k1. Bins k2 and 20 - k2 share their products. */
__device__ void transform_rows(const float2 *from, int k1, float *power) {
    float2 sum[N / 2], difference[N / 2];
    const float2 first = from[0], middle = from[N / 2];
#pragma unroll
    for (int n = 1; n < N / 2; n++) {
        const float2 a = from[n], b = from[N - n];
        sum[n] = make_float2(a.x + b.x, a.y + b.y);
        difference[n] = make_float2(a.x - b.x, a.y - b.y);
    }
#pragma unroll
    for (int k2 = 0; k2 <= N / 2; k2++) {
        const float sign = k2 % 2 ? -1.0f : 1.0f;
        float even_re = first.x + sign * middle.x, even_im = first.y + sign * middle.y;
        float odd_re = 0, odd_im = 0;
#pragma unroll
        for (int n = 1; n < N / 2; n++) {
            even_re += sum[n].x * cosine(n * k2);
            even_im += sum[n].y * cosine(n * k2);
            odd_re += difference[n].y * sine(n * k2);
            odd_im -= difference[n].x * sine(n * k2);
        }
        store_power(power, k1, k2, even_re + odd_re, even_im + odd_im);
        if (k2 > 0 && k2 < N / 2 && k1 > 0 && k1 < N / 2)
            store_power(power, k1, N - k2, even_re - odd_re, even_im - odd_im);
    }
}

/* Powers of the bands of n frames; returns the largest that this thread saw. */
__device__ float filter(const workspace &s, const tables *t, unsigned n_mels, unsigned n,
                        float *ret) {
    const band *bands = reinterpret_cast<const band *>(t + 1);
    float max = 0;
    for (unsigned i = threadIdx.x; i < n * n_mels; i += THREADS) {
        const band b = bands[i % n_mels];
        const float *power = s.power[i / n_mels] + b.first, *weights = t->weights + b.at;
        float sum = 0;
        for (int k = 0; k < b.n; k++)
            sum += weights[k] * power[k];
        sum = fmaxf(sum, 1e-10f);
        max = fmaxf(max, sum);
        if (ret)
            ret[i] = log10f(sum);
    }
    return max;
}

/* Grid: (max_frames / FRAMES, pieces). Shared memory: struct workspace. */
__global__ void __launch_bounds__(THREADS)
    mel_power(const tables *t, unsigned n_mels, const num_cuda_mel_piece *pieces, float *maxima) {
    workspace &s = *num::dynamic_shared<workspace>();
    const num_cuda_mel_piece p = pieces[blockIdx.y];
    const unsigned at = blockIdx.x * FRAMES, thread = threadIdx.x;
    if (at >= p.n_frames)
        return;
    const unsigned n = p.n_frames - at < FRAMES ? p.n_frames - at : FRAMES;
    const int64_t start = (int64_t)(p.first + at) * HOP - FRAME / 2;
    for (int i = thread; i < SPAN; i += THREADS)
        s.pcm[i] = sample(p, start + i);
    for (int i = thread; i < FRAME; i += THREADS)
        s.window[i] = t->window[i];
    __syncthreads();
    transform_columns(s.pcm + thread / N * HOP, s.window, t, thread % N, s.turned[thread / N]);
    __syncthreads();
    if (thread < FRAMES * K1)
        transform_rows(s.turned[thread / K1][thread % K1], thread % K1, s.power[thread / K1]);
    __syncthreads();
    float max = filter(s, t, n_mels, n, p.ret_log ? p.ret_log + (size_t)at * n_mels : NULL);
    max = num::block_max<THREADS>(max, s.max);
    if (thread == 0)
        atomicMax(reinterpret_cast<int *>(maxima + p.group), __float_as_int(max));
}

/* Grid: (groups of eight values of max_rows rows / 256, pieces). */
template <typename T>
__global__ void __launch_bounds__(256)
    mel_normalise(unsigned n_mels, const num_cuda_mel_piece *pieces, const float *maxima) {
    const num_cuda_mel_piece p = pieces[blockIdx.y];
    const size_t i = ((size_t)blockIdx.x * 256 + threadIdx.x) * 8;
    if (i >= (size_t)p.n_rows * n_mels)
        return;
    const float least = log10f(fmaxf(maxima[p.group], 1e-10f)) - 8;
    float x[8] = {0};
    if (i < (size_t)p.n_frames * n_mels) {
        num::load8(p.ret_log + i, x);
#pragma unroll
        for (int j = 0; j < 8; j++)
            x[j] = (fmaxf(x[j], least) + 4) / 4;
    }
    num::store8((T *)p.ret_mel + i, x);
}

void fill_bands(size_t n_mels, tables *t) {
    band *bands = reinterpret_cast<band *>(t + 1);
    int at = 0;
    for (size_t m = 0; m < n_mels; m++) {
        bands[m] = {0, 0, at, 0};
        for (int k = 0; k < BINS; k++) {
            const float weight = (float)num_mel_weight(n_mels, m, k);
            if (weight == 0)
                continue;
            if (bands[m].n++ == 0)
                bands[m].first = k;
            t->weights[at++] = weight;
        }
    }
}

} // namespace

size_t num_cuda_mel_tables_bytes(size_t n_mels) {
    return sizeof(tables) + n_mels * sizeof(band);
}

void num_cuda_mel_tables_fill(size_t n_mels, void *host) {
    tables *t = static_cast<tables *>(host);
    for (int i = 0; i < FRAME; i++)
        t->window[i] = (float)(0.5 - 0.5 * cos(2 * M_PI * i / FRAME));
    for (int k1 = 0; k1 < K1; k1++)
        for (int n2 = 0; n2 < N; n2++) {
            const double angle = -2 * M_PI * (n2 * k1) / FRAME;
            t->turn[k1][n2] = make_float2((float)cos(angle), (float)sin(angle));
        }
    fill_bands(n_mels, t);
}

cudaError_t num_cuda_mel_power(const void *tables_, size_t n_mels,
                               const struct num_cuda_mel_piece *pieces, size_t n_pieces,
                               size_t max_frames, float *maxima, cudaStream_t stream) {
    if (n_pieces == 0 || max_frames == 0)
        return cudaSuccess;
    const dim3 grid((unsigned)((max_frames + FRAMES - 1) / FRAMES), (unsigned)n_pieces);
    return num::launch(mel_power, grid, dim3(THREADS), sizeof(workspace), stream,
                       static_cast<const tables *>(tables_), (unsigned)n_mels, pieces, maxima);
}

cudaError_t num_cuda_mel_normalise(size_t n_mels, const struct num_cuda_mel_piece *pieces,
                                   size_t n_pieces, size_t max_rows, const float *maxima,
                                   enum num_cuda_type type, cudaStream_t stream) {
    const dim3 grid((unsigned)((max_rows * n_mels / 8 + 255) / 256), (unsigned)n_pieces);
    if (n_mels % 8)
        return cudaErrorInvalidValue;
    if (n_pieces == 0 || max_rows == 0)
        return cudaSuccess;
    switch (type) {
    case NUM_CUDA_F32:
        return num::launch(mel_normalise<float>, grid, dim3(256), 0, stream, (unsigned)n_mels,
                           pieces, maxima);
    case NUM_CUDA_F16:
        return num::launch(mel_normalise<__half>, grid, dim3(256), 0, stream, (unsigned)n_mels,
                           pieces, maxima);
    case NUM_CUDA_BF16:
        return num::launch(mel_normalise<__nv_bfloat16>, grid, dim3(256), 0, stream,
                           (unsigned)n_mels, pieces, maxima);
    }
    return cudaErrorInvalidValue;
}

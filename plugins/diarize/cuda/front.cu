/*
 * The front of the segmentation network: samples normalised, filtered, pooled and normalised again:
 * see kernels.h.
 *
 * A block of the convolution makes 32 channels of 32 pooled rows, a thread four rows of one
 * channel: what lies under its 96 outputs is in shared memory, weights come from the cache, side by
 * side. 0.48 G multiplications a window of 10 s, bound by reads of shared memory (one for each):
 * about 70 us a window on one H200. Not measured.
 */
#include "diarize/cuda/kernels.h"

#include "num/cuda/launch.cuh"
#include "num/cuda/vec8.cuh"
#include "num/cuda/warp.cuh"

namespace {

constexpr int WAVE = 512;
constexpr unsigned CHANNELS = 32, GROUPS = 8, ROWS = 4; /* of a block; pooled rows of a thread */
constexpr unsigned POOL = 3, TIMES = 16;
constexpr float EPSILON = 1e-5f, NEGATIVE = 0.01f;

/* Grid: windows. */
__global__ void __launch_bounds__(WAVE) wave(float *x, size_t n, float scale, float shift) {
    __shared__ float scratch[2][num::WARP];
    float *window = x + blockIdx.x * n;
    float sum = 0, squares = 0;
    for (size_t i = threadIdx.x; i < n; i += WAVE) {
        const float v = isfinite(window[i]) ? window[i] : 0;
        window[i] = v;
        sum += v;
    }
    const float mean = num::block_sum<WAVE>(sum, scratch[0]) / n;
    for (size_t i = threadIdx.x; i < n; i += WAVE)
        squares += (window[i] - mean) * (window[i] - mean);
    const float by = scale / sqrtf(num::block_sum<WAVE>(squares, scratch[1]) / n + EPSILON);
    for (size_t i = threadIdx.x; i < n; i += WAVE)
        window[i] = (window[i] - mean) * by + shift;
}

/* Grid: groups of pooled rows, of channels, windows; block: (CHANNELS, GROUPS). */
__global__ void __launch_bounds__(CHANNELS *GROUPS) pooled(dz_cuda_pooled a) {
    float *x = num::dynamic_shared<float>();
    const size_t row = (size_t)blockIdx.x * GROUPS * ROWS, step = a.stride * a.n_in;
    const size_t k = a.width * a.n_in, used = (GROUPS * ROWS * POOL - 1) * step + k;
    const size_t from = row * POOL * step, total = a.n * a.n_in;
    const float *window = a.x + blockIdx.z * total;
    for (size_t i = threadIdx.y * CHANNELS + threadIdx.x; i < used; i += CHANNELS * GROUPS)
        x[i] = from + i < total ? window[from + i] : 0;
    __syncthreads();
    const size_t o = blockIdx.y * CHANNELS + threadIdx.x;
    if (o >= a.n_out)
        return;
    const float *mine = x + threadIdx.y * ROWS * POOL * step;
    float sums[ROWS * POOL] = {0};
    for (size_t i = 0; i < k; i++) {
        const float w = a.w[i * a.n_out + o];
#pragma unroll
        for (unsigned r = 0; r < ROWS * POOL; r++)
            sums[r] += w * mine[r * step + i];
    }
    const float bias = a.bias ? a.bias[o] : 0;
#pragma unroll
    for (unsigned r = 0; r < ROWS; r++) {
        const size_t at = row + threadIdx.y * ROWS + r;
        float most = a.magnitudes ? 0 : -INFINITY;
#pragma unroll
        for (unsigned i = 0; i < POOL; i++) {
            const float v = sums[r * POOL + i];
            most = fmaxf(most, a.magnitudes ? fabsf(v) : v);
        }
        if (at < a.n_ret)
            a.ret[(blockIdx.z * a.n_ret + at) * a.n_out + o] = most + bias;
    }
}

/* Grid: groups of CHANNELS up to the width, windows; block: (CHANNELS, TIMES). */
template <typename T> __global__ void __launch_bounds__(CHANNELS *TIMES) normal(dz_cuda_normal a) {
    __shared__ float sums[TIMES][CHANNELS], squares[TIMES][CHANNELS];
    const size_t c = blockIdx.x * CHANNELS + threadIdx.x, window = blockIdx.y;
    const bool there = c < a.n_channels;
    const float *x = a.x + window * a.n * a.n_channels + c;
    float sum = 0, square = 0, mean = 0, variance = 0;
    for (size_t t = threadIdx.y; there && t < a.n; t += TIMES)
        sum += x[t * a.n_channels];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    for (unsigned i = 0; i < TIMES; i++)
        mean += sums[i][threadIdx.x];
    mean /= a.n;
    for (size_t t = threadIdx.y; there && t < a.n; t += TIMES)
        square += (x[t * a.n_channels] - mean) * (x[t * a.n_channels] - mean);
    squares[threadIdx.y][threadIdx.x] = square;
    __syncthreads();
    for (unsigned i = 0; i < TIMES; i++)
        variance += squares[i][threadIdx.x];
    const float scale = there ? a.scale[c] / sqrtf(variance / a.n + EPSILON) : 0;
    const float shift = there ? a.shift[c] : 0;
    for (size_t t = threadIdx.y; c < a.width && t < a.n; t += TIMES) {
        const float v = there ? (x[t * a.n_channels] - mean) * scale + shift : 0;
        ((T *)a.ret)[window * a.window + t * a.step + c] = T(v > 0 ? v : NEGATIVE * v);
    }
}

/* Grid: values / threads. */
template <typename T>
__global__ void __launch_bounds__(256)
    leaky(const float *x, const float *bias, size_t rows, size_t n, size_t ld, T *ret) {
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= rows * ld)
        return;
    const float v = i % ld < n ? x[i] + bias[i % ld] : 0;
    ret[i] = T(v > 0 ? v : NEGATIVE * v);
}

unsigned groups_of(size_t n, size_t of) {
    return (unsigned)((n + of - 1) / of);
}

} // namespace

cudaError_t dz_cuda_wave(float *x, size_t n_windows, size_t n, float scale, float shift,
                         cudaStream_t stream) {
    return num::launch(wave, dim3((unsigned)n_windows), dim3(WAVE), 0, stream, x, n, scale, shift);
}

size_t dz_cuda_pooled_shared(size_t n_in, size_t width, size_t stride) {
    return ((GROUPS * ROWS * POOL - 1) * stride + width) * n_in * sizeof(float);
}

cudaError_t dz_cuda_pooled_run(const struct dz_cuda_pooled *a, cudaStream_t stream) {
    const dim3 grid(groups_of(a->n_ret, GROUPS * ROWS), groups_of(a->n_out, CHANNELS),
                    (unsigned)a->n_windows);
    return num::launch(pooled, grid, dim3(CHANNELS, GROUPS),
                       dz_cuda_pooled_shared(a->n_in, a->width, a->stride), stream, *a);
}

cudaError_t dz_cuda_normal_run(const struct dz_cuda_normal *a, enum num_cuda_type type,
                               cudaStream_t stream) {
    const dim3 grid(groups_of(a->width, CHANNELS), (unsigned)a->n_windows), block(CHANNELS, TIMES);
    if (type == NUM_CUDA_F32)
        return num::launch(normal<float>, grid, block, 0, stream, *a);
    return num::launch(normal<__nv_bfloat16>, grid, block, 0, stream, *a);
}

cudaError_t dz_cuda_leaky(const float *x, const float *bias, size_t rows, size_t n, size_t ld,
                          void *ret, enum num_cuda_type type, cudaStream_t stream) {
    const dim3 grid(groups_of(rows * ld, 256)), block(256);
    if (type == NUM_CUDA_F32)
        return num::launch(leaky<float>, grid, block, 0, stream, x, bias, rows, n, ld,
                           (float *)ret);
    return num::launch(leaky<__nv_bfloat16>, grid, block, 0, stream, x, bias, rows, n, ld,
                       (__nv_bfloat16 *)ret);
}

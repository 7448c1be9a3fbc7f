/*
 * See kernels.h. All are bound by memory but for the first convolution: 30 s of sound make 96,000
 * rows of 512 values (98 MB in half types, 23 us at 4.3 TB/s) from 10 taps each, 1 GFLOP.
 */
#include "align/cuda/kernels.h"

#include "num/cuda/launch.cuh"
#include "num/cuda/vec8.cuh"
#include "num/cuda/warp.cuh"

namespace {

constexpr unsigned THREADS = 256, ROWS = 16;

size_t groups_of(size_t n, size_t of) {
    return (n + of - 1) / of;
}

/* Grid: rows / ROWS. Shared memory: the samples of ROWS rows. A thread makes ROWS values of an
 * output. */
template <typename T> __global__ void __launch_bounds__(THREADS) first_rows(al_cuda_first a) {
    float *samples = num::dynamic_shared<float>();
    const size_t row = (size_t)blockIdx.x * ROWS;
    const unsigned rows = (unsigned)(a.rows - row < ROWS ? a.rows - row : ROWS);
    const unsigned stride = (unsigned)a.stride, taps = (unsigned)a.taps, n = (unsigned)a.n_out;
    for (unsigned i = threadIdx.x; i < (ROWS - 1) * stride + taps; i += THREADS)
        samples[i] = i < (rows - 1) * stride + taps ? a.samples[row * stride + i] : 0;
    __syncthreads();
    for (unsigned o = threadIdx.x; o < n; o += THREADS) {
        float sums[ROWS];
        const float bias = a.bias ? a.bias[o] : 0;
#pragma unroll
        for (unsigned r = 0; r < ROWS; r++)
            sums[r] = bias;
        for (unsigned i = 0; i < taps; i++) {
            const float w = a.w[(size_t)i * n + o];
#pragma unroll
            for (unsigned r = 0; r < ROWS; r++)
                sums[r] += w * samples[r * stride + i];
        }
#pragma unroll
        for (unsigned r = 0; r < ROWS; r++)
            if (r < rows)
                ((T *)a.ret)[(row + r) * n + o] = T(sums[r]);
    }
}

/* Grid: groups of eight values of ret / THREADS. */
template <typename T> __global__ void __launch_bounds__(THREADS) unfold(al_cuda_unfold a) {
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, pieces = a.width / 8;
    const size_t piece = i % pieces, tap = i / pieces % a.taps, row = i / pieces / a.taps;
    const size_t group = row / a.rows;
    if (group >= a.groups)
        return;
    const size_t at = a.first + row % a.rows + tap;
    float x[8] = {0};
    if (at >= a.before && at - a.before < a.n)
        num::load8(a.x + ((at - a.before) * a.groups + group) * a.width + piece * 8, x);
    num::store8((T *)a.ret + i * 8, x);
}

/* Grid: groups of eight values / THREADS. */
template <typename T>
__global__ void __launch_bounds__(THREADS) convert(const float *x, size_t n, T *ret) {
    const size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 8;
    float v[8];
    if (at >= n)
        return;
    num::load8(x + at, v);
    num::store8(ret + at, v);
}

__global__ void __launch_bounds__(THREADS) relu(float *x, size_t n) {
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n)
        x[i] = fmaxf(x[i], 0);
}

/* Grid: rows / warps of a block. */
__global__ void __launch_bounds__(THREADS)
    log_softmax(const float *x, size_t rows, unsigned n, size_t ld, float *ret) {
    const size_t row = (size_t)blockIdx.x * (THREADS / num::WARP) + threadIdx.x / num::WARP;
    const unsigned lane = threadIdx.x % num::WARP;
    if (row >= rows)
        return;
    float most = -INFINITY, sum = 0;
    for (unsigned i = lane; i < n; i += num::WARP)
        most = fmaxf(most, x[row * ld + i]);
    most = num::warp_max(most);
    for (unsigned i = lane; i < n; i += num::WARP)
        sum += expf(x[row * ld + i] - most);
    const float all = most + logf(num::warp_sum(sum));
    for (unsigned i = lane; i < n; i += num::WARP)
        ret[row * n + i] = x[row * ld + i] - all;
}

template <typename T> cudaError_t launch_first(const al_cuda_first &a, cudaStream_t stream) {
    const size_t shared = ((ROWS - 1) * a.stride + a.taps) * sizeof(float);
    return num::launch(first_rows<T>, dim3((unsigned)groups_of(a.rows, ROWS)), dim3(THREADS),
                       shared, stream, a);
}

template <typename T> cudaError_t launch_unfold(const al_cuda_unfold &a, cudaStream_t stream) {
    const size_t pieces = a.groups * a.rows * a.taps * (a.width / 8);
    return num::launch(unfold<T>, dim3((unsigned)groups_of(pieces, THREADS)), dim3(THREADS), 0,
                       stream, a);
}

template <typename T>
cudaError_t launch_convert(const float *x, size_t n, void *ret, cudaStream_t stream) {
    return num::launch(convert<T>, dim3((unsigned)groups_of(n / 8, THREADS)), dim3(THREADS), 0,
                       stream, x, n, (T *)ret);
}

} // namespace

cudaError_t al_cuda_first_run(const struct al_cuda_first *first, enum num_cuda_type type,
                              cudaStream_t stream) {
    switch (type) {
    case NUM_CUDA_F32:
        return launch_first<float>(*first, stream);
    case NUM_CUDA_F16:
        return launch_first<__half>(*first, stream);
    case NUM_CUDA_BF16:
        return launch_first<__nv_bfloat16>(*first, stream);
    }
    return cudaErrorInvalidValue;
}

cudaError_t al_cuda_unfold_run(const struct al_cuda_unfold *a, enum num_cuda_type type,
                               cudaStream_t stream) {
    if (a->width % 8)
        return cudaErrorInvalidValue;
    switch (type) {
    case NUM_CUDA_F32:
        return launch_unfold<float>(*a, stream);
    case NUM_CUDA_F16:
        return launch_unfold<__half>(*a, stream);
    case NUM_CUDA_BF16:
        return launch_unfold<__nv_bfloat16>(*a, stream);
    }
    return cudaErrorInvalidValue;
}

cudaError_t al_cuda_convert(const float *x, size_t n, void *ret, enum num_cuda_type type,
                            cudaStream_t stream) {
    if (n % 8)
        return cudaErrorInvalidValue;
    switch (type) {
    case NUM_CUDA_F16:
        return launch_convert<__half>(x, n, ret, stream);
    case NUM_CUDA_BF16:
        return launch_convert<__nv_bfloat16>(x, n, ret, stream);
    case NUM_CUDA_F32:
        break;
    }
    return cudaErrorInvalidValue;
}

cudaError_t al_cuda_relu(float *x, size_t n, cudaStream_t stream) {
    return num::launch(relu, dim3((unsigned)groups_of(n, THREADS)), dim3(THREADS), 0, stream, x, n);
}

cudaError_t al_cuda_log_softmax(const float *x, size_t rows, size_t n, size_t ld, float *ret,
                                cudaStream_t stream) {
    return num::launch(log_softmax, dim3((unsigned)groups_of(rows, THREADS / num::WARP)),
                       dim3(THREADS), 0, stream, x, rows, (unsigned)n, ld, ret);
}

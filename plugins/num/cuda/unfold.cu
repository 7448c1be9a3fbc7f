/*
 * Rows of a convolution: see unfold.h. One thread copies eight channels of one tap; reads and
 * writes of a warp lie side by side.
 *
 * Bound by memory: for a window of large-v3 1.5 MB in and 2.3 MB out before the first convolution,
 * 7.7 MB in and 11.5 MB out before the second, 5.4 us at 4.3 TB/s in all, beside 18 GFLOP of
 * products.
 */
#include "num/cuda/unfold.h"

#include "num/cuda/launch.cuh"
#include "num/cuda/vec8.cuh"

namespace {

constexpr int THREADS = 256;

/* Grid: groups of eight of (n_batch, n / stride, 3 n_channels) values / THREADS. */
template <typename From, typename To>
__global__ void __launch_bounds__(THREADS) unfold(num_cuda_unfold a) {
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    const unsigned groups = (unsigned)(a.n_channels / 8), n_out = (unsigned)(a.n / a.stride);
    const unsigned piece = (unsigned)(i % (3 * groups)), tap = piece / groups;
    const size_t row = i / (3 * groups), batch = row / n_out;
    if (batch >= a.n_batch)
        return;
    const long at = (long)(row % n_out * a.stride) + tap - 1;
    float x[8] = {0};
    if (at >= 0 && at < (long)a.n)
        num::load8((const From *)a.x + (batch * a.n + at) * a.n_channels + piece % groups * 8, x);
    num::store8((To *)a.ret + i * 8, x);
}

template <typename From, typename To>
cudaError_t launch_unfold(const num_cuda_unfold &a, cudaStream_t stream) {
    const size_t pieces = a.n_batch * (a.n / a.stride) * 3 * a.n_channels / 8;
    if (pieces == 0)
        return cudaSuccess;
    return num::launch(unfold<From, To>, dim3((unsigned)((pieces + THREADS - 1) / THREADS)),
                       dim3(THREADS), 0, stream, a);
}

template <typename To>
cudaError_t launch_to(const num_cuda_unfold &a, enum num_cuda_type from, cudaStream_t stream) {
    return from == NUM_CUDA_F32 ? launch_unfold<float, To>(a, stream)
                                : launch_unfold<To, To>(a, stream);
}

} // namespace

cudaError_t num_cuda_unfold_run(const struct num_cuda_unfold *a, enum num_cuda_type from,
                                enum num_cuda_type to, cudaStream_t stream) {
    if (a->n_channels % 8 || a->stride == 0 || a->n % a->stride ||
        (from != NUM_CUDA_F32 && from != to))
        return cudaErrorInvalidValue;
    switch (to) {
    case NUM_CUDA_F32:
        return launch_unfold<float, float>(*a, stream);
    case NUM_CUDA_F16:
        return launch_to<__half>(*a, from, stream);
    case NUM_CUDA_BF16:
        return launch_to<__nv_bfloat16>(*a, from, stream);
    }
    return cudaErrorInvalidValue;
}

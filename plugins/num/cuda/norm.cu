/*
 * Layer norm fused with what comes before it: see norm.h.
 *
 * One warp holds a whole row in registers, so the sum is read once, stored once and normed without
 * a second read, and the variance is that of the differences from the mean. Lane l owns groups of
 * eight values l, l + 32, ... of the row: accesses of 16 bytes, side by side.
 *
 * Bound by memory: rows x n x (4 base + 4 sum + 2 add + 2 norm) bytes in half types. For a window
 * of large-v3 (1500 x 1280): 23 MB, 5.4 us at 4.3 TB/s; 65 such kernels are 0.35 ms of an encoder
 * window. The other way is to let the product before it add to the stream in its epilogue (11.5 MB
 * here, and 15.4 MB of traffic beside the product's arithmetic).
 */
#include "num/cuda/norm.h"

#include "num/cuda/launch.cuh"
#include "num/cuda/vec8.cuh"
#include "num/cuda/warp.cuh"

namespace {

constexpr int WARPS = 4; /* rows of a block */

/* This lane's values of a row of base, add and bias; zeros behind the row's end. All loads stand
 * before the first store, so that they are under way together. */
template <typename T, int GROUPS>
__device__ void load_row(const num_cuda_norm &a, unsigned row, unsigned lane,
                         float (&x)[GROUPS][8]) {
    const unsigned n = (unsigned)a.n;
    const float *base = a.base ? a.base + (size_t)(row % (unsigned)a.period) * n : NULL;
    const T *add = a.add ? (const T *)a.add + (size_t)row * n : NULL;
#pragma unroll
    for (int g = 0; g < GROUPS; g++) {
        const unsigned at = (g * 32 + lane) * 8;
        float y[8] = {0}, z[8] = {0};
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[g][i] = 0;
        if (at < n && base)
            num::load8(base + at, x[g]);
        if (at < n && add)
            num::load8(add + at, y);
        if (at < n && a.bias)
            num::load8(a.bias + at, z);
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[g][i] += y[i] + z[i];
    }
}

/* Grid: rows / WARPS; block: WARPS warps, one row each. GROUPS: of eight values, of each lane. */
template <typename T, int GROUPS>
__global__ void __launch_bounds__(32 * WARPS) norm_rows(num_cuda_norm a) {
    const unsigned row = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    const unsigned n = (unsigned)a.n;
    if (row >= a.rows)
        return;
    float x[GROUPS][8], sum = 0, squares = 0;
    load_row<T>(a, row, lane, x);
#pragma unroll
    for (int g = 0; g < GROUPS; g++) {
        const unsigned at = (g * 32 + lane) * 8;
        if (at < n && a.ret_sum)
            num::store8(a.ret_sum + (size_t)row * n + at, x[g]);
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum += x[g][i];
    }
    if (!a.ret)
        return;
    const float mean = num::warp_sum(sum) / n;
#pragma unroll
    for (int g = 0; g < GROUPS; g++)
#pragma unroll
        for (int i = 0; i < 8; i++) {
            x[g][i] -= mean;
            squares += (g * 32 + lane) * 8 < n ? x[g][i] * x[g][i] : 0;
        }
    const float scale = 1 / sqrtf(num::warp_sum(squares) / n + 1e-5f);
#pragma unroll
    for (int g = 0; g < GROUPS; g++) {
        const unsigned at = (g * 32 + lane) * 8;
        if (at >= n)
            continue;
        float gamma[8], beta[8];
        num::load8(a.gamma + at, gamma);
        num::load8(a.beta + at, beta);
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[g][i] = x[g][i] * scale * gamma[i] + beta[i];
        num::store8((T *)a.ret + (size_t)row * n + at, x[g]);
    }
}

template <typename T> cudaError_t launch_rows(const num_cuda_norm &a, cudaStream_t stream) {
    const dim3 grid((unsigned)((a.rows + WARPS - 1) / WARPS)), block(32 * WARPS);
    if (a.n <= 512)
        return num::launch(norm_rows<T, 2>, grid, block, 0, stream, a);
    if (a.n <= 768)
        return num::launch(norm_rows<T, 3>, grid, block, 0, stream, a);
    if (a.n <= 1280)
        return num::launch(norm_rows<T, 5>, grid, block, 0, stream, a);
    return num::launch(norm_rows<T, 8>, grid, block, 0, stream, a);
}

} // namespace

cudaError_t num_cuda_norm_run(const struct num_cuda_norm *norm, enum num_cuda_type type,
                              cudaStream_t stream) {
    if (norm->n % 8 || norm->n > NUM_CUDA_NORM_MAX)
        return cudaErrorInvalidValue;
    if (norm->rows == 0)
        return cudaSuccess;
    switch (type) {
    case NUM_CUDA_F32:
        return launch_rows<float>(*norm, stream);
    case NUM_CUDA_F16:
        return launch_rows<__half>(*norm, stream);
    case NUM_CUDA_BF16:
        return launch_rows<__nv_bfloat16>(*norm, stream);
    }
    return cudaErrorInvalidValue;
}

/*
 * The emulated card runs kernels as a card does: a layer norm with shuffles and barriers, atomics,
 * votes, dynamic shared memory, blocks of odd sizes.
 */
#include "num/cuda/launch.cuh"
#include "num/cuda/warp.cuh"

#include <vector>

#include "emu/emu.h"
#include "unit/test.h"

#define CHECK_CUDA(call) CHECK_STR(cudaGetErrorName(call), "cudaSuccess")

namespace {

constexpr int THREADS = 128;

/* Grid: rows. Mean, then the variance of the differences, as a layer norm has it. */
__global__ void layer_norm(float *out, const float *in, int n) {
    __shared__ float scratch[num::WARP], squares[num::WARP];
    const float *row = in + (size_t)blockIdx.x * n;
    float sum = 0.0f, square = 0.0f;
    for (int i = threadIdx.x; i < n; i += THREADS)
        sum += row[i];
    float mean = num::block_sum<THREADS>(sum, scratch) / n;
    for (int i = threadIdx.x; i < n; i += THREADS)
        square += (row[i] - mean) * (row[i] - mean);
    float scale = rsqrtf(num::block_sum<THREADS>(square, squares) / n + 1e-5f);
    for (int i = threadIdx.x; i < n; i += THREADS)
        out[(size_t)blockIdx.x * n + i] = (row[i] - mean) * scale;
}

/* Turns n numbers round, through shared memory. */
__global__ void reverse(int *x, int n) {
    int *tile = num::dynamic_shared<int>();
    if ((int)threadIdx.x < n)
        tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if ((int)threadIdx.x < n)
        x[threadIdx.x] = tile[n - 1 - threadIdx.x];
}

__global__ void count_even(const int *x, int n, unsigned *ret_count, unsigned long long *ret_sum,
                           float *ret_float) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned even = __ballot_sync(0xffffffffu, i < n && x[i] % 2 == 0);
    if (threadIdx.x % 32 == 0)
        atomicAdd(ret_count, __popc(even));
    if (i < n) {
        atomicAdd(ret_sum, (unsigned long long)x[i]);
        atomicAdd(ret_float, 0.5f);
    }
}

} // namespace

static float noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

TEST(layer_norm_is_exact) {
    enum { ROWS = 50, N = 333 };
    std::vector<float> in(ROWS * N), out(ROWS * N);
    uint32_t state = 1;
    for (float &x : in)
        x = noise(&state) * 3.0f + 1.0f;
    float *d_in, *d_out;
    CHECK_CUDA(cudaMalloc(&d_in, sizeof(float) * ROWS * N));
    CHECK_CUDA(cudaMalloc(&d_out, sizeof(float) * ROWS * N));
    CHECK_CUDA(cudaMemcpy(d_in, in.data(), sizeof(float) * ROWS * N, cudaMemcpyHostToDevice));
    CHECK_CUDA(num::launch(layer_norm, ROWS, THREADS, 0, nullptr, d_out, d_in, N));
    CHECK_CUDA(cudaMemcpy(out.data(), d_out, sizeof(float) * ROWS * N, cudaMemcpyDeviceToHost));
    for (int r = 0; r < ROWS; r++) {
        double mean = 0, square = 0;
        for (int i = 0; i < N; i++)
            mean += in[r * N + i];
        mean /= N;
        for (int i = 0; i < N; i++)
            square += (in[r * N + i] - mean) * (in[r * N + i] - mean);
        for (int i = 0; i < N; i++)
            CHECK_NEAR(out[r * N + i], (in[r * N + i] - mean) / sqrt(square / N + 1e-5), 2e-6);
    }
    CHECK_CUDA(cudaFree(d_in));
    CHECK_CUDA(cudaFree(d_out));
}

TEST(dynamic_shared_memory) {
    const int sizes[] = {1, 31, 33, 1000, 1024};
    for (int n : sizes) {
        std::vector<int> x(n);
        for (int i = 0; i < n; i++)
            x[i] = i;
        int *d_x;
        CHECK_CUDA(cudaMalloc(&d_x, sizeof(int) * n));
        CHECK_CUDA(cudaMemcpy(d_x, x.data(), sizeof(int) * n, cudaMemcpyHostToDevice));
        CHECK_CUDA(num::launch(reverse, 1, 1024, sizeof(int) * n, nullptr, d_x, n));
        CHECK_CUDA(cudaMemcpy(x.data(), d_x, sizeof(int) * n, cudaMemcpyDeviceToHost));
        for (int i = 0; i < n; i++)
            CHECK_INT(x[i], n - 1 - i);
        CHECK_CUDA(cudaFree(d_x));
    }
}

TEST(atomics_and_votes) {
    enum { N = 1000 };
    std::vector<int> x(N);
    for (int i = 0; i < N; i++)
        x[i] = i;
    int *d_x;
    struct sums {
        unsigned long long sum;
        unsigned count;
        float half;
    } sums = {}, *d_sums;
    CHECK_CUDA(cudaMalloc(&d_x, sizeof(int) * N));
    CHECK_CUDA(cudaMalloc(&d_sums, sizeof sums));
    CHECK_CUDA(cudaMemcpy(d_x, x.data(), sizeof(int) * N, cudaMemcpyHostToDevice));
    CHECK_CUDA(cudaMemcpy(d_sums, &sums, sizeof sums, cudaMemcpyHostToDevice));
    CHECK_CUDA(num::launch(count_even, 16, 64, 0, nullptr, d_x, (int)N,
                           (unsigned *)((char *)d_sums + 8), (unsigned long long *)d_sums,
                           (float *)((char *)d_sums + 12)));
    CHECK_CUDA(cudaMemcpy(&sums, d_sums, sizeof sums, cudaMemcpyDeviceToHost));
    CHECK_INT(sums.count, N / 2);
    CHECK_INT(sums.sum, N * (N - 1) / 2);
    CHECK_NEAR(sums.half, N / 2, 0);
}

TEST_MAIN()

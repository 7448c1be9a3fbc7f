/*
 * Matrix instructions, ldmatrix and cp.async: a small product of two warps, its factors copied in
 * two stages, compared with plain loops; and the roundings of the 16- and 8-bit formats.
 */
#include "num/cuda/launch.cuh"
#include "num/cuda/mma.cuh"

#include <cuda_fp8.h>
#include <vector>

#include "emu/emu.h"
#include "unit/test.h"

#define CHECK_CUDA(call) CHECK_STR(cudaGetErrorName(call), "cudaSuccess")

namespace {

constexpr int M = 16, N = 16, K = 16;

template <typename T> struct stage { T a[M * K], b[N * K], b_rows[K * N]; };

/* ret (16, 16) += a (16, k) b^T (16, k), and once more with b_rows (k, 16), which is b transposed.
 * A warp has eight columns. */
template <typename T>
__global__ void product(float *ret, const T *a, const T *b, const T *b_rows, int k) {
    stage<T> *stages = num::dynamic_shared<stage<T>>();
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, steps = k / K;
    float c[4] = {}, c_trans[4] = {};
    auto copy = [&](int step) {
        stage<T> *s = &stages[step % 2];
        for (int i = threadIdx.x; i < 32; i += 64) {
            int row = i / 2, half = i % 2 * 8;
            num::cp_async_16(&s->a[row * K + half], &a[row * k + step * K + half]);
            num::cp_async_16(&s->b[row * K + half], &b[row * k + step * K + half]);
            num::cp_async_16(&s->b_rows[row * N + half], &b_rows[(step * K + row) * N + half]);
        }
        num::cp_async_commit();
    };
    copy(0);
    for (int step = 0; step < steps; step++) {
        if (step + 1 < steps)
            copy(step + 1);
        else
            num::cp_async_commit();
        num::cp_async_wait<1>();
        __syncthreads();
        stage<T> *s = &stages[step % 2];
        uint32_t fa[4], fb[2], ft[2];
        num::ldmatrix_x4(fa, &s->a[lane % 16 * K + lane / 16 * 8]);
        num::ldmatrix_x2(fb, &s->b[(warp * 8 + lane % 8) * K + lane / 8 % 2 * 8]);
        num::ldmatrix_x2_trans(ft, &s->b_rows[lane % 16 * N + warp * 8]);
        num::mma_m16n8k16<T>(c, fa, fb);
        num::mma_m16n8k16<T>(c_trans, fa, ft);
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + i / 2 * 8, column = warp * 8 + lane % 4 * 2 + i % 2;
        ret[row * N + column] = c[i];
        ret[M * N + row * N + column] = c_trans[i];
    }
}

} // namespace

template <typename T> static T *to_device(const std::vector<T> &host) {
    T *device;
    CHECK_CUDA(cudaMalloc(&device, host.size() * sizeof(T)));
    CHECK_CUDA(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    return device;
}

template <typename T> static void check_product(int k) {
    std::vector<T> a(M * k), b(N * k), b_rows(k * N);
    for (int i = 0; i < M * k; i++)
        a[i] = T((float)(i * 37 % 101 - 50) / 32.0f);
    for (int n = 0; n < N; n++)
        for (int i = 0; i < k; i++)
            b[n * k + i] = b_rows[i * N + n] = T((float)((n * k + i) * 53 % 97 - 48) / 16.0f);
    float *d_ret;
    CHECK_CUDA(cudaMalloc(&d_ret, 2 * M * N * sizeof(float)));
    T *d_a = to_device(a), *d_b = to_device(b), *d_b_rows = to_device(b_rows);
    CHECK_CUDA(num::launch(product<T>, 1, 64, 2 * sizeof(stage<T>), nullptr, d_ret, d_a, d_b,
                           d_b_rows, k));
    std::vector<float> ret(2 * M * N);
    CHECK_CUDA(cudaMemcpy(ret.data(), d_ret, ret.size() * sizeof(float), cudaMemcpyDeviceToHost));
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            double sum = 0;
            for (int i = 0; i < k; i++)
                sum += (double)(float)a[m * k + i] * (double)(float)b[n * k + i];
            CHECK_NEAR(ret[m * N + n], sum, 1e-4); /* sums of k products near 4 in f32 */
            CHECK_NEAR(ret[M * N + m * N + n], sum, 1e-4);
        }
    CHECK_CUDA(cudaFree(d_ret));
    CHECK_CUDA(cudaFree(d_a));
    CHECK_CUDA(cudaFree(d_b));
    CHECK_CUDA(cudaFree(d_b_rows));
}

TEST(product_f16) {
    check_product<__half>(16);
    check_product<__half>(80);
}

TEST(product_bf16) {
    check_product<__nv_bfloat16>(16);
    check_product<__nv_bfloat16>(80);
}

/* Each finite number is its own rounding; halfway between two, the even one; a hair off, the
 * nearer. */
template <typename Bits, typename Value, typename Round>
static void check_rounding(int n_finite, Value value, Round round) {
    for (int i = 0; i + 1 < n_finite; i++) {
        double low = value((Bits)i), high = value((Bits)(i + 1)), middle = (low + high) / 2;
        CHECK_INT(round((float)low), i);
        CHECK_INT(round((float)middle), i % 2 ? i + 1 : i);
        CHECK_INT(round(nextafterf((float)middle, 0.0f)), i);
        CHECK_INT(round(nextafterf((float)middle, INFINITY)), i + 1);
    }
}

TEST(roundings) {
    check_rounding<uint16_t>(0x7c00, emu_f16_value, emu_f16_bits);
    check_rounding<uint16_t>(0x7f80, emu_bf16_value, emu_bf16_bits);
    check_rounding<uint8_t>(0x7f, emu_e4m3_value, emu_e4m3_bits);
    check_rounding<uint8_t>(0x7c, emu_e5m2_value, emu_e5m2_bits);
    CHECK_INT(emu_f16_bits(65519.0f), 0x7bff);
    CHECK_INT(emu_f16_bits(65520.0f), 0x7c00);
    CHECK_INT(emu_f16_bits(-INFINITY), 0xfc00);
    CHECK_INT(emu_bf16_bits(3.4e38f), 0x7f80);
    CHECK_INT(emu_e4m3_bits(1e9f), 0x7e);
    CHECK_INT(emu_e5m2_bits(-1e9f), 0xfb);
    CHECK(isnan(emu_f16_value(emu_f16_bits(NAN))));
    CHECK(isnan(emu_bf16_value(emu_bf16_bits(NAN))));
    CHECK(isnan(emu_e4m3_value(emu_e4m3_bits(NAN))));
    CHECK_NEAR((float)__nv_fp8_e4m3(0.3f), 0.3125, 0);
}

TEST_MAIN()

/*
 * GELU, and the rows of convolutions.
 */
#include "device.h"

#include "num/cuda/epilogue.h"
#include "num/cuda/unfold.h"

static void *gelu(void *x, size_t n, enum num_cuda_type type) {
    const struct num_cuda_epilogue e = {
        .type = type, .rows = 1, .n = n, .ld = n, .ret = x, .gelu = 1};
    CHECK_CUDA(num_cuda_epilogue_run(&e, NULL));
    return x;
}

TEST(gelu_is_the_exact_one) {
    enum { N = 4096 };
    for (size_t t = 0; t < N_TYPES; t++) {
        float *x = keep(malloc(N * 4));
        for (int i = 0; i < N; i++)
            x[i] = (float)(i - N / 2) / 256;
        void *device = device_values(x, N, all_types[t]);
        float *got = host_values(gelu(device, N, all_types[t]), N, all_types[t]);
        for (int i = 0; i < N; i++) {
            double want = 0.5 * x[i] * (1 + erf(x[i] * M_SQRT1_2));
            CHECK_NEAR(got[i], want, 1e-6 + 2 * rounding_of(all_types[t]) * fabs(want));
        }
    }
}

/* Every value of half a type, NaN and infinity aside. */
TEST(gelu_of_every_bfloat16) {
    enum { N = 65536 };
    uint16_t *bits = keep(malloc(N * 2));
    for (int i = 0; i < N; i++)
        bits[i] = (i & 0x7f80) == 0x7f80 ? 0 : (uint16_t)i;
    void *device = device_copy(bits, N * 2);
    float *got = host_values(gelu(device, N, NUM_CUDA_BF16), N, NUM_CUDA_BF16);
    for (int i = 0; i < N; i++) {
        double x = half_value(bits[i], NUM_CUDA_BF16), want = 0.5 * x * (1 + erf(x * M_SQRT1_2));
        CHECK_NEAR(got[i], want, 1e-6 + 0x1p-8 * fabs(want));
    }
}

static void check_unfold(size_t n_batch, size_t n, size_t C, size_t stride, enum num_cuda_type from,
                         enum num_cuda_type to) {
    float *x = random_values(n_batch * n * C, 1, 0, 5);
    void *d_x = device_values(x, n_batch * n * C, from);
    size_t n_ret = n_batch * (n / stride) * 3 * C;
    void *ret = device_room(n_ret * 4);
    CHECK_CUDA(num_cuda_unfold_run(&(struct num_cuda_unfold){d_x, ret, n_batch, n, C, stride}, from,
                                   to, NULL));
    float *got = host_values(ret, n_ret, to);
    for (size_t i = 0; i < n_ret; i++) {
        size_t row = i / (3 * C), tap = i / C % 3, b = row / (n / stride), t = row % (n / stride);
        size_t at = t * stride + tap; /* one behind */
        float want = at == 0 || at > n ? 0 : x[(b * n + at - 1) * C + i % C];
        if (to != NUM_CUDA_F32)
            want = half_value(half_bits(want, to), to);
        CHECK(got[i] == want);
    }
}

TEST(rows_of_convolutions) {
    check_unfold(1, 2, 8, 1, NUM_CUDA_F32, NUM_CUDA_F32);
    check_unfold(3, 50, 80, 1, NUM_CUDA_F32, NUM_CUDA_F16);
    check_unfold(2, 100, 128, 1, NUM_CUDA_F32, NUM_CUDA_BF16);
    check_unfold(2, 34, 64, 2, NUM_CUDA_BF16, NUM_CUDA_BF16);
    check_unfold(3, 6, 192, 2, NUM_CUDA_F16, NUM_CUDA_F16);
    check_unfold(1, 100, 64, 2, NUM_CUDA_F32, NUM_CUDA_F32);
}

TEST_MAIN()

/*
 * Every kernel table that this processor can run, against plain loops in double, over odd sizes.
 * Tolerances: sums of n products of values up to 1 may lose n half units in the last place (2^-24),
 * in practice far less; exp and erf are approximations, with the errors that kernels.inc names.
 */
#include "unit/num/tables.h"

#include "num/half.h"

static const size_t sizes[] = {1, 2, 15, 31, 33, 64, 100, 384, 1500};
#define N_SIZES (sizeof sizes / sizeof *sizes)

TEST(layer_norm) {
    FOR_EACH_TABLE(kernels) {
        for (size_t s = 0; s < N_SIZES; s++) {
            size_t n = sizes[s];
            float *x = values(n, 1), *gamma = values(n, 2), *beta = values(n, 3), *y = values(n, 4);
            double mean = 0, variance = 0;
            for (size_t i = 0; i < n; i++)
                mean += (x[i] += 5) / (double)n; /* far from zero: the two passes matter */
            for (size_t i = 0; i < n; i++)
                variance += (x[i] - mean) * (x[i] - mean) / (double)n;
            kernels->layer_norm(x, n, gamma, beta, y);
            for (size_t i = 0; i < n; i++)
                CHECK_NEAR(y[i], (x[i] - mean) / sqrt(variance + 1e-5) * gamma[i] + beta[i],
                           n > 1 ? 1e-5 : 2e-3);
            free(x);
            free(gamma);
            free(beta);
            free(y);
        }
    }
}

TEST(softmax_and_sum_exp) {
    FOR_EACH_TABLE(kernels) {
        for (size_t s = 0; s < N_SIZES; s++) {
            size_t n = sizes[s];
            float *x = values(n, 1), *y = values(n, 1), max = -INFINITY;
            double sum = 0;
            for (size_t i = 0; i < n; i++) {
                x[i] = y[i] = i % 5 == 4 ? -INFINITY : x[i] * 20;
                max = x[i] > max ? x[i] : max;
            }
            for (size_t i = 0; i < n; i++)
                sum += exp((double)x[i] - max);
            CHECK(kernels->max(x, n) == max);
            CHECK_NEAR(kernels->sum_exp(x, n, max) / sum, 1, 1e-6);
            kernels->softmax(y, n);
            for (size_t i = 0; i < n; i++)
                CHECK_NEAR(y[i], exp((double)x[i] - max) / sum, 5e-7);
            free(x);
            free(y);
        }
    }
}

TEST(max_passes_over_what_is_no_number) {
    FOR_EACH_TABLE(kernels) {
        float x[40];
        for (int i = 0; i < 40; i++)
            x[i] = i == 7 || i == 38 ? (float)-i : NAN;
        CHECK(kernels->max(x, 40) == -7 && kernels->max(x + 8, 32) == -38);
        CHECK(kernels->max(x, 7) == -INFINITY && kernels->max(x, 0) == -INFINITY);
    }
}

TEST(gelu_is_exact_to_a_millionth_and_to_a_tenth_of_a_thousandth) {
    FOR_EACH_TABLE(kernels) {
        enum { N = 2016 };
        float x[N], bias[N], y[N];
        uint16_t y16[N];
        for (int i = 0; i < N; i++) {
            x[i] = (float)(i - 1000) / 90;
            bias[i] = i % 3 ? 0.25f : 0;
        }
        struct num_finish exact = {NUM_FORM_GELU_F32, y, N, bias, NULL, NULL};
        struct num_finish fast = {NUM_FORM_GELU_BF16, y16, N, bias, NULL, NULL};
        kernels->finish(&exact, x, N, 0, 1, 0, N);
        kernels->finish(&fast, x, N, 0, 1, 0, N);
        for (int i = 0; i < N; i++) {
            double z = (double)x[i] + bias[i], gelu = z / 2 * (1 + erf(z / sqrt(2)));
            CHECK_NEAR(y[i], gelu, 1e-6);
            CHECK_NEAR(num_bf16_to_f32(y16[i]), gelu, 3e-4 + fabs(gelu) / 256);
        }
    }
}

TEST(bfloat16_rounds_to_nearest_even) {
    FOR_EACH_TABLE(kernels) {
        const struct {
            uint32_t bits;
            uint16_t expected;
        } cases[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82},
                     {0x3f808001, 0x3f81}, {0xbf80ffff, 0xbf81}, {0, 0},
                     {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f7fffff, 0x7f80}};
        enum { N = sizeof cases / sizeof *cases };
        float x[3 * N];
        uint16_t y[3 * N + 1];
        y[3 * N] = 0xabcd;
        for (int i = 0; i < 3 * N; i++)
            memcpy(&x[i], &cases[i % N].bits, 4);
        kernels->to_bf16(x, 3 * N, y);
        for (int i = 0; i < 3 * N; i++)
            CHECK_INT(y[i], cases[i % N].expected);
        CHECK_INT(y[3 * N], 0xabcd);
    }
}

TEST(bytes_are_the_nearest_of_255_steps) {
    FOR_EACH_TABLE(kernels) {
        for (size_t s = 0; s < N_SIZES; s++) {
            size_t n = sizes[s];
            float *x = values(n, 1), largest = 0;
            int8_t q[1501];
            uint16_t h[1500];
            for (size_t i = 0; i < n; i++)
                largest = fmaxf(largest, fabsf(x[i] *= 3));
            q[n] = 77;
            float scale = kernels->to_int8(x, n, q);
            CHECK_NEAR(scale, largest / 127, 1e-7);
            for (size_t i = 0; i < n; i++)
                CHECK_NEAR(q[i] * scale, x[i], 0.501 * scale);
            kernels->to_bf16(x, n, h);
            scale = kernels->bf16_to_int8(h, n, q);
            for (size_t i = 0; i < n; i++)
                CHECK_NEAR(q[i] * scale, num_bf16_to_f32(h[i]), 0.501 * scale);
            memset(x, 0, n * sizeof *x);
            CHECK(kernels->to_int8(x, n, q) == 0 && q[0] == 0 && q[n - 1] == 0 && q[n] == 77);
            free(x);
        }
    }
}

/* Blocks one after another give the softmax of all; `rounding` is that of the results' type. */
static void check_running_softmax(const struct num_kernels *kernels, enum num_compute type,
                                  double rounding) {
    enum { N = 331, BLOCK = 64, PADDED = 384 };
    float *x = values(N, 1), p[PADDED];
    uint16_t *p16 = (uint16_t *)p;
    double out[N], sum = 0, total = 0;
    struct num_running run = {.max = -INFINITY};
    for (size_t i = 0; i < N; i++)
        sum += exp(0.5 * (x[i] *= 30));
    for (size_t t = 0; t < N; t += BLOCK) {
        size_t n = N - t < BLOCK ? N - t : BLOCK;
        memset(p, 0xff, sizeof p);
        kernels->running_softmax(type, x + t, N, 1, n, BLOCK, 0.5f * 1.44269504f, &run, p, BLOCK);
        for (size_t i = 0; i < t; i++)
            out[i] *= run.fix;
        for (size_t i = 0; i < n; i++)
            out[t + i] = type == NUM_COMPUTE_F32 ? p[i] : num_bf16_to_f32(p16[i]);
        for (size_t i = n; i < BLOCK; i++)
            CHECK(type == NUM_COMPUTE_F32 ? p[i] == 0 : p16[i] == 0);
    }
    for (size_t i = 0; i < N; i++) {
        double expected = exp(0.5 * x[i]) / sum;
        CHECK_NEAR(out[i] / run.sum, expected, expected * rounding + 1e-30);
        total += out[i] / run.sum;
    }
    CHECK_NEAR(total, 1, rounding);
    free(x);
}

/* bfloat16: 2^-8, and 4e-4 of the fast power. Floats: the error of x log2(e) for x = -30. */
TEST(running_softmax_over_blocks) {
    FOR_EACH_TABLE(kernels) {
        check_running_softmax(kernels, NUM_COMPUTE_BF16, 1.0 / 256 + 4e-4);
        check_running_softmax(kernels, NUM_COMPUTE_F32, 4e-6);
    }
}

TEST(add_takes_no_bias_for_zero) {
    FOR_EACH_TABLE(kernels) {
        float x[33], one[33];
        for (int i = 0; i < 33; i++)
            x[i] = one[i] = (float)i;
        kernels->add(x, NULL, 33);
        CHECK(memcmp(x, one, sizeof x) == 0);
        kernels->add(x, one, 33);
        CHECK(x[32] == 64 && x[1] == 2);
    }
}

TEST_MAIN()

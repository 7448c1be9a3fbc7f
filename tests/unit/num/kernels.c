/*
 * Every kernel table that this processor can run, against plain loops in double, over odd sizes.
 * Tolerances: sums of n products of values up to 1 may lose n half units in the last place (2^-24),
 * in practice far less; exp and erf are approximations, with the errors that kernels.inc names.
 */
#include "unit/test.h"

#include "num/cpu/linear.h"

static const size_t sizes[] = {1, 2, 15, 31, 33, 64, 100, 384, 1500};
#define N_SIZES (sizeof sizes / sizeof *sizes)

static float *values(size_t n, uint32_t seed) {
    float *x = malloc((n + 64) * sizeof *x);
    for (size_t i = 0; i < n + 64; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
    return x;
}

#define FOR_EACH_TABLE(k)                                                                          \
    const struct num_kernels *tables[3];                                                           \
    size_t n_tables = num_kernels_all(tables);                                                     \
    CHECK(n_tables >= 1);                                                                          \
    for (size_t table = 0; table < n_tables; table++)                                              \
        for (const struct num_kernels *k = tables[table]; k; k = NULL)

static void check_linear(size_t rows, size_t n_out, size_t k, bool accumulate) {
    float *w = values(n_out * k, 1), *x = values(rows * k, 2), *bias = values(n_out, 3);
    size_t ldy = NUM_PANELS(n_out) * NUM_PANEL;
    struct num_linear linear;
    CHECK_INT(num_linear_init(&linear, n_out, k, w, bias, NULL), 0);
    FOR_EACH_TABLE(kernels) {
        float *y = values(rows * ldy, 4), *before = values(rows * ldy, 4);
        kernels->panels(x, k, rows, k, linear.panels, NUM_PANELS(n_out), linear.bias, accumulate, y,
                        ldy);
        for (size_t r = 0; r < rows; r++)
            for (size_t o = 0; o < n_out; o++) {
                double sum = bias[o] + (accumulate ? before[r * ldy + o] : 0);
                for (size_t i = 0; i < k; i++)
                    sum += (double)w[o * k + i] * x[r * k + i];
                CHECK_NEAR(y[r * ldy + o], sum, 1e-6 + 2e-7 * (double)k);
            }
        free(y);
        free(before);
    }
    num_linear_finish(&linear);
    free(w);
    free(x);
    free(bias);
}

TEST(panels_equal_plain_products) {
    const size_t rows[] = {1, 2, 3, 5, 7, 12, 13, 31};
    const size_t outs[] = {1, 31, 33, 129, 192};
    const size_t ks[] = {1, 31, 64, 1500};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
            for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
                check_linear(rows[r], outs[o], ks[k], (r + o + k) % 2);
}

TEST(a_row_does_not_depend_on_the_others) {
    enum { ROWS = 31, OUT = 200, K = 100 };
    float *w = values(OUT * K, 1), *x = values(ROWS * K, 2);
    struct num_linear linear;
    size_t ldy = NUM_PANELS(OUT) * NUM_PANEL;
    CHECK_INT(num_linear_init(&linear, OUT, K, w, NULL, NULL), 0);
    FOR_EACH_TABLE(kernels) {
        float *all = values(ROWS * ldy, 4), *one = values(ldy, 5);
        kernels->panels(x, K, ROWS, K, linear.panels, NUM_PANELS(OUT), NULL, 0, all, ldy);
        for (size_t r = 0; r < ROWS; r++) {
            kernels->panels(x + r * K, K, 1, K, linear.panels, NUM_PANELS(OUT), NULL, 0, one, ldy);
            CHECK(memcmp(one, all + r * ldy, OUT * sizeof *one) == 0);
        }
        free(all);
        free(one);
    }
    num_linear_finish(&linear);
    free(w);
    free(x);
}

TEST(linear_splits_over_threads_without_a_change) {
    enum { OUT = 3001, K = 384 };
    float *w = values(OUT * K, 1), *x = values(2 * K, 2), *bias = values(OUT, 3);
    size_t ldy = NUM_PANELS(OUT) * NUM_PANEL;
    float *one = values(2 * ldy, 4), *three = values(2 * ldy, 5);
    struct num_linear linear;
    struct num_pool *pool;
    CHECK_INT(num_linear_init(&linear, OUT, K, w, bias, NULL), 0);
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        CHECK_INT(num_pool_create(n_threads, &pool, NULL), 0);
        num_linear_run(&linear, pool, x, K, 2, false, n_threads == 1 ? one : three, ldy);
        num_pool_destroy(pool);
    }
    for (size_t r = 0; r < 2; r++)
        CHECK(memcmp(one + r * ldy, three + r * ldy, OUT * sizeof *one) == 0);
    num_linear_finish(&linear);
    free(w);
    free(x);
    free(bias);
    free(one);
    free(three);
}

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

TEST(gelu_is_exact_to_a_millionth) {
    FOR_EACH_TABLE(kernels) {
        enum { N = 2003 };
        float x[N], bias[N];
        for (int i = 0; i < N; i++) {
            x[i] = (float)(i - 1000) / 90;
            bias[i] = i % 3 ? 0.25f : 0;
        }
        float y[N], z[N];
        memcpy(y, x, sizeof x);
        memcpy(z, x, sizeof x);
        kernels->gelu(y, NULL, N);
        kernels->gelu(z, bias, N);
        for (int i = 0; i < N; i++) {
            double a = x[i], b = (double)x[i] + bias[i];
            CHECK_NEAR(y[i], a / 2 * (1 + erf(a / sqrt(2))), 1e-6);
            CHECK_NEAR(z[i], b / 2 * (1 + erf(b / sqrt(2))), 1e-6);
        }
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

static void check_gemm(bool b_transposed, size_t m, size_t n, size_t k) {
    size_t lda = k + 3, ldb = (b_transposed ? k : n) + 1, ldc = n + 5;
    float *a = values(m * lda, 1), *b = values((b_transposed ? n : k) * ldb, 2),
          *c = values(m * ldc, 3);
    float *before = values(m * ldc, 3);
    CHECK_INT(num_gemm(b_transposed, m, n, k, 0.5f, a, lda, b, ldb, 1, c, ldc), 0);
    for (size_t r = 0; r < m; r++)
        for (size_t o = 0; o < ldc; o++) {
            double sum = 0;
            for (size_t i = 0; i < k && o < n; i++)
                sum += 0.5 * a[r * lda + i] * (b_transposed ? b[o * ldb + i] : b[i * ldb + o]);
            CHECK_NEAR(c[r * ldc + o], before[r * ldc + o] + sum, 1e-6 + 2e-7 * (double)k);
        }
    free(a);
    free(b);
    free(c);
    free(before);
}

TEST(gemm_equals_plain_products) {
    const size_t odd[] = {1, 31, 33, 125};
    for (size_t m = 0; m < 4; m++)
        for (size_t n = 0; n < 4; n++)
            for (size_t k = 0; k < 4; k++) {
                check_gemm(true, odd[m], odd[n], odd[k]);
                check_gemm(false, odd[m], odd[n], odd[k]);
            }
    check_gemm(true, 33, 31, 1500);
    check_gemm(false, 33, 1500, 31);
}

TEST_MAIN()

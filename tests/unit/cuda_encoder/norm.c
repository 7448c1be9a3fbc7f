/*
 * Sums and layer norms of rows, against the same in double.
 */
#include "device.h"

#include "num/cuda/norm.h"

struct rows {
    size_t n_rows, n, period;
    enum num_cuda_type type;
    float *base, *add, *gamma, *beta;
    void *d_base, *d_add, *d_gamma, *d_beta;
};

static struct rows rows_make(size_t n_rows, size_t n, size_t period, enum num_cuda_type type) {
    struct rows r = {n_rows, n, period, type};
    r.base = random_values(period * n, 2, 1, 1);
    r.add = random_values(n_rows * n, 1, -0.5f, 2);
    r.gamma = random_values(n, 0.3f, 1, 3);
    r.beta = random_values(n, 0.3f, 0, 4);
    r.d_base = device_values(r.base, period * n, NUM_CUDA_F32);
    r.d_add = device_values(r.add, n_rows * n, type);
    r.d_gamma = device_values(r.gamma, n, NUM_CUDA_F32);
    r.d_beta = device_values(r.beta, n, NUM_CUDA_F32);
    return r;
}

/* Norms are about 1, so an error of them is a few roundings of the type, and of floats on the way. */
static void check(const struct rows *r, const float *sum, const float *norm, bool base, bool add) {
    double tolerance = 3 * rounding_of(r->type) + 4e-6;
    for (size_t i = 0; i < r->n_rows; i++) {
        double mean = 0, variance = 0;
        double x[NUM_CUDA_NORM_MAX];
        for (size_t j = 0; j < r->n; j++) {
            x[j] =
                (base ? r->base[i % r->period * r->n + j] : 0) + (add ? r->add[i * r->n + j] : 0);
            mean += x[j] / (double)r->n;
        }
        for (size_t j = 0; j < r->n; j++)
            variance += (x[j] - mean) * (x[j] - mean) / (double)r->n;
        for (size_t j = 0; j < r->n; j++) {
            double y = (x[j] - mean) / sqrt(variance + 1e-5) * r->gamma[j] + r->beta[j];
            if (sum)
                CHECK_NEAR(sum[i * r->n + j], x[j], 1e-6 * (1 + fabs(x[j])));
            if (norm)
                CHECK_NEAR(norm[i * r->n + j], y, tolerance * (1 + fabs(y)));
        }
    }
}

TEST(sum_and_norm_of_many_widths) {
    const size_t widths[] = {8, 64, 192, 384, 512, 520, 768, 1280, 2048};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t t = 0; t < N_TYPES; t++) {
            struct rows r = rows_make(7, widths[w], 7, all_types[t]);
            void *ret = device_room(r.n_rows * r.n * 4);
            CHECK_CUDA(num_cuda_norm_run(&(struct num_cuda_norm){r.n_rows, r.n, r.d_base, r.period,
                                                                 r.d_add, r.d_base, r.d_gamma,
                                                                 r.d_beta, ret},
                                         r.type, NULL));
            check(&r, host_values(r.d_base, r.n_rows * r.n, NUM_CUDA_F32),
                  host_values(ret, r.n_rows * r.n, r.type), true, true);
        }
}

TEST(positions_repeat) {
    struct rows r = rows_make(11, 128, 5, NUM_CUDA_BF16);
    void *sum = device_room(11 * 128 * 4), *ret = device_room(11 * 128 * 2);
    CHECK_CUDA(num_cuda_norm_run(
        &(struct num_cuda_norm){11, 128, r.d_base, 5, r.d_add, sum, r.d_gamma, r.d_beta, ret},
        r.type, NULL));
    check(&r, host_values(sum, 11 * 128, NUM_CUDA_F32), host_values(ret, 11 * 128, r.type), true,
          true);
}

TEST(either_part_may_be_absent) {
    struct rows r = rows_make(3, 64, 3, NUM_CUDA_F16);
    void *sum = device_room(3 * 64 * 4), *ret = device_room(3 * 64 * 2);
    CHECK_CUDA(num_cuda_norm_run(
        &(struct num_cuda_norm){3, 64, r.d_base, 3, NULL, NULL, r.d_gamma, r.d_beta, ret}, r.type,
        NULL));
    check(&r, NULL, host_values(ret, 3 * 64, r.type), true, false);
    CHECK_CUDA(num_cuda_norm_run(
        &(struct num_cuda_norm){3, 64, NULL, 1, r.d_add, sum, r.d_gamma, r.d_beta, ret}, r.type,
        NULL));
    check(&r, host_values(sum, 3 * 64, NUM_CUDA_F32), host_values(ret, 3 * 64, r.type), false,
          true);
    CHECK_CUDA(num_cuda_norm_run(
        &(struct num_cuda_norm){3, 64, r.d_base, 3, r.d_add, sum, NULL, NULL, NULL}, r.type, NULL));
    check(&r, host_values(sum, 3 * 64, NUM_CUDA_F32), NULL, true, true);
}

/* One pass over x and x^2 in floats would find no variance at all here. */
TEST(variance_survives_a_large_mean) {
    struct rows r = rows_make(2, 256, 2, NUM_CUDA_F32);
    for (size_t i = 0; i < 2 * 256; i++)
        r.base[i] = 4096 + (float)(i % 3) * 0.25f;
    r.d_base = device_values(r.base, 2 * 256, NUM_CUDA_F32);
    void *ret = device_room(2 * 256 * 4);
    CHECK_CUDA(num_cuda_norm_run(
        &(struct num_cuda_norm){2, 256, r.d_base, 2, NULL, NULL, r.d_gamma, r.d_beta, ret}, r.type,
        NULL));
    float *got = host_values(ret, 2 * 256, r.type);
    double want = (0.25 - 0.25 * 85 / 256 - 0.25 * 2 * 85 / 256) / sqrt(0.0625 * 2 / 3);
    CHECK_NEAR((got[1] - r.beta[1]) / r.gamma[1], want, 0.01);
}

TEST(other_widths_are_refused) {
    CHECK_INT(num_cuda_norm_run(&(struct num_cuda_norm){.rows = 1, .n = 12}, NUM_CUDA_F32, NULL),
              cudaErrorInvalidValue);
    CHECK_INT(num_cuda_norm_run(&(struct num_cuda_norm){.rows = 1, .n = 2056}, NUM_CUDA_F32, NULL),
              cudaErrorInvalidValue);
}

TEST_MAIN()

/*
 * Sums and layer norms of rows, against the same in double.
 */
#include "device.h"

#include "num/cuda/norm.h"

struct rows {
    size_t n_rows, n, period;
    enum num_cuda_type type;
    float *base, *add, *bias, *gamma, *beta; /* on the host; NULL: left out */
    struct num_cuda_norm device;
};

static struct rows rows_make(size_t n_rows, size_t n, size_t period, enum num_cuda_type type) {
    struct rows r = {.n_rows = n_rows, .n = n, .period = period, .type = type};
    r.base = random_values(period * n, 2, 1, 1);
    r.add = random_values(n_rows * n, 1, -0.5f, 2);
    r.bias = random_values(n, 1, 0, 5);
    r.gamma = random_values(n, 0.3f, 1, 3);
    r.beta = random_values(n, 0.3f, 0, 4);
    r.device = (struct num_cuda_norm){.rows = n_rows,
                                      .n = n,
                                      .base = device_values(r.base, period * n, NUM_CUDA_F32),
                                      .period = period,
                                      .add = device_values(r.add, n_rows * n, type),
                                      .bias = device_values(r.bias, n, NUM_CUDA_F32),
                                      .ret_sum = device_room(n_rows * n * 4),
                                      .gamma = device_values(r.gamma, n, NUM_CUDA_F32),
                                      .beta = device_values(r.beta, n, NUM_CUDA_F32),
                                      .ret = device_room(n_rows * n * 4)};
    return r;
}

/* Value j of row i before the norm. */
static double sum_of(const struct rows *r, size_t i, size_t j) {
    return (r->base ? r->base[i % r->period * r->n + j] : 0) + (r->add ? r->add[i * r->n + j] : 0) +
           (r->bias ? r->bias[j] : 0);
}

/* Runs and checks what is asked for. Norms are about 1, so an error of them is a few roundings of
 * the type, and of floats on the way. */
static void check(const struct rows *r) {
    CHECK_CUDA(num_cuda_norm_run(&r->device, r->type, NULL));
    size_t n = r->n_rows * r->n;
    float *sum = r->device.ret_sum ? host_values(r->device.ret_sum, n, NUM_CUDA_F32) : NULL;
    float *norm = r->device.ret ? host_values(r->device.ret, n, r->type) : NULL;
    double tolerance = 3 * rounding_of(r->type) + 4e-6;
    for (size_t i = 0; i < r->n_rows; i++) {
        double mean = 0, variance = 0;
        for (size_t j = 0; j < r->n; j++)
            mean += sum_of(r, i, j) / (double)r->n;
        for (size_t j = 0; j < r->n; j++)
            variance += pow(sum_of(r, i, j) - mean, 2) / (double)r->n;
        for (size_t j = 0; j < r->n; j++) {
            double x = sum_of(r, i, j);
            double y = (x - mean) / sqrt(variance + 1e-5) * r->gamma[j] + r->beta[j];
            if (sum)
                CHECK_NEAR(sum[i * r->n + j], x, 1e-6 * (1 + fabs(x)));
            if (norm)
                CHECK_NEAR(norm[i * r->n + j], y, tolerance * (1 + fabs(y)));
        }
    }
    free(sum);
    free(norm);
}

TEST(sum_and_norm_of_many_widths) {
    const size_t widths[] = {8, 64, 192, 384, 512, 520, 768, 1280, 2048};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t t = 0; t < N_TYPES; t++) {
            struct rows r = rows_make(7, widths[w], 7, all_types[t]);
            r.device.ret_sum = (float *)r.device.base; /* in place, as a residual stream is */
            check(&r);
        }
}

TEST(positions_repeat) {
    struct rows r = rows_make(11, 128, 5, NUM_CUDA_BF16);
    check(&r);
}

TEST(each_part_may_be_absent) {
    struct rows r = rows_make(3, 64, 3, NUM_CUDA_F16), part = r;
    part.add = part.bias = NULL;
    part.device.add = part.device.bias = NULL;
    part.device.ret_sum = NULL;
    check(&part);
    part = r;
    part.base = NULL;
    part.device.base = NULL;
    check(&part);
    part = r;
    part.device.gamma = part.device.beta = NULL;
    part.device.ret = NULL;
    check(&part);
}

/* One pass over x and x^2 in floats would find no variance at all here. */
TEST(variance_survives_a_large_mean) {
    struct rows r = rows_make(2, 256, 2, NUM_CUDA_F32);
    for (size_t i = 0; i < 2 * 256; i++)
        r.base[i] = 4096 + (float)(i % 3) * 0.25f;
    r.device.base = device_values(r.base, 2 * 256, NUM_CUDA_F32);
    r.add = r.bias = NULL;
    r.device.add = r.device.bias = NULL;
    check(&r);
}

TEST(other_widths_are_refused) {
    CHECK_INT(num_cuda_norm_run(&(struct num_cuda_norm){.rows = 1, .n = 12}, NUM_CUDA_F32, NULL),
              cudaErrorInvalidValue);
    CHECK_INT(num_cuda_norm_run(&(struct num_cuda_norm){.rows = 1, .n = 2056}, NUM_CUDA_F32, NULL),
              cudaErrorInvalidValue);
}

TEST_MAIN()

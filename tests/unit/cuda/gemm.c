/*
 * Products and convolutions around the library: what it and what the kernel behind it do, on the
 * emulated card, against plain loops. The library itself is tried on a card (tools/gpu-check).
 */
#include <stdbool.h>

#include "num/cuda/conv.h"
#include "num/cuda/gemm.h"
#include "num/half.h"

#include "unit/test.h"

#define CHECK_CUDA(call) CHECK_STR(cudaGetErrorName(call), "cudaSuccess")

static uint32_t noise_state = 1;

static float noise(void) {
    noise_state = noise_state * 1664525u + 1013904223u;
    return (float)(int32_t)noise_state / 2147483648.0f;
}

/* Numbers that every type holds exactly: eighths. */
static float eighths(void) {
    return (float)(int)(noise() * 16.0f) / 8.0f;
}

/* Of numbers that the type holds exactly, or near enough for what is asked of results. */
static void *to_device(enum num_cuda_type type, const float *values, size_t n) {
    void *device, *host = malloc(n * 4);
    CHECK(host != NULL);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        if (type == NUM_CUDA_F32)
            ((float *)host)[i] = values[i];
        else if (type == NUM_CUDA_BF16)
            ((uint16_t *)host)[i] = (uint16_t)(bits >> 16);
        else /* zero, or normal with three digits after the point */
            ((uint16_t *)host)[i] =
                values[i] == 0
                    ? 0
                    : (uint16_t)((bits >> 16 & 0x8000) | (((bits >> 13) - (112u << 10)) & 0x7fff));
    }
    CHECK_CUDA(cudaMalloc(&device, n * 4));
    CHECK_CUDA(cudaMemcpy(device, host, n * num_cuda_type_bytes(type), cudaMemcpyHostToDevice));
    free(host);
    return device;
}

static void from_device(enum num_cuda_type type, const void *device, float *values, size_t n) {
    uint16_t *half = malloc(n * 4);
    CHECK(half != NULL);
    CHECK_CUDA(cudaMemcpy(half, device, n * num_cuda_type_bytes(type), cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < n; i++)
        values[i] = type == NUM_CUDA_F32   ? ((float *)half)[i]
                    : type == NUM_CUDA_F16 ? num_f16_to_f32(half[i])
                                           : num_bf16_to_f32(half[i]);
    free(half);
}

static double gelu(double x) {
    return 0.5 * x * (1 + erf(x * sqrt(0.5)));
}

static double gelu_tanh(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

enum { M = 5, K = 24, MAX_N = 96, LD = 104, BATCH = 2 };

struct example {
    struct num_cuda_product product;
    float x[BATCH * M * K], w[BATCH * MAX_N * K], bias[MAX_N], residual[BATCH * M * LD];
};

static double expected(const struct example *e, size_t b, size_t m, size_t n, size_t N) {
    const struct num_cuda_product *p = &e->product;
    double sum = p->bias || p->bias_typed ? e->bias[n] : 0;
    for (size_t k = 0; k < K; k++)
        sum += (double)e->x[(b * M + m) * K + k] * e->w[(b * N + n) * K + k];
    if (p->act)
        sum = p->act == NUM_CUDA_ACT_GELU ? gelu(sum) : gelu_tanh(sum);
    return sum + (p->residual ? e->residual[(b * M + m) * LD + n] : 0);
}

/* What a product with these ends gives, for N outputs in rows of LD. */
static void check_product(enum num_cuda_type type, enum num_cuda_type ret_type, size_t N,
                          enum num_cuda_act act, bool bias, bool typed, bool residual) {
    static struct example e;
    static float got[BATCH * M * LD];
    struct num_cuda_gemm *gemm;
    struct num_err err = {0};
    for (size_t i = 0; i < BATCH * M * K; i++)
        e.x[i] = eighths();
    for (size_t i = 0; i < BATCH * N * K; i++)
        e.w[i] = eighths();
    for (size_t i = 0; i < N; i++)
        e.bias[i] = eighths();
    for (size_t i = 0; i < BATCH * M * LD; i++)
        e.residual[i] = eighths();
    void *d_ret = to_device(ret_type, e.residual, BATCH * M * LD);
    void *d_residual = to_device(ret_type, e.residual, BATCH * M * LD);
    e.product = (struct num_cuda_product){
        .type = type,
        .ret_type = ret_type,
        .m = M,
        .n = N,
        .k = K,
        .ld_ret = LD,
        .n_batch = BATCH,
        .x = to_device(type, e.x, BATCH * M * K),
        .w = to_device(type, e.w, BATCH * N * K),
        .ret = d_ret,
        .bias = bias ? to_device(NUM_CUDA_F32, e.bias, N) : NULL,
        .bias_typed = typed ? to_device(ret_type, e.bias, N) : NULL,
        .residual = residual ? d_residual : NULL,
        .act = act,
        .stride_x = M * K,
        .stride_w = N * K,
        .stride_ret = M * LD,
    };
    CHECK_INT(num_cuda_gemm_open(&gemm, &err), SLUICE_OK);
    int32_t status = num_cuda_gemm_run(gemm, &e.product, NULL, 0, NULL, &err);
    CHECK_STR(err.text, "");
    CHECK_INT(status, SLUICE_OK);
    from_device(ret_type, d_ret, got, BATCH * M * LD);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t m = 0; m < M; m++)
            for (size_t n = 0; n < LD; n++) {
                size_t at = (b * M + m) * LD + n;
                double want = n < N ? expected(&e, b, m, n, N) : e.residual[at];
                /* A sum rounds once; with a kernel behind it, again before its end. */
                double ulp = ret_type == NUM_CUDA_F32   ? 1e-6
                             : ret_type == NUM_CUDA_F16 ? 1.0 / 1024
                                                        : 1.0 / 128;
#ifndef SLUICE_CUDA_EMU /* a card has an instruction for tanh, of 11 bits */
                if (act == NUM_CUDA_ACT_GELU_TANH && ulp < 1.0 / 1024)
                    ulp = 1.0 / 1024;
#endif
                CHECK_NEAR(got[at], want, n < N ? 2 * ulp * (fabs(want) + 1) : 0);
            }
    num_cuda_gemm_close(gemm);
}

static const enum num_cuda_type types[] = {NUM_CUDA_F32, NUM_CUDA_F16, NUM_CUDA_BF16};

TEST(products) {
    for (int t = 0; t < 3; t++) {
        check_product(types[t], types[t], 96, NUM_CUDA_ACT_NONE, false, false, false);
        check_product(types[t], NUM_CUDA_F32, 96, NUM_CUDA_ACT_NONE, true, false, false);
        check_product(types[t], NUM_CUDA_F32, 93, NUM_CUDA_ACT_NONE, true, false, true);
    }
}

TEST(bias_in_the_library_or_behind_it) {
    for (int t = 0; t < 3; t++) {
        check_product(types[t], types[t], 96, NUM_CUDA_ACT_NONE, true, false, false);
        check_product(types[t], types[t], 93, NUM_CUDA_ACT_NONE, true, false, false);
        check_product(types[t], types[t], 96, NUM_CUDA_ACT_NONE, true, true, true);
    }
}

TEST(activations) {
    for (int t = 0; t < 3; t++) {
        check_product(types[t], types[t], 96, NUM_CUDA_ACT_GELU, true, false, false);
        check_product(types[t], types[t], 93, NUM_CUDA_ACT_GELU, true, true, false);
        check_product(types[t], types[t], 96, NUM_CUDA_ACT_GELU_TANH, true, true, false);
    }
}

TEST(refuses_what_it_cannot_do) {
    struct num_cuda_gemm *gemm;
    struct num_err err = {0};
    void *x;
    CHECK_CUDA(cudaMalloc(&x, 4096));
    CHECK_INT(num_cuda_gemm_open(&gemm, &err), SLUICE_OK);
    struct num_cuda_product p = {
        NUM_CUDA_F16, NUM_CUDA_BF16,     8, 8, 8, x, x, x, 0, 0, 0, NULL, NULL,
        NULL,         NUM_CUDA_ACT_NONE, 0, 0, 0, 0};
    CHECK_INT(num_cuda_gemm_run(gemm, &p, NULL, 0, NULL, &err), SLUICE_INTERNAL);
    p.ret_type = NUM_CUDA_F16;
    p.k = 7;
    CHECK_INT(num_cuda_gemm_run(gemm, &p, NULL, 0, NULL, &err), SLUICE_INTERNAL);
    CHECK_HAS(err.text, "aligned to 16 bytes");
    p.m = 0;
    CHECK_INT(num_cuda_gemm_run(gemm, &p, NULL, 0, NULL, &err), SLUICE_OK);
    num_cuda_gemm_close(gemm);
}

static double convolved(const float *x, const float *w, const float *bias, size_t n, size_t n_in,
                        size_t stride, size_t t, size_t o) {
    double sum = bias[o];
    for (size_t j = 0; j < 3; j++) {
        size_t at = stride * t + j; /* one further on than the input's */
        for (size_t i = 0; at >= 1 && at <= n && i < n_in; i++)
            sum += (double)x[(at - 1) * n_in + i] * w[(o * 3 + j) * n_in + i];
    }
    return gelu(sum);
}

/* From f32 by the product of rows; from its own type by cuDNN, where there is one. */
static void check_convolution(enum num_cuda_type type, enum num_cuda_type x_type, size_t stride) {
    enum { B = 2, N = 12, IN = 16, OUT = 24 };
    static float x[B * N * IN], w[OUT * 3 * IN], bias[OUT], got[B * N * OUT];
    struct num_cuda_gemm *gemm;
    struct num_cuda_conv *conv;
    struct num_err err = {0};
    for (size_t i = 0; i < B * N * IN; i++)
        x[i] = eighths();
    for (size_t i = 0; i < OUT * 3 * IN; i++)
        w[i] = eighths();
    for (size_t i = 0; i < OUT; i++)
        bias[i] = eighths();
    struct num_cuda_convolution c = {
        .type = type,
        .x_type = x_type,
        .n_batch = B,
        .n = N,
        .n_in = IN,
        .n_out = OUT,
        .stride = stride,
        .x = to_device(x_type, x, B * N * IN),
        .w = to_device(type, w, OUT * 3 * IN),
        .bias = to_device(NUM_CUDA_F32, bias, OUT),
    };
    CHECK_CUDA(cudaMalloc(&c.ret, B * N * OUT * 4));
    CHECK_CUDA(cudaMalloc(&c.rows, B * N * 3 * IN * 4));
    CHECK_INT(num_cuda_gemm_open(&gemm, &err), SLUICE_OK);
    CHECK_INT(num_cuda_conv_open(&conv, &err), SLUICE_OK);
#ifdef SLUICE_CUDA_EMU
    CHECK_STR(num_cuda_conv_name(conv), "matrix products (the emulated card has no cuDNN)");
#endif
    enum { WORKSPACE = 2 << 20 };
    void *workspace;
    CHECK_CUDA(cudaMalloc(&workspace, WORKSPACE));
    CHECK_INT(num_cuda_conv_run(conv, gemm, &c, workspace, WORKSPACE, NULL, &err), SLUICE_OK);
    size_t n_ret = N / stride;
    from_device(type, c.ret, got, B * n_ret * OUT);
    for (size_t b = 0; b < B; b++)
        for (size_t t = 0; t < n_ret; t++)
            for (size_t o = 0; o < OUT; o++) {
                double want = convolved(x + b * N * IN, w, bias, N, IN, stride, t, o);
                double ulp = type == NUM_CUDA_F32   ? 1e-6
                             : type == NUM_CUDA_F16 ? 1.0 / 1024
                                                    : 1.0 / 128;
                CHECK_NEAR(got[(b * n_ret + t) * OUT + o], want, 2 * ulp * (fabs(want) + 1));
            }
    num_cuda_conv_close(conv);
    num_cuda_gemm_close(gemm);
}

TEST(convolutions) {
    for (int t = 0; t < 3; t++)
        for (size_t stride = 1; stride <= 2; stride++) {
            check_convolution(types[t], NUM_CUDA_F32, stride);
            check_convolution(types[t], types[t], stride);
        }
}

TEST_MAIN()

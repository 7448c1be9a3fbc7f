/*
 * Stands in for cuBLASLt on the emulated card: plain loops on the stream, in f32, for the tests of
 * what is around the products. Each sum is added in the order of k, in eight parts as a vectorising
 * compiler likes it; the order in which the parts meet depends on the number of rows, as the
 * library's choice of a kernel may.
 */
#include <math.h>
#include <stdlib.h>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "internal.h"
#include "num/cuda/gemm_library.h"

constexpr size_t FEW_ROWS = 32;

struct num_cuda_library {
    int unused;
};

int32_t num_cuda_library_open(struct num_cuda_library **ret_library, struct num_err *err) {
    (void)err;
    *ret_library = new num_cuda_library{0};
    return SLUICE_OK;
}

void num_cuda_library_close(struct num_cuda_library *library) {
    delete library;
}

const char *num_cuda_library_name(const struct num_cuda_library *) {
    return "emulated products";
}

static float get(enum num_cuda_type type, const void *at, size_t i) {
    switch (type) {
    case NUM_CUDA_F32:
        return ((const float *)at)[i];
    case NUM_CUDA_F16:
        return emu_f16_value(((const uint16_t *)at)[i]);
    case NUM_CUDA_BF16:
        return emu_bf16_value(((const uint16_t *)at)[i]);
    }
    return NAN;
}

static void put(enum num_cuda_type type, void *at, size_t i, float value) {
    if (type == NUM_CUDA_F32)
        ((float *)at)[i] = value;
    else
        ((uint16_t *)at)[i] = type == NUM_CUDA_F16 ? emu_f16_bits(value) : emu_bf16_bits(value);
}

static std::vector<float> load(enum num_cuda_type type, const void *from, size_t rows, size_t k,
                               size_t ld) {
    std::vector<float> to(rows * k);
    for (size_t r = 0; r < rows; r++) {
        EMU_READS((const char *)from + r * ld * num_cuda_type_bytes(type),
                  k * num_cuda_type_bytes(type));
        for (size_t i = 0; i < k; i++)
            to[r * k + i] = get(type, from, r * ld + i);
    }
    return to;
}

static float dot(const float *a, const float *b, size_t k, bool few_rows) {
    float part[8] = {};
    size_t i = 0;
    for (; i + 8 <= k; i += 8)
        for (int j = 0; j < 8; j++)
            part[j] += a[i + j] * b[i + j];
    for (; i < k; i++)
        part[0] += a[i] * b[i];
    if (few_rows)
        return ((part[0] + part[1]) + (part[2] + part[3])) +
               ((part[4] + part[5]) + (part[6] + part[7]));
    return ((part[0] + part[4]) + (part[1] + part[5])) +
           ((part[2] + part[6]) + (part[3] + part[7]));
}

static float gelu_tanh(float x) {
    return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
}

static void multiply(const struct num_cuda_product &p) {
    std::vector<float> x = load(p.type, p.x, p.m, p.k, p.ld_x),
                       w = load(p.type, p.w, p.n, p.k, p.ld_w);
    const void *bias = p.ret_type == NUM_CUDA_F32 ? p.bias : p.bias_typed;
    for (size_t m = 0; m < p.m; m++) {
        EMU_WRITES((char *)p.ret + m * p.ld_ret * num_cuda_type_bytes(p.ret_type),
                   p.n * num_cuda_type_bytes(p.ret_type));
        for (size_t n = 0; n < p.n; n++) {
            float sum = dot(&x[m * p.k], &w[n * p.k], p.k, p.m < FEW_ROWS);
            if (bias)
                sum += get(p.ret_type, bias, n);
            if (p.act == NUM_CUDA_ACT_GELU_TANH)
                sum = gelu_tanh(sum);
            if (p.residual)
                sum += get(p.ret_type, p.residual, m * p.ld_ret + n);
            put(p.ret_type, p.ret, m * p.ld_ret + n, sum);
        }
    }
}

static const void *moved(const void *at, enum num_cuda_type type, size_t values) {
    return at ? (const char *)at + values * num_cuda_type_bytes(type) : nullptr;
}

int32_t num_cuda_library_run(struct num_cuda_library *library,
                             const struct num_cuda_product *product, void *workspace,
                             size_t workspace_bytes, cudaStream_t stream, struct num_err *err) {
    (void)library;
    struct num_cuda_product p = *product;
    cudaError_t error = emu_run_on_stream(stream, [=](void *) {
        if (workspace) /* the library leaves anything there */
            memset(workspace, 0xff, workspace_bytes);
        for (size_t b = 0; b < p.n_batch; b++) {
            struct num_cuda_product one = p;
            one.x = moved(p.x, p.type, b * p.stride_x);
            one.w = moved(p.w, p.type, b * p.stride_w);
            one.ret = (void *)moved(p.ret, p.ret_type, b * p.stride_ret);
            one.residual = moved(p.residual, p.ret_type, b * p.stride_ret);
            multiply(one);
        }
    });
    return error ? num_fail(err, SLUICE_INTERNAL, "a product: %s", cudaGetErrorString(error))
                 : SLUICE_OK;
}

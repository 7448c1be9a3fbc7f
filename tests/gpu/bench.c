/* See bench.h. Times are the host's, of whole calls with the wait for the card. */
#include "gpu/bench.h"

#include <cuda_runtime_api.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "num/cuda/gemm.h"

enum { ROUNDS = 5, N = 8192 };
static const size_t MATRIX = (size_t)N * N * 2, WORKSPACE = 32 << 20, COPY = (size_t)2 << 30;

void bench_die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

void bench_need_card(void) {
    int n = 0;
    if (cudaGetDeviceCount(&n) == cudaSuccess && n > 0)
        return;
    printf("%s: not measured: no card is here\n", program_invocation_short_name);
    exit(77);
}

double bench_now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

float bench_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-23f - 1;
}

float *bench_values(size_t n, float scale, float shift) {
    uint32_t state = (uint32_t)n;
    float *values = malloc(n * sizeof *values);
    if (!values)
        bench_die("random numbers", "out of memory");
    for (size_t i = 0; i < n; i++)
        values[i] = shift + scale * bench_random(&state);
    return values;
}

/* Memory of the card, every byte set. */
static char *room(size_t bytes) {
    void *x;
    if (cudaMalloc(&x, bytes) || cudaMemset(x, 0x3c, bytes) || cudaDeviceSynchronize())
        bench_die("the ceiling", "memory of the card");
    return x;
}

double bench_flop_per_s(void) {
    struct num_cuda_gemm *gemm = NULL;
    struct num_err err = {0};
    double best = 1e9;
    if (num_cuda_gemm_open(&gemm, &err))
        bench_die("products", err.text);
    char *x = room(3 * MATRIX + WORKSPACE);
    const struct num_cuda_product p = {.type = NUM_CUDA_BF16,
                                       .ret_type = NUM_CUDA_BF16,
                                       .m = N,
                                       .n = N,
                                       .k = N,
                                       .x = x,
                                       .w = x + MATRIX,
                                       .ret = x + 2 * MATRIX};
    for (int i = 0; i <= ROUNDS; i++) { /* the first warms up */
        double start = bench_now_s();
        if (num_cuda_gemm_run(gemm, &p, x + 3 * MATRIX, WORKSPACE, NULL, &err) ||
            cudaDeviceSynchronize())
            bench_die("products", err.text);
        if (i && bench_now_s() - start < best)
            best = bench_now_s() - start;
    }
    cudaFree(x);
    num_cuda_gemm_close(gemm);
    return 2.0 * N * N * N / best;
}

double bench_bytes_per_s(void) {
    char *from = room(COPY), *to = room(COPY);
    double best = 1e9;
    for (int i = 0; i <= ROUNDS; i++) {
        double start = bench_now_s();
        if (cudaMemcpy(to, from, COPY, cudaMemcpyDeviceToDevice) || cudaDeviceSynchronize())
            bench_die("the ceiling", "a copy");
        if (i && bench_now_s() - start < best)
            best = bench_now_s() - start;
    }
    cudaFree(from);
    cudaFree(to);
    return 2 * (double)COPY / best;
}

/*
 * Matrix products of a Whisper model on one thread: oneDNN, our panels, and OpenBLAS where it is
 * installed (loaded at run time: nothing depends on it). X (m, k) times W (n, k) transposed.
 *
 *     bench_gemm M N K [ROUNDS]
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "num/cpu/linear.h"

typedef void cblas_sgemm_fn(int order, int ta, int tb, int m, int n, int k, float alpha,
                            const float *a, int lda, const float *b, int ldb, float beta, float *c,
                            int ldc);

struct bench {
    size_t m, n, k, ldy;
    float *x, *w, *y;
    struct num_linear linear;
    cblas_sgemm_fn *cblas_sgemm;
};

static void run_onednn(const struct bench *b) {
    num_gemm(true, b->m, b->n, b->k, 1, b->x, b->k, b->w, b->k, 0, b->y, b->ldy);
}

static void run_panels(const struct bench *b) {
    num_kernels()->panels(b->x, b->k, b->m, b->k, b->linear.panels, NUM_PANELS(b->n), NULL, 0, b->y,
                          b->ldy);
}

static void run_openblas(const struct bench *b) {
    b->cblas_sgemm(101, 111, 112, (int)b->m, (int)b->n, (int)b->k, 1, b->x, (int)b->k, b->w,
                   (int)b->k, 0, b->y, (int)b->ldy);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void measure(const char *name, const struct bench *b, int rounds,
                    void (*run)(const struct bench *)) {
    double best = 1e9;
    run(b);
    for (int i = 0; i < rounds; i++) {
        double start = now_s();
        run(b);
        double took = now_s() - start;
        best = took < best ? took : best;
    }
    printf("  %s %.4f ms %.0f GFLOP/s", name, best * 1e3,
           2e-9 * (double)(b->m * b->n * b->k) / best);
}

static float *values(size_t n) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; x && i < n; i++)
        x[i] = (float)(i * 7919 % 1000) / 1000 - 0.5f;
    return x;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s M N K [ROUNDS]\n", argv[0]);
        return 2;
    }
    struct bench b = {.m = strtoul(argv[1], NULL, 10),
                      .n = strtoul(argv[2], NULL, 10),
                      .k = strtoul(argv[3], NULL, 10)};
    int rounds = argc > 4 ? atoi(argv[4]) : 30;
    b.ldy = NUM_PANELS(b.n) * NUM_PANEL;
    b.x = values(b.m * b.k);
    b.w = values(b.n * b.k);
    b.y = values(b.m * b.ldy);
    if (!b.x || !b.w || !b.y || num_linear_init(&b.linear, b.n, b.k, b.w, NULL, NULL))
        return 1;
    printf("%zux%zux%zu", b.m, b.n, b.k);
    measure("onednn", &b, rounds, run_onednn);
    measure("panels", &b, rounds, run_panels);
    void *blas = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (blas) {
        ((void (*)(int))dlsym(blas, "openblas_set_num_threads"))(1);
        b.cblas_sgemm = (cblas_sgemm_fn *)dlsym(blas, "cblas_sgemm");
        measure("openblas", &b, rounds, run_openblas);
    }
    putchar('\n');
    num_linear_finish(&b.linear);
    free(b.x);
    free(b.w);
    free(b.y);
    return 0;
}

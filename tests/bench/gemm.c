/*
 * Products of a Whisper model on one thread, in floats, bfloat16 and bytes, on every kernel table
 * that the processor can run; and OpenBLAS where it is installed (loaded at run time: nothing
 * depends on it). X (m, k) times W (n, k) transposed; each with the best of ROUNDS.
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
    const struct num_kernels *kernels;
    struct num_linear linear;
    struct num_rows rows;
    cblas_sgemm_fn *cblas_sgemm;
};

static void run_layer(const struct bench *b) {
    struct num_finish finish = {.form = NUM_FORM_F32, .y = b->y, .ldy = b->ldy};
    num_linear_rows(&b->linear, b->kernels, 0, NUM_PANELS(b->n), &b->rows, 0, b->m, &finish);
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

static void measure(const char *name, const char *type, const struct bench *b, int rounds,
                    void (*run)(const struct bench *)) {
    double best = 1e9;
    run(b);
    for (int i = 0; i < rounds; i++) {
        double start = now_s();
        run(b);
        double took = now_s() - start;
        best = took < best ? took : best;
    }
    printf("%zux%zux%zu %s %s: %.4f ms, %.0f GOP/s\n", b->m, b->n, b->k, name, type, best * 1e3,
           2e-9 * (double)(b->m * b->n * b->k) / best);
}

static float *values(size_t n) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; x && i < n; i++)
        x[i] = (float)(i * 7919 % 1000) / 1000 - 0.5f;
    return x;
}

static int measure_type(struct bench *b, enum num_compute type, const char *name, int rounds) {
    const struct num_kernels *tables[NUM_MAX_KERNELS];
    struct num_arena arena = {0};
    size_t bytes = num_rows_bytes(type, b->k), n_tables = num_kernels_all(tables);
    char *rows = calloc(b->m + NUM_ROW_PAD, bytes);
    float *scales = calloc(b->m, sizeof *scales);
    if (!rows || !scales || num_linear_init(&b->linear, type, b->n, b->k, b->w, NULL, &arena, NULL))
        return 1;
    for (size_t r = 0; r < b->m; r++)
        num_row_convert(tables[0], type, b->x + r * b->k, b->k, rows + r * bytes, &scales[r]);
    b->rows = (struct num_rows){rows, bytes, scales};
    for (size_t i = 0; i < n_tables; i++) {
        b->kernels = tables[i];
        measure(tables[i]->name, name, b, rounds, run_layer);
    }
    free(rows);
    free(scales);
    num_arena_finish(&arena);
    return 0;
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
    if (!b.x || !b.w || !b.y || measure_type(&b, NUM_COMPUTE_F32, "f32", rounds) ||
        measure_type(&b, NUM_COMPUTE_BF16, "bf16", rounds) ||
        measure_type(&b, NUM_COMPUTE_INT8, "int8", rounds))
        return 1;
    void *blas = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (blas) {
        ((void (*)(int))dlsym(blas, "openblas_set_num_threads"))(1);
        b.cblas_sgemm = (cblas_sgemm_fn *)dlsym(blas, "cblas_sgemm");
        measure("openblas", "f32", &b, rounds, run_openblas);
    }
    free(b.x);
    free(b.w);
    free(b.y);
    return 0;
}

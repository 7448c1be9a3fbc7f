/*
 * Wide products through oneDNN and narrow ones through our panels; linear.h says when which.
 * Figures behind the choice: docs/decisions/cpu-gemm.md.
 *
 * oneDNN brings an OpenMP runtime whose idle threads would spin beside other stages. It reads the
 * number of threads from the calling thread's setting, so every call sets it to one and restores
 * it: no OpenMP thread is ever started, and our pool is the only one.
 */
#include "num/cpu/linear.h"

#include <stdlib.h>
#include <string.h>

#include <dnnl.h>

/* Of the OpenMP runtime that oneDNN is linked to. */
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int n);

#define MACS_WORTH_A_TASK 200000 /* some 10 us of work */

int32_t num_gemm(bool b_transposed, size_t m, size_t n, size_t k, float alpha, const float *a,
                 size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    int was = omp_get_max_threads();
    omp_set_num_threads(1);
    dnnl_status_t status =
        dnnl_sgemm('N', b_transposed ? 'T' : 'N', (dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k,
                   alpha, a, (dnnl_dim_t)lda, b, (dnnl_dim_t)ldb, beta, c, (dnnl_dim_t)ldc);
    omp_set_num_threads(was);
    return status == dnnl_success ? SLUICE_OK : SLUICE_INTERNAL;
}

int32_t num_linear_init(struct num_linear *ret, size_t n_out, size_t k, const float *weight,
                        const float *bias, struct num_err *err) {
    size_t n_padded = NUM_PANELS(n_out) * NUM_PANEL;
    struct num_linear linear = {.n_out = n_out, .k = k};
    linear.panels = aligned_alloc(64, n_padded * k * sizeof(float));
    linear.bias = aligned_alloc(64, n_padded * sizeof(float));
    if (!linear.panels || !linear.bias) {
        num_linear_finish(&linear);
        return num_fail_memory(err, "the weights of a layer", n_padded * (k + 1) * sizeof(float));
    }
    memset(linear.panels, 0, n_padded * k * sizeof(float));
    memset(linear.bias, 0, n_padded * sizeof(float));
    for (size_t i = 0; i < n_out; i++) {
        float *panel = linear.panels + i / NUM_PANEL * k * NUM_PANEL + i % NUM_PANEL;
        for (size_t j = 0; j < k; j++)
            panel[j * NUM_PANEL] = weight[i * k + j];
    }
    if (bias)
        memcpy(linear.bias, bias, n_out * sizeof(float));
    *ret = linear;
    return SLUICE_OK;
}

void num_linear_finish(struct num_linear *linear) {
    free(linear->panels);
    free(linear->bias);
    *linear = (struct num_linear){0};
}

struct linear_job {
    const struct num_linear *linear;
    const struct num_kernels *kernels;
    const float *x;
    float *y;
    size_t ldx, ldy, n_rows, n_panels, n_tasks;
    bool accumulate;
};

static void linear_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct linear_job *j = ctx;
    (void)thread;
    size_t first = j->n_panels * index / j->n_tasks, end = j->n_panels * (index + 1) / j->n_tasks;
    j->kernels->panels(j->x, j->ldx, j->n_rows, j->linear->k,
                       j->linear->panels + first * j->linear->k * NUM_PANEL, end - first,
                       j->linear->bias + first * NUM_PANEL, j->accumulate, j->y + first * NUM_PANEL,
                       j->ldy);
}

void num_linear_run(const struct num_linear *linear, struct num_pool *pool, const float *x,
                    size_t ldx, size_t n_rows, bool accumulate, float *y, size_t ldy) {
    struct linear_job job = {
        linear, num_kernels(), x, y, ldx, ldy, n_rows, NUM_PANELS(linear->n_out), 1, accumulate};
    size_t n_tasks = n_rows * linear->n_out * linear->k / MACS_WORTH_A_TASK;
    size_t limit = 4 * (size_t)num_pool_threads(pool);
    n_tasks = n_tasks > limit ? limit : n_tasks;
    job.n_tasks = n_tasks > job.n_panels ? job.n_panels : n_tasks < 1 ? 1 : n_tasks;
    num_pool_run(pool, (uint32_t)job.n_tasks, linear_task, &job);
}

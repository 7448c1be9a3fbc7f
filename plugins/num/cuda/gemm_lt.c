/*
 * Matrix products through cuBLASLt, opened at run time by its versioned names, so that nothing
 * needs it to be installed before a backend on a card asks for it.
 *
 * cuBLASLt counts columns first: a row-major (rows, k) matrix is its (k, rows) one. So it computes
 * ret^T (n, m) = w x^T: its first factor is w, transposed, its second x as it lies, and a bias
 * along its rows is ours along n.
 *
 * A plan is kept for every shape seen: descriptors and the way (algorithm) that the library's
 * heuristics put first. F32 products ask for ways that do not split sums, so that a result does not
 * depend on what else the card does. Plans are found by comparing keys one by one: a model has some
 * dozens.
 */
#include "num/cuda/gemm_library.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/buf.h"

/* Everything that a way of the library depends on. No padding: compared byte by byte. */
struct key {
    uint64_t m, n, k, ld_x, ld_w, ld_ret, n_batch, stride_x, stride_w, stride_ret, workspace_bytes;
    uint32_t type, ret_type, act, has_bias, has_residual;
    uint32_t align_ret, align_residual, unused;
};

struct plan {
    struct key key;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t w, x, ret;
    cublasLtMatmulAlgo_t way;
};

/* The functions used, by name. */
#define FUNCTIONS(F)                                                                               \
    F(cublasLtCreate)                                                                              \
    F(cublasLtDestroy)                                                                             \
    F(cublasLtGetVersion)                                                                          \
    F(cublasLtMatmul)                                                                              \
    F(cublasLtMatmulDescCreate)                                                                    \
    F(cublasLtMatmulDescDestroy)                                                                   \
    F(cublasLtMatmulDescSetAttribute)                                                              \
    F(cublasLtMatrixLayoutCreate)                                                                  \
    F(cublasLtMatrixLayoutDestroy)                                                                 \
    F(cublasLtMatrixLayoutSetAttribute)                                                            \
    F(cublasLtMatmulPreferenceCreate)                                                              \
    F(cublasLtMatmulPreferenceDestroy)                                                             \
    F(cublasLtMatmulPreferenceSetAttribute)                                                        \
    F(cublasLtMatmulAlgoGetHeuristic)

struct num_cuda_library {
    void *shared_object;
    cublasLtHandle_t handle;
    char name[64];
    struct plan *plans;
    size_t n_plans, capacity;
#define MEMBER(function) __typeof__(function) *function;
    FUNCTIONS(MEMBER)
#undef MEMBER
};

static const char *const LIBRARY_NAMES[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
#define LIBRARY_NAMES_TEXT "libcublasLt.so.13 or libcublasLt.so.12"

/* ---- opening -------------------------------------------------------------------------------- */

static int32_t find_functions(struct num_cuda_library *l, const char *name, struct num_err *err) {
#define FIND(function)                                                                             \
    l->function = (__typeof__(function) *)dlsym(l->shared_object, #function);                      \
    if (!l->function)                                                                              \
        return num_fail(err, SLUICE_UNSUPPORTED, "%s has no %s; install cuBLAS 12 or 13", name,    \
                        #function);
    FUNCTIONS(FIND)
#undef FIND
    return SLUICE_OK;
}

static int32_t open_shared_object(struct num_cuda_library *l, struct num_err *err) {
    for (size_t i = 0; i < sizeof LIBRARY_NAMES / sizeof *LIBRARY_NAMES; i++) {
        l->shared_object = dlopen(LIBRARY_NAMES[i], RTLD_NOW | RTLD_LOCAL);
        if (l->shared_object)
            return find_functions(l, LIBRARY_NAMES[i], err);
    }
    return num_fail(err, SLUICE_UNSUPPORTED,
                    LIBRARY_NAMES_TEXT
                    " is needed for matrix products on the card and was not found (%s); "
                    "install cuBLAS, or use device: cpu",
                    dlerror());
}

/* 130002: 13.0.2 up to version 12 as 120304 too. */
static void name_version(struct num_cuda_library *l) {
    size_t version = l->cublasLtGetVersion();
    snprintf(l->name, sizeof l->name, "cuBLASLt %zu.%zu.%zu", version / 10000, version / 100 % 100,
             version % 100);
}

int32_t num_cuda_library_open(struct num_cuda_library **ret_library, struct num_err *err) {
    struct num_cuda_library *l = calloc(1, sizeof *l);
    if (!l)
        return num_fail_memory(err, "matrix products", sizeof *l);
    int32_t status = open_shared_object(l, err);
    if (!status && l->cublasLtCreate(&l->handle) != CUBLAS_STATUS_SUCCESS)
        status = num_fail(err, SLUICE_INTERNAL, "cuBLASLt does not start on this card");
    if (status) {
        num_cuda_library_close(l);
        return status;
    }
    name_version(l);
    *ret_library = l;
    return SLUICE_OK;
}

static void plan_finish(const struct num_cuda_library *l, struct plan *p) {
    if (p->product)
        l->cublasLtMatmulDescDestroy(p->product);
    if (p->w)
        l->cublasLtMatrixLayoutDestroy(p->w);
    if (p->x)
        l->cublasLtMatrixLayoutDestroy(p->x);
    if (p->ret)
        l->cublasLtMatrixLayoutDestroy(p->ret);
}

void num_cuda_library_close(struct num_cuda_library *l) {
    if (!l)
        return;
    for (size_t i = 0; i < l->n_plans; i++)
        plan_finish(l, &l->plans[i]);
    if (l->handle)
        l->cublasLtDestroy(l->handle);
    if (l->shared_object)
        dlclose(l->shared_object);
    free(l->plans);
    free(l);
}

const char *num_cuda_library_name(const struct num_cuda_library *l) {
    return l->name;
}

/* ---- planning ------------------------------------------------------------------------------- */

static cudaDataType_t data_type(enum num_cuda_type type) {
    return type == NUM_CUDA_F32 ? CUDA_R_32F : type == NUM_CUDA_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

/* The largest power of two up to 16 that divides the address. */
static uint32_t alignment(const void *p) {
    uintptr_t bits = (uintptr_t)p | 16;
    return (uint32_t)(bits & -bits);
}

static const void *bias_of(const struct num_cuda_product *p) {
    return p->ret_type == NUM_CUDA_F32 ? p->bias : p->bias_typed;
}

static struct key key_of(const struct num_cuda_product *p, size_t workspace_bytes) {
    return (struct key){p->m,
                        p->n,
                        p->k,
                        p->ld_x,
                        p->ld_w,
                        p->ld_ret,
                        p->n_batch,
                        p->stride_x,
                        p->stride_w,
                        p->stride_ret,
                        workspace_bytes,
                        p->type,
                        p->ret_type,
                        p->act,
                        bias_of(p) != NULL,
                        p->residual != NULL,
                        alignment(p->ret),
                        alignment(p->residual ? p->residual : p->ret),
                        0};
}

static cublasStatus_t make_layout(const struct num_cuda_library *l, cublasLtMatrixLayout_t *ret,
                                  enum num_cuda_type type, uint64_t rows, uint64_t columns,
                                  uint64_t ld, uint64_t n_batch, uint64_t stride) {
    int32_t count = (int32_t)n_batch;
    int64_t offset = (int64_t)stride;
    cublasStatus_t s =
        l->cublasLtMatrixLayoutCreate(ret, data_type(type), rows, columns, (int64_t)ld);
    if (s || n_batch == 1)
        return s;
    s = l->cublasLtMatrixLayoutSetAttribute(*ret, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                            sizeof count);
    return s ? s
             : l->cublasLtMatrixLayoutSetAttribute(
                   *ret, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset, sizeof offset);
}

static cublasLtEpilogue_t epilogue_of(const struct key *key) {
    if (key->act == NUM_CUDA_ACT_GELU_TANH)
        return key->has_bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    return key->has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

static cublasStatus_t make_product(const struct num_cuda_library *l, struct plan *plan,
                                   const struct num_cuda_product *p) {
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = epilogue_of(&plan->key);
    const void *bias = bias_of(p);
    cublasStatus_t s = l->cublasLtMatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!s)
        s = l->cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSA,
                                              &transposed, sizeof transposed);
    if (!s)
        s = l->cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                              &epilogue, sizeof epilogue);
    if (!s && bias)
        s = l->cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                              &bias, sizeof bias);
    if (!s)
        s = make_layout(l, &plan->w, p->type, p->k, p->n, p->ld_w, p->n_batch, p->stride_w);
    if (!s)
        s = make_layout(l, &plan->x, p->type, p->k, p->m, p->ld_x, p->n_batch, p->stride_x);
    if (!s)
        s = make_layout(l, &plan->ret, p->ret_type, p->n, p->m, p->ld_ret, p->n_batch,
                        p->stride_ret);
    return s;
}

static cublasStatus_t choose_way(const struct num_cuda_library *l, struct plan *plan) {
    const struct key *key = &plan->key;
    const uint32_t no_split = CUBLASLT_REDUCTION_SCHEME_NONE, factors = 16;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    int n_found = 0;
    cublasStatus_t s = l->cublasLtMatmulPreferenceCreate(&preference);
    if (s)
        return s;
#define PREFER(attribute, value)                                                                   \
    if (!s)                                                                                        \
        s = l->cublasLtMatmulPreferenceSetAttribute(preference, attribute, &(value), sizeof(value));
    PREFER(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, key->workspace_bytes)
    PREFER(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, factors)
    PREFER(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, factors)
    PREFER(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key->align_residual)
    PREFER(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key->align_ret)
    if (key->type == NUM_CUDA_F32)
        PREFER(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, no_split)
#undef PREFER
    if (!s)
        s = l->cublasLtMatmulAlgoGetHeuristic(l->handle, plan->product, plan->w, plan->x, plan->ret,
                                              plan->ret, preference, 1, &found, &n_found);
    l->cublasLtMatmulPreferenceDestroy(preference);
    if (!s && (n_found == 0 || found.state))
        s = CUBLAS_STATUS_NOT_SUPPORTED;
    if (!s)
        plan->way = found.algo;
    return s;
}

/* Returns the class; the plan stays the library's. */
static int32_t add_plan(struct num_cuda_library *l, const struct num_cuda_product *p,
                        const struct key *key, struct plan **ret_plan, struct num_err *err) {
    int32_t status = num_grow(&l->plans, l->n_plans, &l->capacity, sizeof *l->plans,
                              "plans of matrix products", err);
    if (status != SLUICE_OK)
        return status;
    struct plan *plan = &l->plans[l->n_plans];
    memset(plan, 0, sizeof *plan);
    plan->key = *key;
    cublasStatus_t s = make_product(l, plan, p);
    if (!s)
        s = choose_way(l, plan);
    if (s) {
        plan_finish(l, plan);
        return num_fail(err, SLUICE_INTERNAL,
                        "%s has no way to multiply (%zu, %zu) by (%zu, %zu): status %d", l->name,
                        p->m, p->k, p->k, p->n, (int)s);
    }
    l->n_plans++;
    *ret_plan = plan;
    return SLUICE_OK;
}

static int32_t find_plan(struct num_cuda_library *l, const struct num_cuda_product *p,
                         size_t workspace_bytes, struct plan **ret_plan, struct num_err *err) {
    const struct key key = key_of(p, workspace_bytes);
    for (size_t i = 0; i < l->n_plans; i++)
        if (memcmp(&l->plans[i].key, &key, sizeof key) == 0) {
            *ret_plan = &l->plans[i];
            return SLUICE_OK;
        }
    return add_plan(l, p, &key, ret_plan, err);
}

/* ---- running -------------------------------------------------------------------------------- */

int32_t num_cuda_library_run(struct num_cuda_library *l, const struct num_cuda_product *p,
                             void *workspace, size_t workspace_bytes, cudaStream_t stream,
                             struct num_err *err) {
    const float one = 1.0f, none = 0.0f;
    const void *bias = bias_of(p);
    struct plan *plan = NULL;
    int32_t status = find_plan(l, p, workspace ? workspace_bytes : 0, &plan, err);
    if (status)
        return status;
    cublasStatus_t s = CUBLAS_STATUS_SUCCESS;
    if (bias)
        s = l->cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                              &bias, sizeof bias);
    if (!s)
        s = l->cublasLtMatmul(l->handle, plan->product, &one, p->w, plan->w, p->x, plan->x,
                              p->residual ? &one : &none, p->residual ? p->residual : p->ret,
                              plan->ret, p->ret, plan->ret, &plan->way, workspace,
                              workspace ? workspace_bytes : 0, stream);
    if (s)
        return num_fail(err, SLUICE_INTERNAL,
                        "%s: the product of (%zu, %zu) and (%zu, %zu) failed: status %d", l->name,
                        p->m, p->k, p->k, p->n, (int)s);
    return SLUICE_OK;
}

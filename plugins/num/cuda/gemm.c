/*
 * Matrix products: decides what of a product's end the library does in its epilogue and what a
 * kernel of ours does behind it. See gemm.h.
 */
#include "num/cuda/gemm.h"

#include <stdlib.h>

#include "num/cuda/device.h"
#include "num/cuda/epilogue.h"
#include "num/cuda/gemm_library.h"

struct num_cuda_gemm {
    struct num_cuda_library *library;
};

int32_t num_cuda_gemm_open(struct num_cuda_gemm **ret_gemm, struct num_err *err) {
    struct num_cuda_gemm *gemm = calloc(1, sizeof *gemm);
    if (!gemm)
        return num_fail_memory(err, "matrix products", sizeof *gemm);
    int32_t status = num_cuda_library_open(&gemm->library, err);
    if (status) {
        free(gemm);
        return status;
    }
    *ret_gemm = gemm;
    return SLUICE_OK;
}

void num_cuda_gemm_close(struct num_cuda_gemm *gemm) {
    if (!gemm)
        return;
    num_cuda_library_close(gemm->library);
    free(gemm);
}

const char *num_cuda_gemm_name(const struct num_cuda_gemm *gemm) {
    return num_cuda_library_name(gemm->library);
}

static int32_t check(const struct num_cuda_product *p, struct num_err *err) {
    size_t size = num_cuda_type_bytes(p->type);
    if (p->ret_type != NUM_CUDA_F32 && p->ret_type != p->type)
        return num_fail(err, SLUICE_INTERNAL,
                        "a product of one half type cannot have another as its result");
    if (p->residual && p->act != NUM_CUDA_ACT_NONE)
        return num_fail(err, SLUICE_INTERNAL, "a product has either an activation or a residual");
    if ((size_t)p->x % 16 || (size_t)p->w % 16 || p->ld_x * size % 16 || p->ld_w * size % 16)
        return num_fail(err, SLUICE_INTERNAL,
                        "the factors of a product are not aligned to 16 bytes");
    return SLUICE_OK;
}

static void fill_in(struct num_cuda_product *p) {
    p->ld_x = p->ld_x ? p->ld_x : p->k;
    p->ld_w = p->ld_w ? p->ld_w : p->k;
    p->ld_ret = p->ld_ret ? p->ld_ret : p->n;
    p->n_batch = p->n_batch ? p->n_batch : 1;
}

/* The kernel behind the product; takes from `p` what it does. */
static struct num_cuda_epilogue take_epilogue(struct num_cuda_product *p) {
    struct num_cuda_epilogue e = {p->ret_type, p->m, p->n, p->ld_ret, p->ret, NULL, NULL, 0};
    if (p->act == NUM_CUDA_ACT_GELU) {
        e.gelu = 1;
        e.bias = p->bias;
        p->act = NUM_CUDA_ACT_NONE;
        p->bias = NULL;
        p->bias_typed = NULL;
    } else if (p->bias && p->ret_type != NUM_CUDA_F32 && !p->bias_typed &&
               p->act == NUM_CUDA_ACT_NONE) {
        e.bias = p->bias;
        p->bias = NULL;
    }
    return e;
}

static int32_t run_epilogue(struct num_cuda_epilogue e, const struct num_cuda_product *p,
                            cudaStream_t stream, struct num_err *err) {
    if (!e.bias && !e.gelu)
        return SLUICE_OK;
    for (size_t b = 0; b < p->n_batch; b++) {
        e.ret = (char *)p->ret + b * p->stride_ret * num_cuda_type_bytes(p->ret_type);
        cudaError_t error = num_cuda_epilogue_run(&e, stream);
        if (error)
            return num_cuda_fail(err, "what follows a matrix product", error);
    }
    return SLUICE_OK;
}

int32_t num_cuda_gemm_run(struct num_cuda_gemm *gemm, const struct num_cuda_product *product,
                          void *workspace, size_t workspace_bytes, cudaStream_t stream,
                          struct num_err *err) {
    struct num_cuda_product p = *product;
    if (p.m == 0 || p.n == 0)
        return SLUICE_OK;
    fill_in(&p);
    int32_t status = check(&p, err);
    if (status)
        return status;
    struct num_cuda_epilogue epilogue = take_epilogue(&p);
    if (p.act == NUM_CUDA_ACT_GELU_TANH && p.bias && !p.bias_typed && p.ret_type != NUM_CUDA_F32)
        return num_fail(err, SLUICE_INTERNAL,
                        "GELU in a product's epilogue needs its bias in the result's type");
    status = num_cuda_library_run(gemm->library, &p, workspace, workspace_bytes, stream, err);
    return status ? status : run_epilogue(epilogue, &p, stream, err);
}

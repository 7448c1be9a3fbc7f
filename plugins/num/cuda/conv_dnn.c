/*
 * cuDNN's graph interface, opened at run time: one graph of convolution, bias and exact GELU, which
 * cuDNN's run-time fused engines do in one kernel.
 *
 * Tensors are named in cuDNN's order (batch, channels, height, width) with strides that say how
 * they lie: channels last, a height of one. The sum of the convolution and that with the bias are
 * virtual: f32 values that never reach memory. A plan is made for a shape at its first use and
 * kept, also the finding that there is none.
 */
#include "num/cuda/conv_dnn.h"

#include <cudnn.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY_NAME "libcudnn.so.9"

enum { MAX_PLANS = 32, MAX_ENGINES = 16, MAX_PARTS = 16 };
enum { ID_X = 'x', ID_W = 'w', ID_BIAS = 'b', ID_RET = 'y', ID_SUM = 's', ID_BIASED = 't' };

struct plan {
    enum num_cuda_type type;
    size_t n_batch, n, n_in, n_out, stride, workspace_bytes;
    cudnnBackendDescriptor_t execution;        /* NULL: cuDNN has none */
    cudnnBackendDescriptor_t parts[MAX_PARTS]; /* what it was made of */
    size_t n_parts;
};

#define FUNCTIONS(F)                                                                               \
    F(cudnnCreate)                                                                                 \
    F(cudnnDestroy)                                                                                \
    F(cudnnGetVersion)                                                                             \
    F(cudnnSetStream)                                                                              \
    F(cudnnBackendCreateDescriptor)                                                                \
    F(cudnnBackendDestroyDescriptor)                                                               \
    F(cudnnBackendSetAttribute)                                                                    \
    F(cudnnBackendGetAttribute)                                                                    \
    F(cudnnBackendFinalize)                                                                        \
    F(cudnnBackendExecute)

struct num_cuda_dnn {
    void *shared_object;
    cudnnHandle_t handle;
    struct plan plans[MAX_PLANS];
    size_t n_plans;
#define MEMBER(function) __typeof__(function) *function;
    FUNCTIONS(MEMBER)
#undef MEMBER
};

/* ---- opening -------------------------------------------------------------------------------- */

static bool find_functions(struct num_cuda_dnn *d) {
#define FIND(function)                                                                             \
    d->function = (__typeof__(function) *)dlsym(d->shared_object, #function);                      \
    if (!d->function)                                                                              \
        return false;
    FUNCTIONS(FIND)
#undef FIND
    return true;
}

struct num_cuda_dnn *num_cuda_dnn_open(char *why, size_t size) {
    struct num_cuda_dnn *d = calloc(1, sizeof *d);
    if (!d || !(d->shared_object = dlopen(LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL)))
        snprintf(why, size, LIBRARY_NAME " was not found");
    else if (!find_functions(d))
        snprintf(why, size, LIBRARY_NAME " lacks functions of cuDNN 9");
    else if (d->cudnnCreate(&d->handle) != CUDNN_STATUS_SUCCESS)
        snprintf(why, size, LIBRARY_NAME " does not start on this card");
    else {
        size_t version = d->cudnnGetVersion(); /* 91200: 9.12.0 */
        snprintf(why, size, "cuDNN %zu.%zu.%zu", version / 10000, version / 100 % 100,
                 version % 100);
        return d;
    }
    num_cuda_dnn_close(d);
    return NULL;
}

static void plan_finish(const struct num_cuda_dnn *d, struct plan *p) {
    if (p->execution)
        d->cudnnBackendDestroyDescriptor(p->execution);
    while (p->n_parts > 0)
        d->cudnnBackendDestroyDescriptor(p->parts[--p->n_parts]);
}

void num_cuda_dnn_close(struct num_cuda_dnn *d) {
    if (!d)
        return;
    for (size_t i = 0; i < d->n_plans; i++)
        plan_finish(d, &d->plans[i]);
    if (d->handle)
        d->cudnnDestroy(d->handle);
    if (d->shared_object)
        dlclose(d->shared_object);
    free(d);
}

/* ---- a graph -------------------------------------------------------------------------------- */

/* Makes descriptors one after the other; the first failure stays and makes the rest do nothing. */
struct maker {
    const struct num_cuda_dnn *d;
    struct plan *plan;
    bool failed;
};

static cudnnBackendDescriptor_t make(struct maker *m, cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t desc = NULL;
    if (m->failed || m->plan->n_parts == MAX_PARTS ||
        m->d->cudnnBackendCreateDescriptor(type, &desc) != CUDNN_STATUS_SUCCESS) {
        m->failed = true;
        return NULL;
    }
    m->plan->parts[m->plan->n_parts++] = desc;
    return desc;
}

static void set(struct maker *m, cudnnBackendDescriptor_t desc, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    if (!m->failed &&
        m->d->cudnnBackendSetAttribute(desc, name, type, count, values) != CUDNN_STATUS_SUCCESS)
        m->failed = true;
}

static void set_desc(struct maker *m, cudnnBackendDescriptor_t desc,
                     cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value) {
    set(m, desc, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finalize(struct maker *m, cudnnBackendDescriptor_t desc) {
    if (!m->failed && m->d->cudnnBackendFinalize(desc) != CUDNN_STATUS_SUCCESS)
        m->failed = true;
}

/* (batch, channels, 1, width) with channels side by side. */
static cudnnBackendDescriptor_t make_tensor(struct maker *m, int64_t id, cudnnDataType_t type,
                                            int64_t batch, int64_t channels, int64_t width,
                                            bool is_virtual) {
    const int64_t dims[4] = {batch, channels, 1, width};
    const int64_t strides[4] = {channels * width, 1, channels * width, channels};
    const int64_t alignment = 16;
    cudnnBackendDescriptor_t t = make(m, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(m, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(m, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(m, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(m, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(m, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(m, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    finalize(m, t);
    return t;
}

static cudnnBackendDescriptor_t make_convolution(struct maker *m, int64_t stride,
                                                 cudnnBackendDescriptor_t x,
                                                 cudnnBackendDescriptor_t w,
                                                 cudnnBackendDescriptor_t sum) {
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t n_dims = 2, padding[2] = {0, 1}, dilation[2] = {1, 1}, strides[2] = {1, stride};
    const float one = 1.0f, zero = 0.0f;
    cudnnBackendDescriptor_t c = make(m, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(m, c, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    set(m, c, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(m, c, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &n_dims);
    set(m, c, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
    set(m, c, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
    set(m, c, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation);
    set(m, c, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
    finalize(m, c);
    cudnnBackendDescriptor_t op = make(m, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set_desc(m, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, c);
    set_desc(m, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    set_desc(m, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    set_desc(m, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, sum);
    set(m, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    set(m, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    finalize(m, op);
    return op;
}

/* y = mode(x) or mode(x, b). */
static cudnnBackendDescriptor_t make_pointwise(struct maker *m, cudnnPointwiseMode_t mode,
                                               cudnnBackendDescriptor_t x,
                                               cudnnBackendDescriptor_t b,
                                               cudnnBackendDescriptor_t y) {
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t p = make(m, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(m, p, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(m, p, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    finalize(m, p);
    cudnnBackendDescriptor_t op = make(m, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_desc(m, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, p);
    set_desc(m, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b)
        set_desc(m, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_desc(m, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    finalize(m, op);
    return op;
}

static cudnnBackendDescriptor_t make_graph(struct maker *m) {
    const struct plan *p = m->plan;
    const cudnnDataType_t type = p->type == NUM_CUDA_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16;
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    const int64_t B = (int64_t)p->n_batch, out = (int64_t)p->n_out, in = (int64_t)p->n_in;
    const int64_t n = (int64_t)p->n, n_ret = (int64_t)(p->n / p->stride);
    cudnnBackendDescriptor_t x = make_tensor(m, ID_X, type, B, in, n, false);
    cudnnBackendDescriptor_t w = make_tensor(m, ID_W, type, out, in, 3, false);
    cudnnBackendDescriptor_t bias = make_tensor(m, ID_BIAS, f32, 1, out, 1, false);
    cudnnBackendDescriptor_t sum = make_tensor(m, ID_SUM, f32, B, out, n_ret, true);
    cudnnBackendDescriptor_t biased = make_tensor(m, ID_BIASED, f32, B, out, n_ret, true);
    cudnnBackendDescriptor_t ret = make_tensor(m, ID_RET, type, B, out, n_ret, false);
    cudnnBackendDescriptor_t ops[3] = {
        make_convolution(m, (int64_t)p->stride, x, w, sum),
        make_pointwise(m, CUDNN_POINTWISE_ADD, sum, bias, biased),
        make_pointwise(m, CUDNN_POINTWISE_GELU_FWD, biased, NULL, ret),
    };
    cudnnBackendDescriptor_t graph = make(m, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(m, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &m->d->handle);
    set(m, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 3, ops);
    finalize(m, graph);
    return graph;
}

/* ---- a way to run it ------------------------------------------------------------------------ */

/* An execution plan of one engine, or NULL where it does not take the graph or needs more
 * workspace. */
static cudnnBackendDescriptor_t
try_engine(const struct num_cuda_dnn *d, cudnnBackendDescriptor_t engine, size_t workspace_bytes) {
    cudnnBackendDescriptor_t e = NULL;
    int64_t needed = 0, count = 0;
    if (d->cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &e) !=
        CUDNN_STATUS_SUCCESS)
        return NULL;
    if (d->cudnnBackendSetAttribute(e, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                                    &d->handle) == CUDNN_STATUS_SUCCESS &&
        d->cudnnBackendSetAttribute(e, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                    &engine) == CUDNN_STATUS_SUCCESS &&
        d->cudnnBackendFinalize(e) == CUDNN_STATUS_SUCCESS &&
        d->cudnnBackendGetAttribute(e, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                    1, &count, &needed) == CUDNN_STATUS_SUCCESS &&
        (size_t)needed <= workspace_bytes)
        return e;
    d->cudnnBackendDestroyDescriptor(e);
    return NULL;
}

static void choose_engine(struct maker *m, cudnnBackendDescriptor_t graph) {
    const struct num_cuda_dnn *d = m->d;
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    cudnnBackendDescriptor_t heuristics = make(m, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    cudnnBackendDescriptor_t engines[MAX_ENGINES] = {NULL};
    int64_t n_engines = 0;
    set_desc(m, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(m, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    finalize(m, heuristics);
    for (int i = 0; i < MAX_ENGINES && !m->failed; i++)
        if (d->cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &engines[i]) !=
            CUDNN_STATUS_SUCCESS)
            m->failed = true;
    if (!m->failed && d->cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                  CUDNN_TYPE_BACKEND_DESCRIPTOR, MAX_ENGINES,
                                                  &n_engines, engines) != CUDNN_STATUS_SUCCESS)
        m->failed = true;
    for (int64_t i = 0; i < n_engines && !m->failed && !m->plan->execution; i++)
        m->plan->execution = try_engine(d, engines[i], m->plan->workspace_bytes);
    for (int i = 0; i < MAX_ENGINES; i++)
        if (engines[i])
            d->cudnnBackendDestroyDescriptor(engines[i]);
}

static struct plan *find_plan(struct num_cuda_dnn *d, const struct num_cuda_convolution *c,
                              size_t workspace_bytes) {
    for (size_t i = 0; i < d->n_plans; i++) {
        struct plan *p = &d->plans[i];
        if (p->type == c->type && p->n_batch == c->n_batch && p->n == c->n && p->n_in == c->n_in &&
            p->n_out == c->n_out && p->stride == c->stride && p->workspace_bytes == workspace_bytes)
            return p;
    }
    if (d->n_plans == MAX_PLANS)
        return NULL;
    struct plan *p = &d->plans[d->n_plans++];
    *p = (struct plan){c->type,   c->n_batch,      c->n, c->n_in, c->n_out,
                       c->stride, workspace_bytes, NULL, {NULL},  0};
    struct maker m = {d, p, false};
    cudnnBackendDescriptor_t graph = make_graph(&m);
    if (!m.failed)
        choose_engine(&m, graph);
    return p;
}

bool num_cuda_dnn_run(struct num_cuda_dnn *d, const struct num_cuda_convolution *c, void *workspace,
                      size_t workspace_bytes, cudaStream_t stream) {
    struct plan *p = find_plan(d, c, workspace ? workspace_bytes : 0);
    if (!p || !p->execution || d->cudnnSetStream(d->handle, stream) != CUDNN_STATUS_SUCCESS)
        return false;
    const int64_t ids[4] = {ID_X, ID_W, ID_BIAS, ID_RET};
    const void *pointers[4] = {c->x, c->w, c->bias, c->ret};
    cudnnBackendDescriptor_t pack = NULL;
    if (d->cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack) !=
        CUDNN_STATUS_SUCCESS)
        return false;
    bool queued =
        d->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                    CUDNN_TYPE_VOID_PTR, 4, pointers) == CUDNN_STATUS_SUCCESS &&
        d->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 4,
                                    ids) == CUDNN_STATUS_SUCCESS &&
        d->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                                    &workspace) == CUDNN_STATUS_SUCCESS &&
        d->cudnnBackendFinalize(pack) == CUDNN_STATUS_SUCCESS &&
        d->cudnnBackendExecute(d->handle, p->execution, pack) == CUDNN_STATUS_SUCCESS;
    d->cudnnBackendDestroyDescriptor(pack);
    return queued;
}

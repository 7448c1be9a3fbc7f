/*
 * The encoder on a CUDA device: a pass takes up to n_windows windows from mel frames to the
 * encoder's output and the keys and values that the decoder's cross-attention reads.
 *
 *     copy_stream      mel of a pass, from one of two pinned buffers to one of two on the device
 *     encode_stream    conv1 (reads that buffer) | body: conv2, all layers | last norm, cross-KV
 *
 * The body's buffers lie where they lie, so it is recorded as a graph, one for each number of
 * windows in `sizes`; a pass takes the next larger one and ignores what it makes of the rest. A
 * body of some size runs once as it is (kernels are loaded, products choose their way) and is
 * recorded the second time. What depends on the pass - which mel buffer, which slots - stays
 * outside of the graph: a few launches.
 *
 * The residual stream is float. Products write the type, and the norm that follows adds them with
 * their bias to the stream and norms the sum in one pass over memory.
 *
 * Expected on an H200 for a window of large-v3 among 16 in half types: products 1.89 TFLOP at 700
 * TFLOP/s 2.7 ms, attention 0.37 TFLOP at 330 TFLOP/s 1.1 ms, norms 1.5 GB 0.35 ms, GELU 1 GB 0.23
 * ms, convolutions 0.05 ms: 4.4 ms, and 0.45 ms for the keys and values. A pass of one window leaves
 * part of the card idle (60 to 240 tiles for 132 multiprocessors): 6 ms. Not measured.
 */
#include <stdlib.h>
#include <string.h>

#include "num/cuda/attention.h"
#include "num/cuda/conv.h"
#include "num/cuda/norm.h"
#include "whisper/cuda/cuda.h"
#include "whisper/cuda/encoder_plan.h"
#include "whisper/cuda/load.h"

/* Numbers of windows that have a graph, beside n_windows: at most a third of a pass is wasted. */
static const uint32_t sizes[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
#define N_SIZES (sizeof sizes / sizeof *sizes)

struct body {
    bool ran;
    cudaGraphExec_t graph; /* NULL: not yet */
};

struct wh_cuda_encoder {
    struct wh_cuda_encoder_work work;
    struct num_cuda_conv *conv;
    cudaStream_t copy_stream;
    float *pinned[2]; /* (B, 2 T, M): the model's host_mel, and one of ours */
    cudaEvent_t copied[2], consumed[2];
    cudaEvent_t decoded; /* the decoder has done what was queued before a pass */
    int next;            /* mel buffer of the next pass */
    struct body bodies[N_SIZES + 1];
};

/* What the steps of a body need; the first failure stops those behind it. */
struct run {
    struct wh_cuda *m;
    const struct wh_cuda_encoder_work *work;
    uint32_t n; /* windows */
    int32_t status;
    struct num_err *err;
};

static size_t rows_of(const struct run *r) {
    return (size_t)r->n * r->m->c.dims.n_audio_ctx;
}

static void check(struct run *r, const char *what, cudaError_t error) {
    if (!r->status)
        r->status = num_cuda_fail(r->err, what, error);
}

/* ---- Steps ---------------------------------------------------------------------------------- */

static void convolve(struct run *r, const struct wh_cuda_matrix *filter, const void *x,
                     enum num_cuda_type x_type, size_t n_in, size_t stride, void *ret) {
    struct wh_cuda *m = r->m;
    const struct num_cuda_convolution c = {
        .type = m->c.type,
        .x_type = x_type,
        .n_batch = r->n,
        .n = 2 * (size_t)m->c.dims.n_audio_ctx,
        .n_in = n_in,
        .n_out = m->c.dims.n_state,
        .stride = stride,
        .x = x,
        .w = filter->w,
        .bias = filter->bias,
        .ret = ret,
        .rows = r->work->cols,
    };
    if (!r->status)
        r->status =
            num_cuda_conv_run(m->encoder->conv, m->gemm, &c, m->block + m->plan.gemm_work[0],
                              wh_cuda_gemm_bytes(&m->c), m->encode_stream, r->err);
}

static void run_product(struct run *r, const struct num_cuda_product *p) {
    struct wh_cuda *m = r->m;
    if (!r->status)
        r->status = num_cuda_gemm_run(m->gemm, p, m->block + m->plan.gemm_work[0],
                                      wh_cuda_gemm_bytes(&m->c), m->encode_stream, r->err);
}

/* ret = act(x W^T + bias), rows of all windows. bias_typed NULL: with the matrix' own where there is
 * an activation, else without. */
static void multiply(struct run *r, const struct wh_cuda_matrix *w, const void *x,
                     const void *bias_typed, enum num_cuda_act act, void *ret) {
    const bool biased = bias_typed || act != NUM_CUDA_ACT_NONE;
    const struct num_cuda_product p = {
        .type = r->m->c.type,
        .ret_type = r->m->c.type,
        .m = rows_of(r),
        .n = w->n_out,
        .k = w->n_in,
        .x = x,
        .w = w->w,
        .ret = ret,
        .bias = biased ? w->bias : NULL,
        .bias_typed = bias_typed,
        .act = act,
    };
    run_product(r, &p);
}

/* Adds `add` and `bias` to the rows of `base` (row % period); the sum becomes the stream, and normed
 * what the next product reads. */
static void add_and_norm(struct run *r, const float *base, size_t period, const void *add,
                         const float *bias, const struct wh_cuda_norm *norm) {
    const struct num_cuda_norm n = {
        .rows = rows_of(r),
        .n = r->m->c.dims.n_state,
        .base = base,
        .period = period,
        .add = add,
        .bias = bias,
        .ret_sum = r->work->x,
        .gamma = norm->gamma,
        .beta = norm->beta,
        .ret = r->work->norm,
    };
    if (!r->status)
        check(r, "a norm of the encoder", num_cuda_norm_run(&n, r->m->c.type, r->m->encode_stream));
}

static void attend(struct run *r) {
    const struct wh_cuda_config *c = &r->m->c;
    const size_t D = c->dims.n_state, bytes = D * num_cuda_type_bytes(c->type);
    const char *qkv = r->work->qkv;
    const struct num_cuda_attention a = {
        .q = qkv,
        .k = qkv + bytes,
        .v = qkv + 2 * bytes,
        .ret = r->work->norm,
        .ld = 3 * D,
        .ld_ret = D,
        .n = c->dims.n_audio_ctx,
        .n_heads = c->dims.n_audio_heads,
        .n_batch = r->n,
        .scale = 0.125f, /* 1 / sqrt(WH_CUDA_HEAD) */
    };
    if (!r->status)
        check(r, "the encoder's attention",
              num_cuda_attention_run(&a, c->type, r->m->encode_stream));
}

/* Leaves the output of the MLP in work.add: the next norm adds it. */
static void run_layer(struct run *r, uint32_t index) {
    const struct wh_cuda_encoder_work *w = r->work;
    const struct wh_cuda_config *c = &r->m->c;
    const struct wh_cuda_encoder_layer *l = &r->m->w.encoder[index];
    const size_t bias_bytes = 3 * (size_t)c->dims.n_state * num_cuda_type_bytes(c->type);
    multiply(r, &l->qkv, w->norm, (char *)w->qkv_bias + index * bias_bytes, NUM_CUDA_ACT_NONE,
             w->qkv);
    attend(r);
    multiply(r, &l->out, w->norm, NULL, NUM_CUDA_ACT_NONE, w->add);
    add_and_norm(r, w->x, rows_of(r), w->add, l->out.bias, &l->mlp_norm);
    multiply(r, &l->fc1, w->norm, NULL, NUM_CUDA_ACT_GELU, w->hidden);
    multiply(r, &l->fc2, w->hidden, NULL, NUM_CUDA_ACT_NONE, w->add);
}

/* From work.wide to work.x and, still to be added, work.add. */
static void run_body(struct run *r) {
    const struct wh_cuda *m = r->m;
    const struct wh_dims *s = &m->c.dims;
    const struct wh_cuda_encoder_layer *layers = m->w.encoder;
    const struct wh_cuda_encoder_work *w = r->work;
    convolve(r, &m->w.conv2, w->wide, m->c.type, s->n_state, 2, w->norm);
    add_and_norm(r, m->w.audio_positions, s->n_audio_ctx, w->norm, NULL, &layers[0].attn_norm);
    for (uint32_t i = 0; i < s->n_audio_layers; i++) {
        if (i > 0)
            add_and_norm(r, w->x, rows_of(r), w->add, layers[i - 1].fc2.bias, &layers[i].attn_norm);
        run_layer(r, i);
    }
}

/* ---- Graphs --------------------------------------------------------------------------------- */

static void record(struct run *r, struct body *body) {
    cudaStream_t stream = r->m->encode_stream;
    cudaGraph_t graph = NULL;
    check(r, "recording the encoder",
          cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    if (r->status)
        return;
    run_body(r);
    cudaError_t error = cudaStreamEndCapture(stream, &graph);
    check(r, "recording the encoder", error);
    if (!r->status)
        check(r, "the encoder's graph", cudaGraphInstantiate(&body->graph, graph, 0));
    if (graph)
        cudaGraphDestroy(graph);
}

/* The size to run n windows as: its windows, and its body. */
static uint32_t size_for(const struct wh_cuda *m, uint32_t n, struct body **ret_body) {
    size_t i = 0;
    while (i < N_SIZES && sizes[i] < n)
        i++;
    if (i < N_SIZES && sizes[i] <= m->c.n_windows) {
        *ret_body = &m->encoder->bodies[i];
        return sizes[i];
    }
    *ret_body = &m->encoder->bodies[N_SIZES];
    return m->c.n_windows;
}

/* The body for n windows or somewhat more, from its graph from the second time on. */
static void run_recorded(struct run *r) {
    struct run whole = *r;
    struct body *body;
    whole.n = size_for(r->m, r->n, &body);
    if (!body->ran)
        run_body(&whole);
    else if (!body->graph)
        record(&whole, body);
    if (body->ran && !whole.status)
        check(&whole, "the encoder's graph", cudaGraphLaunch(body->graph, r->m->encode_stream));
    body->ran = true;
    r->status = whole.status;
}

/* ---- What a pass's slots get ---------------------------------------------------------------- */

/* Norms the last sum of windows [first, first + n) into slots [slot, slot + n). */
static void norm_last(struct run *r, uint32_t first, uint32_t slot, uint32_t n) {
    const struct wh_cuda *m = r->m;
    const struct wh_dims *s = &m->c.dims;
    const size_t rows = s->n_audio_ctx, values = first * rows * s->n_state;
    const struct num_cuda_norm norm = {
        .rows = n * rows,
        .n = s->n_state,
        .base = r->work->x + values,
        .period = n * rows,
        .add = (char *)r->work->add + values * num_cuda_type_bytes(m->c.type),
        .bias = m->w.encoder[s->n_audio_layers - 1].fc2.bias,
        .gamma = m->w.encoder_norm.gamma,
        .beta = m->w.encoder_norm.beta,
        .ret = wh_cuda_encoded(m, slot),
    };
    if (!r->status)
        check(r, "the encoder's last norm", num_cuda_norm_run(&norm, m->c.type, m->encode_stream));
}

/* Keys and values of all decoder layers for slots [slot, slot + n), whose outputs and keys and
 * values lie one behind the other: one product a layer, in one call. */
static void project(struct run *r, uint32_t slot, uint32_t n) {
    const struct wh_cuda *m = r->m;
    const size_t T = m->c.dims.n_audio_ctx, D = m->c.dims.n_state;
    const struct num_cuda_product p = {
        .type = m->c.type,
        .ret_type = m->c.type,
        .m = n * T,
        .n = 2 * D,
        .k = D,
        .x = wh_cuda_encoded(m, slot),
        .w = m->w.cross_kv.w,
        .ret = wh_cuda_cross_kv(m, 0, slot),
        .n_batch = m->c.dims.n_text_layers,
        .stride_w = 2 * D * D,
        .stride_ret = m->c.n_slots * T * 2 * D,
    };
    run_product(r, &p);
}

/* Fills the slots, runs of neighbours at once, as soon as the decoder has left them. */
static void fill_slots(struct run *r, const uint32_t *slots) {
    const struct wh_cuda *m = r->m;
    check(r, "waiting for the decoder", cudaEventRecord(m->encoder->decoded, m->decode_stream));
    check(r, "waiting for the decoder",
          cudaStreamWaitEvent(m->encode_stream, m->encoder->decoded, 0));
    for (uint32_t first = 0, n; first < r->n; first += n) {
        for (n = 1; first + n < r->n && slots[first + n] == slots[first] + n;)
            n++;
        norm_last(r, first, slots[first], n);
        if (m->c.cross == WH_CUDA_STORED)
            project(r, slots[first], n);
    }
    for (uint32_t i = 0; i < r->n; i++)
        check(r, "encoding", cudaEventRecord(m->slot_ready[slots[i]], m->encode_stream));
}

/* ---- Passes --------------------------------------------------------------------------------- */

/* Brings the mel of a pass to the device; returns where it lies. The host waits only for the copy
 * of the pass before the last. */
static const float *copy_mel(struct run *r, const float *const *mel) {
    struct wh_cuda_encoder *e = r->m->encoder;
    const struct wh_dims *s = &r->m->c.dims;
    const size_t values = 2 * (size_t)s->n_audio_ctx * s->n_mels;
    const int b = e->next;
    e->next = 1 - b;
    check(r, "copying mel", cudaEventSynchronize(e->copied[b]));
    for (uint32_t i = 0; !r->status && i < r->n; i++)
        memcpy(e->pinned[b] + i * values, mel[i], values * sizeof(float));
    check(r, "copying mel", cudaStreamWaitEvent(e->copy_stream, e->consumed[b], 0));
    check(r, "copying mel",
          cudaMemcpyAsync(e->work.mel[b], e->pinned[b], r->n * values * sizeof(float),
                          cudaMemcpyHostToDevice, e->copy_stream));
    check(r, "copying mel", cudaEventRecord(e->copied[b], e->copy_stream));
    check(r, "copying mel", cudaStreamWaitEvent(r->m->encode_stream, e->copied[b], 0));
    return e->work.mel[b];
}

static int32_t encode_pass(struct wh_cuda *m, const float *const *mel, const uint32_t *slots,
                           uint32_t n, struct num_err *err) {
    struct wh_cuda_encoder *e = m->encoder;
    struct run r = {m, &e->work, n, SLUICE_OK, err};
    const int b = e->next;
    const float *from = copy_mel(&r, mel);
    convolve(&r, &m->w.conv1, from, NUM_CUDA_F32, m->c.dims.n_mels, 1, e->work.wide);
    check(&r, "encoding", cudaEventRecord(e->consumed[b], m->encode_stream));
    if (!r.status)
        run_recorded(&r);
    if (!r.status)
        fill_slots(&r, slots);
    return r.status;
}

int32_t wh_cuda_encode(struct wh_cuda *m, const float *const *mel, const uint32_t *slots,
                       uint32_t n, const struct wh_watch *watch, struct num_err *err) {
    for (uint32_t at = 0; at < n;) {
        const uint32_t some = n - at < m->c.n_windows ? n - at : m->c.n_windows;
        if (wh_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        int32_t status = encode_pass(m, mel + at, slots + at, some, err);
        if (status)
            return status;
        at += some;
    }
    return SLUICE_OK;
}

/* ---- Create and destroy --------------------------------------------------------------------- */

/* The biases of queries, keys and values in the type. */
static int32_t convert_biases(struct wh_cuda *m, struct num_err *err) {
    const size_t n = 3 * (size_t)m->c.dims.n_state, bytes = n * num_cuda_type_bytes(m->c.type);
    float *bias = malloc(n * sizeof *bias);
    char *typed = malloc(bytes);
    cudaError_t error = cudaSuccess;
    for (uint32_t i = 0; bias && typed && !error && i < m->c.dims.n_audio_layers; i++) {
        error =
            cudaMemcpy(bias, m->w.encoder[i].qkv.bias, n * sizeof *bias, cudaMemcpyDeviceToHost);
        wh_cuda_convert(m->c.type, bias, n, typed);
        if (!error)
            error = cudaMemcpy((char *)m->encoder->work.qkv_bias + i * bytes, typed, bytes,
                               cudaMemcpyHostToDevice);
    }
    int32_t status = bias && typed ? num_cuda_fail(err, "the encoder's biases", error)
                                   : num_fail_memory(err, "the encoder's biases", n * sizeof *bias);
    free(bias);
    free(typed);
    return status;
}

static int32_t take_streams(struct wh_cuda *m, struct num_err *err) {
    struct wh_cuda_encoder *e = m->encoder;
    const struct wh_dims *s = &m->c.dims;
    const size_t mel = (size_t)m->c.n_windows * 2 * s->n_audio_ctx * s->n_mels * sizeof(float);
    cudaEvent_t *const events[] = {&e->copied[0], &e->copied[1], &e->consumed[0], &e->consumed[1],
                                   &e->decoded};
    cudaError_t error = cudaStreamCreateWithFlags(&e->copy_stream, cudaStreamNonBlocking);
    for (size_t i = 0; !error && i < sizeof events / sizeof *events; i++)
        error = cudaEventCreateWithFlags(events[i], cudaEventDisableTiming);
    e->pinned[0] = m->host_mel;
    if (!error)
        error = cudaHostAlloc((void **)&e->pinned[1], mel, cudaHostAllocDefault);
    return num_cuda_fail(err, "the encoder's streams and pinned memory", error);
}

int32_t wh_cuda_encoder_create(struct wh_cuda *m, struct num_err *err) {
    m->encoder = calloc(1, sizeof *m->encoder);
    if (!m->encoder)
        return num_fail_memory(err, "the encoder", sizeof *m->encoder);
    wh_cuda_encoder_place(&m->encoder->work, &m->c, m->block + m->plan.encoder_work);
    int32_t status = num_cuda_conv_open(&m->encoder->conv, err);
    if (!status)
        status = take_streams(m, err);
    return status ? status : convert_biases(m, err);
}

void wh_cuda_encoder_destroy(struct wh_cuda *m) {
    struct wh_cuda_encoder *e = m->encoder;
    if (!e)
        return;
    for (size_t i = 0; i <= N_SIZES; i++)
        if (e->bodies[i].graph)
            cudaGraphExecDestroy(e->bodies[i].graph);
    for (int i = 0; i < 2; i++) {
        if (e->copied[i])
            cudaEventDestroy(e->copied[i]);
        if (e->consumed[i])
            cudaEventDestroy(e->consumed[i]);
    }
    if (e->decoded)
        cudaEventDestroy(e->decoded);
    if (e->copy_stream)
        cudaStreamDestroy(e->copy_stream);
    if (e->pinned[1])
        cudaFreeHost(e->pinned[1]);
    num_cuda_conv_close(e->conv);
    free(e);
    m->encoder = NULL;
}

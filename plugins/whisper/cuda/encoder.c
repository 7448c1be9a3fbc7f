/*
 * The encoder on a CUDA device: a pass takes up to n_windows windows from mel frames to the
 * encoder's output and the keys and values that the decoder's cross-attention reads.
 *
 *     copy_stream      what the pass reads, to one of two feeds on the device: encoder_feed.c
 *     encode_stream    (spectrogram,) conv1 | body: conv2, all layers | last norm, cross-KV
 *
 * The body's buffers lie where they lie, so it is recorded as a graph, one for each number of
 * windows in `sizes`; a pass takes the next larger one and ignores what it makes of the rest. A
 * body of some size runs once as it is (kernels are loaded, products choose their way) and is
 * recorded the second time. What depends on the pass - which feed, which slots - stays
 * outside of the graph: a few launches.
 *
 * The residual stream is float. Products write the type, and the norm that follows adds them with
 * their bias to the stream and norms the sum in one pass over memory.
 *
 * Expected on an H200 for a window of large-v3 among 16 in half types: products 1.89 TFLOP at 700
 * TFLOP/s 2.7 ms, attention 0.37 TFLOP at 330 TFLOP/s 1.1 ms, norms 1.5 GB 0.35 ms, GELU 1 GB 0.23
 * ms, convolutions 0.05 ms: 4.4 ms, and 0.45 ms for the keys and values. A pass of one window
 * leaves part of the card idle (60 to 240 tiles for 132 multiprocessors): 6 ms. Not measured.
 */
#include "whisper/cuda/encoder.h"

#include <stdlib.h>

#include "num/cuda/attention.h"
#include "num/cuda/norm.h"
#include "whisper/cuda/kept.h"
#include "whisper/cuda/load.h"

static const uint32_t sizes[WH_CUDA_N_SIZES] = WH_CUDA_ENCODER_SIZES;

static size_t rows_of(const struct wh_cuda_pass *p) {
    return (size_t)p->n * p->m->c.dims.n_audio_ctx;
}

/* ---- Steps ---------------------------------------------------------------------------------- */

static void convolve(struct wh_cuda_pass *p, const struct wh_cuda_matrix *filter, const void *x,
                     enum num_cuda_type x_type, size_t n_in, size_t stride, void *ret) {
    struct wh_cuda *m = p->m;
    const struct num_cuda_convolution c = {
        .type = m->c.type,
        .x_type = x_type,
        .n_batch = p->n,
        .n = 2 * (size_t)m->c.dims.n_audio_ctx,
        .n_in = n_in,
        .n_out = m->c.dims.n_state,
        .stride = stride,
        .x = x,
        .w = filter->w,
        .bias = filter->bias,
        .ret = ret,
        .rows = p->work->cols,
    };
    if (!p->status)
        p->status =
            num_cuda_conv_run(m->encoder->conv, m->gemm, &c, m->block + m->plan.gemm_work[0],
                              wh_cuda_gemm_bytes(&m->c), m->encode_stream, p->err);
}

static void run_product(struct wh_cuda_pass *p, const struct num_cuda_product *product) {
    struct wh_cuda *m = p->m;
    if (!p->status)
        p->status = num_cuda_gemm_run(m->gemm, product, m->block + m->plan.gemm_work[0],
                                      wh_cuda_gemm_bytes(&m->c), m->encode_stream, p->err);
}

/* ret = act(x W^T + bias), rows of all windows. bias_typed NULL: with the matrix' own where there
 * is an activation, else without. */
static void multiply(struct wh_cuda_pass *p, const struct wh_cuda_matrix *w, const void *x,
                     const void *bias_typed, enum num_cuda_act act, void *ret) {
    const bool biased = bias_typed || act != NUM_CUDA_ACT_NONE;
    const struct num_cuda_product product = {
        .type = p->m->c.type,
        .ret_type = p->m->c.type,
        .m = rows_of(p),
        .n = w->n_out,
        .k = w->n_in,
        .x = x,
        .w = w->w,
        .ret = ret,
        .bias = biased ? w->bias : NULL,
        .bias_typed = bias_typed,
        .act = act,
    };
    run_product(p, &product);
}

/* Adds `add` and `bias` to the rows of `base` (row % period); the sum becomes the stream, and
 * normed what the next product reads. */
static void add_and_norm(struct wh_cuda_pass *p, const float *base, size_t period, const void *add,
                         const float *bias, const struct wh_cuda_norm *norm) {
    const struct num_cuda_norm n = {
        .rows = rows_of(p),
        .n = p->m->c.dims.n_state,
        .base = base,
        .period = period,
        .add = add,
        .bias = bias,
        .ret_sum = p->work->x,
        .gamma = norm->gamma,
        .beta = norm->beta,
        .ret = p->work->norm,
    };
    if (!p->status)
        wh_cuda_check(p, "a norm of the encoder",
                      num_cuda_norm_run(&n, p->m->c.type, p->m->encode_stream));
}

static void attend(struct wh_cuda_pass *p) {
    const struct wh_cuda_config *c = &p->m->c;
    const size_t D = c->dims.n_state, bytes = D * num_cuda_type_bytes(c->type);
    const char *qkv = p->work->qkv;
    const struct num_cuda_attention a = {
        .q = qkv,
        .k = qkv + bytes,
        .v = qkv + 2 * bytes,
        .ret = p->work->norm,
        .ld = 3 * D,
        .ld_ret = D,
        .n = c->dims.n_audio_ctx,
        .n_heads = c->dims.n_audio_heads,
        .n_batch = p->n,
        .scale = 0.125f, /* 1 / sqrt(WH_CUDA_HEAD) */
    };
    if (!p->status)
        wh_cuda_check(p, "the encoder's attention",
                      num_cuda_attention_run(&a, c->type, p->m->encode_stream));
}

/* Leaves the output of the MLP in work.add: the next norm adds it. */
static void run_layer(struct wh_cuda_pass *p, uint32_t index) {
    const struct wh_cuda_encoder_work *w = p->work;
    const struct wh_cuda_config *c = &p->m->c;
    const struct wh_cuda_encoder_layer *l = &p->m->w.encoder[index];
    const size_t bias_bytes = 3 * (size_t)c->dims.n_state * num_cuda_type_bytes(c->type);
    multiply(p, &l->qkv, w->norm, (char *)w->qkv_bias + index * bias_bytes, NUM_CUDA_ACT_NONE,
             w->qkv);
    attend(p);
    multiply(p, &l->out, w->norm, NULL, NUM_CUDA_ACT_NONE, w->add);
    add_and_norm(p, w->x, rows_of(p), w->add, l->out.bias, &l->mlp_norm);
    multiply(p, &l->fc1, w->norm, NULL, NUM_CUDA_ACT_GELU, w->hidden);
    multiply(p, &l->fc2, w->hidden, NULL, NUM_CUDA_ACT_NONE, w->add);
}

/* From work.wide to work.x and, still to be added, work.add. */
static void run_body(struct wh_cuda_pass *p) {
    const struct wh_cuda *m = p->m;
    const struct wh_dims *s = &m->c.dims;
    const struct wh_cuda_encoder_layer *layers = m->w.encoder;
    const struct wh_cuda_encoder_work *w = p->work;
    convolve(p, &m->w.conv2, w->wide, m->c.type, s->n_state, 2, w->norm);
    add_and_norm(p, m->w.audio_positions, s->n_audio_ctx, w->norm, NULL, &layers[0].attn_norm);
    for (uint32_t i = 0; i < s->n_audio_layers; i++) {
        if (i > 0)
            add_and_norm(p, w->x, rows_of(p), w->add, layers[i - 1].fc2.bias, &layers[i].attn_norm);
        run_layer(p, i);
    }
}

/* ---- Graphs --------------------------------------------------------------------------------- */

static void record(struct wh_cuda_pass *p, struct wh_cuda_body *body) {
    cudaStream_t stream = p->m->encode_stream;
    cudaGraph_t graph = NULL;
    wh_cuda_check(p, "recording the encoder", cudaStreamBeginCapture(stream, NUM_CUDA_CAPTURE));
    if (p->status)
        return;
    run_body(p);
    cudaError_t error = cudaStreamEndCapture(stream, &graph);
    wh_cuda_check(p, "recording the encoder", error);
    if (!p->status)
        wh_cuda_check(p, "the encoder's graph", cudaGraphInstantiate(&body->graph, graph, 0));
    if (graph)
        cudaGraphDestroy(graph);
}

/* The size to run n windows as: its windows, and its body. */
static uint32_t size_for(const struct wh_cuda *m, uint32_t n, struct wh_cuda_body **ret_body) {
    size_t i = 0;
    while (i < WH_CUDA_N_SIZES && sizes[i] < n)
        i++;
    if (i < WH_CUDA_N_SIZES && sizes[i] <= m->c.n_windows) {
        *ret_body = &m->encoder->bodies[i];
        return sizes[i];
    }
    *ret_body = &m->encoder->bodies[WH_CUDA_N_SIZES];
    return m->c.n_windows;
}

/* The body for n windows or somewhat more, from its graph from the second time on. */
static void run_recorded(struct wh_cuda_pass *p) {
    struct wh_cuda_pass whole = *p;
    struct wh_cuda_body *body;
    whole.n = size_for(p->m, p->n, &body);
    if (!body->ran)
        run_body(&whole);
    else if (!body->graph)
        record(&whole, body);
    if (body->ran && !whole.status)
        wh_cuda_check(&whole, "the encoder's graph",
                      cudaGraphLaunch(body->graph, p->m->encode_stream));
    body->ran = !whole.status;
    p->status = whole.status;
}

/* ---- What a pass's slots get ---------------------------------------------------------------- */

/* Norms the last sum of windows [first, first + n) into slots [slot, slot + n). */
static void norm_last(struct wh_cuda_pass *p, uint32_t first, uint32_t slot, uint32_t n) {
    const struct wh_cuda *m = p->m;
    const struct wh_dims *s = &m->c.dims;
    const size_t rows = s->n_audio_ctx, values = first * rows * s->n_state;
    const struct num_cuda_norm norm = {
        .rows = n * rows,
        .n = s->n_state,
        .base = p->work->x + values,
        .period = n * rows,
        .add = (char *)p->work->add + values * num_cuda_type_bytes(m->c.type),
        .bias = m->w.encoder[s->n_audio_layers - 1].fc2.bias,
        .gamma = m->w.encoder_norm.gamma,
        .beta = m->w.encoder_norm.beta,
        .ret = wh_cuda_encoded(m, slot),
    };
    if (!p->status)
        wh_cuda_check(p, "the encoder's last norm",
                      num_cuda_norm_run(&norm, m->c.type, m->encode_stream));
}

/* Keys and values of decoder layers for slots [slot, slot + n): one product for `n_layers` at once,
 * from `layer` on, whose results lie stride_ret values apart. */
static void project(struct wh_cuda_pass *p, uint32_t slot, uint32_t n, uint32_t layer,
                    uint32_t n_layers, void *ret, size_t stride_ret) {
    const struct wh_cuda *m = p->m;
    const size_t D = m->c.dims.n_state;
    const struct num_cuda_product product = {
        .type = m->c.type,
        .ret_type = m->c.type,
        .m = n * (size_t)m->c.dims.n_audio_ctx,
        .n = 2 * D,
        .k = D,
        .x = wh_cuda_encoded(m, slot),
        .w = m->w.decoder[layer].cross_kv.w,
        .ret = ret,
        .n_batch = n_layers,
        .stride_w = 2 * D * D,
        .stride_ret = stride_ret,
    };
    run_product(p, &product);
}

/* Stores the keys and values of slots [slot, slot + n): of all layers in one call as they are, or
 * layer by layer where they become bytes, by way of the room that the MLP had. */
static void store_cross(struct wh_cuda_pass *p, uint32_t slot, uint32_t n) {
    const struct wh_cuda *m = p->m;
    const size_t T = m->c.dims.n_audio_ctx, D = m->c.dims.n_state;
    const uint32_t n_layers = m->c.dims.n_text_layers;
    if (m->c.kept == WH_CUDA_KEPT_PLAIN) {
        project(p, slot, n, 0, n_layers, wh_cuda_cross_kv(m, 0, slot), m->c.n_slots * T * 2 * D);
        return;
    }
    for (uint32_t i = 0; i < n_layers; i++) {
        project(p, slot, n, i, 1, p->work->hidden, 0);
        if (!p->status)
            wh_cuda_check(p, "storing keys and values",
                          wh_cuda_keep(m, i, slot, n, p->work->hidden, m->encode_stream));
    }
}

/* Fills the slots, runs of neighbours at once, as soon as the decoder has left them. */
static void fill_slots(struct wh_cuda_pass *p, const uint32_t *slots) {
    const struct wh_cuda *m = p->m;
    wh_cuda_check(p, "waiting for the decoder",
                  cudaEventRecord(m->encoder->decoded, m->decode_stream));
    wh_cuda_check(p, "waiting for the decoder",
                  cudaStreamWaitEvent(m->encode_stream, m->encoder->decoded, 0));
    for (uint32_t first = 0, n; first < p->n; first += n) {
        for (n = 1; first + n < p->n && slots[first + n] == slots[first] + n;)
            n++;
        norm_last(p, first, slots[first], n);
        if (m->c.cross != WH_CUDA_ABSORBED)
            store_cross(p, slots[first], n);
    }
    for (uint32_t i = 0; i < p->n; i++)
        wh_cuda_check(p, "encoding", cudaEventRecord(m->slot_ready[slots[i]], m->encode_stream));
}

/* ---- Passes --------------------------------------------------------------------------------- */

/* Windows of either kind; the other is NULL. */
struct source {
    const float *const *mel;
    const struct wh_excerpt *audio;
};

static int32_t encode_pass(struct wh_cuda *m, const struct source *source, uint32_t first,
                           const uint32_t *slots, uint32_t n, struct num_err *err) {
    struct wh_cuda_encoder *e = m->encoder;
    struct wh_cuda_pass pass = {.m = m, .work = &e->work, .n = n, .err = err}, *p = &pass;
    const float *mel = source->mel ? wh_cuda_feed_mel(p, source->mel + first)
                                   : wh_cuda_feed_audio(p, source->audio + first, slots);
    convolve(p, &m->w.conv1, mel, NUM_CUDA_F32, m->c.dims.n_mels, 1, e->work.wide);
    wh_cuda_check(p, "encoding", cudaEventRecord(e->consumed[p->feed], m->encode_stream));
    if (!p->status)
        run_recorded(p);
    if (!p->status)
        fill_slots(p, slots);
    return p->status;
}

static int32_t encode(struct wh_cuda *m, const struct source *source, const uint32_t *slots,
                      uint32_t n, const struct num_watch *watch, struct num_err *err) {
    for (uint32_t at = 0; at < n;) {
        const uint32_t some = n - at < m->c.n_windows ? n - at : m->c.n_windows;
        int32_t status = num_go_on(watch, err);
        if (!status)
            status = encode_pass(m, source, at, slots + at, some, err);
        if (status)
            return status;
        at += some;
    }
    return SLUICE_OK;
}

int32_t wh_cuda_encode(struct wh_cuda *m, const float *const *mel, const uint32_t *slots,
                       uint32_t n, const struct num_watch *watch, struct num_err *err) {
    return encode(m, &(struct source){.mel = mel}, slots, n, watch, err);
}

int32_t wh_cuda_encode_audio(struct wh_cuda *m, const struct wh_excerpt *windows,
                             const uint32_t *slots, uint32_t n, const struct num_watch *watch,
                             struct num_err *err) {
    return encode(m, &(struct source){.audio = windows}, slots, n, watch, err);
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

int32_t wh_cuda_encoder_create(struct wh_cuda *m, struct num_err *err) {
    m->encoder = calloc(1, sizeof *m->encoder);
    if (!m->encoder)
        return num_fail_memory(err, "the encoder", sizeof *m->encoder);
    wh_cuda_encoder_place(&m->encoder->work, &m->c, m->block + m->plan.encoder_work);
    int32_t status = num_cuda_conv_open(&m->encoder->conv, err);
    if (!status)
        status = wh_cuda_feed_create(m, err);
    if (!status)
        status =
            num_cuda_fail(err, "the encoder",
                          cudaEventCreateWithFlags(&m->encoder->decoded, cudaEventDisableTiming));
    return status ? status : convert_biases(m, err);
}

void wh_cuda_encoder_destroy(struct wh_cuda *m) {
    struct wh_cuda_encoder *e = m->encoder;
    if (!e)
        return;
    for (size_t i = 0; i <= WH_CUDA_N_SIZES; i++)
        if (e->bodies[i].graph)
            cudaGraphExecDestroy(e->bodies[i].graph);
    if (e->decoded)
        cudaEventDestroy(e->decoded);
    wh_cuda_feed_destroy(e);
    num_cuda_conv_close(e->conv);
    free(e);
    m->encoder = NULL;
}

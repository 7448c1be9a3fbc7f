/*
 * A run of the network on a card, from samples to log probabilities, one stream.
 *
 * Convolutions are products over rows of `stride` positions; the taps beyond a row are a second
 * product that adds to the first, since rows that overlap are not what the library's layouts allow.
 * The positional convolution reads unfolded neighbours, AL_CUDA_UNFOLD frames at a time.
 *
 * Norms behind attention and MLP (`stable` is false) make the residual stream itself, so sums and
 * norms are float there and inputs of products are made from it; norms before them read the stream
 * and give the type at once.
 *
 * Expected on an H200 for 30 s through wav2vec2-base in bfloat16: convolutions 0.11 TFLOP and
 * layers 0.29 TFLOP, 0.8 ms at 500 TFLOP/s; traffic of the first convolutions 0.6 GB, 0.15 ms;
 * about 170 launches.
 */
#include <string.h>

#include "align/cuda/kernels.h"
#include "align/cuda/net.h"
#include "num/cuda/attention.h"
#include "num/cuda/epilogue.h"
#include "num/cuda/norm.h"

/* A run on its way; its first failure stops the steps behind it. */
struct run {
    struct al_cuda_net *net;
    size_t first, n; /* frames */
    int32_t status;
    struct num_err *err;
};

static void check(struct run *r, const char *what, cudaError_t error) {
    if (!r->status)
        r->status = num_cuda_fail(r->err, what, error);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static void run_product(struct run *r, const struct num_cuda_product *p) {
    struct al_cuda_net *net = r->net;
    if (!r->status)
        r->status = num_cuda_gemm_run(net->gemm, p, net->b.workspace, AL_CUDA_GEMM_BYTES,
                                      net->stream, r->err);
}

/* What a layer's product becomes. */
struct finish {
    enum num_cuda_type type; /* of ret */
    bool bias;
    /* the bias in the type, where ret is of a half type and there is no activation */
    const void *typed;
    enum num_cuda_act act;
};

/* ret (n, n_out) = act(x W^T + bias); x (n, k). */
static void multiply(struct run *r, const struct al_cuda_matrix *m, const void *x,
                     struct finish finish, void *ret) {
    const struct num_cuda_product p = {
        .type = r->net->type,
        .ret_type = finish.type,
        .m = r->n,
        .n = m->n_out,
        .k = m->k,
        .x = x,
        .w = m->w,
        .ret = ret,
        .bias = finish.bias ? m->bias : NULL,
        .bias_typed = finish.typed,
        .act = finish.act,
    };
    run_product(r, &p);
}

/* rows of n values: base + add + bias to `sum`, and its norm to `ret`; what is NULL is left out. */
static void run_norm(struct run *r, enum num_cuda_type type, size_t rows, size_t n,
                     const float *base, const void *add, const float *bias, float *sum,
                     const struct al_cuda_norm *norm, void *ret) {
    const struct num_cuda_norm a = {
        .rows = rows,
        .n = n,
        .base = base,
        .period = rows,
        .add = add,
        .bias = bias,
        .ret_sum = sum,
        .gamma = norm ? norm->gamma : NULL,
        .beta = norm ? norm->beta : NULL,
        .ret = ret,
    };
    if (!r->status)
        check(r, "a norm", num_cuda_norm_run(&a, type, r->net->stream));
}

static void run_epilogue(struct run *r, struct num_cuda_epilogue e) {
    if (!r->status)
        check(r, "an activation", num_cuda_epilogue_run(&e, r->net->stream));
}

/* The stream as input of products: itself in f32. */
static const void *as_input(struct run *r) {
    struct al_cuda_net *net = r->net;
    if (net->type == NUM_CUDA_F32)
        return net->b.x;
    if (!r->status)
        check(r, "a conversion",
              al_cuda_convert(net->b.x, r->n * net->config.n_state, net->b.input, net->type,
                              net->stream));
    return net->b.input;
}

/* ---- Convolutions ---------------------------------------------------------------------------- */

static void copy_sound(struct run *r, size_t first, size_t n) {
    struct al_cuda_net *net = r->net;
    if (r->status)
        return;
    al_sound_read(&net->sound, first, n, (float *)net->pinned);
    check(r, "copying the sound",
          cudaMemcpyAsync(net->b.samples, net->pinned, n * sizeof(float), cudaMemcpyHostToDevice,
                          net->stream));
}

/* Behind a convolution: its bias, norm and activation, in place. */
static void finish_conv(struct run *r, size_t i, size_t rows, const float *bias, void *x) {
    const struct al_cuda_net *net = r->net;
    size_t n = net->config.conv_dim[i];
    if (net->config.layer_norm_convs) {
        run_norm(r, net->type, rows, n, NULL, x, bias, NULL, &net->w.conv_norms[i], x);
        bias = NULL;
    }
    run_epilogue(r, (struct num_cuda_epilogue){net->type, rows, n, n, x, bias, NULL, 1});
}

static void run_first(struct run *r, size_t rows, size_t sample) {
    struct al_cuda_net *net = r->net;
    const struct al_config *c = &net->config;
    const float *bias = c->layer_norm_convs ? NULL : net->w.first_bias;
    const struct al_cuda_first a = {
        net->b.samples,    net->w.first,     bias, net->b.convs[0], rows, c->conv_dim[0],
        c->conv_kernel[0], c->conv_stride[0]};
    copy_sound(r, sample, (rows - 1) * c->conv_stride[0] + c->conv_kernel[0]);
    if (!r->status)
        check(r, "the first convolution", al_cuda_first_run(&a, net->type, net->stream));
    finish_conv(r, 0, rows, c->layer_norm_convs && c->conv_bias ? net->w.first_bias : NULL,
                net->b.convs[0]);
}

/* Convolution i > 0: a product for every `stride` taps. */
static void run_conv(struct run *r, size_t i, size_t rows) {
    struct al_cuda_net *net = r->net;
    const struct al_config *c = &net->config;
    const struct al_cuda_matrix *m = &net->w.convs[i];
    size_t n_in = c->conv_dim[i - 1], value = num_cuda_type_bytes(net->type);
    size_t stride = c->conv_stride[i], taps = c->conv_kernel[i];
    void *ret = net->b.convs[i % 2];
    for (size_t tap = 0; tap < taps; tap += stride) {
        size_t some = taps - tap < stride ? taps - tap : stride;
        const struct num_cuda_product p = {
            .type = net->type,
            .ret_type = net->type,
            .m = rows,
            .n = m->n_out,
            .k = some * n_in,
            .x = (const char *)net->b.convs[(i + 1) % 2] + tap * n_in * value,
            .w = (const char *)m->w + tap * n_in * value,
            .ret = ret,
            .ld_x = stride * n_in,
            .ld_w = m->k,
            .residual = tap ? ret : NULL,
        };
        run_product(r, &p);
    }
    finish_conv(r, i, rows, c->conv_bias ? m->bias : NULL, ret);
}

/* The last convolution's output, normed where the model wants it, through the projection: the
 * stream. */
static void project(struct run *r) {
    struct al_cuda_net *net = r->net;
    const struct al_config *c = &net->config;
    const void *x = net->b.convs[(c->n_convs - 1) % 2];
    if (c->projection_norm) {
        run_norm(r, net->type, r->n, c->conv_dim[c->n_convs - 1], NULL, x, NULL, NULL,
                 &net->w.projection_norm, net->b.input);
        x = net->b.input;
    }
    multiply(r, &net->w.projection, x, (struct finish){.type = NUM_CUDA_F32, .bias = true},
             net->b.x);
}

/* The stream gets its positions added. */
static void add_positions(struct run *r) {
    struct al_cuda_net *net = r->net;
    const struct al_config *c = &net->config;
    size_t D = c->n_state, width = D / c->pos_groups, k = net->w.positions.k;
    for (size_t at = 0; at < r->n && !r->status; at += AL_CUDA_UNFOLD) {
        size_t rows = r->n - at < AL_CUDA_UNFOLD ? r->n - at : AL_CUDA_UNFOLD;
        const struct al_cuda_unfold u = {
            net->b.x,      net->b.unfolded,   r->n, c->pos_groups, width,
            c->pos_kernel, c->pos_kernel / 2, at,   rows};
        const struct num_cuda_product p = {
            .type = net->type,
            .ret_type = NUM_CUDA_F32,
            .m = rows,
            .n = width,
            .k = k,
            .x = net->b.unfolded,
            .w = net->w.positions.w,
            .ret = net->b.y + at * D,
            .ld_ret = D,
            .n_batch = c->pos_groups,
            .stride_x = rows * k,
            .stride_w = width * k,
            .stride_ret = width,
        };
        check(r, "the positions", al_cuda_unfold_run(&u, net->type, net->stream));
        run_product(r, &p);
    }
    run_epilogue(r, (struct num_cuda_epilogue){NUM_CUDA_F32, r->n, D, D, net->b.y,
                                               net->w.positions.bias, net->b.x, 1});
    float *swap = net->b.x;
    net->b.x = net->b.y;
    net->b.y = swap;
}

static void convolve(struct run *r) {
    const struct al_config *c = &r->net->config;
    for (size_t i = 0; i < c->n_convs; i++) {
        size_t first, rows = al_conv_rows(c, i, r->first, r->n, &first);
        if (i == 0)
            run_first(r, rows, first * c->conv_stride[0]);
        else
            run_conv(r, i, rows);
    }
    project(r);
    add_positions(r);
}

/* ---- Layers ---------------------------------------------------------------------------------- */

static void attend(struct run *r, const struct al_cuda_layer *l, const void *input) {
    struct al_cuda_net *net = r->net;
    size_t D = net->config.n_state, bytes = D * num_cuda_type_bytes(net->type);
    const char *qkv = net->b.wide;
    const struct num_cuda_attention a = {
        .q = qkv,
        .k = qkv + bytes,
        .v = qkv + 2 * bytes,
        .ret = net->b.input,
        .ld = 3 * D,
        .ld_ret = D,
        .n = r->n,
        .n_heads = net->config.n_heads,
        .n_batch = 1,
        .scale = 0.125f, /* 1 / sqrt(AL_CUDA_HEAD) */
    };
    multiply(r, &l->qkv, input,
             (struct finish){.type = net->type, .bias = true, .typed = l->qkv_bias}, net->b.wide);
    if (!r->status)
        check(r, "the attention", num_cuda_attention_run(&a, net->type, net->stream));
}

/* x += linear_2(relu(linear_1(norm(x)))): the adapters of MMS, in float. */
static void adapt(struct run *r, const struct al_cuda_layer *l) {
    struct al_cuda_net *net = r->net;
    size_t D = net->config.n_state, A = net->config.n_adapter;
    struct num_cuda_product in = {.type = NUM_CUDA_F32, .m = r->n, .n = A, .k = D};
    struct num_cuda_product out = {.type = NUM_CUDA_F32, .m = r->n, .n = D, .k = A};
    run_norm(r, NUM_CUDA_F32, r->n, D, net->b.x, NULL, NULL, NULL, &l->adapter_norm, net->b.y);
    in.x = net->b.y;
    in.w = l->adapter_in.w;
    in.ret = net->b.logits;
    in.bias = l->adapter_in.bias;
    run_product(r, &in);
    if (!r->status)
        check(r, "an adapter", al_cuda_relu(net->b.logits, r->n * A, net->stream));
    out.x = net->b.logits;
    out.w = l->adapter_out.w;
    out.ret = net->b.x;
    out.residual = net->b.x;
    out.bias = l->adapter_out.bias;
    run_product(r, &out);
}

static void run_layer(struct run *r, const struct al_cuda_layer *l) {
    struct al_cuda_net *net = r->net;
    bool stable = net->config.stable;
    size_t D = net->config.n_state, n = r->n;
    float *x = net->b.x;
    /* Sums that a norm gives on in the type can be of it themselves. */
    enum num_cuda_type type = stable ? net->type : NUM_CUDA_F32;
    const void *input = net->b.input;
    if (stable)
        run_norm(r, type, n, D, x, NULL, NULL, NULL, &l->attention_norm, net->b.input);
    else
        input = as_input(r);
    attend(r, l, input);
    multiply(r, &l->out, net->b.input, (struct finish){.type = type}, net->b.add);
    if (stable)
        run_norm(r, type, n, D, x, net->b.add, l->out.bias, x, &l->final_norm, net->b.input);
    else
        run_norm(r, type, n, D, x, net->b.add, l->out.bias, NULL, &l->attention_norm, x);
    input = stable ? net->b.input : as_input(r);
    multiply(r, &l->fc1, input,
             (struct finish){.type = net->type, .bias = true, .act = NUM_CUDA_ACT_GELU},
             net->b.wide);
    multiply(r, &l->fc2, net->b.wide, (struct finish){.type = type}, net->b.add);
    if (stable)
        run_norm(r, type, n, D, x, net->b.add, l->fc2.bias, x, NULL, NULL);
    else
        run_norm(r, type, n, D, x, net->b.add, l->fc2.bias, NULL, &l->final_norm, x);
    if (net->config.n_adapter) /* stable ones alone have any: config.c */
        adapt(r, l);
}

/* Logits, and from them log probabilities. */
static void run_head(struct run *r) {
    struct al_cuda_net *net = r->net;
    size_t ld = al_cuda_logits(&net->config);
    const struct num_cuda_product p = {
        .type = net->type,
        .ret_type = NUM_CUDA_F32,
        .m = r->n,
        .n = net->config.n_vocab,
        .k = net->config.n_state,
        .x = as_input(r),
        .w = net->w.head.w,
        .ret = net->b.logits,
        .ld_ret = ld,
        .bias = net->w.head.bias,
    };
    run_product(r, &p);
    if (!r->status)
        check(r, "log probabilities",
              al_cuda_log_softmax(net->b.logits, r->n, net->config.n_vocab, ld, net->b.logp,
                                  net->stream));
}

static void norm_stream(struct run *r) {
    struct al_cuda_net *net = r->net;
    run_norm(r, NUM_CUDA_F32, r->n, net->config.n_state, net->b.x, NULL, NULL, NULL,
             &net->w.encoder_norm, net->b.x);
}

/* ---- All ------------------------------------------------------------------------------------- */

static void fetch(struct run *r, float *ret) {
    struct al_cuda_net *net = r->net;
    size_t bytes = r->n * net->config.n_vocab * sizeof(float);
    if (r->status)
        return;
    check(r, "copying the network's output",
          cudaMemcpyAsync(net->pinned, net->b.logp, bytes, cudaMemcpyDeviceToHost, net->stream));
    if (!r->status)
        check(r, "running the network", cudaStreamSynchronize(net->stream));
    if (!r->status)
        memcpy(ret, net->pinned, bytes);
}

int32_t al_cuda_run(struct al_cuda_net *net, size_t first, size_t n, const struct num_watch *watch,
                    float *ret, struct num_err *err) {
    struct run run = {net, first, n, SLUICE_OK, err}, *r = &run;
    if (n == 0)
        return SLUICE_OK;
    if (num_cancelled(watch))
        return num_fail(err, SLUICE_CANCELLED, "cancelled");
    convolve(r);
    if (!net->config.stable)
        norm_stream(r);
    for (size_t i = 0; i < net->config.n_layers && !r->status; i++)
        run_layer(r, &net->w.layers[i]);
    if (net->config.stable)
        norm_stream(r);
    run_head(r);
    fetch(r, ret);
    if (r->status)
        cudaStreamSynchronize(net->stream); /* the pinned memory is the next run's */
    return r->status;
}

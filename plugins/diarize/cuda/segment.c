/*
 * The segmentation of windows on a card: the front a layer at a time over all windows, then rows of
 * layers with frames outermost. An LSTM layer is one product with its inputs and one kernel for all
 * its steps.
 */
#include <string.h>

#include "diarize/cuda/networks.h"

static size_t rows_of(const struct dz_cuda_call *r) {
    return r->n * r->m->seg.shape.n_frames;
}

cudaError_t dz_cuda_send_windows(struct dz_cuda *m, const float *const *windows, size_t n) {
    size_t size = m->seg.shape.window * sizeof(float);
    for (size_t i = 0; i < n; i++)
        memcpy(m->pinned + i * size, windows[i], size);
    return cudaMemcpyAsync(m->s.wave, m->pinned, n * size, cudaMemcpyHostToDevice, m->stream);
}

/* Convolution i of `x`, pooled, to maps[i % 2], and normalised; the last one's rows become the
 * layers' inputs. */
static void run_conv(struct dz_cuda_call *r, size_t i, const float *x) {
    struct dz_cuda *m = r->m;
    const struct dz_pyannet_conv *c = &m->seg.convs[i];
    bool last = i + 1 == DZ_PYANNET_CONVS;
    size_t length = m->seg.lengths[i + 1], width = last ? dz_cuda_padded(c->n_out) : c->n_out;
    const struct dz_cuda_pooled p = {x,
                                     m->s.conv[i],
                                     c->bias ? m->s.conv_bias[i] : NULL,
                                     m->s.maps[i % 2],
                                     r->n,
                                     m->seg.lengths[i],
                                     c->n_in,
                                     c->n_out,
                                     c->width,
                                     c->stride,
                                     length,
                                     i == 0};
    const struct dz_cuda_normal n = {.x = m->s.maps[i % 2],
                                     .scale = m->s.scale[i],
                                     .shift = m->s.shift[i],
                                     .ret = last ? m->s.x : m->s.maps[i % 2],
                                     .n_windows = r->n,
                                     .n = length,
                                     .n_channels = c->n_out,
                                     .window = last ? width : length * width,
                                     .step = last ? r->n * width : width,
                                     .width = width};
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "a convolution", dz_cuda_pooled_run(&p, m->stream));
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "a norm", dz_cuda_normal_run(&n, last ? m->type : NUM_CUDA_F32, m->stream));
}

/* ret (rows, n_out up to ld) float = x W^T + bias. */
static void multiply(struct dz_cuda_call *r, enum num_cuda_type type, const void *x, const void *w,
                     size_t n_out, size_t k, const float *bias, size_t ld, float *ret) {
    const struct num_cuda_product p = {.type = type,
                                       .ret_type = NUM_CUDA_F32,
                                       .m = rows_of(r),
                                       .n = n_out,
                                       .k = k,
                                       .x = x,
                                       .w = w,
                                       .ret = ret,
                                       .ld_ret = ld,
                                       .bias = bias};
    if (r->status == SLUICE_OK)
        r->status = num_cuda_gemm_run(r->m->gemm, &p, r->m->workspace, DZ_CUDA_GEMM_BYTES,
                                      r->m->stream, r->err);
}

static void exchange(struct dz_cuda *m) {
    void *swap = m->s.x;
    m->s.x = m->s.y;
    m->s.y = swap;
}

static void run_lstm(struct dz_cuda_call *r, size_t i) {
    struct dz_cuda *m = r->m;
    const struct dz_pyannet_lstm *l = &m->seg.lstms[i];
    const struct dz_cuda_lstm_layer *w = &m->s.lstms[i];
    size_t gates = l->n_directions * 4 * l->n_hidden;
    const struct dz_cuda_lstm a = {
        m->s.gates, w->states,   m->s.y,          m->seg.shape.n_frames,
        r->n,       l->n_hidden, l->n_directions, m->device.shared_bytes};
    multiply(r, m->type, m->s.x, w->input, gates, dz_cuda_padded(l->n_in), w->bias, gates,
             m->s.gates);
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "an LSTM", dz_cuda_lstm_run(&a, m->type, m->stream));
    exchange(m);
}

/* Leaves sums without bias in gates, and the last layer's scores with theirs. */
static void run_linears(struct dz_cuda_call *r) {
    struct dz_cuda *m = r->m;
    for (size_t i = 0; i < m->seg.n_linears; i++) {
        const struct dz_pyannet_linear *l = &m->seg.linears[i];
        bool last = i + 1 == m->seg.n_linears;
        size_t ld = dz_cuda_padded(l->n_out);
        multiply(r, dz_cuda_linear_type(m, i), m->s.x, m->s.linears[i], l->n_out,
                 dz_cuda_padded(l->n_in), last ? m->s.linear_bias[i] : NULL, ld, m->s.gates);
        enum num_cuda_type next = dz_cuda_linear_type(m, i + 1);
        if (!last && r->status == SLUICE_OK)
            dz_cuda_note(r, "an activation",
                         dz_cuda_leaky(m->s.gates, m->s.linear_bias[i], rows_of(r), l->n_out, ld,
                                       m->s.x, next, m->stream));
    }
}

/* Scores (n_frames, n, classes up to ld) to (n, n_frames, classes). */
static void fetch(struct dz_cuda_call *r, float *ret) {
    struct dz_cuda *m = r->m;
    size_t classes = m->seg.shape.n_classes, frames = m->seg.shape.n_frames;
    size_t ld = dz_cuda_padded(classes);
    const float *scores = (const float *)(const void *)m->pinned;
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "copying scores",
                     cudaMemcpyAsync(m->pinned, m->s.gates, rows_of(r) * ld * sizeof(float),
                                     cudaMemcpyDeviceToHost, m->stream));
    cudaError_t end = cudaStreamSynchronize(m->stream);
    dz_cuda_note(r, "the segmentation", end);
    for (size_t t = 0; r->status == SLUICE_OK && t < frames; t++)
        for (size_t i = 0; i < r->n; i++)
            memcpy(ret + (i * frames + t) * classes, scores + (t * r->n + i) * ld,
                   classes * sizeof *ret);
}

int32_t dz_cuda_segment(void *self, const float *const *windows, size_t n, float *ret,
                        struct num_err *err) {
    struct dz_cuda *m = self;
    struct dz_cuda_call run = {m, n, SLUICE_OK, err}, *r = &run;
    dz_cuda_note(r, "copying windows", dz_cuda_send_windows(m, windows, n));
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "normalising windows",
                     dz_cuda_wave(m->s.wave, n, m->seg.shape.window, m->seg.wave_scale,
                                  m->seg.wave_shift, m->stream));
    for (size_t i = 0; i < DZ_PYANNET_CONVS; i++)
        run_conv(r, i, i ? m->s.maps[(i + 1) % 2] : m->s.wave);
    for (size_t i = 0; i < m->seg.n_lstms; i++)
        run_lstm(r, i);
    run_linears(r);
    fetch(r, ret);
    return r->status;
}

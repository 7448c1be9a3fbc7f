/*
 * Passes of the decoder on a CUDA device: see decoder.h. The host decides which tokens pass, and
 * which cells they are written to (rows.h); one copy takes that to the device, and the kernels find
 * it there. A step of as many items as one before replays its recorded graph, so it is one launch;
 * counts are rounded up, and what is too many does nothing.
 *
 * All calls but wh_cuda_reorder() return when the device is done.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "num/cuda/warp.cuh"
#include "whisper/cuda/decoder.cuh"
#include "whisper/cuda/pass.cuh"

namespace {

using wh::pass;

/* ---- Kernels -------------------------------------------------------------------------------- */

constexpr unsigned LIST = 512;

/* Rows to copy, as an argument: it lies with the launch, so the host may go on at once. */
struct copies {
    uint16_t to[LIST], from[LIST];
};

/* Tables of rows into a spare place, or from there back. Grid: rows. Block: 128. */
__global__ void save_cells(copies list, const uint16_t *cells, unsigned C, uint16_t *ret) {
    for (unsigned i = threadIdx.x; i < C; i += blockDim.x)
        ret[(size_t)blockIdx.x * C + i] = cells[(size_t)list.from[blockIdx.x] * C + i];
}

__global__ void restore_cells(copies list, const uint16_t *saved, unsigned C, uint16_t *cells) {
    for (unsigned i = threadIdx.x; i < C; i += blockDim.x)
        cells[(size_t)list.to[blockIdx.x] * C + i] = saved[(size_t)blockIdx.x * C + i];
}

/* ---- Prompts -------------------------------------------------------------------------------- */

/* An item whose logits are wanted, and where they go. */
struct wish {
    uint32_t item;
    float *ret;
};

/* Logits of the wishes, as many at a time as there is room for. */
void grant(struct pass *p, const struct wish *wishes, uint32_t n) {
    struct wh_cuda *m = p->m;
    const size_t V = m->c.dims.n_vocab;
    const uint32_t most = wh_cuda_logits_rows(&m->c);
    for (uint32_t at = 0; !p->status && at < n; at += most) {
        const uint32_t some = n - at < most ? n - at : most;
        for (uint32_t i = 0; i < some; i++)
            p->d->host.wanted[i] = wishes[at + i].item;
        upload(p);
        choose_rows(p, some);
        run_logits(p, p->d->work.chosen, some);
        if (!p->status)
            check(p, "logits",
                  cudaMemcpyAsync(m->host_logits, wh_cuda_logits(m), some * V * sizeof(float),
                                  cudaMemcpyDeviceToHost, m->decode_stream));
        wait_for_device(p);
        for (uint32_t i = 0; !p->status && i < some; i++)
            memcpy(wishes[at + i].ret, m->host_logits + i * V, V * sizeof(float));
    }
}

/* Runs what was pushed. */
void run_pushed(struct pass *p, struct wish *wishes, uint32_t *n_wishes) {
    if (p->shape.n && !p->status) {
        group_items(p);
        upload(p);
        run_layers(p);
        grant(p, wishes, *n_wishes);
        wait_for_device(p);
    }
    p->shape.n = *n_wishes = 0;
}

} // namespace

int32_t wh_cuda_prefill(void *self, const struct wh_prompt *prompts, uint32_t n,
                        struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    struct wish *wishes = (struct wish *)m->decoder->wishes;
    uint32_t n_wishes = 0;
    struct pass p;
    begin(&p, m, err);
    for (uint32_t i = 0; !p.status && i < n; i++) {
        const struct wh_prompt *q = &prompts[i];
        p.status = wh::start_row(m, q->row, q->slot, q->tokens, q->n_tokens, err);
        for (uint32_t t = 0; !p.status && t < q->n_tokens; t++) {
            if (t >= q->first_logits)
                wishes[n_wishes++] = {p.shape.n, q->ret_logits + (size_t)(t - q->first_logits) *
                                                                     m->c.dims.n_vocab};
            push(&p, q->row, q->tokens[t]);
            if (p.shape.n == m->c.n_tokens)
                run_pushed(&p, wishes, &n_wishes);
        }
    }
    run_pushed(&p, wishes, &n_wishes);
    return p.status;
}

/* ---- Steps ---------------------------------------------------------------------------------- */

namespace {
void run_step(struct pass *p) {
    upload(p);
    run_layers(p);
    run_logits(p, p->d->work.x, p->shape.n);
}

} // namespace

int32_t wh_cuda_step(void *self, const struct wh_step *steps, uint32_t n, float *ret_logits,
                     struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    const size_t V = m->c.dims.n_vocab;
    struct pass p;
    begin(&p, m, err);
    if (n > m->c.n_rows)
        return num_fail(err, SLUICE_INTERNAL, "a step of %u rows, of %u", n, m->c.n_rows);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t row = steps[i].row;
        const uint32_t position = row < m->c.n_rows ? m->decoder->rows.len[row] : 0;
        int32_t status = wh::check_token(m, row, position, steps[i].token, err);
        if (status)
            return status;
    }
    if (n == 0)
        return SLUICE_OK;
    for (uint32_t i = 0; i < n; i++)
        push(&p, steps[i].row, steps[i].token);
    group_items(&p);
    round_shape(&p);
    launch_recorded(&p, run_step);
    if (!p.status)
        check(&p, "logits",
              cudaMemcpyAsync(m->host_logits, wh_cuda_logits(m), n * V * sizeof(float),
                              cudaMemcpyDeviceToHost, m->decode_stream));
    wait_for_device(&p);
    if (!p.status)
        memcpy(ret_logits, m->host_logits, n * V * sizeof(float));
    return p.status;
}

/* Tables are copied by way of a spare place: a row may be both source and target. */
int32_t wh_cuda_reorder(void *self, const uint32_t *to, const uint32_t *from, uint32_t n,
                        struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    struct wh_cuda_decoder *d = m->decoder;
    const unsigned C = m->c.dims.n_text_ctx;
    struct pass p;
    begin(&p, m, err);
    for (uint32_t i = 0; i < n; i++)
        if (to[i] >= m->c.n_rows || from[i] >= m->c.n_rows || n > m->c.n_rows)
            return num_fail(err, SLUICE_INTERNAL, "row %u cannot become row %u", from[i], to[i]);
    for (int restore = 0; restore < 2; restore++)
        for (uint32_t at = 0; !p.status && at < n; at += LIST) {
            const uint32_t some = n - at < LIST ? n - at : LIST;
            uint16_t *saved = d->work.cell_copy + (size_t)at * C;
            copies list = {};
            for (uint32_t i = 0; i < some; i++) {
                list.to[i] = (uint16_t)to[at + i];
                list.from[i] = (uint16_t)from[at + i];
            }
            check(&p, "copies of rows",
                  restore ? num::launch(restore_cells, dim3(some), dim3(128), 0, m->decode_stream,
                                        list, saved, C, d->work.cells)
                          : num::launch(save_cells, dim3(some), dim3(128), 0, m->decode_stream,
                                        list, d->work.cells, C, saved));
        }
    if (!p.status)
        wh_cuda_rows_copy(&d->rows, to, from, n);
    return p.status;
}

/* ---- Start and end -------------------------------------------------------------------------- */

int32_t wh_cuda_decoder_create(struct wh_cuda *m, struct num_err *err) {
    struct wh_cuda_decoder *d = (struct wh_cuda_decoder *)calloc(1, sizeof *d);
    if (!d)
        return num_fail_memory(err, "the decoder", sizeof *d);
    m->decoder = d;
    wh_cuda_decoder_place(&d->work, &m->c, m->block + m->plan.decoder_work);
    int32_t status = wh_cuda_rows_create(m->c.n_rows, m->c.dims.n_text_ctx, &d->rows, err);
    if (status)
        return status;
    d->wishes = malloc(m->c.n_tokens * sizeof(struct wish));
    if (!d->wishes)
        return num_fail_memory(err, "the decoder", m->c.n_tokens * sizeof(struct wish));
    void *inputs = NULL;
    cudaError_t error = cudaHostAlloc(&inputs, d->work.inputs_bytes, cudaHostAllocDefault);
    if (error)
        return num_cuda_fail(err, "pinned memory for the tokens of a pass", error);
    memset(inputs, 0, d->work.inputs_bytes);
    wh_cuda_decoder_place(&d->host, &m->c, inputs);
    error = cudaEventCreateWithFlags(&d->inputs_read, cudaEventDisableTiming);
    if (error)
        return num_cuda_fail(err, "an event", error);
    status = wh_cuda_search_create(m, err);
    if (status)
        return status;
    error = cudaMemsetAsync(m->block + m->plan.decoder_work, 0, d->work.bytes, m->decode_stream);
    return num_cuda_fail(err, "the decoder's buffers", error);
}

void wh_cuda_decoder_destroy(struct wh_cuda *m) {
    struct wh_cuda_decoder *d = m->decoder;
    if (!d)
        return;
    for (uint32_t i = 0; i < d->n_graphs; i++)
        cudaGraphExecDestroy(d->graphs[i].exec);
    wh_cuda_search_destroy(m);
    if (d->inputs_read)
        cudaEventDestroy(d->inputs_read);
    if (d->host.items)
        cudaFreeHost(d->host.items);
    wh_cuda_rows_finish(&d->rows);
    free(d->wishes);
    free(d);
    m->decoder = NULL;
}

/*
 * A pass of the decoder: see pass.cuh. Its kernels that are not products or attention, the order of
 * a layer's, and the recorded graphs.
 */
#include "whisper/cuda/pass.cuh"

#include <string.h>

#include "whisper/cuda/decoder.cuh"
#include "whisper/cuda/decoder_attention.h"
#include "whisper/cuda/products.h"

namespace {

using wh::check;
using wh::pass;

/* ---- Kernels -------------------------------------------------------------------------------- */

struct embedding {
    const void *tokens; /* (V, D) */
    const float *positions;
    const struct wh_cuda_item *items;
    uint16_t *cells; /* (n_rows, C) */
    float *x;
    unsigned D, n_positions;
};

/* x = embedding of the token + position, and the row's table gets the cell. Grid: n items. Block:
 * 128, eight values each. */
template <typename T> __global__ void embed(embedding a) {
    wh::after_previous();
    const wh_cuda_item item = a.items[blockIdx.x];
    if (item.row < 0)
        return;
    for (unsigned at = threadIdx.x * 8; at < a.D; at += blockDim.x * 8) {
        float token[8], position[8];
        num::load8((const T *)a.tokens + (size_t)item.token * a.D + at, token);
        num::load8(a.positions + (size_t)item.position * a.D + at, position);
        for (int i = 0; i < 8; i++)
            token[i] += position[i];
        num::store8(a.x + (size_t)blockIdx.x * a.D + at, token);
    }
    if (threadIdx.x == 0)
        a.cells[(size_t)item.row * a.n_positions + item.position] = (uint16_t)item.cell;
}

/* ret (n, D) = the rows of x that are wanted. Grid: n. Block: 128. */
__global__ void take_rows(const float *x, const uint32_t *wanted, unsigned D, float *ret) {
    wh::after_previous();
    for (unsigned at = threadIdx.x * 4; at < D; at += blockDim.x * 4)
        *(float4 *)(ret + (size_t)blockIdx.x * D + at) =
            *(const float4 *)(x + (size_t)wanted[blockIdx.x] * D + at);
}

/* ---- Layers --------------------------------------------------------------------------------- */

template <typename T> cudaError_t launch_embed(struct wh_cuda *m, const embedding &a, uint32_t n) {
    return wh::launch_early(wh_cuda_early(m), embed<T>, dim3(n), dim3(128), 0, m->decode_stream, a);
}

void run_embed(struct pass *p) {
    struct wh_cuda *m = p->m;
    const embedding a = {m->w.vocabulary.w,   m->w.text_positions, p->d->work.items,
                         p->d->work.cells,    p->d->work.x,        m->c.dims.n_state,
                         m->c.dims.n_text_ctx};
    const uint32_t n = p->shape.n;
    check(p, "the embedding",
          m->c.type == NUM_CUDA_F32   ? launch_embed<float>(m, a, n)
          : m->c.type == NUM_CUDA_F16 ? launch_embed<__half>(m, a, n)
                                      : launch_embed<__nv_bfloat16>(m, a, n));
}

void run_product(struct pass *p, const struct wh_cuda_matrix *matrix,
                 const struct wh_cuda_norm *norm, const void *x, void *y, enum wh_cuda_form form,
                 char *cells) {
    const struct wh_cuda_product product = {matrix, norm, x, y, p->shape.n, form, cells};
    if (!p->status)
        p->status = wh_cuda_product_run(p->m, &product, p->err);
}

/* The weights of this layer's alignment heads, whose queries lie in work.qkv. */
void run_capture(struct pass *p, uint32_t layer) {
    const struct wh_dims *s = &p->m->c.dims;
    const size_t head = (size_t)p->m->c.n_tokens * s->n_audio_ctx;
    for (uint32_t i = 0; !p->status && i < s->n_alignment_heads; i++)
        if (s->alignment_heads[i].layer == layer)
            p->status =
                wh_cuda_attend_capture(p->m, layer, s->alignment_heads[i].head, p->shape.n,
                                       p->shape.n_groups, p->d->work.weights + i * head, p->err);
}

void run_layer(struct pass *p, uint32_t layer) {
    const struct wh_cuda_decoder_layer *l = &p->m->w.decoder[layer];
    const struct wh_cuda_decoder_work *w = &p->d->work;
    run_product(p, &l->qkv, &l->attn_norm, w->x, w->qkv, WH_CUDA_TO_CELLS,
                wh_cuda_cells(p->m, layer));
    if (!p->status)
        p->status = wh_cuda_attend_self(p->m, layer, p->shape.n, p->err);
    run_product(p, &l->out, NULL, w->mixed, w->x, WH_CUDA_ADD, NULL);
    run_product(p, &l->cross_q, &l->cross_norm, w->x, w->qkv, WH_CUDA_TO_FLOATS, NULL);
    if (p->capture)
        run_capture(p, layer);
    if (!p->status)
        p->status = wh_cuda_attend_cross(p->m, layer, p->shape.n, p->shape.n_groups,
                                         p->shape.shared, p->err);
    run_product(p, &l->cross_out, NULL, w->mixed, w->x, WH_CUDA_ADD, NULL);
    run_product(p, &l->fc1, &l->mlp_norm, w->x, w->hidden, WH_CUDA_TO_HIDDEN, NULL);
    run_product(p, &l->fc2, NULL, w->hidden, w->x, WH_CUDA_ADD, NULL);
}

} // namespace

void wh::check(struct pass *p, const char *what, cudaError_t error) {
    if (!p->status && error)
        p->status = num_cuda_fail(p->err, what, error);
}

void wh::upload(struct pass *p) {
    check(p, "the tokens of a pass",
          cudaMemcpyAsync(p->d->work.items, p->d->host.items, p->d->work.inputs_bytes,
                          cudaMemcpyHostToDevice, p->m->decode_stream));
}

void wh::run_layers(struct pass *p) {
    run_embed(p);
    for (uint32_t i = 0; !p->status && i < p->m->c.dims.n_text_layers; i++)
        run_layer(p, i);
}

void wh::choose_rows(struct pass *p, uint32_t n) {
    const struct wh_cuda_decoder_work *w = &p->d->work;
    if (!p->status)
        check(p, "the rows that are wanted",
              num::launch(take_rows, dim3(n), dim3(128), 0, p->m->decode_stream, w->x, w->wanted,
                          p->m->c.dims.n_state, w->chosen));
}

void wh::run_logits(struct pass *p, const float *x, uint32_t n) {
    const struct wh_cuda_product product = {&p->m->w.vocabulary,
                                            &p->m->w.decoder_norm,
                                            x,
                                            wh_cuda_logits(p->m),
                                            n,
                                            WH_CUDA_TO_FLOATS,
                                            NULL};
    if (!p->status)
        p->status = wh_cuda_product_run(p->m, &product, p->err);
}

void wh::wait_for_device(struct pass *p) {
    if (!p->status)
        check(p, "the decoder", cudaStreamSynchronize(p->m->decode_stream));
}

void wh::resume(struct pass *p, struct wh_cuda *m, struct num_err *err) {
    *p = {};
    p->m = m;
    p->d = m->decoder;
    p->err = err;
}

void wh::begin(struct pass *p, struct wh_cuda *m, struct num_err *err) {
    resume(p, m, err);
    claim_inputs(p);
    p->d->search.laid_out = false;
}

void wh::release_inputs(struct pass *p) {
    if (!p->status)
        check(p, "a pass", cudaEventRecord(p->d->inputs_read, p->m->decode_stream));
    p->d->inputs_busy = true;
}

void wh::claim_inputs(struct pass *p) {
    if (!p->status && p->d->inputs_busy)
        check(p, "a pass", cudaEventSynchronize(p->d->inputs_read));
    p->d->inputs_busy = false;
}

void wh::push(struct pass *p, uint32_t row, int32_t token) {
    struct wh_cuda_rows *rows = &p->d->rows;
    const int32_t position = (int32_t)rows->len[row];
    const uint32_t cell = wh_cuda_rows_append(rows, row);
    p->d->host.items[p->shape.n++] = {(int32_t)row, position, token, rows->slot[row], cell};
}

void wh::group_items(struct pass *p) {
    struct wh_cuda_group *groups = p->d->host.groups;
    struct wh_cuda_shape *s = &p->shape;
    s->n_groups = s->shared = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const uint32_t slot = p->d->host.items[i].slot;
        struct wh_cuda_group *last = s->n_groups ? &groups[s->n_groups - 1] : NULL;
        if (!last || last->slot != slot || last->n == WH_CUDA_SHARED)
            groups[s->n_groups++] = {i, 1, slot};
        else
            last->n++;
        const uint32_t n = groups[s->n_groups - 1].n;
        s->shared = n > s->shared ? n : s->shared;
    }
}

/* By an eighth of a power of two at most. */
static uint32_t round_up(uint32_t n, uint32_t most) {
    uint32_t step = 1;
    while (step * 8 < n)
        step *= 2;
    n = n <= 4 ? n : (n + step - 1) / step * step;
    return n < most ? n : most;
}

void wh::round_shape(struct pass *p) {
    const struct wh_cuda_shape s = p->shape;
    const uint32_t most = wh_cuda_logits_rows(&p->m->c);
    p->shape = {round_up(s.n, most), round_up(s.n_groups, most),
                s.shared == 1   ? 1u
                : s.shared <= 4 ? 4u
                                : (uint32_t)WH_CUDA_SHARED};
    for (uint32_t i = s.n; i < p->shape.n; i++)
        p->d->host.items[i] = {-1, 0, 0, 0, 0};
    for (uint32_t i = s.n_groups; i < p->shape.n_groups; i++)
        p->d->host.groups[i] = {0, 0, 0};
}

int32_t wh::check_token(const struct wh_cuda *m, uint32_t row, uint32_t position, int32_t token,
                        struct num_err *err) {
    if (row >= m->c.n_rows || token < 0 || (uint32_t)token >= m->c.dims.n_vocab)
        return num_fail(err, SLUICE_INTERNAL, "the decoder was given row %u and token %d", row,
                        token);
    if (position >= m->c.dims.n_text_ctx)
        return num_fail(err, SLUICE_INTERNAL, "row %u holds more than %u tokens", row,
                        m->c.dims.n_text_ctx);
    return SLUICE_OK;
}

int32_t wh::start_row(struct wh_cuda *m, uint32_t row, uint32_t slot, const int32_t *tokens,
                      uint32_t n_tokens, struct num_err *err) {
    if (slot >= m->c.n_slots)
        return num_fail(err, SLUICE_INTERNAL, "the decoder was given slot %u", slot);
    for (uint32_t i = 0; i < n_tokens; i++) {
        int32_t status = check_token(m, row, i, tokens[i], err);
        if (status)
            return status;
    }
    wh_cuda_rows_start(&m->decoder->rows, row, slot);
    cudaError_t error = cudaStreamWaitEvent(m->decode_stream, m->slot_ready[slot], 0);
    return num_cuda_fail(err, "a window", error);
}

/* ---- Graphs --------------------------------------------------------------------------------- */

namespace {

cudaGraphExec_t find_graph(const struct pass *p, void (*run)(struct pass *)) {
    for (uint32_t i = 0; i < p->d->n_graphs; i++) {
        const struct wh_cuda_graph *g = &p->d->graphs[i];
        if (g->run == run && g->shape.n == p->shape.n && g->shape.n_groups == p->shape.n_groups &&
            g->shape.shared == p->shape.shared)
            return g->exec;
    }
    return NULL;
}

/* Where there are too many graphs already, the oldest goes. */
void keep_graph(struct wh_cuda_decoder *d, const struct wh_cuda_graph &graph) {
    if (d->n_graphs == WH_CUDA_MAX_GRAPHS) {
        cudaGraphExecDestroy(d->graphs[0].exec);
        memmove(d->graphs, d->graphs + 1, (WH_CUDA_MAX_GRAPHS - 1) * sizeof d->graphs[0]);
        d->n_graphs--;
    }
    d->graphs[d->n_graphs++] = graph;
}

cudaGraphExec_t record_graph(struct pass *p, void (*run)(struct pass *)) {
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    check(p, "recording a step", cudaStreamBeginCapture(p->m->decode_stream, NUM_CUDA_CAPTURE));
    if (p->status)
        return NULL;
    run(p);
    cudaError_t error = cudaStreamEndCapture(p->m->decode_stream, &graph);
    check(p, "recording a step", error);
    if (!p->status)
        check(p, "recording a step", cudaGraphInstantiate(&exec, graph, 0));
    if (graph)
        cudaGraphDestroy(graph);
    if (p->status)
        return NULL;
    keep_graph(p->d, {p->shape, run, exec});
    return exec;
}

} // namespace

void wh::launch_recorded(struct pass *p, void (*run)(struct pass *)) {
    cudaGraphExec_t exec = find_graph(p, run);
    if (!exec && !p->status)
        exec = record_graph(p, run);
    if (!p->status)
        check(p, "a step", cudaGraphLaunch(exec, p->m->decode_stream));
}

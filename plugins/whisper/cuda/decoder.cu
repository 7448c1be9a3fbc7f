/*
 * Passes of the decoder on a CUDA device: see decoder.h. The host decides which tokens pass, and
 * which cells they are written to (rows.h); one copy takes that to the device, and the kernels find
 * it there. A step of as many items as one before replays its recorded graph, so it is one launch;
 * counts are rounded up, and what is too many does nothing.
 *
 * All calls but wh_cuda_reorder() return when the device is done.
 */
#include "whisper/cuda/decoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "num/cuda/warp.cuh"
#include "whisper/cuda/decoder.cuh"
#include "whisper/cuda/decoder_attention.h"
#include "whisper/cuda/products.h"

namespace {

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
__global__ void choose_rows(const float *x, const uint32_t *wanted, unsigned D, float *ret) {
    wh::after_previous();
    for (unsigned at = threadIdx.x * 4; at < D; at += blockDim.x * 4)
        *(float4 *)(ret + (size_t)blockIdx.x * D + at) =
            *(const float4 *)(x + (size_t)wanted[blockIdx.x] * D + at);
}

/* The probability of targets[i] among the first n_text of row i of the logits. Grid: rows. Block:
 * 256. Shared: 32 floats. */
__global__ void __launch_bounds__(256)
    target_probs(const float *logits, unsigned V, unsigned n_text, const int32_t *targets,
                 float *ret) {
    float *red = num::dynamic_shared<float>();
    wh::after_previous();
    const float *row = logits + (size_t)blockIdx.x * V;
    const unsigned target = targets[blockIdx.x];
    float max = -INFINITY, sum = 0;
    for (unsigned v = threadIdx.x; v < n_text; v += 256)
        max = fmaxf(max, row[v]);
    max = num::block_max<256>(max, red);
    __syncthreads();
    for (unsigned v = threadIdx.x; v < n_text; v += 256)
        sum += expf(row[v] - max);
    sum = num::block_sum<256>(sum, red);
    if (threadIdx.x == 0)
        ret[blockIdx.x] = target < n_text ? expf(row[target] - max) / sum : 0;
}

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

/* ---- A pass --------------------------------------------------------------------------------- */

/* Calls go on only while nothing has failed. */
struct pass {
    struct wh_cuda *m;
    struct wh_cuda_decoder *d;
    struct wh_cuda_shape shape;
    bool capture; /* of the alignment heads, into work.weights */
    struct num_err *err;
    int32_t status;
};

void check(struct pass *p, const char *what, cudaError_t error) {
    if (!p->status && error)
        p->status = num_cuda_fail(p->err, what, error);
}

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
            p->status = wh_cuda_attend_capture(p->m, layer, s->alignment_heads[i].head, p->shape.n,
                                               p->shape.n_groups, p->d->work.weights + i * head,
                                               p->err);
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

void upload(struct pass *p) {
    check(p, "the tokens of a pass",
          cudaMemcpyAsync(p->d->work.items, p->d->host.items, p->d->work.inputs_bytes,
                          cudaMemcpyHostToDevice, p->m->decode_stream));
}

/* Inputs, and all layers: leaves the stream in work.x. */
void run_layers(struct pass *p) {
    upload(p);
    run_embed(p);
    for (uint32_t i = 0; !p->status && i < p->m->c.dims.n_text_layers; i++)
        run_layer(p, i);
}

/* Logits of n rows of x, (n, D), on the device. */
void run_logits(struct pass *p, const float *x, uint32_t n) {
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

void wait_for_device(struct pass *p) {
    if (!p->status)
        check(p, "the decoder", cudaStreamSynchronize(p->m->decode_stream));
}

/* ---- Inputs --------------------------------------------------------------------------------- */

void begin(struct pass *p, struct wh_cuda *m, struct num_err *err) {
    *p = {};
    p->m = m;
    p->d = m->decoder;
    p->err = err;
}

/* The next token of a row. */
void push(struct pass *p, uint32_t row, int32_t token) {
    struct wh_cuda_rows *rows = &p->d->rows;
    const int32_t position = (int32_t)rows->len[row];
    const uint32_t cell = wh_cuda_rows_append(rows, row);
    p->d->host.items[p->shape.n++] = {(int32_t)row, position, token, rows->slot[row], cell};
}

/* Neighbours that read one window attend together. */
void group_items(struct pass *p) {
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

/* Rounds up, so that few graphs serve all steps: by an eighth of a power of two at most. */
uint32_t round_up(uint32_t n, uint32_t most) {
    uint32_t step = 1;
    while (step * 8 < n)
        step *= 2;
    n = n <= 4 ? n : (n + step - 1) / step * step;
    return n < most ? n : most;
}

/* Fills the items and groups up to rounded counts with such as do nothing. */
void round_shape(struct pass *p) {
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

int32_t check_token(const struct wh_cuda *m, uint32_t row, uint32_t position, int32_t token,
                    struct num_err *err) {
    if (row >= m->c.n_rows || token < 0 || (uint32_t)token >= m->c.dims.n_vocab)
        return num_fail(err, SLUICE_INTERNAL, "the decoder was given row %u and token %d", row,
                        token);
    if (position >= m->c.dims.n_text_ctx)
        return num_fail(err, SLUICE_INTERNAL, "row %u holds more than %u tokens", row,
                        m->c.dims.n_text_ctx);
    return SLUICE_OK;
}

/* Empties the row for n tokens, and lets the decoder wait for its window. */
int32_t start_row(struct wh_cuda *m, uint32_t row, uint32_t slot, const int32_t *tokens,
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
        check(p, "the rows that are wanted",
              cudaMemcpyAsync(p->d->work.wanted, p->d->host.wanted, some * sizeof(uint32_t),
                              cudaMemcpyHostToDevice, m->decode_stream));
        if (!p->status)
            check(p, "the rows that are wanted",
                  num::launch(choose_rows, dim3(some), dim3(128), 0, m->decode_stream, p->d->work.x,
                              p->d->work.wanted, m->c.dims.n_state, p->d->work.chosen));
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
        p.status = start_row(m, q->row, q->slot, q->tokens, q->n_tokens, err);
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
    run_layers(p);
    run_logits(p, p->d->work.x, p->shape.n);
}

const struct wh_cuda_graph *find_graph(const struct pass *p) {
    for (uint32_t i = 0; i < p->d->n_graphs; i++) {
        const struct wh_cuda_shape *s = &p->d->graphs[i].shape;
        if (s->n == p->shape.n && s->n_groups == p->shape.n_groups && s->shared == p->shape.shared)
            return &p->d->graphs[i];
    }
    return NULL;
}

/* Records a step of this shape; where there are too many graphs already, the oldest goes. */
const struct wh_cuda_graph *record_graph(struct pass *p) {
    struct wh_cuda_decoder *d = p->d;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    check(p, "recording a step",
          cudaStreamBeginCapture(p->m->decode_stream, cudaStreamCaptureModeThreadLocal));
    if (p->status)
        return NULL;
    run_step(p);
    cudaError_t error = cudaStreamEndCapture(p->m->decode_stream, &graph);
    check(p, "recording a step", error);
    if (!p->status)
        check(p, "recording a step", cudaGraphInstantiate(&exec, graph, 0));
    if (graph)
        cudaGraphDestroy(graph);
    if (p->status)
        return NULL;
    if (d->n_graphs == WH_CUDA_MAX_GRAPHS) {
        cudaGraphExecDestroy(d->graphs[0].exec);
        memmove(d->graphs, d->graphs + 1, (WH_CUDA_MAX_GRAPHS - 1) * sizeof d->graphs[0]);
        d->n_graphs--;
    }
    d->graphs[d->n_graphs] = {p->shape, exec};
    return &d->graphs[d->n_graphs++];
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
        int32_t status = check_token(m, row, position, steps[i].token, err);
        if (status)
            return status;
    }
    if (n == 0)
        return SLUICE_OK;
    for (uint32_t i = 0; i < n; i++)
        push(&p, steps[i].row, steps[i].token);
    group_items(&p);
    round_shape(&p);
    const struct wh_cuda_graph *graph = find_graph(&p);
    if (!graph)
        graph = record_graph(&p);
    if (!p.status)
        check(&p, "a step", cudaGraphLaunch(graph->exec, m->decode_stream));
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

/* ---- Alignment ------------------------------------------------------------------------------ */

namespace {

/* The weights of positions [at, at + n) of an alignment, to the host. */
void take_weights(struct pass *p, const struct wh_alignment *a, uint32_t at, uint32_t n) {
    const size_t T = p->m->c.dims.n_audio_ctx;
    for (uint32_t i = 0; !p->status && i < p->m->c.dims.n_alignment_heads; i++)
        check(p, "attention of the words",
              cudaMemcpyAsync(a->ret_weights + ((size_t)i * a->n_tokens + at) * T,
                              p->d->work.weights + (size_t)i * p->m->c.n_tokens * T,
                              n * T * sizeof(float), cudaMemcpyDeviceToHost, p->m->decode_stream));
}

/* Probabilities [first, first + n) of an alignment whose pass began at position `at`. */
void take_some_probs(struct pass *p, const struct wh_alignment *a, uint32_t at, uint32_t first,
                     uint32_t n) {
    struct wh_cuda *m = p->m;
    for (uint32_t i = 0; i < n; i++) {
        p->d->host.wanted[i] = a->first_prob + first + i - 1 - at;
        p->d->host.targets[i] = a->tokens[a->first_prob + first + i];
    }
    upload(p);
    if (!p->status)
        check(p, "the rows that are wanted",
              num::launch(choose_rows, dim3(n), dim3(128), 0, m->decode_stream, p->d->work.x,
                          p->d->work.wanted, m->c.dims.n_state, p->d->work.chosen));
    run_logits(p, p->d->work.chosen, n);
    if (!p->status)
        check(p, "probabilities of the words",
              num::launch(target_probs, dim3(n), dim3(256), 32 * sizeof(float), m->decode_stream,
                          wh_cuda_logits(m), m->c.dims.n_vocab, a->n_text, p->d->work.targets,
                          p->d->work.probs));
    if (!p->status)
        check(p, "probabilities of the words",
              cudaMemcpyAsync(a->ret_probs + first, p->d->work.probs, n * sizeof(float),
                              cudaMemcpyDeviceToHost, m->decode_stream));
    wait_for_device(p);
}

/* Those probabilities that positions [at, at + n) know. */
void take_probs(struct pass *p, const struct wh_alignment *a, uint32_t at, uint32_t n) {
    const uint32_t most = wh_cuda_logits_rows(&p->m->c);
    uint32_t first = at + 1 > a->first_prob ? at + 1 - a->first_prob : 0;
    const uint32_t known = at + n + 1 > a->first_prob ? at + n + 1 - a->first_prob : 0;
    const uint32_t end = known < a->n_probs ? known : a->n_probs;
    while (!p->status && first < end) {
        const uint32_t some = end - first < most ? end - first : most;
        take_some_probs(p, a, at, first, some);
        first += some;
    }
}

} // namespace

int32_t wh_cuda_attention(void *self, const struct wh_alignment *a, struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    struct pass p;
    begin(&p, m, err);
    if (a->n_probs && (a->first_prob == 0 || a->first_prob + a->n_probs > a->n_tokens))
        return num_fail(err, SLUICE_INTERNAL, "probabilities of %u tokens from %u on, of %u",
                        a->n_probs, a->first_prob, a->n_tokens);
    p.status = start_row(m, a->row, a->slot, a->tokens, a->n_tokens, err);
    p.capture = true;
    for (uint32_t at = 0; !p.status && at < a->n_tokens; at += m->c.n_tokens) {
        const uint32_t left = a->n_tokens - at, n = left < m->c.n_tokens ? left : m->c.n_tokens;
        p.shape.n = 0;
        for (uint32_t i = 0; i < n; i++)
            push(&p, a->row, a->tokens[at + i]);
        group_items(&p);
        run_layers(&p);
        take_weights(&p, a, at, n);
        wait_for_device(&p);
        take_probs(&p, a, at, n);
    }
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
    error = cudaMemsetAsync(m->block + m->plan.decoder_work, 0, d->work.bytes, m->decode_stream);
    return num_cuda_fail(err, "the decoder's buffers", error);
}

void wh_cuda_decoder_destroy(struct wh_cuda *m) {
    struct wh_cuda_decoder *d = m->decoder;
    if (!d)
        return;
    for (uint32_t i = 0; i < d->n_graphs; i++)
        cudaGraphExecDestroy(d->graphs[i].exec);
    if (d->host.items)
        cudaFreeHost(d->host.items);
    wh_cuda_rows_finish(&d->rows);
    free(d->wishes);
    free(d);
    m->decoder = NULL;
}

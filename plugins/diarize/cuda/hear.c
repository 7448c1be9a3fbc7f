/*
 * Embeddings on a card: DZ_CUDA_MAPS windows go through the network together, once each; then all
 * voices that are heard in them are pooled, and one product makes their embeddings.
 */
#include <string.h>

#include "diarize/cuda/networks.h"

struct map {
    void *data;
    size_t n_bands, n_frames, n_channels;
};

/* ---- Layers ---------------------------------------------------------------------------------- */

/* conv of `x` to `ret`, a free buffer. */
static struct map run_conv(struct dz_cuda_call *r, const struct dz_resnet_conv *c,
                           const struct dz_cuda_conv_weights *w, const struct map *x, bool x_float,
                           const void *more, bool relu, void *ret) {
    const struct dz_cuda_conv a = {x->data,  w->w,       w->bias,     more,    ret,
                                   r->n,     x->n_bands, x->n_frames, c->n_in, c->n_out,
                                   c->width, c->stride,  relu,        x_float};
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "a convolution", dz_cuda_conv_run(&a, r->m->type, r->m->stream));
    return (struct map){ret, (x->n_bands + c->stride - 1) / c->stride,
                        (x->n_frames + c->stride - 1) / c->stride, c->n_out};
}

/* relu(second(relu(first(x))) + shortcut(x)). Maps move round the three buffers, the last one over
 * what it adds, place by place. */
static struct map run_block(struct dz_cuda_call *r, size_t i, const struct map *x) {
    const struct dz_resnet_block *b = &r->m->emb.blocks[i];
    const struct dz_cuda_embedding *e = &r->m->e;
    size_t at = 0;
    while (e->maps[at] != x->data)
        at++;
    void *one = e->maps[(at + 1) % 3], *two = e->maps[(at + 2) % 3];
    struct map middle = run_conv(r, &b->first, &e->first[i], x, false, NULL, true, one);
    struct map more = *x;
    if (b->shortcut.width)
        more = run_conv(r, &b->shortcut, &e->shortcut[i], x, false, NULL, false, two);
    return run_conv(r, &b->second, &e->second[i], &middle, false, more.data, true, more.data);
}

static struct map run_trunk(struct dz_cuda_call *r, size_t first) {
    struct dz_cuda *m = r->m;
    const struct dz_cuda_fbank f = {m->s.wave + first * m->seg.shape.window,
                                    m->e.bands,
                                    m->e.features,
                                    r->n,
                                    m->seg.shape.window,
                                    m->emb.n_bands,
                                    dz_cuda_frames(m)};
    struct map x = {m->e.features, m->emb.n_bands, dz_cuda_frames(m), 1};
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "the filter banks", dz_cuda_fbank_run(&f, m->stream));
    x = run_conv(r, &m->emb.stem, &m->e.stem, &x, true, NULL, true, m->e.maps[0]);
    for (size_t i = 0; i < m->emb.n_blocks; i++)
        x = run_block(r, i, &x);
    return x;
}

/* ---- Voices ---------------------------------------------------------------------------------- */

/* The masks of n voices in the frames of the last map, and which map each is of. */
static void send_masks(struct dz_cuda_call *r, const struct dz_heard *heard, size_t n, size_t first,
                       size_t n_frames) {
    struct dz_cuda *m = r->m;
    unsigned *which = (unsigned *)(void *)m->pinned;
    float *masks = (float *)(void *)(m->pinned + DZ_CUDA_ALIGN);
    if (r->status != SLUICE_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        which[i] = (unsigned)(heard[i].window - first);
        for (size_t t = 0; t < n_frames; t++)
            masks[i * n_frames + t] =
                dz_resnet_mask_at(heard[i].mask, m->seg.shape.n_frames, t, n_frames);
    }
    dz_cuda_note(
        r, "copying masks",
        cudaMemcpyAsync(m->e.which, which, n * sizeof *which, cudaMemcpyHostToDevice, m->stream));
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "copying masks",
                     cudaMemcpyAsync(m->e.masks, masks, n * n_frames * sizeof *masks,
                                     cudaMemcpyHostToDevice, m->stream));
}

static void run_voices(struct dz_cuda_call *r, const struct map *x, size_t n) {
    struct dz_cuda *m = r->m;
    const struct dz_cuda_pool pool = {x->data, m->e.which, m->e.masks,  m->e.pooled,
                                      n,       x->n_bands, x->n_frames, x->n_channels};
    const struct num_cuda_product p = {.type = NUM_CUDA_F32,
                                       .ret_type = NUM_CUDA_F32,
                                       .m = n,
                                       .n = m->emb.size,
                                       .k = 2 * m->emb.n_pooled,
                                       .x = m->e.pooled,
                                       .w = m->e.weight,
                                       .ret = m->e.rows,
                                       .ld_ret = dz_cuda_padded(m->emb.size),
                                       .bias = m->e.bias};
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "pooling", dz_cuda_pool_run(&pool, m->type, m->stream));
    if (r->status == SLUICE_OK)
        r->status =
            num_cuda_gemm_run(m->gemm, &p, m->workspace, DZ_CUDA_GEMM_BYTES, m->stream, r->err);
}

/* Waits for the rows of n voices. */
static void fetch(struct dz_cuda_call *r, const struct dz_heard *heard, size_t n) {
    struct dz_cuda *m = r->m;
    size_t ld = dz_cuda_padded(m->emb.size);
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "copying embeddings",
                     cudaMemcpyAsync(m->pinned, m->e.rows, n * ld * sizeof(float),
                                     cudaMemcpyDeviceToHost, m->stream));
    cudaError_t end = cudaStreamSynchronize(m->stream);
    dz_cuda_note(r, "the embeddings", end);
    for (size_t i = 0; r->status == SLUICE_OK && i < n; i++)
        memcpy(heard[i].ret, m->pinned + i * ld * sizeof(float), m->emb.size * sizeof(float));
}

int32_t dz_cuda_hear(void *self, const float *const *windows, size_t n,
                     const struct dz_heard *heard, size_t n_heard, struct num_err *err) {
    struct dz_cuda *m = self;
    struct dz_cuda_call run = {.m = m, .status = SLUICE_OK, .err = err}, *r = &run;
    size_t at = 0;
    if (n_heard == 0)
        return SLUICE_OK;
    dz_cuda_note(r, "copying windows", dz_cuda_send_windows(m, windows, n));
    if (r->status == SLUICE_OK)
        dz_cuda_note(r, "copying windows", cudaStreamSynchronize(m->stream));
    for (size_t first = 0; first < n && r->status == SLUICE_OK; first += DZ_CUDA_MAPS) {
        size_t some = 0;
        r->n = n - first < DZ_CUDA_MAPS ? n - first : DZ_CUDA_MAPS;
        while (at + some < n_heard && heard[at + some].window < first + r->n)
            some++;
        if (some == 0)
            continue;
        struct map x = run_trunk(r, first);
        send_masks(r, heard + at, some, first, x.n_frames);
        run_voices(r, &x, some);
        fetch(r, heard + at, some);
        at += some;
    }
    return r->status;
}

/*
 * Where the tokens of texts begin in their windows: see cuda.h and align.h. The texts of as many
 * windows as fit a pass run through the decoder together, which leaves what the alignment heads
 * looked at on the device; there they are aligned, all in the same kernels, and the host gets a
 * number for each token. Then the probabilities of the tokens, as many at a time as there is room
 * for logits.
 */
#include <math.h>
#include <string.h>

#include "num/cuda/warp.cuh"
#include "whisper/cuda/align.h"
#include "whisper/cuda/decoder.cuh"
#include "whisper/cuda/pass.cuh"

namespace {

using wh::check;
using wh::pass;

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

/* Texts [0, n) of a call that pass together; text i is the items from first[i] on. */
struct some_texts {
    const struct wh_alignment *texts;
    uint32_t n, first[WH_CUDA_TEXTS];
};

int32_t check_text(const struct wh_cuda *m, const struct wh_alignment *a, struct num_err *err) {
    if (a->n_probs && (a->first_prob == 0 || a->first_prob + a->n_probs > a->n_tokens))
        return num_fail(err, SLUICE_INTERNAL, "probabilities of %u tokens from %u on, of %u",
                        a->n_probs, a->first_prob, a->n_tokens);
    if (a->n_tokens > m->c.n_tokens)
        return num_fail(err, SLUICE_INTERNAL, "a text of %u tokens, of at most %u", a->n_tokens,
                        m->c.n_tokens);
    if (a->ret_starts && (a->first >= a->end || a->end > a->n_tokens || a->n_frames == 0 ||
                          a->n_frames > m->c.dims.n_audio_ctx))
        return num_fail(err, SLUICE_INTERNAL, "tokens %u to %u of %u in %u positions", a->first,
                        a->end, a->n_tokens, a->n_frames);
    return SLUICE_OK;
}

/* As many of the n texts as pass together, at least one. */
struct some_texts take_some(const struct wh_cuda *m, const struct wh_alignment *texts, uint32_t n) {
    struct some_texts some = {texts, 0, {0}};
    for (uint32_t items = 0; some.n < n && some.n < WH_CUDA_TEXTS; some.n++) {
        if (some.n && items + texts[some.n].n_tokens > m->c.n_tokens)
            break;
        some.first[some.n] = items;
        items += texts[some.n].n_tokens;
    }
    return some;
}

void run_texts(struct pass *p, const struct some_texts *some) {
    p->capture = true;
    for (uint32_t i = 0; !p->status && i < some->n; i++) {
        const struct wh_alignment *a = &some->texts[i];
        p->status = check_text(p->m, a, p->err);
        if (!p->status)
            p->status = wh::start_row(p->m, a->row, a->slot, a->tokens, a->n_tokens, p->err);
        for (uint32_t t = 0; !p->status && t < a->n_tokens; t++)
            wh::push(p, a->row, a->tokens[t]);
    }
    if (p->status)
        return;
    wh::group_items(p);
    wh::upload(p);
    wh::run_layers(p);
}

/* The weights of text i to the host, where they are wanted. */
void take_weights(struct pass *p, const struct some_texts *some, uint32_t i) {
    const struct wh_alignment *a = &some->texts[i];
    const size_t T = p->m->c.dims.n_audio_ctx, text = a->n_tokens * T;
    for (uint32_t h = 0; a->ret_weights && !p->status && h < p->m->c.dims.n_alignment_heads; h++)
        check(p, "attention of the words",
              cudaMemcpyAsync(a->ret_weights + h * text,
                              p->d->work.weights +
                                  ((size_t)h * p->m->c.n_tokens + some->first[i]) * T,
                              text * sizeof(float), cudaMemcpyDeviceToHost, p->m->decode_stream));
}

/* ---- Where tokens begin --------------------------------------------------------------------- */

/* Describes the texts whose starts are wanted; returns how many. */
uint32_t list_texts(const struct pass *p, const struct some_texts *some, uint32_t *ret_max_tokens,
                    uint32_t *ret_max_frames) {
    const struct wh_cuda_decoder_work *w = &p->d->work;
    const size_t T = p->m->c.dims.n_audio_ctx;
    uint32_t n = 0;
    *ret_max_tokens = *ret_max_frames = 0;
    for (uint32_t i = 0; i < some->n; i++) {
        const struct wh_alignment *a = &some->texts[i];
        const size_t at = some->first[i];
        if (!a->ret_starts)
            continue;
        p->d->to_align[n++] = {
            w->weights + at * T, p->m->c.n_tokens * T, a->n_tokens,   a->n_frames, a->first, a->end,
            w->fit + at * T,     w->steps + at * T,    w->starts + at};
        *ret_max_tokens = a->n_tokens > *ret_max_tokens ? a->n_tokens : *ret_max_tokens;
        *ret_max_frames = a->n_frames > *ret_max_frames ? a->n_frames : *ret_max_frames;
    }
    return n;
}

void align_texts(struct pass *p, const struct some_texts *some) {
    const struct wh_cuda *m = p->m;
    const struct wh_cuda_decoder_work *w = &p->d->work;
    const cudaStream_t stream = m->decode_stream;
    uint32_t max_tokens, max_frames, n = list_texts(p, some, &max_tokens, &max_frames);
    check(p, "the alignment of words",
          cudaMemcpyAsync(w->to_align, p->d->to_align, n * sizeof *p->d->to_align,
                          cudaMemcpyHostToDevice, stream));
    if (!p->status)
        check(p, "the alignment of words",
              wh_cuda_align(w->to_align, n, m->c.dims.n_alignment_heads, m->c.dims.n_audio_ctx,
                            max_tokens, max_frames, stream));
    for (uint32_t i = 0; !p->status && i < some->n; i++) {
        const struct wh_alignment *a = &some->texts[i];
        if (a->ret_starts)
            check(p, "the alignment of words",
                  cudaMemcpyAsync(a->ret_starts, w->starts + some->first[i],
                                  (a->end - a->first) * sizeof *a->ret_starts,
                                  cudaMemcpyDeviceToHost, stream));
    }
}

/* ---- How likely they are -------------------------------------------------------------------- */

/* Probabilities [first, first + n) of text i. */
void take_some_probs(struct pass *p, const struct some_texts *some, uint32_t i, uint32_t first,
                     uint32_t n) {
    struct wh_cuda *m = p->m;
    const struct wh_alignment *a = &some->texts[i];
    for (uint32_t k = 0; k < n; k++) {
        p->d->host.wanted[k] = some->first[i] + a->first_prob + first + k - 1;
        p->d->host.targets[k] = a->tokens[a->first_prob + first + k];
    }
    wh::upload(p);
    wh::choose_rows(p, n);
    wh::run_logits(p, p->d->work.chosen, n);
    if (!p->status)
        check(p, "probabilities of the words",
              num::launch(target_probs, dim3(n), dim3(256), 32 * sizeof(float), m->decode_stream,
                          wh_cuda_logits(m), m->c.dims.n_vocab, a->n_text, p->d->work.targets,
                          p->d->work.probs));
    if (!p->status)
        check(p, "probabilities of the words",
              cudaMemcpyAsync(a->ret_probs + first, p->d->work.probs, n * sizeof(float),
                              cudaMemcpyDeviceToHost, m->decode_stream));
    wh::wait_for_device(p);
}

void take_probs(struct pass *p, const struct some_texts *some, uint32_t i) {
    const uint32_t n = some->texts[i].n_probs, most = wh_cuda_logits_rows(&p->m->c);
    for (uint32_t first = 0; !p->status && first < n; first += most)
        take_some_probs(p, some, i, first, n - first < most ? n - first : most);
}

} // namespace

int32_t wh_cuda_attention(void *self, const struct wh_alignment *alignments, uint32_t n,
                          struct num_err *err) {
    struct wh_cuda *m = (struct wh_cuda *)self;
    struct pass p = {};
    for (uint32_t at = 0; !p.status && at < n;) {
        const struct some_texts some = take_some(m, alignments + at, n - at);
        wh::begin(&p, m, err);
        run_texts(&p, &some);
        for (uint32_t i = 0; i < some.n; i++)
            take_weights(&p, &some, i);
        if (!p.status)
            align_texts(&p, &some);
        wh::wait_for_device(&p);
        for (uint32_t i = 0; i < some.n; i++)
            take_probs(&p, &some, i);
        at += some.n;
    }
    return p.status;
}

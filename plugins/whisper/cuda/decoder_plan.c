/*
 * Sizes of the decoder's buffers, and how its cross-attention is cut up: see decoder.h. On the
 * host, without a CUDA type in it but for the header's.
 */
#include "whisper/cuda/decoder_plan.h"

#include "whisper/cuda/align.h"

#define SCORES 1536 /* positions times items whose scores one block keeps: 24 KiB for four heads */
#define WAVES  3    /* blocks for each multiprocessor that hide each other's latency */
#define KEYS   32   /* a block's warps take keys in turn, several at a time */

static void *take(uintptr_t *at, size_t bytes) {
    uintptr_t place = *at;
    *at += (bytes + WH_CUDA_ALIGN - 1) / WH_CUDA_ALIGN * WH_CUDA_ALIGN;
    return (void *)place;
}

void wh_cuda_decoder_place(struct wh_cuda_decoder_work *work, const struct wh_cuda_config *c,
                           void *base) {
    const struct wh_dims *s = &c->dims;
    size_t N = c->n_tokens, D = s->n_state, F = s->n_text_ffn, H = s->n_text_heads;
    size_t value = num_cuda_type_bytes(c->type), cells = (size_t)c->n_rows * s->n_text_ctx;
    size_t choices = (size_t)wh_cuda_logits_rows(c) * wh_cuda_parts_of(s->n_vocab);
    uintptr_t at = (uintptr_t)base;
    work->items = take(&at, N * sizeof *work->items);
    work->groups = take(&at, N * sizeof *work->groups);
    work->wanted = take(&at, N * sizeof *work->wanted);
    work->targets = take(&at, N * sizeof *work->targets);
    work->seats = take(&at, N * sizeof *work->seats);
    work->inputs_bytes = at - (uintptr_t)base;
    work->cells = take(&at, cells * sizeof *work->cells);
    work->cell_copy = take(&at, cells * sizeof *work->cell_copy);
    work->x = take(&at, N * D * sizeof *work->x);
    work->norm = take(&at, N * D * value);
    work->qkv = take(&at, N * 3 * D * sizeof *work->qkv);
    work->mixed = take(&at, N * D * value);
    work->hidden = take(&at, N * F * value);
    work->partial = take(&at, wh_cuda_parts(c) * H * (WH_CUDA_HEAD + 2) * sizeof *work->partial);
    work->arrived = take(&at, N * H * sizeof *work->arrived);
    size_t parts = wh_cuda_absorbed_parts(c) * H;
    work->absorbed = take(&at, parts ? N * H * D * value : 0);
    work->found = take(&at, parts * D * sizeof *work->found);
    work->found_sums = take(&at, parts * 2 * sizeof *work->found_sums);
    work->weights = take(&at, s->n_alignment_heads * N * s->n_audio_ctx * sizeof *work->weights);
    work->probs = take(&at, N * sizeof *work->probs);
    work->to_align = take(&at, WH_CUDA_TEXTS * sizeof *work->to_align);
    work->fit = take(&at, N * s->n_audio_ctx * sizeof *work->fit);
    work->steps = take(&at, N * s->n_audio_ctx);
    work->starts = take(&at, N * sizeof *work->starts);
    work->chosen = take(&at, wh_cuda_logits_rows(c) * D * sizeof *work->chosen);
    work->searches = take(&at, c->n_rows * sizeof *work->searches);
    work->listed = take(&at, (size_t)c->n_rows * WH_CUDA_LISTED * sizeof *work->listed);
    work->own = take(&at, cells * sizeof *work->own);
    work->texts = take(&at, (cells + c->n_rows) * sizeof *work->texts);
    work->over = take(&at, c->n_rows * sizeof *work->over);
    work->parts = take(&at, choices * sizeof *work->parts);
    work->offers = take(&at, choices * 2 * WH_CUDA_OFFERS * sizeof *work->offers);
    work->bytes = at - (uintptr_t)base;
}

size_t wh_cuda_decoder_bytes(const struct wh_cuda_config *c) {
    struct wh_cuda_decoder_work work;
    wh_cuda_decoder_place(&work, c, NULL);
    return work.bytes;
}

size_t wh_cuda_search_place(struct wh_cuda_search_host *host, const struct wh_cuda_config *c,
                            void *base) {
    size_t rows = c->n_rows, C = c->dims.n_text_ctx;
    uintptr_t at = (uintptr_t)base;
    host->admitted = take(&at, rows * sizeof *host->admitted);
    host->searches = take(&at, rows * sizeof *host->searches);
    host->listed = take(&at, rows * WH_CUDA_LISTED * sizeof *host->listed);
    host->own = take(&at, rows * C * sizeof *host->own);
    host->found = take(&at, rows * sizeof *host->found);
    host->found_tokens = take(&at, rows * (C + 1) * sizeof *host->found_tokens);
    for (int i = 0; i < 2; i++)
        host->over[i] = take(&at, rows * sizeof *host->over[i]);
    return at - (uintptr_t)base;
}

static uint32_t min_u32(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static uint32_t div_up(uint32_t a, uint32_t b) {
    return (a + b - 1) / b;
}

uint32_t wh_cuda_chunk_keys(const struct wh_cuda_config *c, uint32_t n_groups, uint32_t shared,
                            int sm_count) {
    uint32_t T = c->dims.n_audio_ctx, blocks = n_groups * div_up(c->dims.n_text_heads, 4);
    if (c->type == NUM_CUDA_F32) /* the order of sums depends on nothing else */
        return SCORES / WH_CUDA_SHARED;
    uint32_t items = min_u32(n_groups * shared, c->n_tokens);
    uint32_t n = min_u32(div_up(WAVES * (uint32_t)sm_count, blocks), WH_CUDA_CHUNKS);
    n = min_u32(n, (uint32_t)(wh_cuda_parts(c) / items));
    return min_u32(div_up(div_up(T, n), KEYS) * KEYS, SCORES / shared);
}

uint32_t wh_cuda_absorbed_chunk(const struct wh_cuda_config *c, uint32_t n_items, uint32_t n_rows,
                                int sm_count) {
    uint32_t n = min_u32(div_up(2 * (uint32_t)sm_count, n_rows), WH_CUDA_CHUNKS);
    n = min_u32(n, (uint32_t)(wh_cuda_absorbed_parts(c) / n_items));
    return div_up(div_up(c->dims.n_audio_ctx, n), 16) * 16;
}

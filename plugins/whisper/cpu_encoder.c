/*
 * The encoder on the CPU: two convolutions, transformer blocks, and the keys and values that the
 * decoder's cross-attention reads.
 *
 * A window is a matrix of rows over time; a convolution of width 3 is one product over rows that
 * overlap: three inputs of one stride apart lie side by side in memory. Three parallel loops make a
 * transformer block: norm and projections by blocks of rows, keys and values going straight into
 * panels; attention by head and block; output, norm and MLP by blocks. A row's result does not
 * depend on its block, so the number of threads changes nothing in the results.
 *
 * Attention (num/cpu/attend.h) puts its output in the place of the queries.
 */
#include "whisper/cpu.h"

#include <string.h>

#include "num/cpu/attend.h"

#define PAD       32  /* values: a line or two between rows spreads them over the cache's sets */
#define LINE      64  /* bytes: the same for inputs */
#define UNIT      32  /* blocks are whole units of rows: two tiles, one panel of positions */
#define MAX_BLOCK 256 /* rows */
#define BLOCK_SIZE                                                                                 \
    ((size_t)1 << 20) /* bytes of a block's hidden layer: stays in the second cache */
#define SLACK_ROWS 64 /* behind matrices that overlapping rows read past the end */

struct encoder {
    struct wh_cpu *cpu;
    const struct num_kernels *kernels;
    const float *mel; /* (2 T, M) */
    size_t T, D, M, F, H, d, W, slot, layer;
    size_t n_units, n_blocks, block; /* block: most rows of one */
    size_t act;                      /* bytes of a value of type act */
    size_t ld_heads, ld_hidden, ld_kv;
    struct wh_kv kv;  /* of one layer */
    char *mel_padded; /* (2 T + 2, M) act: a row of zeros on both ends */
    char *wide;       /* (2 T + 2, W) act: conv1's output, likewise */
    float *x;         /* (T, W): the residual stream */
    char *heads;      /* (T, ld_heads) act: queries, then attention's output */
    char *scratch;    /* of each thread: scratch_bytes */
    size_t scratch_bytes;
};

/* One thread's part of a loop over blocks. */
struct scratch {
    float *row;    /* (W) */
    float *scales; /* (block): of `input`, where it is bytes */
    char *input;   /* (block, ...) in the weights' type */
    char *hidden;  /* (block, ld_hidden or ld_kv) act */
};

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t padded(size_t n) {
    return NUM_PANELS(n) * NUM_PANEL;
}

static size_t lines(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* Sizes only; wh_cpu and its limits are there. */
static void sizes_init(struct encoder *e, struct wh_cpu *cpu) {
    const struct wh_dims *s = &cpu->dims;
    *e = (struct encoder){.cpu = cpu, .kernels = cpu->kernels, .act = wh_act_bytes(cpu)};
    e->T = s->n_audio_ctx;
    e->D = s->n_state;
    e->M = s->n_mels;
    e->F = s->n_audio_ffn;
    e->H = s->n_audio_heads;
    e->d = e->D / e->H;
    e->W = cpu->W;
    e->ld_heads = e->W + PAD;
    e->ld_hidden = padded(e->F) + PAD;
    e->ld_kv = padded(2 * e->D) + PAD;
    size_t fit = BLOCK_SIZE / (e->ld_hidden * e->act) / UNIT * UNIT,
           threads = cpu->limits.n_threads;
    fit = fit > MAX_BLOCK ? MAX_BLOCK : fit < UNIT ? UNIT : fit;
    e->n_units = (e->T + UNIT - 1) / UNIT;
    e->n_blocks = (e->n_units * UNIT + fit - 1) / fit;
    e->n_blocks = (e->n_blocks + threads - 1) / threads * threads;
    e->n_blocks = e->n_blocks > e->n_units ? e->n_units : e->n_blocks;
    e->block = (e->n_units + e->n_blocks - 1) / e->n_blocks * UNIT;
    wh_kv_init(&e->kv, cpu->act, e->T, e->d, e->H, 1);
}

static size_t input_bytes(const struct encoder *e) {
    return e->block *
           (max_size(num_rows_bytes(e->cpu->compute, e->D), num_rows_bytes(e->cpu->compute, e->F)) +
            LINE);
}

static size_t scratch_bytes(const struct encoder *e) {
    size_t mlp = lines(4 * e->W) + lines(4 * e->block) + lines(input_bytes(e)) +
                 e->block * max_size(e->ld_hidden, e->ld_kv) * e->act;
    return lines(max_size(mlp, num_attend_bytes(e->kernels, &e->kv.head)));
}

/* Gives the buffers of a window their places from `at` on (NULL: only counts) and returns the
 * bytes. */
static size_t window_place(struct encoder *e, char *at) {
    size_t rows = 2 * e->T + 2 + SLACK_ROWS, padded_rows = (e->n_units + 1) * UNIT;
    size_t sizes[] = {rows * e->M * e->act + SLACK_ROWS * 4, rows * e->W * e->act,
                      padded_rows * e->W * 4, padded_rows * e->ld_heads * e->act,
                      e->kv.row_words * 4};
    char *places[5];
    size_t used = 0;
    for (size_t i = 0; i < 5; i++) {
        places[i] = at ? at + used : NULL;
        used += lines(sizes[i]);
    }
    e->mel_padded = places[0];
    e->wide = places[1];
    e->x = (float *)places[2];
    e->heads = places[3];
    e->kv.base = (uint32_t *)places[4];
    return used;
}

/* Bytes of a window's buffers that do not lie where its keys and values for the decoder will, which
 * are made last. */
static size_t own_bytes(struct encoder *e) {
    size_t bytes = window_place(e, NULL);
    return bytes <= e->cpu->cross_kv.row_words * 4 ? 0 : bytes;
}

size_t wh_encoder_work_bytes(const struct wh_cpu *cpu) {
    struct encoder e;
    sizes_init(&e, (struct wh_cpu *)cpu);
    return own_bytes(&e) + cpu->limits.n_threads * scratch_bytes(&e);
}

static void buffers_place(struct encoder *e) {
    char *work = e->cpu->work;
    size_t own = own_bytes(e);
    window_place(e, own ? work : (char *)wh_kv_head(&e->cpu->cross_kv, e->slot, 0, 0));
    e->scratch = work + own;
    e->scratch_bytes = scratch_bytes(e);
}

/* Rows [first, first + n) of block `index` out of T. */
static size_t block_rows(const struct encoder *e, size_t index, size_t *ret_first) {
    size_t end = e->n_units * (index + 1) / e->n_blocks * UNIT;
    *ret_first = e->n_units * index / e->n_blocks * UNIT;
    return (end < e->T ? end : e->T) - *ret_first;
}

static struct scratch scratch_of(const struct encoder *e, uint32_t thread) {
    char *at = e->scratch + thread * e->scratch_bytes;
    struct scratch s = {.row = (float *)at};
    s.scales = (float *)(at += lines(4 * e->W));
    s.input = at += lines(4 * e->block);
    s.hidden = at + lines(input_bytes(e));
    return s;
}

/* ---- Layers --------------------------------------------------------------------------------- */

static void run_layer(const struct encoder *e, const struct num_linear *layer,
                      const struct num_rows *x, size_t n_rows, enum num_form form, void *y,
                      size_t ldy) {
    struct num_finish finish = {.form = form, .y = y, .ldy = ldy};
    num_linear_rows(layer, e->kernels, 0, NUM_PANELS(layer->n_out), x, 0, n_rows, &finish);
}

static enum num_form plain(const struct encoder *e) {
    return e->cpu->act == NUM_COMPUTE_F32 ? NUM_FORM_F32 : NUM_FORM_BF16;
}

static enum num_form with_gelu(const struct encoder *e) {
    return e->cpu->act == NUM_COMPUTE_F32 ? NUM_FORM_GELU_F32 : NUM_FORM_GELU_BF16;
}

/* n rows of x, normed (or, without a norm, as they are), as inputs of a layer. */
static struct num_rows normed(const struct encoder *e, const struct scratch *s, const float *x,
                              size_t ld, size_t n, const struct wh_norm *norm) {
    enum num_compute type = e->cpu->compute;
    size_t bytes = num_rows_bytes(type, e->D) + LINE;
    for (size_t r = 0; r < n; r++) {
        const float *row = x + r * ld;
        float *to = type == NUM_COMPUTE_F32 ? (float *)(s->input + r * bytes) : s->row;
        if (norm) {
            e->kernels->layer_norm(row, e->D, norm->gamma, norm->beta, to);
            row = to;
        }
        if (row != (float *)(s->input + r * bytes))
            num_row_convert(e->kernels, type, row, e->D, s->input + r * bytes, &s->scales[r]);
    }
    return (struct num_rows){s->input, bytes, s->scales};
}

/* n rows of k values of type act as inputs of a layer: bytes are made, others stay in place. */
static struct num_rows act_rows(const struct encoder *e, const struct scratch *s, const char *x,
                                size_t ld, size_t k, size_t n) {
    size_t bytes = num_rows_bytes(NUM_COMPUTE_INT8, k) + LINE;
    if (e->cpu->compute != NUM_COMPUTE_INT8)
        return (struct num_rows){x, ld * e->act, NULL};
    for (size_t r = 0; r < n; r++)
        s->scales[r] = e->kernels->bf16_to_int8((const uint16_t *)x + r * ld, k,
                                                (int8_t *)s->input + r * bytes);
    return (struct num_rows){s->input, bytes, s->scales};
}

/* ---- Convolutions --------------------------------------------------------------------------- */

static void conv1_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    (void)thread;
    size_t half, n_half = block_rows(e, index, &half), first = 2 * half;
    struct num_rows x = {e->mel_padded + first * e->M * e->act, e->M * e->act, NULL};
    run_layer(e, &e->cpu->conv1, &x, 2 * n_half, with_gelu(e),
              e->wide + (first + 1) * e->W * e->act, e->W);
}

static void conv2_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    (void)thread;
    size_t first, n = block_rows(e, index, &first);
    struct num_rows x = {e->wide + 2 * first * e->W * e->act, 2 * e->W * e->act, NULL};
    run_layer(e, &e->cpu->conv2, &x, n, NUM_FORM_GELU_F32, e->x + first * e->W, e->W);
    for (size_t r = first; r < first + n; r++)
        e->kernels->add(e->x + r * e->W, e->cpu->audio_positions + r * e->D, e->D);
}

/* A row of zeros before (2 T, width) values, and all rows behind them. */
static void pad_ends(const struct encoder *e, char *rows, size_t width) {
    memset(rows, 0, width * e->act);
    memset(rows + (2 * e->T + 1) * width * e->act, 0, (1 + SLACK_ROWS) * width * e->act);
}

/* The spectrogram between rows of zeros, and zeros wherever nothing else will be written. */
static void window_init(struct encoder *e) {
    size_t n = 2 * e->T * e->M;
    char *to = e->mel_padded + e->M * e->act;
    pad_ends(e, e->mel_padded, e->M);
    pad_ends(e, e->wide, e->W);
    wh_kv_prepare(&e->kv, 0, e->T);
    if (e->cpu->act == NUM_COMPUTE_F32)
        memcpy(to, e->mel, n * sizeof(float));
    else
        e->kernels->to_bf16(e->mel, n, (uint16_t *)to);
}

/* ---- Attention ------------------------------------------------------------------------------ */

/* Keys and values of n rows, side by side in `rows`, into panels of all heads. */
static void fill_panels(const struct encoder *e, const struct wh_kv *kv, size_t slot, size_t layer,
                        size_t first, size_t n, const char *rows) {
    for (size_t h = 0; h < kv->n_heads; h++) {
        const char *k = rows + h * kv->head.d * e->act, *v = k + e->D * e->act;
        num_kv_fill(&kv->head, wh_kv_head(kv, slot, layer, h), first, n, k, v, e->ld_kv);
    }
}

static void qkv_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    const struct wh_encoder_layer *l = &e->cpu->encoder[e->layer];
    struct scratch s = scratch_of(e, thread);
    size_t first, n = block_rows(e, index, &first);
    struct num_rows x = normed(e, &s, e->x + first * e->W, e->W, n, &l->attn_norm);
    run_layer(e, &l->q, &x, n, plain(e), e->heads + first * e->ld_heads * e->act, e->ld_heads);
    run_layer(e, &l->kv, &x, n, plain(e), s.hidden, e->ld_kv);
    fill_panels(e, &e->kv, 0, 0, first, n, s.hidden);
}

/* One head and one block of queries; the output takes their place. */
static void attention_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    size_t head = index / e->n_blocks, first, n = block_rows(e, index % e->n_blocks, &first);
    char *queries = e->heads + (first * e->ld_heads + head * e->d) * e->act;
    struct num_attend attend = {.kernels = e->kernels,
                                .kv = &e->kv.head,
                                .head = wh_kv_head(&e->kv, 0, 0, head),
                                .n_keys = e->T,
                                .n_queries = n,
                                .q = queries,
                                .ldq = e->ld_heads * e->act,
                                .out_type = e->cpu->act,
                                .out = queries,
                                .ld_out = e->ld_heads * e->act};
    num_attend(&attend, e->scratch + thread * e->scratch_bytes);
}

/* ---- The rest of a block, and what the decoder reads ---------------------------------------- */

static void mlp_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    const struct wh_encoder_layer *l = &e->cpu->encoder[e->layer];
    struct scratch s = scratch_of(e, thread);
    size_t first, n = block_rows(e, index, &first);
    float *x = e->x + first * e->W;
    struct num_rows in =
        act_rows(e, &s, e->heads + first * e->ld_heads * e->act, e->ld_heads, e->D, n);
    run_layer(e, &l->out, &in, n, NUM_FORM_ADD_F32, x, e->W);
    in = normed(e, &s, x, e->W, n, &l->mlp_norm);
    run_layer(e, &l->fc1, &in, n, with_gelu(e), s.hidden, e->ld_hidden);
    in = act_rows(e, &s, s.hidden, e->ld_hidden, e->F, n);
    run_layer(e, &l->fc2, &in, n, NUM_FORM_ADD_F32, x, e->W);
}

static void final_norm_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    const struct wh_norm *norm = &e->cpu->encoder_norm;
    (void)thread;
    size_t first, n = block_rows(e, index, &first);
    for (size_t r = first; r < first + n; r++)
        e->kernels->layer_norm(e->x + r * e->W, e->D, norm->gamma, norm->beta,
                               e->cpu->encoded + (e->slot * e->T + r) * e->D);
}

/* Projects one block of positions to keys and values of the decoder's layer index / n_blocks. */
static void cross_kv_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    struct scratch s = scratch_of(e, thread);
    size_t layer = index / e->n_blocks, first, n = block_rows(e, index % e->n_blocks, &first);
    const float *from = e->cpu->encoded + (e->slot * e->T + first) * e->D;
    struct num_rows x = normed(e, &s, from, e->D, n, NULL);
    run_layer(e, &e->cpu->decoder[layer].cross_kv, &x, n, plain(e), s.hidden, e->ld_kv);
    fill_panels(e, &e->cpu->cross_kv, e->slot, layer, first, n, s.hidden);
}

/* False where it was cancelled. */
static bool encode_window(struct encoder *e, const struct num_watch *watch) {
    struct num_pool *pool = e->cpu->pool;
    uint32_t n_blocks = (uint32_t)e->n_blocks;
    window_init(e);
    num_pool_run(pool, n_blocks, conv1_task, e);
    num_pool_run(pool, n_blocks, conv2_task, e);
    for (e->layer = 0; e->layer < e->cpu->dims.n_audio_layers; e->layer++) {
        num_pool_run(pool, n_blocks, qkv_task, e);
        num_pool_run(pool, (uint32_t)e->H * n_blocks, attention_task, e);
        num_pool_run(pool, n_blocks, mlp_task, e);
        if (num_cancelled(watch))
            return false;
    }
    num_pool_run(pool, n_blocks, final_norm_task, e);
    wh_kv_prepare(&e->cpu->cross_kv, e->slot, e->T);
    num_pool_run(pool, e->cpu->dims.n_text_layers * n_blocks, cross_kv_task, e);
    return true;
}

int32_t wh_cpu_encode(void *self, const float *const *mel, const uint32_t *slots, uint32_t n,
                      const struct num_watch *watch, struct num_err *err) {
    struct wh_cpu *cpu = self;
    for (uint32_t i = 0; i < n; i++) {
        struct encoder e;
        sizes_init(&e, cpu);
        e.mel = mel[i];
        e.slot = slots[i];
        buffers_place(&e);
        if (!encode_window(&e, watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
    }
    return SLUICE_OK;
}

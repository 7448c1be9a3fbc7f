/*
 * The encoder on the CPU: two convolutions, transformer blocks, and the keys and values that the
 * decoder's cross-attention reads.
 *
 * A window is a matrix of rows over time; a convolution of width 3 is three products, one for each
 * tap, over rows that lie one stride apart. Three parallel loops make a block: norm and projections
 * by blocks of rows; attention by head and block; output, norm and MLP by blocks. The blocks depend
 * on T alone, so the number of threads changes nothing in the results.
 */
#include "whisper/cpu.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define BLOCK_ROWS 128 /* at most; a block's activations stay in the second-level cache */

/* Buffers of one window in `encoder_work`, and one scratch for each thread behind them. */
struct encoder {
    struct wh_cpu *cpu;
    const float *mel; /* (2 T, M) */
    size_t T, D, M, F, H, n_blocks, slot, layer;
    float *mel_padded; /* (2 T + 2, M): a row of zeros on both ends */
    float *wide;       /* (2 T + 2, D): conv1's output, likewise */
    float *x;          /* (T, D): the residual stream */
    float *qkv;        /* (T, 3 D) */
    float *mixed;      /* (T, D): attention's output before its projection */
    float *scratch;    /* of each thread: scratch_floats */
    size_t scratch_floats;
    _Atomic int failed;
};

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

/* norm (BLOCK, D) and hidden (BLOCK, F); or scores (BLOCK, T); or one block of keys and values. */
static size_t scratch_floats(const struct wh_dims *s) {
    size_t mlp = (size_t)BLOCK_ROWS * (s->n_state + s->n_audio_ffn);
    size_t scores = (size_t)BLOCK_ROWS * s->n_audio_ctx, kv = (size_t)BLOCK_ROWS * 2 * s->n_state;
    return max_size(mlp, max_size(scores, kv));
}

size_t wh_encoder_work_floats(const struct wh_cpu *cpu) {
    const struct wh_dims *s = &cpu->dims;
    size_t rows = 2 * (size_t)s->n_audio_ctx + 2, D = s->n_state;
    return rows * (s->n_mels + D) + (size_t)s->n_audio_ctx * 5 * D +
           cpu->limits.n_threads * scratch_floats(s);
}

static void encoder_init(struct encoder *e, struct wh_cpu *cpu, const float *mel, uint32_t slot) {
    const struct wh_dims *s = &cpu->dims;
    *e = (struct encoder){.cpu = cpu, .mel = mel, .slot = slot};
    e->T = s->n_audio_ctx;
    e->D = s->n_state;
    e->M = s->n_mels;
    e->F = s->n_audio_ffn;
    e->H = s->n_audio_heads;
    e->n_blocks = (e->T + BLOCK_ROWS - 1) / BLOCK_ROWS;
    e->scratch_floats = scratch_floats(s);
    e->mel_padded = cpu->encoder_work;
    e->wide = e->mel_padded + (2 * e->T + 2) * e->M;
    e->x = e->wide + (2 * e->T + 2) * e->D;
    e->qkv = e->x + e->T * e->D;
    e->mixed = e->qkv + e->T * 3 * e->D;
    e->scratch = e->mixed + e->T * e->D;
}

/* Rows [first, first + n) of block `index` out of T. */
static size_t block_rows(const struct encoder *e, size_t index, size_t *ret_first) {
    *ret_first = e->T * index / e->n_blocks;
    return e->T * (index + 1) / e->n_blocks - *ret_first;
}

static void gemm(struct encoder *e, size_t m, size_t n, size_t k, const float *a, size_t lda,
                 const struct wh_dense *dense, float beta, float *c, size_t ldc) {
    if (num_gemm(true, m, n, k, 1, a, lda, dense->weight, k, beta, c, ldc))
        atomic_store(&e->failed, 1);
}

/* ---- Convolutions --------------------------------------------------------------------------- */

static void gelu_rows(const struct encoder *e, float *x, size_t n_rows, size_t n,
                      const float *bias) {
    for (size_t r = 0; r < n_rows; r++)
        e->cpu->kernels->gelu(x + r * n, bias, n);
}

/*
 * n output rows of a convolution of width 3 and its GELU: from[r * stride + tap] are the input rows
 * (k wide). oneDNN takes no overlapping rows, so each tap is a product of its own.
 */
static void conv_rows(struct encoder *e, const struct wh_dense *conv, const float *from,
                      size_t stride, size_t k, size_t n, float *to) {
    for (size_t tap = 0; tap < 3; tap++)
        if (num_gemm(true, n, e->D, k, 1, from + tap * k, stride * k, conv->weight + tap * k, 3 * k,
                     tap > 0, to, e->D))
            atomic_store(&e->failed, 1);
    gelu_rows(e, to, n, e->D, conv->bias);
}

static void conv1_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    (void)thread;
    size_t half, n_half = block_rows(e, index, &half);
    size_t first = 2 * half;
    conv_rows(e, &e->cpu->conv1, e->mel_padded + first * e->M, 1, e->M, 2 * n_half,
              e->wide + (first + 1) * e->D);
}

static void conv2_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    (void)thread;
    size_t first, n = block_rows(e, index, &first);
    float *to = e->x + first * e->D;
    conv_rows(e, &e->cpu->conv2, e->wide + 2 * first * e->D, 2, e->D, n, to);
    e->cpu->kernels->add(to, e->cpu->audio_positions + first * e->D, n * e->D);
}

/* ---- Blocks --------------------------------------------------------------------------------- */

static void norm_rows(const struct encoder *e, const float *x, size_t n_rows,
                      const struct wh_norm *norm, float *y) {
    for (size_t r = 0; r < n_rows; r++)
        e->cpu->kernels->layer_norm(x + r * e->D, e->D, norm->gamma, norm->beta, y + r * e->D);
}

static void add_bias(const struct encoder *e, float *x, size_t n_rows, size_t n,
                     const float *bias) {
    for (size_t r = 0; r < n_rows; r++)
        e->cpu->kernels->add(x + r * n, bias, n);
}

static void qkv_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    const struct wh_encoder_layer *l = &e->cpu->encoder[e->layer];
    size_t first, n = block_rows(e, index, &first);
    float *norm = e->scratch + thread * e->scratch_floats, *to = e->qkv + first * 3 * e->D;
    norm_rows(e, e->x + first * e->D, n, &l->attn_norm, norm);
    gemm(e, n, 3 * e->D, e->D, norm, e->D, &l->qkv, 0, to, 3 * e->D);
    add_bias(e, to, n, 3 * e->D, l->qkv.bias);
}

/* One head and one block of queries: scores against all keys, softmax, sum of the values. */
static void attention_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    size_t head = index / e->n_blocks, d = e->cpu->d, ld = 3 * e->D;
    size_t first, n = block_rows(e, index % e->n_blocks, &first);
    float *scores = e->scratch + thread * e->scratch_floats; /* (n, T) */
    const float *q = e->qkv + first * ld + head * d, *k = e->qkv + e->D + head * d, *v = k + e->D;
    int failed = num_gemm(true, n, e->T, d, 1 / sqrtf((float)d), q, ld, k, ld, 0, scores, e->T);
    for (size_t r = 0; r < n; r++)
        e->cpu->kernels->softmax(scores + r * e->T, e->T);
    float *to = e->mixed + first * e->D + head * d;
    failed |= num_gemm(false, n, d, e->T, 1, scores, e->T, v, ld, 0, to, e->D);
    if (failed)
        atomic_store(&e->failed, 1);
}

static void mlp_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    const struct wh_encoder_layer *l = &e->cpu->encoder[e->layer];
    size_t first, n = block_rows(e, index, &first);
    float *norm = e->scratch + thread * e->scratch_floats; /* (n, D) */
    float *hidden = norm + BLOCK_ROWS * e->D;              /* (n, F) */
    float *x = e->x + first * e->D;
    gemm(e, n, e->D, e->D, e->mixed + first * e->D, e->D, &l->out, 1, x, e->D);
    add_bias(e, x, n, e->D, l->out.bias);
    norm_rows(e, x, n, &l->mlp_norm, norm);
    gemm(e, n, e->F, e->D, norm, e->D, &l->fc1, 0, hidden, e->F);
    gelu_rows(e, hidden, n, e->F, l->fc1.bias);
    gemm(e, n, e->D, e->F, hidden, e->F, &l->fc2, 1, x, e->D);
    add_bias(e, x, n, e->D, l->fc2.bias);
}

/* ---- What the decoder reads ----------------------------------------------------------------- */

static void final_norm_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    (void)thread;
    size_t first, n = block_rows(e, index, &first);
    norm_rows(e, e->x + first * e->D, n, &e->cpu->encoder_norm,
              e->cpu->encoded + (e->slot * e->T + first) * e->D);
}

/* Projects one block of positions to keys and values of layer index / n_blocks and stores them as
 * panels. */
static void cross_kv_task(void *ctx, uint32_t index, uint32_t thread) {
    struct encoder *e = ctx;
    struct wh_cpu *cpu = e->cpu;
    size_t layer = index / e->n_blocks, first, n = block_rows(e, index % e->n_blocks, &first);
    size_t d = cpu->text_d, H = cpu->dims.n_text_heads;
    const struct wh_dense *dense = &cpu->decoder[layer].cross_kv;
    float *kv = e->scratch + thread * e->scratch_floats; /* (n, 2 D) */
    gemm(e, n, 2 * e->D, e->D, cpu->encoded + (e->slot * e->T + first) * e->D, e->D, dense, 0, kv,
         2 * e->D);
    add_bias(e, kv, n, 2 * e->D, dense->bias);
    for (size_t h = 0; h < H; h++) {
        float *keys = wh_kv_keys(&cpu->cross_kv, e->slot, layer, h);
        float *values = wh_kv_values(&cpu->cross_kv, e->slot, layer, h, d);
        for (size_t r = 0; r < n; r++) {
            size_t t = first + r;
            const float *k = kv + r * 2 * e->D + h * d, *v = k + e->D;
            for (size_t i = 0; i < d; i++) {
                keys[(t / NUM_PANEL * d + i) * NUM_PANEL + t % NUM_PANEL] = k[i];
                values[(i / NUM_PANEL * cpu->cross_kv.len32 + t) * NUM_PANEL + i % NUM_PANEL] =
                    v[i];
            }
        }
    }
}

/* False where it was cancelled. */
static bool encode_window(struct encoder *e, const struct wh_watch *watch) {
    struct num_pool *pool = e->cpu->pool;
    uint32_t n_blocks = (uint32_t)e->n_blocks;
    size_t last = 2 * e->T + 1;
    memset(e->mel_padded, 0, e->M * sizeof(float));
    memcpy(e->mel_padded + e->M, e->mel, 2 * e->T * e->M * sizeof(float));
    memset(e->mel_padded + last * e->M, 0, e->M * sizeof(float));
    memset(e->wide, 0, e->D * sizeof(float));
    memset(e->wide + last * e->D, 0, e->D * sizeof(float));
    num_pool_run(pool, n_blocks, conv1_task, e);
    num_pool_run(pool, n_blocks, conv2_task, e);
    for (e->layer = 0; e->layer < e->cpu->dims.n_audio_layers; e->layer++) {
        num_pool_run(pool, n_blocks, qkv_task, e);
        num_pool_run(pool, (uint32_t)e->H * n_blocks, attention_task, e);
        num_pool_run(pool, n_blocks, mlp_task, e);
        if (wh_cancelled(watch))
            return false;
    }
    num_pool_run(pool, n_blocks, final_norm_task, e);
    num_pool_run(pool, e->cpu->dims.n_text_layers * n_blocks, cross_kv_task, e);
    return true;
}

int32_t wh_cpu_encode(void *self, const float *const *mel, const uint32_t *slots, uint32_t n,
                      const struct wh_watch *watch, struct num_err *err) {
    for (uint32_t i = 0; i < n; i++) {
        struct encoder e;
        encoder_init(&e, self, mel[i], slots[i]);
        if (!encode_window(&e, watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        if (atomic_load(&e.failed))
            return num_fail(err, SLUICE_INTERNAL,
                            "oneDNN could not multiply matrices in the encoder");
    }
    return SLUICE_OK;
}

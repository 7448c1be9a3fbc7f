/*
 * The decoder's kernels on a card, in the shapes of Whisper large-v3 in bf16, for steps of 1 to 256
 * rows with a window each, beside what the card's memory can do at most:
 *
 *     bench_decoder [small]         small: a model for the emulated card, to see that it runs
 *
 * Prints one JSON object a line: name, ms (best of five groups of 16 calls, by events), GB/s of the
 * bytes that have to move, and their share of a copy of 1 GiB within the card. Calls go round eight
 * layers, 370 MB of weights, so that no cache holds what is read next. Without a card it says that
 * nothing was measured, and exits with 77.
 */
#include <cuda_runtime.h>

#include "gpu/bench.h"
#include "num/cuda/device.h"
#include "unit/cuda_whisper/made.h"
#include "whisper/cuda/decoder.h"
#include "whisper/cuda/decoder_attention.h"
#include "whisper/cuda/products.h"

enum { LAYERS = 8, GROUP = 16, GROUPS = 5, POSITIONS = 60, MAX_ROWS = 256 };

static const struct mode {
    const char *name;
    enum wh_cross cross;
    enum wh_kept kept;
    double window_bytes; /* of a position and a column of D */
} modes[] = {{"stored", WH_CROSS_STORED, WH_KEPT_PLAIN, 4},
             {"fp8", WH_CROSS_STORED, WH_KEPT_FP8, 2 + 4.0 / 64},
             {"int8", WH_CROSS_STORED, WH_KEPT_INT8, 2 + 4.0 / 64},
             {"absorbed", WH_CROSS_ABSORBED, WH_KEPT_PLAIN, 2}};

struct bench {
    struct wh_cuda *m;
    cudaEvent_t start, end;
    void *copy; /* copy_bytes, to measure the memory with */
    size_t copy_bytes;
    double bytes_per_s;
    uint32_t n;
};

static void check(const char *what, int32_t status, const struct num_err *err) {
    if (status)
        bench_die(what, err ? err->text : "failed");
}

/* ---- What is timed -------------------------------------------------------------------------- */

typedef void work(const struct bench *b, uint32_t layer);

static void product(const struct bench *b, const struct wh_cuda_matrix *w,
                    const struct wh_cuda_norm *norm, const void *x, void *y, enum wh_cuda_form form,
                    char *cells) {
    const struct wh_cuda_product p = {w, norm, x, y, b->n, form, cells};
    struct num_err err = {0};
    check("a product", wh_cuda_product_run(b->m, &p, &err), &err);
}

static void run_qkv(const struct bench *b, uint32_t layer) {
    const struct wh_cuda_decoder_layer *l = &b->m->w.decoder[layer];
    const struct wh_cuda_decoder_work *w = &b->m->decoder->work;
    product(b, &l->qkv, &l->attn_norm, w->x, w->qkv, WH_CUDA_TO_CELLS, wh_cuda_cells(b->m, layer));
}

static void run_out(const struct bench *b, uint32_t layer) {
    const struct wh_cuda_decoder_work *w = &b->m->decoder->work;
    product(b, &b->m->w.decoder[layer].out, NULL, w->mixed, w->x, WH_CUDA_ADD, NULL);
}

static void run_fc1(const struct bench *b, uint32_t layer) {
    const struct wh_cuda_decoder_layer *l = &b->m->w.decoder[layer];
    const struct wh_cuda_decoder_work *w = &b->m->decoder->work;
    product(b, &l->fc1, &l->mlp_norm, w->x, w->hidden, WH_CUDA_TO_HIDDEN, NULL);
}

static void run_fc2(const struct bench *b, uint32_t layer) {
    const struct wh_cuda_decoder_work *w = &b->m->decoder->work;
    product(b, &b->m->w.decoder[layer].fc2, NULL, w->hidden, w->x, WH_CUDA_ADD, NULL);
}

static void run_logits(const struct bench *b, uint32_t layer) {
    (void)layer;
    product(b, &b->m->w.vocabulary, &b->m->w.decoder_norm, b->m->decoder->work.x,
            wh_cuda_logits(b->m), WH_CUDA_TO_FLOATS, NULL);
}

static void run_self(const struct bench *b, uint32_t layer) {
    struct num_err err = {0};
    check("attention", wh_cuda_attend_self(b->m, layer, b->n, &err), &err);
}

static void run_cross(const struct bench *b, uint32_t layer) {
    struct num_err err = {0};
    check("attention", wh_cuda_attend_cross(b->m, layer, b->n, b->n, 1, &err), &err);
}

static void run_copy(const struct bench *b, uint32_t layer) {
    (void)layer;
    check("a copy",
          (int32_t)cudaMemcpyAsync(b->copy, b->m->block, b->copy_bytes, cudaMemcpyDeviceToDevice,
                                   b->m->decode_stream),
          NULL);
}

/* Best milliseconds of one call. */
static double time_ms(const struct bench *b, work *run) {
    float best = 1e30f, ms = 0;
    for (int g = 0; g <= GROUPS; g++) { /* the first warms up */
        cudaEventRecord(b->start, b->m->decode_stream);
        for (uint32_t i = 0; i < GROUP; i++)
            run(b, i % LAYERS);
        cudaEventRecord(b->end, b->m->decode_stream);
        check("waiting", (int32_t)cudaEventSynchronize(b->end), NULL);
        cudaEventElapsedTime(&ms, b->start, b->end);
        best = g > 0 && ms < best ? ms : best;
    }
    return best / GROUP;
}

static void say(const struct bench *b, const char *name, work *run, double bytes) {
    double ms = time_ms(b, run), gb_s = bytes / ms * 1e-6;
    printf("{\"name\": \"decoder %s, %u rows\", \"ms\": %.5f, \"gb_s\": %.0f, \"share\": %.3f}\n",
           name, b->n, ms, gb_s, gb_s * 1e9 / b->bytes_per_s);
    fflush(stdout);
}

/* ---- A model -------------------------------------------------------------------------------- */

static struct wh_dims dims_of(bool small) {
    struct wh_dims s = made_large_v3(LAYERS);
    s.n_audio_layers = 1;
    if (small) {
        s.n_audio_ctx = 32;
        s.n_text_ctx = 64;
        s.n_state = s.n_audio_ffn = s.n_text_ffn = 64;
        s.n_audio_heads = s.n_text_heads = 1;
        s.n_vocab = 64;
    }
    return s;
}

/* Rows with POSITIONS tokens each: what a step finds on the device, and what attention reads. */
static void fill_rows(const struct bench *b, uint32_t n, float *logits) {
    struct num_err err = {0};
    static const int32_t token = 1;
    struct wh_prompt prompts[MAX_ROWS];
    struct wh_step steps[MAX_ROWS];
    for (uint32_t i = 0; i < n; i++) {
        prompts[i] = (struct wh_prompt){i, i, &token, 1, 1, NULL};
        steps[i] = (struct wh_step){i, 2};
    }
    check("prompts", wh_backend_cuda.prefill(b->m, prompts, n, &err), &err);
    for (uint32_t i = 1; i < POSITIONS; i++)
        check("a step", wh_backend_cuda.step(b->m, steps, n, logits, &err), &err);
}

static void bench_rows(struct bench *b, const struct mode *mode, uint32_t n, float *logits) {
    const struct wh_dims *s = &b->m->c.dims;
    const double D = s->n_state, T = s->n_audio_ctx, F = s->n_text_ffn;
    char name[64];
    fill_rows(b, n, logits);
    b->n = n;
    snprintf(name, sizeof name, "attention to windows, %s", mode->name);
    say(b, name, run_cross,
        n * T * D * mode->window_bytes + (mode->cross == WH_CROSS_ABSORBED ? 4 * D * D : 0));
    if (mode != modes)
        return;
    say(b, "norm, qkv", run_qkv, 6 * D * D);
    say(b, "attention of tokens", run_self, n * 4.0 * POSITIONS * D);
    say(b, "output, sum", run_out, 2 * D * D);
    say(b, "norm, fc1, GELU", run_fc1, 2 * D * F);
    say(b, "fc2, sum", run_fc2, 2 * D * F);
    say(b, "norm, logits", run_logits, 2 * D * s->n_vocab + 4.0 * n * s->n_vocab);
}

static void bench_mode(const struct mode *mode, const struct made_weights *made,
                       const struct wh_dims *dims, uint32_t rows) {
    static const uint32_t sizes[] = {1, 8, 32, 64, 128, 256};
    struct num_err err = {0};
    struct bench b = {0};
    const struct wh_limits limits = {.n_threads = 8,
                                     .n_slots = rows,
                                     .n_rows = rows,
                                     .compute = WH_COMPUTE_BF16,
                                     .least_rows = 1,
                                     .cross = mode->cross,
                                     .kept = mode->kept};
    float *logits = malloc((size_t)rows * dims->n_vocab * sizeof *logits);
    check("room", logits == NULL, NULL);
    check("the model", wh_backend_cuda.load(&made->weights, dims, &limits, (void **)&b.m, &err),
          &err);
    check("events", (int32_t)(cudaEventCreate(&b.start) | cudaEventCreate(&b.end)), NULL);
    b.copy_bytes = b.m->plan.bytes < (size_t)1 << 30 ? b.m->plan.bytes : (size_t)1 << 30;
    check("room for a copy", (int32_t)cudaMalloc(&b.copy, b.copy_bytes), NULL);
    b.bytes_per_s = 2e3 * (double)b.copy_bytes / time_ms(&b, run_copy);
    cudaFree(b.copy);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && sizes[i] <= b.m->c.n_slots; i++)
        bench_rows(&b, mode, sizes[i], logits);
    cudaEventDestroy(b.start);
    cudaEventDestroy(b.end);
    wh_backend_cuda.free(b.m);
    free(logits);
}

int main(int argc, char **argv) {
    const bool small = argc > 1 && strcmp(argv[1], "small") == 0;
    const struct wh_dims dims = dims_of(small);
    struct num_cuda_device device;
    struct num_err err = {0};
    struct made_weights made;
    if (num_cuda_device_open(0, &device, &err)) {
        printf("bench_decoder: not measured: %s\n", err.text);
        return 77;
    }
    made_weights_make(&made, &dims, true);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        bench_mode(&modes[i], &made, &dims, small ? 8 : MAX_ROWS);
    made_weights_free(&made);
    return 0;
}

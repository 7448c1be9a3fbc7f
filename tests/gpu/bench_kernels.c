/*
 * The encoder's kernels and products on a card, in the shapes of Whisper large-v3, beside what the
 * card can do at most, measured in the same run:
 *
 *     bench_kernels [WINDOWS]       windows of a batch, 16 by default
 *
 * Prints one JSON object a line: name, ms (best of five groups of ten, by events), and GB/s or
 * TFLOP/s with their share of the ceiling: a copy of 2 GiB within the card, and a bf16 product of
 * 8192 on all sides. Bytes are those that have to move, FLOP those that the result needs. Without a
 * card it says that nothing was measured, and exits with 77. Operands are random: zeros would let
 * the card clock higher.
 */
#include <cuda_runtime.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/bench.h"
#include "num/cuda/attention.h"
#include "num/cuda/conv.h"
#include "num/cuda/device.h"
#include "num/cuda/gemm.h"
#include "num/cuda/mel.h"
#include "num/cuda/norm.h"

enum {
    T = 1500,
    D = 1280,
    HEADS = 20,
    FFN = 5120,
    MELS = 128,
    GROUP = 10,
    GROUPS = 5,
    SAMPLES = 480000
};
static const size_t ROOM = (size_t)1 << 31; /* bytes of each buffer */
static const size_t WORKSPACE = 64 << 20;

struct bench {
    char *a, *b, *c, *workspace; /* random at first; c is written */
    struct num_cuda_gemm *gemm;
    struct num_cuda_conv *conv;
    cudaStream_t stream;
    cudaEvent_t start, end;
    double bytes_per_s, flop_per_s; /* ceilings */
    size_t windows;
};

static void check(const char *what, cudaError_t error) {
    if (error)
        bench_die(what, cudaGetErrorString(error));
}

/* bf16 numbers of either sign up to 2, and floats whose upper half is such. */
static void fill(char *on_card, size_t bytes) {
    uint32_t state = 1, *block = malloc(64 << 20);
    if (!block)
        bench_die("room for random numbers", "out of memory");
    for (size_t i = 0; i < (64 << 20) / 4; i++) {
        state = state * 1664525u + 1013904223u;
        block[i] = (state & 0x80ff80ffu) | 0x3f003f00u;
    }
    for (size_t at = 0; at < bytes; at += 64 << 20)
        check("filling", cudaMemcpy(on_card + at, block, 64 << 20, cudaMemcpyHostToDevice));
    free(block);
}

typedef void work(struct bench *b, const void *what);

/* Best milliseconds of one call. */
static double time_ms(struct bench *b, work *run, const void *what) {
    float best = 1e30f, ms;
    for (int g = 0; g <= GROUPS; g++) { /* the first warms up */
        check("event", cudaEventRecord(b->start, b->stream));
        for (int i = 0; i < GROUP; i++)
            run(b, what);
        check("event", cudaEventRecord(b->end, b->stream));
        check("waiting", cudaEventSynchronize(b->end));
        check("event", cudaEventElapsedTime(&ms, b->start, b->end));
        if (g > 0 && ms < best)
            best = ms;
    }
    return best / GROUP;
}

static void say(const struct bench *b, const char *name, double ms, double bytes, double flop) {
    double gb_s = bytes / ms * 1e-6, tflop_s = flop / ms * 1e-9;
    double by_bytes = bytes / b->bytes_per_s, by_flop = flop / b->flop_per_s;
    printf("{\"name\": \"%s\", \"ms\": %.5f, ", name, ms);
    if (by_flop > by_bytes)
        printf("\"tflop_s\": %.1f, ", tflop_s);
    else
        printf("\"gb_s\": %.0f, ", gb_s);
    printf("\"share\": %.3f}\n", (by_flop > by_bytes ? by_flop : by_bytes) * 1e3 / ms);
    fflush(stdout);
}

/* ---- What is timed -------------------------------------------------------------------------- */

static void run_copy(struct bench *b, const void *what) {
    (void)what;
    check("copy", cudaMemcpyAsync(b->c, b->a, ROOM, cudaMemcpyDeviceToDevice, b->stream));
}

static void run_product(struct bench *b, const void *what) {
    struct num_err err = {0};
    if (num_cuda_gemm_run(b->gemm, what, b->workspace, WORKSPACE, b->stream, &err))
        bench_die("product", err.text);
}

static void run_norm(struct bench *b, const void *what) {
    check("norm", num_cuda_norm_run(what, NUM_CUDA_BF16, b->stream));
}

static void run_attention(struct bench *b, const void *what) {
    check("attention", num_cuda_attention_run(what, NUM_CUDA_BF16, b->stream));
}

static void run_convolution(struct bench *b, const void *what) {
    struct num_err err = {0};
    if (num_cuda_conv_run(b->conv, b->gemm, what, b->workspace, WORKSPACE, b->stream, &err))
        bench_die("convolution", err.text);
}

struct mel {
    void *tables;
    struct num_cuda_mel_piece *pieces;
    float *maxima;
};

static void run_mel(struct bench *b, const void *what) {
    const struct mel *m = what;
    check("mel",
          num_cuda_mel_power(m->tables, MELS, m->pieces, b->windows, 2 * T, m->maxima, b->stream));
    check("mel", num_cuda_mel_normalise(MELS, m->pieces, b->windows, 2 * T, m->maxima,
                                        NUM_CUDA_BF16, b->stream));
}

/* ---- Cases ---------------------------------------------------------------------------------- */

static struct num_cuda_product product_of(const struct bench *b, size_t m, size_t n, size_t k,
                                          enum num_cuda_act act) {
    return (struct num_cuda_product){.type = NUM_CUDA_BF16,
                                     .ret_type = NUM_CUDA_BF16,
                                     .m = m,
                                     .n = n,
                                     .k = k,
                                     .x = b->a,
                                     .w = b->b,
                                     .ret = b->c,
                                     .act = act,
                                     .bias = act ? (const float *)b->b : NULL,
                                     .bias_typed = act ? b->b : NULL};
}

static void bench_product(struct bench *b, const char *name, size_t m, size_t n, size_t k,
                          enum num_cuda_act act) {
    struct num_cuda_product p = product_of(b, m, n, k, act);
    double ms = time_ms(b, run_product, &p);
    say(b, name, ms, 2.0 * ((double)m * k + (double)n * k + (double)m * n),
        2.0 * (double)m * (double)n * (double)k);
}

static void bench_ceilings(struct bench *b) {
    struct num_cuda_product p = product_of(b, 8192, 8192, 8192, NUM_CUDA_ACT_NONE);
    double copy_ms = time_ms(b, run_copy, NULL), product_ms = time_ms(b, run_product, &p);
    b->bytes_per_s = 2e3 * (double)ROOM / copy_ms;
    b->flop_per_s = 1e3 * 2.0 * 8192.0 * 8192.0 * 8192.0 / product_ms;
    say(b, "ceiling: copy", copy_ms, 2.0 * (double)ROOM, 0);
    say(b, "ceiling: bf16 product", product_ms, 0, 2.0 * 8192.0 * 8192.0 * 8192.0);
}

static void bench_norm(struct bench *b) {
    size_t rows = b->windows * T;
    struct num_cuda_norm n = {.rows = rows,
                              .n = D,
                              .base = (float *)b->a,
                              .period = rows,
                              .add = b->b,
                              .ret_sum = (float *)b->a,
                              .gamma = (float *)b->b,
                              .beta = (float *)b->b,
                              .ret = b->c};
    say(b, "residual and norm", time_ms(b, run_norm, &n), (double)rows * D * 12, 0);
}

static void bench_attention(struct bench *b) {
    const char *q = b->a;
    struct num_cuda_attention a = {.q = q,
                                   .k = q + 2 * D,
                                   .v = q + 4 * D,
                                   .ret = b->c,
                                   .ld = 3 * D,
                                   .ld_ret = D,
                                   .n = T,
                                   .n_heads = HEADS,
                                   .n_batch = b->windows,
                                   .scale = 0.125f};
    double flop = 4.0 * T * T * D * (double)b->windows, bytes = 8.0 * T * D * (double)b->windows;
    say(b, "attention", time_ms(b, run_attention, &a), bytes, flop);
}

static void bench_convolution(struct bench *b, const char *name, size_t n_in, size_t stride,
                              enum num_cuda_type from) {
    struct num_cuda_convolution c = {.type = NUM_CUDA_BF16,
                                     .x_type = from,
                                     .n_batch = b->windows,
                                     .n = 2 * T,
                                     .n_in = n_in,
                                     .n_out = D,
                                     .stride = stride,
                                     .x = b->a,
                                     .w = b->b,
                                     .bias = (float *)b->b,
                                     .ret = b->c,
                                     .rows = b->c + ROOM / 2};
    double out = (double)b->windows * 2 * T / (double)stride * D;
    double in = (double)b->windows * 2 * T * (double)n_in * (from == NUM_CUDA_F32 ? 4 : 2);
    say(b, name, time_ms(b, run_convolution, &c), in + 2 * out, out * 6 * (double)n_in);
}

static void bench_mel(struct bench *b) {
    size_t bytes = num_cuda_mel_tables_bytes(MELS);
    struct num_cuda_mel_piece *pieces = calloc(b->windows, sizeof *pieces);
    void *tables = malloc(bytes);
    struct mel m = {b->workspace, (struct num_cuda_mel_piece *)(b->workspace + (16 << 20)),
                    (float *)(b->workspace + (32 << 20))};
    if (!pieces || !tables || bytes > 16 << 20)
        bench_die("mel", "its tables are too large");
    num_cuda_mel_tables_fill(MELS, tables);
    for (size_t i = 0; i < b->windows; i++)
        pieces[i] = (struct num_cuda_mel_piece){.pcm = (float *)b->a + i * SAMPLES,
                                                .n_samples = SAMPLES,
                                                .n_frames = 2 * T,
                                                .group = (uint32_t)i,
                                                .n_rows = 2 * T,
                                                .ret_log = (float *)b->c + i * 2 * T * MELS,
                                                .ret_mel = b->c + ROOM / 2 + i * 2 * T * MELS * 2};
    check("mel", cudaMemcpy(m.tables, tables, bytes, cudaMemcpyHostToDevice));
    check("mel", cudaMemcpy(m.pieces, pieces, b->windows * sizeof *pieces, cudaMemcpyHostToDevice));
    check("mel", cudaMemset(m.maxima, 0, b->windows * sizeof(float)));
    /* Samples, the logarithms written and read, and the result. */
    say(b, "log-mel", time_ms(b, run_mel, &m),
        (double)b->windows * (SAMPLES * 4.0 + 2.0 * T * MELS * 10.0), 0);
    free(pieces);
    free(tables);
}

static void bench_init(struct bench *b) {
    struct num_cuda_device device;
    struct num_err err = {0};
    if (num_cuda_device_open(0, &device, &err)) {
        printf("bench_kernels: not measured: %s\n", err.text);
        exit(77);
    }
    if (num_cuda_gemm_open(&b->gemm, &err) || num_cuda_conv_open(&b->conv, &err))
        bench_die("opening the card", err.text);
    char **buffers[] = {&b->a, &b->b, &b->c};
    for (int i = 0; i < 3; i++) {
        check("memory", cudaMalloc((void **)buffers[i], ROOM));
        fill(*buffers[i], ROOM);
    }
    check("memory", cudaMalloc((void **)&b->workspace, WORKSPACE));
    check("stream", cudaStreamCreateWithFlags(&b->stream, cudaStreamNonBlocking));
    check("event", cudaEventCreate(&b->start));
    check("event", cudaEventCreate(&b->end));
    printf("{\"name\": \"card\", \"card\": \"%s\", \"capability\": %d, \"products\": \"%s\", "
           "\"convolutions\": \"%s\"}\n",
           device.name, device.capability, num_cuda_gemm_name(b->gemm),
           num_cuda_conv_name(b->conv));
}

int main(int argc, char **argv) {
    struct bench b = {
        .windows = argc > 1 ? strtoul(argv[1], NULL, 10) : 16, .bytes_per_s = 1, .flop_per_s = 1};
    if (b.windows < 1 || b.windows > 64)
        bench_die("windows", "1 to 64");
    bench_init(&b);
    size_t rows = b.windows * T;
    bench_ceilings(&b);
    bench_mel(&b);
    bench_convolution(&b, "convolution 1", MELS, 1, NUM_CUDA_BF16);
    bench_convolution(&b, "convolution 2", D, 2, NUM_CUDA_BF16);
    bench_convolution(&b, "convolution 1 by rows", MELS, 1, NUM_CUDA_F32);
    bench_norm(&b);
    bench_product(&b, "qkv", rows, 3 * D, D, NUM_CUDA_ACT_NONE);
    bench_attention(&b);
    bench_product(&b, "attention's output", rows, D, D, NUM_CUDA_ACT_NONE);
    bench_product(&b, "fc1, exact GELU behind", rows, FFN, D, NUM_CUDA_ACT_GELU);
    bench_product(&b, "fc1, tanh GELU inside", rows, FFN, D, NUM_CUDA_ACT_GELU_TANH);
    bench_product(&b, "fc1 without GELU", rows, FFN, D, NUM_CUDA_ACT_NONE);
    bench_product(&b, "fc2", rows, D, FFN, NUM_CUDA_ACT_NONE);
    bench_product(&b, "cross keys and values of a layer", rows, 2 * D, D, NUM_CUDA_ACT_NONE);
    return 0;
}

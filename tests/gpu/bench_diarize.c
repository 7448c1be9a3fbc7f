/*
 * The networks of diarize/speakers on a card in the published sizes with random weights, 64 windows
 * of 10 s at a time and three voices in each; beside the card's ceiling, a bf16 product of 8192 on
 * all sides measured in the same run.
 *
 * Prints one JSON object a line. Times are the host's, of whole calls, so that they hold the
 * copies; FLOP are those of the networks' products and convolutions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diarize/backend.h"
#include "gpu/bench.h"

enum { SAMPLES = 160000, FRAMES = 589, CLASSES = 7, SIZE = 256, ROUNDS = 5, MOST = 400 };

/* 10 s: convolutions over time, LSTM and linear layers. */
#define SEGMENTATION_FLOP                                                                          \
    (2 * (15975.0 * 80 * 251 + 5321.0 * 60 * 400 + 1769.0 * 60 * 300 +                             \
          FRAMES * (1024.0 * (60 + 3 * 256) + 4 * 1024.0 * 128 + 128.0 * (256 + 128 + CLASSES))))

struct made {
    struct num_tensor tensors[MOST];
    char names[MOST][64];
    size_t n;
};

/* A tensor of n_dims sizes; trailing ones are 1. */
static void add(struct made *m, const char *name, uint32_t n_dims, uint64_t d0, uint64_t d1,
                uint64_t d2, uint64_t d3) {
    struct num_tensor *t = &m->tensors[m->n];
    uint64_t n = d0 * d1 * d2 * d3;
    snprintf(m->names[m->n], sizeof m->names[0], "%s", name);
    *t = (struct num_tensor){.name = m->names[m->n++],
                             .dtype = NUM_F32,
                             .n_dims = n_dims,
                             .shape = {d0, d1, d2, d3},
                             .n_elements = n,
                             .data = bench_values(n, 0.05f, 0)};
}

static void make_segmentation(struct made *m) {
    static const uint64_t channels[] = {1, 80, 60, 60}, widths[] = {251, 5, 5},
                          linear[] = {256, 128, 128};
    char name[64];
    add(m, "sincnet.wave.weight", 1, 1, 1, 1, 1);
    add(m, "sincnet.wave.bias", 1, 1, 1, 1, 1);
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "sincnet.%zu.weight", i);
        add(m, name, 3, channels[i + 1], channels[i], widths[i], 1);
        snprintf(name, sizeof name, "sincnet.%zu.bias", i);
        add(m, name, 1, channels[i + 1], 1, 1, 1);
        snprintf(name, sizeof name, "sincnet.%zu.norm.weight", i);
        add(m, name, 1, channels[i + 1], 1, 1, 1);
        snprintf(name, sizeof name, "sincnet.%zu.norm.bias", i);
        add(m, name, 1, channels[i + 1], 1, 1, 1);
    }
    for (size_t i = 0; i < 8; i++) {
        const char *direction = i % 2 ? "backward" : "forward";
        snprintf(name, sizeof name, "lstm.%zu.%s.weight_ih", i / 2, direction);
        add(m, name, 2, 512, i < 2 ? 60 : 256, 1, 1);
        snprintf(name, sizeof name, "lstm.%zu.%s.weight_hh", i / 2, direction);
        add(m, name, 2, 512, 128, 1, 1);
        snprintf(name, sizeof name, "lstm.%zu.%s.bias", i / 2, direction);
        add(m, name, 1, 512, 1, 1, 1);
    }
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[] = {"linear.0", "linear.1", "classifier"};
        uint64_t n = i < 2 ? linear[i + 1] : CLASSES;
        snprintf(name, sizeof name, "%s.weight", names[i]);
        add(m, name, 2, n, linear[i], 1, 1);
        snprintf(name, sizeof name, "%s.bias", names[i]);
        add(m, name, 1, n, 1, 1, 1);
    }
}

static double add_conv(struct made *m, const char *name, uint64_t n_out, uint64_t n_in,
                       uint64_t width) {
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    add(m, full, 4, n_out, n_in, width, width);
    snprintf(full, sizeof full, "%s.bias", name);
    add(m, full, 1, n_out, 1, 1, 1);
    return 2.0 * (double)(n_out * n_in * width * width);
}

/* Returns the FLOP of a window. */
static double make_embedding(struct made *m) {
    static const size_t blocks[] = {3, 4, 6, 3};
    double places = 80.0 * 998, sum = places * add_conv(m, "stem", 32, 1, 3);
    uint64_t n = 32;
    for (size_t layer = 0; layer < 4; layer++)
        for (size_t i = 0; i < blocks[layer]; i++) {
            uint64_t n_out = (uint64_t)32 << layer;
            char name[48];
            places /= i == 0 && layer ? 4 : 1;
            snprintf(name, sizeof name, "layer%zu.%zu.conv1", layer + 1, i);
            sum += places * add_conv(m, name, n_out, n, 3);
            snprintf(name, sizeof name, "layer%zu.%zu.conv2", layer + 1, i);
            sum += places * add_conv(m, name, n_out, n_out, 3);
            snprintf(name, sizeof name, "layer%zu.%zu.shortcut", layer + 1, i);
            if (n != n_out)
                sum += places * add_conv(m, name, n_out, n, 1);
            n = n_out;
        }
    add(m, "embedding.weight", 2, SIZE, 2 * 256 * 10, 1, 1);
    add(m, "embedding.bias", 1, SIZE, 1, 1, 1);
    return sum;
}

static void print_line(const char *what, double seconds, double flop, double most) {
    printf("{\"name\": \"diarize %s, %d windows of 10 s, bf16\", \"ms\": %.3f, \"us_per_window\": "
           "%.1f, "
           "\"tflop_per_s\": %.1f, \"share\": %.3f}\n",
           what, DZ_BATCH, 1e3 * seconds, 1e6 * seconds / DZ_BATCH,
           DZ_BATCH * flop / seconds / 1e12, DZ_BATCH * flop / seconds / most);
}

static void measure(void *networks, double embedding_flop, double most) {
    static struct dz_heard heard[3 * DZ_BATCH];
    static float mask[FRAMES];
    const struct dz_backend *b = &dz_backend_cuda;
    const float *windows[DZ_BATCH];
    struct num_err err = {0};
    float *pcm = bench_values(SAMPLES + DZ_BATCH * 16000, 0.1f, 0),
          *rows = bench_values(3 * DZ_BATCH * SIZE, 0, 0);
    float *scores = bench_values((size_t)DZ_BATCH * FRAMES * CLASSES, 0, 0);
    double best[2] = {1e9, 1e9};
    for (size_t i = 0; i < FRAMES; i++)
        mask[i] = i % 3 == 0;
    for (size_t i = 0; i < 3 * DZ_BATCH; i++) {
        windows[i / 3] = pcm + i / 3 * 16000;
        heard[i] = (struct dz_heard){i / 3, mask, rows + i * SIZE};
    }
    for (int i = 0; i <= ROUNDS; i++) {
        double start = bench_now_s();
        if (b->segment(networks, windows, DZ_BATCH, scores, &err))
            bench_die("the segmentation", err.text);
        double middle = bench_now_s();
        if (b->hear(networks, windows, DZ_BATCH, heard, 3 * DZ_BATCH, &err))
            bench_die("the embeddings", err.text);
        double end = bench_now_s();
        if (i && middle - start < best[0])
            best[0] = middle - start;
        if (i && end - middle < best[1])
            best[1] = end - middle;
    }
    print_line("segmentation", best[0], SEGMENTATION_FLOP, most);
    print_line("embedding, three voices each", best[1], embedding_flop, most);
    free(pcm);
    free(rows);
    free(scores);
}

int main(void) {
    static struct made segmentation, embedding;
    struct dz_device_options options = {.compute = NUM_COMPUTE_BF16};
    struct num_err err = {0};
    void *networks = NULL;
    bench_need_card();
    make_segmentation(&segmentation);
    double flop = make_embedding(&embedding), most = bench_flop_per_s();
    /* Without a configuration sizes are the published ones. */
    const struct dz_weights a = {
        .file = {.tensors = segmentation.tensors, .n_tensors = segmentation.n}};
    const struct dz_weights b = {.file = {.tensors = embedding.tensors, .n_tensors = embedding.n}};
    if (dz_backend_cuda.create(&a, &b, &options, &networks, &err))
        bench_die("the models", err.text);
    measure(networks, flop, most);
    dz_backend_cuda.destroy(networks);
    return 0;
}

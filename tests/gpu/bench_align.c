/*
 * The network of align/words on a card in the shape of wav2vec2-base with random weights, 30 s at a
 * time, and the paths of texts; beside the card's ceiling, a bf16 product of 8192 on all sides
 * measured in the same run.
 *
 * Prints one JSON object a line. The network's time is the host's, of a whole run from samples to
 * log probabilities on the host, so that it holds the copies; FLOP are those of its products.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "align/backend.h"
#include "gpu/bench.h"

enum {
    D = 768,
    F = 3072,
    V = 32,
    C = 512,
    LAYERS = 12,
    TAPS = 128,
    GROUPS = 16,
    MOST = 300,
    ROUNDS = 5
};
enum { FRAMES = 1499, TEXTS = 32, TOKENS = 400, COLUMNS = 28 };

struct made {
    struct num_tensor tensors[MOST];
    char names[MOST][96];
    size_t n;
};

/* A tensor (d0, d1, d2), trailing zeros left out. */
static void add(struct made *m, const char *name, uint64_t d0, uint64_t d1, uint64_t d2,
                float shift) {
    struct num_tensor *t = &m->tensors[m->n];
    uint64_t n = d0 * (d1 ? d1 : 1) * (d2 ? d2 : 1);
    snprintf(m->names[m->n], sizeof m->names[0], "%s%s",
             strncmp(name, "lm_head", 7) ? "wav2vec2." : "", name);
    *t = (struct num_tensor){.name = m->names[m->n++],
                             .dtype = NUM_F32,
                             .n_dims = d2   ? 3
                                       : d1 ? 2
                                            : 1,
                             .shape = {d0, d1, d2},
                             .n_elements = n,
                             .data = bench_values(n, d1 ? 0.05f : 0.1f, shift)};
}

static void add_pair(struct made *m, const char *name, uint64_t d0, uint64_t d1, uint64_t d2) {
    char full[90];
    snprintf(full, sizeof full, "%s.weight", name);
    add(m, full, d0, d1, d2, d1 ? 0 : 1);
    snprintf(full, sizeof full, "%s.bias", name);
    add(m, full, d0, 0, 0, 0);
}

static void make(struct made *m, struct al_config *c) {
    static const char *const matrices[] = {"attention.q_proj", "attention.k_proj",
                                           "attention.v_proj", "attention.out_proj",
                                           "layer_norm",       "final_layer_norm"};
    char name[90];
    *c = (struct al_config){.projection_norm = true,
                            .normalize = true,
                            .n_convs = 7,
                            .conv_kernel = {10, 3, 3, 3, 3, 2, 2},
                            .conv_stride = {5, 2, 2, 2, 2, 2, 2},
                            .n_state = D,
                            .n_layers = LAYERS,
                            .n_heads = D / 64,
                            .n_ffn = F,
                            .n_vocab = V,
                            .pos_kernel = TAPS,
                            .pos_groups = GROUPS};
    for (size_t i = 0; i < 7; i++) {
        c->conv_dim[i] = C;
        snprintf(name, sizeof name, "feature_extractor.conv_layers.%zu.conv.weight", i);
        add(m, name, C, i ? C : 1, c->conv_kernel[i], 0);
    }
    add_pair(m, "feature_extractor.conv_layers.0.layer_norm", C, 0, 0);
    add_pair(m, "feature_projection.layer_norm", C, 0, 0);
    add_pair(m, "feature_projection.projection", D, C, 0);
    add_pair(m, "encoder.pos_conv_embed.conv", D, D / GROUPS, TAPS);
    add_pair(m, "encoder.layer_norm", D, 0, 0);
    for (size_t i = 0; i < LAYERS; i++) {
        for (size_t k = 0; k < 6; k++) {
            snprintf(name, sizeof name, "encoder.layers.%zu.%s", i, matrices[k]);
            add_pair(m, name, D, k < 4 ? D : 0, 0);
        }
        snprintf(name, sizeof name, "encoder.layers.%zu.feed_forward.intermediate_dense", i);
        add_pair(m, name, F, D, 0);
        snprintf(name, sizeof name, "encoder.layers.%zu.feed_forward.output_dense", i);
        add_pair(m, name, D, F, 0);
    }
    add_pair(m, "lm_head", V, D, 0);
}

/* FLOP of the products of a run of FRAMES frames. */
static double flop(const struct al_config *c) {
    double rows = FRAMES, sum = 0;
    for (size_t i = c->n_convs; i-- > 0;) {
        sum += 2 * rows * C * c->conv_kernel[i] * (i ? C : 1);
        rows = rows * c->conv_stride[i];
    }
    sum += 2.0 * FRAMES * D * (C + (double)TAPS * D / GROUPS + V);
    return sum + 2.0 * FRAMES * LAYERS * (4.0 * D * D + 2.0 * D * F + 2.0 * FRAMES * D);
}

static void measure_network(void *net, const struct al_config *c, double most) {
    size_t n = (FRAMES - 1) * 320 + 400;
    float *pcm = bench_values(n, 0.1f, 0), *logp = malloc(sizeof *logp * FRAMES * V);
    struct num_err err = {0};
    double best = 1e9;
    for (int i = 0; i <= ROUNDS; i++) {
        double start = bench_now_s();
        if (al_backend_cuda.listen(net, pcm, n, &err) ||
            al_backend_cuda.run(net, 0, FRAMES, NULL, logp, &err))
            bench_die("a run", err.text);
        if (i && bench_now_s() - start < best)
            best = bench_now_s() - start;
    }
    printf("{\"name\": \"align network, wav2vec2-base, 30 s, bf16\", \"ms\": %.3f, "
           "\"tflop_per_s\": %.1f, "
           "\"share\": %.3f}\n",
           1e3 * best, flop(c) / best / 1e12, flop(c) / best / most);
    free(pcm);
    free(logp);
}

static void measure_paths(void *net) {
    static uint32_t tokens[TOKENS];
    static struct al_span spans[TEXTS][TOKENS];
    struct al_span *lists[TEXTS];
    struct al_ctc texts[TEXTS];
    struct num_err err = {0};
    uint32_t state = 1;
    float *logp = bench_values((size_t)FRAMES * COLUMNS, 4, -4);
    double best = 1e9;
    for (size_t i = 0; i < TOKENS; i++)
        tokens[i] = 1 + (uint32_t)((bench_random(&state) + 1) / 2 * (COLUMNS - 2));
    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = (struct al_ctc){logp, FRAMES, COLUMNS, tokens, TOKENS};
        lists[i] = spans[i];
    }
    for (int i = 0; i <= ROUNDS; i++) {
        double start = bench_now_s();
        if (al_backend_cuda.align(net, texts, lists, TEXTS, NULL, &err))
            bench_die("paths", err.text);
        if (i && bench_now_s() - start < best)
            best = bench_now_s() - start;
    }
    printf("{\"name\": \"align paths, %d texts of 30 s and %d tokens\", \"ms\": %.3f, "
           "\"us_per_text\": %.1f}\n",
           TEXTS, TOKENS, 1e3 * best, 1e6 * best / TEXTS);
    free(logp);
}

int main(void) {
    static struct made made;
    struct al_config config;
    struct num_err err = {0};
    void *net = NULL;
    bench_need_card();
    make(&made, &config);
    struct num_safetensors file = {.tensors = made.tensors, .n_tensors = made.n};
    const struct al_files files = {&file, 1};
    const struct al_net_options options = {
        .compute = NUM_COMPUTE_BF16, .n_threads = 1, .max_frames = FRAMES};
    double most = bench_flop_per_s();
    if (al_backend_cuda.create(&files, &config, &options, &net, &err))
        bench_die("the model", err.text);
    measure_network(net, &config, most);
    measure_paths(net);
    al_backend_cuda.destroy(net);
    return 0;
}

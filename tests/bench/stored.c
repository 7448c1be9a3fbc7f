/*
 * A decoder's steps with weights of every block type as they are stored, beside the same shape with
 * weights packed as bytes, in turns:
 *
 *     bench_stored SHAPE N_THREADS [ROUNDS]        SHAPE: tiny, base or small
 *
 * Prints for each type the megabytes of weights that a step reads, milliseconds (best of ROUNDS) of
 * a step with one row, with five, and of a prompt of 200 tokens, gigabytes a second of the first,
 * and how many times faster than packed bytes each is. The encoder has one layer: it is not
 * measured.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ceilings.h"
#include "unit/whisper/make_model.h"
#include "whisper/cpu.h"

#define MAX_MODELS 10
#define N_PROMPT   200
#define N_BEAMS    5

struct model {
    const char *name;
    struct made *made;
    struct num_weights *views;
    struct wh_cpu *cpu;
    double step_mb, best[3]; /* ms: one row, five, a prompt */
};

static void must(int32_t status, const struct num_err *err) {
    if (status) {
        fprintf(stderr, "bench_stored: %s\n", err->text);
        exit(1);
    }
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct num_weights *)a)->name, ((const struct num_weights *)b)->name);
}

static double layer_mb(const struct wh_linear *l) {
    size_t bytes =
        l->stored.k ? l->stored.n_out * l->stored.row_bytes : l->packed.n_out * l->packed.k;
    return 1e-6 * (double)bytes;
}

static double step_mb(const struct wh_cpu *cpu) {
    double mb = layer_mb(&cpu->vocabulary);
    for (uint32_t i = 0; i < cpu->dims.n_text_layers; i++) {
        const struct wh_decoder_layer *l = &cpu->decoder[i];
        mb += layer_mb(&l->qkv) + layer_mb(&l->out) + layer_mb(&l->cross_q) +
              layer_mb(&l->cross_out) + layer_mb(&l->fc1) + layer_mb(&l->fc2);
    }
    return mb;
}

static void load(struct model *m, const struct wh_dims *dims, enum num_weight_type type,
                 uint32_t n_threads, const float *mel) {
    struct wh_limits limits = {n_threads, 1, N_BEAMS, WH_COMPUTE_INT8};
    struct num_err err = {0};
    uint32_t slot = 0;
    void *self;
    *m = (struct model){.name = type == NUM_WEIGHT_F16 ? "packed" : num_weight_name(type),
                        .made = made_create(dims, type, 3),
                        .best = {1e9, 1e9, 1e9}};
    m->views = calloc(m->made->n_tensors, sizeof *m->views);
    for (size_t i = 0; i < m->made->n_tensors; i++) {
        m->views[i] = m->made->tensors[i].view;
        m->views[i].name = m->made->tensors[i].ours;
    }
    qsort(m->views, m->made->n_tensors, sizeof *m->views, by_name);
    struct wh_weights weights = {m->views, m->made->n_tensors, "random", false, "the shape"};
    must(wh_backend_cpu.load(&weights, dims, &limits, &self, &err), &err);
    m->cpu = self;
    m->step_mb = step_mb(m->cpu);
    must(wh_backend_cpu.encode(self, &mel, &slot, 1, NULL, &err), &err);
}

static void note(double *best, double start_s) {
    double ms = 1e3 * (bench_now_s() - start_s);
    *best = ms < *best ? ms : *best;
}

/* Prompts of 26 tokens, then 8 steps each of one row and of five, then the long prompt. */
static void run_round(struct model *m, float *logits) {
    const struct wh_backend *b = &wh_backend_cpu;
    struct num_err err = {0};
    int32_t tokens[N_PROMPT];
    struct wh_step steps[N_BEAMS];
    for (int i = 0; i < N_PROMPT; i++)
        tokens[i] = i * 97;
    for (uint32_t r = 0; r < N_BEAMS; r++) {
        struct wh_prompt prompt = {r, 0, tokens, 26, 25, logits};
        must(b->prefill(m->cpu, &prompt, 1, &err), &err);
        steps[r] = (struct wh_step){r, 100 + (int32_t)r};
    }
    for (int i = 0; i < 16; i++) {
        double start = bench_now_s();
        must(b->step(m->cpu, steps, i < 8 ? 1 : N_BEAMS, logits, &err), &err);
        note(&m->best[i / 8], start);
    }
    struct wh_prompt prompt = {0, 0, tokens, N_PROMPT, N_PROMPT - 1, logits};
    double start = bench_now_s();
    must(b->prefill(m->cpu, &prompt, 1, &err), &err);
    note(&m->best[2], start);
}

static struct wh_dims dims_of(const char *shape) {
    static const struct {
        const char *name;
        uint32_t width, layers, heads;
    } all[] = {{"tiny", 384, 4, 6}, {"base", 512, 6, 8}, {"small", 768, 12, 12}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(shape, all[i].name) == 0) {
            struct wh_dims d = made_dims(80, all[i].width, 51865, all[i].layers);
            d.n_audio_layers = 1;
            d.n_audio_ctx = 1500;
            d.n_text_ctx = 448;
            d.n_audio_heads = d.n_text_heads = all[i].heads;
            return d;
        }
    fprintf(stderr, "bench_stored: SHAPE is tiny, base or small\n");
    exit(2);
}

int main(int argc, char **argv) {
    static struct model models[MAX_MODELS];
    if (argc < 3) {
        fprintf(stderr, "usage: bench_stored SHAPE N_THREADS [ROUNDS]\n");
        return 2;
    }
    struct wh_dims dims = dims_of(argv[1]);
    uint32_t n_threads = (uint32_t)atoi(argv[2]), n = 0;
    int rounds = argc > 3 ? atoi(argv[3]) : 10;
    size_t n_mel = 2ul * dims.n_audio_ctx * dims.n_mels;
    float *mel = calloc(n_mel, sizeof *mel);
    float *logits = malloc((size_t)N_BEAMS * dims.n_vocab * sizeof *logits);
    load(&models[n++], &dims, NUM_WEIGHT_F16, n_threads, mel);
    for (int type = NUM_WEIGHT_Q4_0; type <= NUM_WEIGHT_Q6_K; type++)
        if (dims.n_state % num_weight_block((enum num_weight_type)type) == 0)
            load(&models[n++], &dims, (enum num_weight_type)type, n_threads, mel);
    for (int i = 0; i < rounds; i++)
        for (uint32_t j = 0; j < n; j++)
            run_round(&models[j], logits);
    printf("%s, %u threads, %s\n", argv[1], n_threads, models[0].cpu->quant->name);
    for (uint32_t j = 0; j < n; j++) {
        const struct model *m = &models[j];
        const double *p = models[0].best;
        printf("%-6s %7.1f MB  step %7.3f ms %5.1f GB/s %5.2fx  5 rows %7.3f ms %5.2fx  "
               "prompt %7.1f ms %5.2fx\n",
               m->name, m->step_mb, m->best[0], m->step_mb / m->best[0], p[0] / m->best[0],
               m->best[1], p[1] / m->best[1], m->best[2], p[2] / m->best[2]);
    }
    for (uint32_t j = 0; j < n; j++) {
        wh_backend_cpu.free(models[j].cpu);
        free(models[j].views);
        made_free(models[j].made);
    }
    free(mel);
    free(logits);
    return 0;
}

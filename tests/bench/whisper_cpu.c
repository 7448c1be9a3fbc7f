/*
 * The CPU backend on random weights in the shapes of published models, beside what the machine can
 * do at most, measured in the same run:
 *
 *     bench_whisper_cpu SHAPE COMPUTE N_THREADS [ROUNDS [FOLDER]]
 *
 *     SHAPE    tiny, base or small      COMPUTE  f32, bf16 or int8
 *     FOLDER   with model.safetensors of that shape, in place of weights made up here
 *
 * Prints one JSON object: milliseconds (best of ROUNDS, and median) to encode a window of 30 s, of
 * a decoder step with 1 and with 5 rows at position 30, and of both together (a window, a prompt of
 * 4 and 60 tokens); operations and bytes of them; ceilings; shares of the ceilings; peak memory.
 *
 * "bound": the encoder's products at the peak of the type that each runs in, in a loop of
 * registers; "cached": with operands from the caches, which matters to matrix tiles; "cpu":
 * processor time of each thread in the place of the clock's, for machines that others use too.
 * "read": the bytes of a step (weights, vocabulary, cross-attention's keys and values) at the speed
 * of reading as many bytes.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/ceilings.h"
#include "num/cpu/linear.h"
#include "whisper/files.h"
#include "whisper/model.h"

#define MAX_TENSORS 1000
#define MAX_ROUNDS  200
#define N_TOKENS    60
#define N_BEAMS     5

struct shape {
    const char *name;
    uint32_t width, layers, heads;
};

static const struct shape shapes[] = {
    {"tiny", 384, 4, 6}, {"base", 512, 6, 8}, {"small", 768, 12, 12}};
static const char *const computes[] = {"f32", "bf16", "int8", "auto"};

/* ---- Random weights ------------------------------------------------------------------------- */

struct weights {
    struct num_weights views[MAX_TENSORS];
    size_t n;
    uint32_t seed;
};

/* Halves between 2^-6 and 2^-4, of either sign; or all the same. */
static void add(struct weights *w, const char *name, uint64_t a, uint64_t b, uint64_t c,
                int32_t value) {
    struct num_weights *v = &w->views[w->n++];
    uint64_t bytes, n = a * (b ? b : 1) * (c ? c : 1);
    *v = (struct num_weights){strdup(name), NUM_WEIGHT_F16, 1u + (b > 0) + (c > 0), {a, b, c}};
    num_weights_measure(v, &bytes);
    uint16_t *data = malloc(bytes);
    for (uint64_t i = 0; i < n; i++) {
        w->seed = w->seed * 1664525u + 1013904223u;
        data[i] = value >= 0 ? (uint16_t)value : (uint16_t)(0x2400 | (w->seed >> 8 & 0x87ff));
    }
    v->data = data;
}

static void add_pair(struct weights *w, const char *prefix, const char *name, uint64_t n_out,
                     uint64_t k, bool bias) {
    char full[200];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    add(w, full, n_out, k, 0, k ? -1 : 0x3c00);
    snprintf(full, sizeof full, "%s%s.bias", prefix, name);
    if (bias)
        add(w, full, n_out, 0, 0, 0);
}

static void add_attention(struct weights *w, const char *prefix, const char *name, uint64_t D) {
    char full[200];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    add_pair(w, full, ".q_proj", D, D, true);
    add_pair(w, full, ".k_proj", D, D, false);
    add_pair(w, full, ".v_proj", D, D, true);
    add_pair(w, full, ".out_proj", D, D, true);
    snprintf(full, sizeof full, "%s%s_layer_norm", prefix, name);
    add_pair(w, full, "", D, 0, true);
}

static void add_tower(struct weights *w, const char *tower, const struct wh_dims *s, uint32_t n) {
    uint64_t D = s->n_state, F = s->n_text_ffn;
    char prefix[100];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(prefix, sizeof prefix, "model.%s.layers.%u.", tower, i);
        add_attention(w, prefix, "self_attn", D);
        if (tower[0] == 'd')
            add_attention(w, prefix, "encoder_attn", D);
        add_pair(w, prefix, "final_layer_norm", D, 0, true);
        add_pair(w, prefix, "fc1", F, D, true);
        add_pair(w, prefix, "fc2", D, F, true);
    }
    snprintf(prefix, sizeof prefix, "model.%s.layer_norm", tower);
    add_pair(w, prefix, "", D, 0, true);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct num_weights *)a)->name, ((const struct num_weights *)b)->name);
}

static struct wh_weights random_weights(struct weights *w, const struct wh_dims *s) {
    uint64_t D = s->n_state;
    *w = (struct weights){.seed = 1};
    add(w, "model.encoder.conv1.weight", D, s->n_mels, 3, -1);
    add(w, "model.encoder.conv1.bias", D, 0, 0, 0);
    add(w, "model.encoder.conv2.weight", D, D, 3, -1);
    add(w, "model.encoder.conv2.bias", D, 0, 0, 0);
    add(w, "model.encoder.embed_positions.weight", s->n_audio_ctx, D, 0, -1);
    add(w, "model.decoder.embed_positions.weight", s->n_text_ctx, D, 0, -1);
    add(w, "model.decoder.embed_tokens.weight", s->n_vocab, D, 0, -1);
    add_tower(w, "encoder", s, s->n_audio_layers);
    add_tower(w, "decoder", s, s->n_text_layers);
    qsort(w->views, w->n, sizeof *w->views, by_name);
    return (struct wh_weights){.tensors = w->views, .n_tensors = w->n, .path = "random weights"};
}

static void random_weights_free(struct weights *w) {
    for (size_t i = 0; i < w->n; i++) {
        free((void *)w->views[i].name);
        free((void *)w->views[i].data);
    }
}

/* ---- Counting ------------------------------------------------------------------------------- */

struct counts {
    double layer_ops, act_ops; /* of the encoder: in the weights' type, and in that of attention */
    double step_bytes;         /* of one row */
};

static struct counts count(const struct wh_dims *s, enum num_compute type) {
    double D = s->n_state, F = s->n_audio_ffn, T = s->n_audio_ctx, L = s->n_audio_layers;
    double act_bytes = type == NUM_COMPUTE_F32 ? 4 : 2;
    struct counts c;
    c.layer_ops = 2 * T * (L * (4 * D * D + 2 * D * F) + s->n_text_layers * 2 * D * D);
    c.act_ops = 2 * (2 * T * 3 * s->n_mels * D + T * 3 * D * D) + L * 4 * T * T * D;
    double layer = (double)(num_linear_bytes(type, 3 * s->n_state, s->n_state) +
                            3 * num_linear_bytes(type, s->n_state, s->n_state) +
                            num_linear_bytes(type, s->n_text_ffn, s->n_state) +
                            num_linear_bytes(type, s->n_state, s->n_text_ffn));
    c.step_bytes = s->n_text_layers * (layer + 2 * T * D * act_bytes) +
                   (double)num_linear_bytes(type, s->n_vocab, s->n_state);
    return c;
}

/* ---- Measuring ------------------------------------------------------------------------------ */

struct bench {
    void *model;
    struct wh_dims dims;
    float *mel, *logits;
    int rounds;
    struct num_err err;
};

struct times {
    double best, median;
};

static void stop(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void must(struct bench *b, int32_t status) {
    if (status)
        stop(b->err.text);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static struct times summary(double *ms, int n) {
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    return (struct times){ms[0], ms[n / 2]};
}

static void encode(struct bench *b) {
    uint32_t slot = 0;
    must(b,
         wh_backend_cpu.encode(b->model, (const float *const *)&b->mel, &slot, 1, NULL, &b->err));
}

static void prefill(struct bench *b, uint32_t row, uint32_t n) {
    int32_t tokens[64];
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(i * 701 % b->dims.n_vocab);
    struct wh_prompt prompt = {row, 0, tokens, n, n - 1, b->logits};
    must(b, wh_backend_cpu.prefill(b->model, &prompt, 1, &b->err));
}

static void step(struct bench *b, uint32_t n_rows, int32_t token) {
    struct wh_step steps[N_BEAMS];
    for (uint32_t r = 0; r < n_rows; r++)
        steps[r] = (struct wh_step){r, token + (int32_t)r};
    must(b, wh_backend_cpu.step(b->model, steps, n_rows, b->logits, &b->err));
}

static double cpu_now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Also the least processor time, in ms for each thread, which does not count what others take. */
static struct times time_encode(struct bench *b, uint32_t n_threads, double *ret_cpu_ms) {
    double ms[MAX_ROUNDS], least = INFINITY;
    for (int i = 0; i < b->rounds; i++) {
        double start = bench_now_s(), cpu = cpu_now_s();
        encode(b);
        ms[i] = 1e3 * (bench_now_s() - start);
        least = fmin(least, 1e3 * (cpu_now_s() - cpu) / n_threads);
    }
    *ret_cpu_ms = least;
    return summary(ms, b->rounds);
}

/* Steps at positions 26 to 33, time and again. */
static struct times time_step(struct bench *b, uint32_t n_rows) {
    double ms[MAX_ROUNDS * 8];
    for (int i = 0; i < b->rounds; i++) {
        for (uint32_t r = 0; r < n_rows; r++)
            prefill(b, r, 26);
        for (int j = 0; j < 8; j++) {
            double start = bench_now_s();
            step(b, n_rows, 100 + j);
            ms[i * 8 + j] = 1e3 * (bench_now_s() - start);
        }
    }
    return summary(ms, b->rounds * 8);
}

static struct times time_all(struct bench *b) {
    double ms[MAX_ROUNDS];
    for (int i = 0; i < b->rounds; i++) {
        double start = bench_now_s();
        encode(b);
        prefill(b, 0, 4);
        for (int j = 1; j < N_TOKENS; j++)
            step(b, 1, 100 + j);
        ms[i] = 1e3 * (bench_now_s() - start);
    }
    return summary(ms, b->rounds);
}

/* A line of the process's status in MB: VmHWM, the peak, or VmRSS. ru_maxrss would also count what
 * the parent held. */
static double memory_mb(const char *key) {
    char line[200];
    double mb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            mb = strtod(line + strlen(key) + 1, NULL) * 1.024e-3;
    if (f)
        fclose(f);
    return mb;
}

static const struct shape *find_shape(const char *name) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    stop("SHAPE is tiny, base or small");
    return NULL;
}

static enum wh_compute find_compute(const char *name) {
    for (size_t i = 0; i < sizeof computes / sizeof *computes; i++)
        if (strcmp(computes[i], name) == 0)
            return (enum wh_compute)i;
    stop("COMPUTE is f32, bf16, int8 or auto");
    return WH_COMPUTE_F32;
}

static struct wh_dims dims_of(const struct shape *shape) {
    return (struct wh_dims){.n_mels = 80,
                            .n_audio_ctx = 1500,
                            .n_text_ctx = 448,
                            .n_state = shape->width,
                            .n_vocab = 51865,
                            .n_audio_layers = shape->layers,
                            .n_audio_heads = shape->heads,
                            .n_audio_ffn = 4 * shape->width,
                            .n_text_layers = shape->layers,
                            .n_text_heads = shape->heads,
                            .n_text_ffn = 4 * shape->width};
}

/* Returns the seconds it took. */
static double load(struct bench *b, enum wh_compute compute, uint32_t n_threads,
                   const char *folder) {
    struct wh_limits limits = {n_threads, 1, N_BEAMS, compute};
    struct weights *made = calloc(1, sizeof *made);
    struct wh_files *files = NULL;
    struct wh_weights weights;
    if (folder)
        must(b, wh_files_open(folder, &files, &b->err));
    weights = folder ? files->weights : random_weights(made, &b->dims);
    double start = bench_now_s();
    must(b, wh_backend_cpu.load(&weights, &b->dims, &limits, &b->model, &b->err));
    start = bench_now_s() - start;
    random_weights_free(made);
    free(made);
    wh_files_close(files);
    return start;
}

static void print(const char *name, struct times t) {
    printf(", \"%s_ms\": %.3f, \"%s_median_ms\": %.3f", name, t.best, name, t.median);
}

int main(int argc, char **argv) {
    struct bench b = {.rounds = argc > 4 ? atoi(argv[4]) : 10};
    struct num_pool *pool;
    if (argc < 4)
        stop("usage: bench_whisper_cpu SHAPE COMPUTE N_THREADS [ROUNDS [FOLDER]]");
    b.rounds = b.rounds < 1 ? 1 : b.rounds > MAX_ROUNDS ? MAX_ROUNDS : b.rounds;
    b.dims = dims_of(find_shape(argv[1]));
    enum wh_compute compute = find_compute(argv[2]);
    const struct num_kernels *kernels = num_kernels();
    enum num_compute type =
        compute == WH_COMPUTE_AUTO ? NUM_COMPUTE_BF16 : (enum num_compute)compute;
    enum num_compute act = type == NUM_COMPUTE_F32 ? NUM_COMPUTE_F32 : NUM_COMPUTE_BF16;
    uint32_t n_threads = (uint32_t)atoi(argv[3]);
    size_t n_mel = 2 * (size_t)b.dims.n_audio_ctx * b.dims.n_mels;
    b.mel = malloc(n_mel * sizeof *b.mel);
    b.logits = malloc(N_BEAMS * b.dims.n_vocab * sizeof *b.logits);
    for (size_t i = 0; b.mel && i < n_mel; i++)
        b.mel[i] = (float)(i * 7919 % 2000) / 1000 - 1;
    if (!b.mel || !b.logits || num_pool_create(n_threads, &pool, &b.err))
        stop("no memory or threads");
    double load_s = load(&b, compute, n_threads, argc > 5 ? argv[5] : NULL);
    double after_load_mb = memory_mb("VmRSS");
    struct counts c = count(&b.dims, type);
    double peak[2] = {0}, cached[2] = {0}, read_step = 0, read_dram = 0;
    double encode_cpu;
    encode(&b);
    struct times enc = time_encode(&b, n_threads, &encode_cpu), one = time_step(&b, 1),
                 five = time_step(&b, N_BEAMS);
    struct times all = time_all(&b);
    double peak_mb = memory_mb("VmHWM");
    peak[0] = ceiling_products(pool, kernels, type, 20);
    peak[1] = ceiling_products(pool, kernels, act, 20);
    cached[0] = ceiling_cached(pool, kernels, type, 20);
    cached[1] = ceiling_cached(pool, kernels, act, 20);
    read_step = ceiling_read(pool, (size_t)c.step_bytes, 30);
    read_dram = ceiling_read(pool, (size_t)512 << 20, 5);
    double bound = 1e3 * (c.layer_ops / peak[0] + c.act_ops / peak[1]);
    double cached_ms = 1e3 * (c.layer_ops / cached[0] + c.act_ops / cached[1]);
    double read_ms = 1e3 * c.step_bytes / read_step;
    printf("{\"shape\": \"%s\", \"compute\": \"%s\", \"kernels\": \"%s\", \"threads\": %u", argv[1],
           argv[2], kernels->name, n_threads);
    print("encode", enc);
    print("step1", one);
    print("step5", five);
    print("window60", all);
    printf(", \"encode_gop\": %.1f, \"peak_gops\": %.0f, \"peak_act_gops\": %.0f"
           ", \"bound_ms\": %.2f, \"encode_share\": %.3f",
           1e-9 * (c.layer_ops + c.act_ops), 1e-9 * peak[0], 1e-9 * peak[1], bound,
           bound / enc.best);
    printf(", \"cached_gops\": %.0f, \"cached_ms\": %.2f, \"encode_cached_share\": %.3f"
           ", \"encode_cpu_ms\": %.2f, \"encode_cpu_share\": %.3f",
           1e-9 * cached[0], cached_ms, cached_ms / enc.best, encode_cpu, bound / encode_cpu);
    printf(", \"step_mb\": %.1f, \"read_gbs\": %.1f, \"read_512mb_gbs\": %.1f, \"read_ms\": %.3f"
           ", \"step1_share\": %.3f",
           1e-6 * c.step_bytes, 1e-9 * read_step, 1e-9 * read_dram, read_ms, read_ms / one.best);
    printf(", \"load_s\": %.2f, \"loaded_mb\": %.0f, \"peak_mb\": %.0f}\n", load_s, after_load_mb,
           peak_mb);
    wh_backend_cpu.free(b.model);
    num_pool_destroy(pool);
    free(b.mel);
    free(b.logits);
    return 0;
}

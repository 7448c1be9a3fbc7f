/*
 * Models of random weights in several shapes against what Hugging Face's Whisper makes of them
 * (tests/data/expected/hf.safetensors, written by tools/reference/hf.py): features, encoder
 * states, logits and greedy tokens, all in compute: f32. Both sides make the same weights and
 * sounds from seeds, and sum floats in different orders:
 *     features        1e-4: a step of the other side's own float32 Fourier transform
 *     encoder states  1e-4 and logits 3e-4, values of the order of 1 and 3, through 6 layers
 *     tokens          equal (the two likeliest lie further apart than that)
 */
#include "unit/whisper/toy.h"

#include "num/mel.h"

#define FEATURES_TOLERANCE 1e-4
#define ENCODER_TOLERANCE  1e-4
#define LOGITS_TOLERANCE   3e-4

enum { N_INPUTS = 3, N_TOKENS = 24, N_PROMPT = 4, COLUMNS = 96, MAX_TENSORS = 300 };

struct tower {
    uint32_t layers, heads, ffn;
};

struct shape {
    const char *name;
    uint32_t number, M, T, C, D, V;
    struct tower encoder, decoder;
};

static const struct shape small = {"small", 0, 80, 250, 64, 64, 1000, {2, 2, 128}, {2, 4, 256}};
static const struct shape mels128 = {"mels128", 1,     128,         500,        64,
                                     128,       51866, {3, 2, 512}, {1, 4, 384}};
static const struct shape tiny = {"tiny", 2, 80, 1500, 448, 384, 51865, {4, 6, 1536}, {4, 6, 1536}};
static const struct shape tiny_en = {"tiny.en", 3,     80,           1500,        448,
                                     384,       51864, {4, 6, 1536}, {4, 6, 1536}};
static const struct shape base = {"base", 4, 80, 1500, 448, 512, 51865, {6, 8, 2048}, {6, 8, 2048}};

/* ---- Weights -------------------------------------------------------------------------------- */

struct random_model {
    const struct shape *shape;
    uint64_t seed;
    struct num_weights tensors[MAX_TENSORS];
    char names[MAX_TENSORS][96];
    size_t n;
};

/* Tensor number m->n: (d0, d1, d2), trailing zeros left out. */
static void add(struct random_model *m, const char *prefix, const char *name, uint64_t d0,
                uint64_t d1, uint64_t d2, double mean, double deviation) {
    CHECK(m->n < MAX_TENSORS);
    struct num_weights *w = &m->tensors[m->n];
    uint64_t bytes;
    snprintf(m->names[m->n], sizeof m->names[0], "%s%s", prefix, name);
    *w = (struct num_weights){.name = m->names[m->n],
                              .type = NUM_WEIGHT_F32,
                              .n_dims = d1 ? d2 ? 3 : 2 : 1,
                              .shape = {d0, d1, d2}};
    CHECK(num_weights_measure(w, &bytes));
    float *values = malloc(bytes);
    for (uint64_t i = 0; i < bytes / 4; i += 4) {
        struct num_philox block =
            num_philox((struct num_philox){{(uint32_t)(i / 4), (uint32_t)m->n, 0, 0}}, m->seed);
        for (uint64_t j = 0; j < 4 && i + j < bytes / 4; j++)
            values[i + j] =
                (float)(mean + (2 * num_uniform(block.v[j]) - 1) * sqrt(3.0) * deviation);
    }
    w->data = values;
    m->n++;
}

static void add_linear(struct random_model *m, const char *prefix, const char *name, uint64_t n_out,
                       uint64_t n_in, double gain, bool bias) {
    char full[96];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    add(m, full, ".weight", n_out, n_in, 0, 0, gain / sqrt((double)n_in));
    if (bias)
        add(m, full, ".bias", n_out, 0, 0, 0, 0.05);
}

static void add_norm(struct random_model *m, const char *prefix, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    add(m, full, ".weight", m->shape->D, 0, 0, 1, 0.1);
    add(m, full, ".bias", m->shape->D, 0, 0, 0, 0.1);
}

static void add_attention(struct random_model *m, const char *prefix, const char *name) {
    char full[96];
    uint64_t D = m->shape->D;
    snprintf(full, sizeof full, "%s%s.", prefix, name);
    add_linear(m, full, "q_proj", D, D, 2, true);
    add_linear(m, full, "k_proj", D, D, 2, false);
    add_linear(m, full, "v_proj", D, D, 1, true);
    add_linear(m, full, "out_proj", D, D, 2, true);
}

static void add_tower(struct random_model *m, bool decoder) {
    const struct shape *s = m->shape;
    const struct tower *tower = decoder ? &s->decoder : &s->encoder;
    const char *p = decoder ? "model.decoder." : "model.encoder.";
    if (!decoder) {
        add(m, p, "conv1.weight", s->D, s->M, 3, 0, 2 / sqrt(3.0 * s->M));
        add(m, p, "conv1.bias", s->D, 0, 0, 0, 0.1);
        add(m, p, "conv2.weight", s->D, s->D, 3, 0, 2 / sqrt(3.0 * s->D));
        add(m, p, "conv2.bias", s->D, 0, 0, 0, 0.1);
    } else {
        add(m, p, "embed_tokens.weight", s->V, s->D, 0, 0, 3 / sqrt((double)s->D));
    }
    add(m, p, "embed_positions.weight", decoder ? s->C : s->T, s->D, 0, 0, decoder ? 2 : 0.3);
    for (uint32_t i = 0; i < tower->layers; i++) {
        char layer[64];
        snprintf(layer, sizeof layer, "%slayers.%u.", p, i);
        add_norm(m, layer, "self_attn_layer_norm");
        add_attention(m, layer, "self_attn");
        if (decoder) {
            add_norm(m, layer, "encoder_attn_layer_norm");
            add_attention(m, layer, "encoder_attn");
        }
        add_norm(m, layer, "final_layer_norm");
        add_linear(m, layer, "fc1", tower->ffn, s->D, 1, true);
        add_linear(m, layer, "fc2", s->D, tower->ffn, 4, true);
    }
    add_norm(m, p, "layer_norm");
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct num_weights *)a)->name, ((const struct num_weights *)b)->name);
}

/* The backend with the shape's random weights. */
static void *load(const struct shape *s, const struct wh_dims *dims, uint64_t seed) {
    static struct random_model m;
    struct num_err err = {0};
    struct wh_limits limits = {2, 1, 1, WH_COMPUTE_F32};
    void *self;
    m.shape = s;
    m.seed = seed;
    m.n = 0;
    add_tower(&m, false);
    add_tower(&m, true);
    qsort(m.tensors, m.n, sizeof *m.tensors, by_name);
    struct wh_weights weights = {.tensors = m.tensors, .n_tensors = m.n, .path = "random"};
    if (wh_backend_cpu.load(&weights, dims, &limits, &self, &err))
        TEST_FAIL("%s", err.text);
    for (size_t i = 0; i < m.n; i++)
        free((void *)(uintptr_t)m.tensors[i].data);
    return self;
}

/* ---- Comparing ------------------------------------------------------------------------------ */

struct worst {
    double features, encoder, logits;
};

static const void *expected(const struct num_safetensors *st, const struct shape *s, uint32_t input,
                            const char *what, uint64_t n) {
    char name[64];
    snprintf(name, sizeof name, "%s.%u.%s", s->name, input, what);
    const struct num_tensor *t = num_safetensors_find(st, name);
    CHECK(t != NULL);
    CHECK_INT(t->n_elements, n);
    return t->data;
}

static void note(double *worst, const float *got, const float *want, size_t n, double tolerance) {
    double off = max_difference(got, want, n);
    *worst = off > *worst || isnan(off) ? off : *worst;
    CHECK_NEAR(off, 0, tolerance);
}

/* Three rows (n apart at 0, and so on) of x beside the stored ones. */
static void note_rows(double *worst, const float *x, const size_t rows[3], size_t n,
                      const float *want, double tolerance) {
    for (size_t i = 0; i < 3; i++)
        note(worst, x + rows[i] * n, want + i * n, n, tolerance);
}

/* The stored columns of a row of logits. */
static void note_logits(struct worst *worst, const float *logits, uint32_t V, const float *want) {
    float got[COLUMNS];
    for (uint64_t i = 0; i < COLUMNS; i++)
        got[i] = logits[i * 5407 % V];
    note(&worst->logits, got, want, COLUMNS, LOGITS_TOLERANCE);
}

static float *features_of(const struct shape *s, uint32_t input) {
    struct num_mel *mel;
    struct num_pool *pool;
    struct num_err err = {0};
    size_t n = (2 + (size_t)input) * 16000, n_frames = 2 * (size_t)s->T;
    float *pcm = malloc(n * sizeof *pcm), *x = malloc(n_frames * s->M * sizeof *x);
    toy_sound(10 * s->number + input, n, pcm);

    CHECK_INT(num_mel_create(s->M, &mel, &err), 0);
    CHECK_INT(num_pool_create(1, &pool, &err), 0);
    CHECK_INT(num_mel_log(mel, pool, pcm, n, 0, n_frames, x, &err), 0);
    num_mel_normalise(x, n_frames * s->M, num_mel_max(x, n_frames * s->M), x);
    num_pool_destroy(pool);
    num_mel_destroy(mel);
    free(pcm);
    return x;
}

static int32_t likeliest(const float *logits, uint32_t V) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < V; i++)
        best = logits[i] > logits[best] ? i : best;
    return (int32_t)best;
}

static void check_tokens(void *self, const struct num_safetensors *st, const struct shape *s,
                         uint32_t input, struct worst *worst) {
    const struct wh_backend *backend = &wh_backend_cpu;
    const int32_t *tokens = expected(st, s, input, "tokens", N_TOKENS);
    const float *want = expected(st, s, input, "logits", 2 * COLUMNS);
    struct num_err err = {0};
    int32_t prompt[N_PROMPT];
    float *logits = malloc(s->V * sizeof *logits);
    for (uint32_t k = 0; k < N_PROMPT; k++)
        prompt[k] = (int32_t)((7 + 997 * k + input) % s->V);
    struct wh_prompt start = {0, 0, prompt, N_PROMPT, N_PROMPT - 1, logits};
    CHECK_INT(backend->prefill(self, &start, 1, &err), 0);
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        if (i == 0 || i == N_TOKENS / 2)
            note_logits(worst, logits, s->V, want + (i ? COLUMNS : 0));
        struct wh_step step = {0, likeliest(logits, s->V)};
        CHECK_INT(step.token, tokens[i]);
        CHECK_INT(backend->step(self, &step, 1, logits, &err), 0);
    }
    free(logits);
}

static void check_shape(const struct shape *s) {
    struct num_safetensors st;
    struct num_err err = {0};
    struct worst worst = {0};
    char name[64];
    struct wh_dims dims = {.n_mels = s->M,
                           .n_audio_ctx = s->T,
                           .n_text_ctx = s->C,
                           .n_state = s->D,
                           .n_vocab = s->V,
                           .n_audio_layers = s->encoder.layers,
                           .n_audio_heads = s->encoder.heads,
                           .n_audio_ffn = s->encoder.ffn,
                           .n_text_layers = s->decoder.layers,
                           .n_text_heads = s->decoder.heads,
                           .n_text_ffn = s->decoder.ffn};
    if (num_safetensors_open(TESTS_DIR "/data/expected/hf.safetensors", &st, &err))
        TEST_FAIL("%s", err.text);
    snprintf(name, sizeof name, "%s.seed", s->name);
    const struct num_tensor *seed = num_safetensors_find(&st, name);
    CHECK(seed != NULL);
    void *self = load(s, &dims, (uint64_t) * (const int32_t *)seed->data);
    for (uint32_t input = 0; input < N_INPUTS; input++) {
        float *x = features_of(s, input);
        const float *mel = x;
        uint32_t slot = 0;
        note_rows(&worst.features, x, (size_t[]){0, 100, 2 * s->T - 1}, s->M,
                  expected(&st, s, input, "features", 3ul * s->M), FEATURES_TOLERANCE);
        CHECK_INT(wh_backend_cpu.encode(self, &mel, &slot, 1, NULL, &err), 0);
        note_rows(&worst.encoder, wh_backend_cpu.encoded(self, 0),
                  (size_t[]){0, s->T / 3, s->T - 1}, s->D,
                  expected(&st, s, input, "encoder", 3ul * s->D), ENCODER_TOLERANCE);
        check_tokens(self, &st, s, input, &worst);
        free(x);
    }
    printf("  off by at most %.1g in features, %.1g in encoder states, %.1g in logits; %d tokens "
           "equal\n",
           worst.features, worst.encoder, worst.logits, N_INPUTS * N_TOKENS);
    wh_backend_cpu.free(self);
    num_safetensors_close(&st);
}

TEST(small_with_towers_of_different_shapes) {
    check_shape(&small);
}

TEST(bands_128_and_a_decoder_of_one_layer) {
    check_shape(&mels128);
}

TEST(shape_of_tiny) {
    check_shape(&tiny);
}

TEST(shape_of_tiny_en) {
    check_shape(&tiny_en);
}

TEST(shape_of_base) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SKIP("sanitizers make it too slow");
#endif
    check_shape(&base);
}

TEST_MAIN()

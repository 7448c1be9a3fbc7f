/*
 * A small model of awkward sizes and random weights against plain loops: the whole network as
 * model.h states it, written down once more in double without caches, panels or blocks. Two weight
 * types, sizes that are no multiple of anything, and two languages to tell apart.
 *
 * Tolerance: the backend sums in float. Errors are near 2e-6 here, where logits are of the order
 * of 1.
 */
#include "unit/whisper/clips.h"

#include <sys/stat.h>

#include "whisper/longform.h"

enum { M = 80, T = 133, C = 40, D = 66, H = 3, FA = 70, FT = 45, V = 77, LAYERS = 2 };

#define TOLERANCE 2e-5

static struct num_tensor tensors[200];
static size_t n_tensors;
static uint32_t seed = 7;

static float next_random(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (1 << 23) - 1;
}

/* Adds a random tensor; the values are such that F16 and BF16 hold them exactly. */
static void add(enum num_dtype dtype, const char *name, uint64_t a, uint64_t b, uint64_t c,
                float scale, float mid) {
    struct num_tensor *t = &tensors[n_tensors++];
    uint64_t n = a * (b ? b : 1) * (c ? c : 1);
    float *values = malloc(n * sizeof *values);
    for (uint64_t i = 0; i < n; i++) {
        uint32_t bits;
        float x = mid + scale * next_random();
        memcpy(&bits, &x, 4);
        bits &= 0xffff0000u;
        memcpy(&values[i], &bits, 4);
    }
    *t = (struct num_tensor){strdup(name), dtype, 1 + (b > 0) + (c > 0), {a, b, c}, n, values};
}

static void add_pair(enum num_dtype dtype, const char *prefix, const char *name, uint64_t n_out,
                     uint64_t k, bool bias) {
    char full[200];
    bool norm = k == 0;
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    add(dtype, full, n_out, k, 0, norm ? 0.3f : 0.2f, norm ? 1 : 0);
    snprintf(full, sizeof full, "%s%s.bias", prefix, name);
    if (bias)
        add(dtype, full, n_out, 0, 0, 0.1f, 0);
}

static void add_attention(enum num_dtype dtype, const char *prefix, const char *name) {
    char full[200];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    add_pair(dtype, full, ".q_proj", D, D, true);
    add_pair(dtype, full, ".k_proj", D, D, false);
    add_pair(dtype, full, ".v_proj", D, D, true);
    add_pair(dtype, full, ".out_proj", D, D, true);
    add_pair(dtype, full, "_layer_norm", D, 0, true);
}

static void add_tower(enum num_dtype dtype, const char *tower, uint64_t F, bool cross) {
    char prefix[100];
    for (int i = 0; i < LAYERS; i++) {
        snprintf(prefix, sizeof prefix, "model.%s.layers.%d.", tower, i);
        add_attention(dtype, prefix, "self_attn");
        if (cross)
            add_attention(dtype, prefix, "encoder_attn");
        add_pair(dtype, prefix, "final_layer_norm", D, 0, true);
        add_pair(dtype, prefix, "fc1", F, D, true);
        add_pair(dtype, prefix, "fc2", D, F, true);
    }
    snprintf(prefix, sizeof prefix, "model.%s.layer_norm", tower);
    add_pair(dtype, prefix, "", D, 0, true);
}

static void make_weights(enum num_dtype dtype) {
    add(NUM_F32, "model.encoder.conv1.weight", D, M, 3, 0.1f, 0);
    add(dtype, "model.encoder.conv1.bias", D, 0, 0, 0.1f, 0);
    add(dtype, "model.encoder.conv2.weight", D, D, 3, 0.1f, 0);
    add(dtype, "model.encoder.conv2.bias", D, 0, 0, 0.1f, 0);
    add(dtype, "model.encoder.embed_positions.weight", T, D, 0, 1, 0);
    add(dtype, "model.decoder.embed_tokens.weight", V, D, 0, 0.3f, 0);
    add(dtype, "model.decoder.embed_positions.weight", C, D, 0, 0.3f, 0);
    add_tower(dtype, "encoder", FA, false);
    add_tower(dtype, "decoder", FT, true);
}

/* ---- The folder ----------------------------------------------------------------------------- */

static void write_text(const char *folder, const char *file, const char *text) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void write_weights(const char *folder) {
    char path[200];
    void *header;
    size_t len;
    CHECK_INT(num_safetensors_header(tensors, n_tensors, NULL, 0, 0, &header, &len, NULL), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(header, 1, len, f) == len);
    for (size_t i = 0; i < n_tensors; i++)
        for (uint64_t k = 0; k < tensors[i].n_elements; k++) {
            const uint8_t *value = (const uint8_t *)tensors[i].data + 4 * k;
            bool wide = tensors[i].dtype == NUM_F32;
            CHECK_INT(fwrite(wide ? value : value + 2, wide ? 4 : 2, 1, f), 1);
        }
    CHECK_INT(fclose(f), 0);
    free(header);
}

static void write_folder(const char *folder) {
    char text[4000];
    snprintf(text, sizeof text,
             "{\"num_mel_bins\": %d, \"max_source_positions\": %d, \"max_target_positions\": %d, "
             "\"d_model\": %d, "
             "\"vocab_size\": %d, \"encoder_layers\": %d, \"decoder_layers\": %d, "
             "\"encoder_attention_heads\": %d, "
             "\"decoder_attention_heads\": %d, \"encoder_ffn_dim\": %d, \"decoder_ffn_dim\": %d}",
             M, T, C, D, V, LAYERS, LAYERS, H, H, FA, FT);
    write_text(folder, "config.json", text);
    write_text(folder, "vocab.json", "{\"a\": 0, \"b\": 1, \"c\": 2}");
    write_text(
        folder, "added_tokens.json",
        "{\"<|endoftext|>\": 10, \"<|startoftranscript|>\": 11, \"<|en|>\": 12, \"<|de|>\": 13, "
        "\"<|translate|>\": 14, \"<|transcribe|>\": 15, \"<|nocaptions|>\": 16, "
        "\"<|notimestamps|>\": 17}");
    write_weights(folder);
}

/* ---- The network in plain loops ------------------------------------------------------------- */

static const float *weights(const char *prefix, const char *name) {
    char full[200];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    for (size_t i = 0; i < n_tensors; i++)
        if (strcmp(tensors[i].name, full) == 0)
            return tensors[i].data;
    return NULL; /* the bias of keys */
}

static double *zeros(size_t n) {
    double *x = calloc(n, sizeof *x);
    CHECK(x != NULL);
    return x;
}

/* (rows, n_out) = x (rows, k) W^T + b. */
static double *linear(const double *x, size_t rows, size_t n_out, size_t k, const char *prefix,
                      const char *name) {
    char w_name[200], b_name[200];
    snprintf(w_name, sizeof w_name, "%s.weight", name);
    snprintf(b_name, sizeof b_name, "%s.bias", name);
    const float *w = weights(prefix, w_name), *b = weights(prefix, b_name);
    double *y = zeros(rows * n_out);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < n_out; o++) {
            double sum = b ? b[o] : 0;
            for (size_t i = 0; i < k; i++)
                sum += x[r * k + i] * w[o * k + i];
            y[r * n_out + o] = sum;
        }
    return y;
}

static double *norm(const double *x, size_t rows, const char *prefix, const char *name) {
    char w_name[200], b_name[200];
    snprintf(w_name, sizeof w_name, "%s.weight", name);
    snprintf(b_name, sizeof b_name, "%s.bias", name);
    const float *w = weights(prefix, w_name), *b = weights(prefix, b_name);
    double *y = zeros(rows * D);
    for (size_t r = 0; r < rows; r++) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < D; i++)
            mean += x[r * D + i] / D;
        for (size_t i = 0; i < D; i++)
            variance += (x[r * D + i] - mean) * (x[r * D + i] - mean) / D;
        for (size_t i = 0; i < D; i++)
            y[r * D + i] = (x[r * D + i] - mean) / sqrt(variance + 1e-5) * w[i] + b[i];
    }
    return y;
}

static double gelu(double x) {
    return x / 2 * (1 + erf(x / sqrt(2)));
}

/* x (rows, D) += attention of norm(x) over `memory` (n_memory, D), or over itself where NULL. */
static void attend(double *x, size_t rows, const double *memory, size_t n_memory, bool causal,
                   const char *layer, const char *name) {
    enum { d = D / H };
    char prefix[200], norm_name[200];
    snprintf(prefix, sizeof prefix, "%s%s.", layer, name);
    snprintf(norm_name, sizeof norm_name, "%s_layer_norm", name);
    double *n = norm(x, rows, layer, norm_name), *mixed = zeros(rows * D);
    memory = memory ? memory : n;
    double *q = linear(n, rows, D, D, prefix, "q_proj"),
           *k = linear(memory, n_memory, D, D, prefix, "k_proj");
    double *v = linear(memory, n_memory, D, D, prefix, "v_proj"), p[T + C];
    for (size_t h = 0; h < H; h++)
        for (size_t r = 0; r < rows; r++) {
            size_t len = causal ? r + 1 : n_memory;
            double sum = 0;
            for (size_t t = 0; t < len; t++) {
                double score = 0;
                for (size_t i = 0; i < d; i++)
                    score += q[r * D + h * d + i] * k[t * D + h * d + i];
                sum += p[t] = exp(score / sqrt(d));
            }
            for (size_t t = 0; t < len; t++)
                for (size_t i = 0; i < d; i++)
                    mixed[r * D + h * d + i] += p[t] / sum * v[t * D + h * d + i];
        }
    double *out = linear(mixed, rows, D, D, prefix, "out_proj");
    for (size_t i = 0; i < rows * D; i++)
        x[i] += out[i];
    free(n), free(mixed), free(q), free(k), free(v), free(out);
}

static void mlp(double *x, size_t rows, size_t F, const char *layer) {
    double *n = norm(x, rows, layer, "final_layer_norm"),
           *hidden = linear(n, rows, F, D, layer, "fc1");
    for (size_t i = 0; i < rows * F; i++)
        hidden[i] = gelu(hidden[i]);
    double *out = linear(hidden, rows, D, F, layer, "fc2");
    for (size_t i = 0; i < rows * D; i++)
        x[i] += out[i];
    free(n), free(hidden), free(out);
}

/* x (rows, n_in) convolved with width 3, padding 1, and GELU. */
static double *convolve(const double *x, size_t rows, size_t n_in, size_t stride,
                        const char *name) {
    const float *w = weights(name, ".weight"), *b = weights(name, ".bias");
    size_t n = rows / stride;
    double *y = zeros(n * D);
    for (size_t r = 0; r < n; r++)
        for (size_t o = 0; o < D; o++) {
            double sum = b[o];
            for (size_t tap = 0; tap < 3; tap++)
                for (size_t i = 0; i < n_in; i++)
                    if (r * stride + tap >= 1 && r * stride + tap - 1 < rows)
                        sum += w[(o * n_in + i) * 3 + tap] * x[(r * stride + tap - 1) * n_in + i];
            y[r * D + o] = gelu(sum);
        }
    return y;
}

static double *plain_encoder(const float *mel) {
    double *in = zeros(2 * T * M);
    for (size_t i = 0; i < 2 * T * M; i++)
        in[i] = mel[i];
    double *wide = convolve(in, 2 * T, M, 1, "model.encoder.conv1");
    double *x = convolve(wide, 2 * T, D, 2, "model.encoder.conv2");
    const float *positions = weights("model.encoder.embed_positions", ".weight");
    for (size_t i = 0; i < T * D; i++)
        x[i] += positions[i];
    for (int i = 0; i < LAYERS; i++) {
        char layer[100];
        snprintf(layer, sizeof layer, "model.encoder.layers.%d.", i);
        attend(x, T, NULL, T, false, layer, "self_attn");
        mlp(x, T, FA, layer);
    }
    double *out = norm(x, T, "model.encoder.", "layer_norm");
    free(in), free(wide), free(x);
    return out;
}

static double *plain_decoder(const double *memory, const int32_t *tokens, size_t n) {
    const float *embedding = weights("model.decoder.embed_tokens", ".weight");
    const float *positions = weights("model.decoder.embed_positions", ".weight");
    double *x = zeros(n * D);
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < D; i++)
            x[r * D + i] = (double)embedding[tokens[r] * D + (int32_t)i] + positions[r * D + i];
    for (int i = 0; i < LAYERS; i++) {
        char layer[100];
        snprintf(layer, sizeof layer, "model.decoder.layers.%d.", i);
        attend(x, n, NULL, n, true, layer, "self_attn");
        attend(x, n, memory, T, false, layer, "encoder_attn");
        mlp(x, n, FT, layer);
    }
    double *out = norm(x, n, "model.decoder.", "layer_norm");
    double *logits = linear(out, n, V, D, "model.decoder.", "embed_tokens");
    free(x), free(out);
    return logits;
}

/* ---- The tests ------------------------------------------------------------------------------ */

static void open_odd_model(enum num_dtype dtype, uint32_t n_threads, struct wh_model *m) {
    char folder[TEST_PATH];
    struct num_err err = {0};
    struct wh_limits limits = {n_threads, 1, 2};
    make_test_folder(folder);
    make_weights(dtype);
    write_folder(folder);
    if (wh_model_load(folder, &wh_backend_cpu, &limits, m, &err))
        TEST_FAIL("%s", err.text);
    remove_test_files(folder);
}

static void compare(const char *what, const float *got, const double *want, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(got[i] - want[i]);
        worst = d > worst || isnan(d) ? d : worst;
    }
    printf("  %s: largest difference %.2g\n", what, worst);
    CHECK_NEAR(worst, 0, TOLERANCE);
}

static void check_network(enum num_dtype dtype, uint32_t n_threads) {
    struct wh_model m;
    struct num_err err;
    int32_t tokens[C];
    open_odd_model(dtype, n_threads, &m);
    float *mel = malloc(2 * T * M * sizeof *mel), *logits = malloc(C * V * sizeof *logits);
    for (size_t i = 0; i < 2 * T * M; i++)
        mel[i] = next_random();
    const float *window = mel;
    CHECK_INT(m.backend->encode(m.self, &window, (uint32_t[]){0}, 1, NULL, &err), 0);
    double *memory = plain_encoder(mel);
    compare("encoder", m.backend->encoded(m.self, 0), memory, T * D);

    for (int i = 0; i < C; i++)
        tokens[i] = i * 31 % V;
    struct wh_prompt prompt = {1, 0, tokens, 35, 0, logits};
    CHECK_INT(m.backend->prefill(m.self, &prompt, 1, &err), 0);
    for (int i = 35; i < C; i++)
        CHECK_INT(m.backend->step(m.self, &(struct wh_step){1, tokens[i]}, 1, logits + i * V, &err),
                  0);
    double *want = plain_decoder(memory, tokens, C);
    compare("logits", logits, want, C * V);
    free(mel), free(logits), free(memory), free(want);
    wh_model_finish(&m);
}

TEST(network_of_odd_sizes_in_bf16) {
    check_network(NUM_BF16, 1);
}

TEST(network_of_odd_sizes_in_f32_on_three_threads) {
    check_network(NUM_F32, 3);
}

TEST(language_is_the_likelier_one) {
    struct wh_model m;
    struct wh_longform *lf;
    struct wh_report report;
    struct num_err err = {0};
    open_odd_model(NUM_BF16, 1, &m);
    CHECK_INT(m.tokens.n_languages, 2);
    CHECK_INT(m.tokens.no_speech, 16);
    struct wh_options options = options_greedy();
    CHECK_INT(wh_longform_create(&m, &lf, &err), 0);
    static float pcm[16000];
    for (size_t i = 0; i < 16000; i++)
        pcm[i] = next_random() / 4;
    CHECK_INT(wh_longform_run(lf, &(struct wh_input){pcm, 16000, NULL, 0}, &options,
                              &(struct wh_listener){0}, &report, &err),
              0);

    float logits[V];
    struct wh_prompt prompt = {0, 0, &m.tokens.sot, 1, 0, logits};
    /* The window is still in its slot. */
    CHECK_INT(m.backend->prefill(m.self, &prompt, 1, &err), 0);
    CHECK_STR(report.language, logits[13] > logits[12] ? "de" : "en");
    options.language = "de";
    CHECK_INT(wh_longform_run(lf, &(struct wh_input){pcm, 16000, NULL, 0}, &options,
                              &(struct wh_listener){0}, &report, &err),
              0);
    CHECK_STR(report.language, "de");
    wh_longform_destroy(lf);
    wh_model_finish(&m);
}

TEST_MAIN()

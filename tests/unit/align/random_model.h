/*
 * Small wav2vec2 and HuBERT models of random weights in a temporary folder, and made sounds: what
 * tools/reference/wav2vec2.py makes too, from the same numbers.
 */
#ifndef TESTS_UNIT_ALIGN_RANDOM_MODEL_H
#define TESTS_UNIT_ALIGN_RANDOM_MODEL_H

#include "unit/test.h"

#include "align/files.h"
#include "num/philox.h"

enum { RM_D = 64, RM_F = 96, RM_V = 20, RM_V_OTHER = 24, RM_C = 32, RM_MAX = 130 };

struct random_model {
    const char *prefix;
    uint32_t stream; /* of the values of the tensors to come */
    bool layer_norms, adapter, old_names, projection_norm;
    uint32_t pos_kernel;
    struct num_tensor tensors[RM_MAX];
    char names[RM_MAX][100];
    float *values[RM_MAX];
    size_t n, n_own; /* of them the model's own */
    char folder[TEST_PATH];
};

static inline uint32_t rm_fnv(const char *text) {
    uint32_t value = 2166136261u;
    for (; *text; text++)
        value = (value ^ (uint8_t)*text) * 16777619u;
    return value;
}

/* Number i of stream (a, b). */
static inline double rm_uniform(uint64_t key, uint32_t a, uint32_t b, uint64_t i) {
    struct num_philox block = num_philox((struct num_philox){{(uint32_t)(i / 4), a, b, 0}}, key);
    return num_uniform(block.v[i % 4]);
}

static inline bool rm_ends(const char *name, const char *with) {
    size_t n = strlen(name), m = strlen(with);
    return n >= m && strcmp(name + n - m, with) == 0;
}

static inline void rm_scale(const char *name, const uint64_t *shape, uint32_t n_dims, double *mean,
                            double *deviation) {
    double fan_in = 1;
    for (uint32_t i = 1; i < n_dims; i++)
        fan_in *= (double)shape[i];
    *mean = 0;
    *deviation = 2 / sqrt(fan_in);
    if (strstr(name, "norm.weight")) {
        *mean = 1;
        *deviation = 0.1;
    } else if (rm_ends(name, "bias")) {
        *deviation = 0.1;
    } else if (rm_ends(name, "weight_g")) {
        *mean = 2;
        *deviation = 0.5;
    }
}

/* A tensor (d0, d1, d2), trailing zeros left out; `stored` is its name in the file. */
static inline void rm_add_as(struct random_model *m, const char *name, const char *stored,
                             uint64_t d0, uint64_t d1, uint64_t d2) {
    char full[100];
    CHECK(m->n < RM_MAX);
    bool head = strncmp(name, "lm_head", 7) == 0;
    snprintf(full, sizeof full, "%s%s", head ? "" : m->prefix, name);
    snprintf(m->names[m->n], sizeof m->names[0], "%s%s", head ? "" : m->prefix, stored);
    struct num_tensor *t = &m->tensors[m->n];
    *t = (struct num_tensor){.name = m->names[m->n], .dtype = NUM_F32, .shape = {d0, d1, d2}};
    t->n_dims = d2 ? 3 : d1 ? 2 : 1;
    t->n_elements = d0 * (d1 ? d1 : 1) * (d2 ? d2 : 1);
    double mean, deviation;
    rm_scale(full, t->shape, t->n_dims, &mean, &deviation);
    m->values[m->n] = malloc(t->n_elements * sizeof(float));
    for (uint64_t i = 0; i < t->n_elements; i++)
        m->values[m->n][i] = (float)(mean + (2 * rm_uniform(7, rm_fnv(full), m->stream, i) - 1) *
                                                sqrt(3.0) * deviation);
    m->n++;
}

static inline void rm_add(struct random_model *m, const char *name, uint64_t d0, uint64_t d1,
                          uint64_t d2) {
    rm_add_as(m, name, name, d0, d1, d2);
}

static inline void rm_linear(struct random_model *m, const char *prefix, const char *name,
                             uint64_t n_out, uint64_t n_in) {
    char full[100];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    rm_add(m, full, n_out, n_in, 0);
    snprintf(full, sizeof full, "%s%s.bias", prefix, name);
    rm_add(m, full, n_out, 0, 0);
}

static inline void rm_norm(struct random_model *m, const char *prefix, const char *name,
                           uint64_t n) {
    rm_linear(m, prefix, name, n, 0);
}

static inline void rm_convs(struct random_model *m) {
    static const uint32_t kernels[] = {10, 3, 3, 3, 3, 2, 2};
    for (uint32_t i = 0; i < 7; i++) {
        char prefix[60], name[80];
        snprintf(prefix, sizeof prefix, "feature_extractor.conv_layers.%u.", i);
        snprintf(name, sizeof name, "%sconv.weight", prefix);
        rm_add(m, name, RM_C, i ? RM_C : 1, kernels[i]);
        snprintf(name, sizeof name, "%sconv.bias", prefix);
        if (m->layer_norms)
            rm_add(m, name, RM_C, 0, 0);
        if (m->layer_norms || i == 0)
            rm_norm(m, prefix, "layer_norm", RM_C);
    }
}

/* The adapter of a layer of MMS. */
static inline void rm_adapter(struct random_model *m, uint32_t index) {
    char p[60];
    snprintf(p, sizeof p, "encoder.layers.%u.", index);
    rm_norm(m, p, "adapter_layer.norm", RM_D);
    rm_linear(m, p, "adapter_layer.linear_1", 16, RM_D);
    rm_linear(m, p, "adapter_layer.linear_2", RM_D, 16);
}

static inline void rm_layer(struct random_model *m, uint32_t index) {
    char p[60];
    snprintf(p, sizeof p, "encoder.layers.%u.", index);
    rm_linear(m, p, "attention.q_proj", RM_D, RM_D);
    rm_linear(m, p, "attention.k_proj", RM_D, RM_D);
    rm_linear(m, p, "attention.v_proj", RM_D, RM_D);
    rm_linear(m, p, "attention.out_proj", RM_D, RM_D);
    rm_norm(m, p, "layer_norm", RM_D);
    rm_linear(m, p, "feed_forward.intermediate_dense", RM_F, RM_D);
    rm_linear(m, p, "feed_forward.output_dense", RM_D, RM_F);
    rm_norm(m, p, "final_layer_norm", RM_D);
    if (m->adapter)
        rm_adapter(m, index);
}

static inline void rm_tensors(struct random_model *m) {
    const char *conv = "encoder.pos_conv_embed.conv.", *p = "parametrizations.weight.";
    char names[4][100];
    rm_convs(m);
    if (m->projection_norm)
        rm_norm(m, "feature_projection.", "layer_norm", RM_C);
    rm_linear(m, "feature_projection.", "projection", RM_D, RM_C);
    snprintf(names[0], sizeof names[0], "%sweight_g", conv);
    snprintf(names[1], sizeof names[1], "%sweight_v", conv);
    snprintf(names[2], sizeof names[2], "%s%soriginal0", conv, p);
    snprintf(names[3], sizeof names[3], "%s%soriginal1", conv, p);
    rm_add_as(m, names[0], names[m->old_names ? 0 : 2], 1, 1, m->pos_kernel);
    rm_add_as(m, names[1], names[m->old_names ? 1 : 3], RM_D, RM_D / 4, m->pos_kernel);
    rm_add(m, "encoder.pos_conv_embed.conv.bias", RM_D, 0, 0);
    rm_norm(m, "encoder.", "layer_norm", RM_D);
    rm_layer(m, 0);
    rm_layer(m, 1);
    rm_linear(m, "", "lm_head", RM_V, RM_D);
}

static inline void rm_write(const struct random_model *m, const char *name, const void *data,
                            size_t len, const char *mode) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", m->folder, name);
    FILE *f = fopen(path, mode);
    CHECK(f && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

/* Tensors [from, to) as a file. */
static inline void rm_write_tensors(const struct random_model *m, const char *name, size_t from,
                                    size_t to) {
    void *header;
    size_t len;
    CHECK_INT(num_safetensors_header(m->tensors + from, to - from, NULL, 0, 0, &header, &len, NULL),
              0);
    rm_write(m, name, header, len, "wb");
    for (size_t i = from; i < to; i++)
        rm_write(m, name, m->values[i], m->tensors[i].n_elements * sizeof(float), "ab");
    free(header);
}

/* config.json of one of the variants. */
static inline void rm_write_config(const struct random_model *m, const char *more) {
    char text[1200];
    snprintf(text, sizeof text,
             "{\"model_type\": \"%.*s\", \"hidden_size\": 64, \"num_hidden_layers\": 2, "
             "\"num_attention_heads\": 4, \"intermediate_size\": 96, \"vocab_size\": 20, "
             "\"num_conv_pos_embeddings\": %u, \"num_conv_pos_embedding_groups\": 4, "
             "\"pad_token_id\": 0, \"hidden_act\": \"gelu\", \"layer_norm_eps\": 1e-05, "
             "\"conv_dim\": [32, 32, 32, 32, 32, 32, 32], \"conv_kernel\": [10, 3, 3, 3, 3, 2, 2], "
             "\"conv_stride\": [5, 2, 2, 2, 2, 2, 2], \"feat_proj_layer_norm\": %s%s%s}",
             (int)strlen(m->prefix) - 1, m->prefix, m->pos_kernel,
             m->projection_norm ? "true" : "false",
             m->layer_norms ? ", \"feat_extract_norm\": \"layer\", \"conv_bias\": true, "
                              "\"do_stable_layer_norm\": true"
                            : ", \"feat_extract_norm\": \"group\"",
             more);
    rm_write(m, "config.json", text, strlen(text), "wb");
}

/* The tensors alone; freed by rm_free(). */
static inline void rm_make(struct random_model *m, const char *variant) {
    *m = (struct random_model){.prefix = "wav2vec2.", .pos_kernel = 16, .projection_norm = true};
    bool many = strcmp(variant, "languages") == 0;
    m->adapter = many || strcmp(variant, "adapter") == 0;
    m->layer_norms = m->adapter || strcmp(variant, "layer") == 0;
    m->old_names = m->layer_norms;
    if (strcmp(variant, "hubert") == 0) {
        m->prefix = "hubert.";
        m->pos_kernel = 15;
        m->projection_norm = false;
    }
    rm_tensors(m);
    m->n_own = m->n;
    if (!many)
        return;
    m->stream = 1;
    rm_adapter(m, 0);
    rm_adapter(m, 1);
    rm_linear(m, "", "lm_head", RM_V_OTHER, RM_D);
}

/* Variants are "group", "layer", "hubert", "adapter" and "languages": an MMS folder, whose own
 * weights are for "one" and that has an adapter for "other". A folder with all files of a model;
 * removed by rm_finish(). */
static inline void rm_init(struct random_model *m, const char *variant) {
    rm_make(m, variant);
    make_test_folder(m->folder);
    if (m->n > m->n_own) {
        static const char own[] = "{\"target_lang\": \"one\"}";
        rm_write(m, "tokenizer_config.json", own, strlen(own), "wb");
        rm_write_tensors(m, "model.safetensors", 0, m->n_own);
        rm_write_tensors(m, "adapter.other.safetensors", m->n_own, m->n);
    } else if (m->adapter) { /* in two files */
        static const char files[] = "{\"weight_map\": {\"a\": \"model-1.safetensors\", "
                                    "\"b\": \"model-2.safetensors\"}}";
        rm_write_tensors(m, "model-1.safetensors", 0, m->n / 2);
        rm_write_tensors(m, "model-2.safetensors", m->n / 2, m->n);
        rm_write(m, "model.safetensors.index.json", files, strlen(files), "wb");
    } else {
        rm_write_tensors(m, "model.safetensors", 0, m->n);
    }
    rm_write_config(m, m->adapter ? ", \"adapter_attn_dim\": 16" : "");
    const char *pre = m->prefix[0] == 'h' ? "{\"do_normalize\": false}"
                                          : "{\"do_normalize\": true, \"sampling_rate\": 16000}";
    rm_write(m, "preprocessor_config.json", pre, strlen(pre), "wb");
}

static inline void rm_free(struct random_model *m) {
    for (size_t i = 0; i < m->n; i++)
        free(m->values[i]);
}

static inline void rm_finish(struct random_model *m) {
    remove_test_files(m->folder);
    rm_free(m);
}

/* Sawtooth tones that change every tenth of a second, with noise. */
static inline float *rm_audio(uint32_t seed, double seconds, size_t *ret_n) {
    size_t n = (size_t)(seconds * 16000);
    float *pcm = malloc((n + 1) * sizeof *pcm);
    for (size_t i = 0; i < n; i++) {
        struct num_philox v =
            num_philox((struct num_philox){{(uint32_t)(i / 1600), seed, 0, 0}}, 1);
        double loud = v.v[1] % 4 == 0 ? 0 : (v.v[0] >> 24) / 255.0 * 0.5;
        uint64_t step = 200 + v.v[2] % 6000;
        double saw = (double)(i * step & 0xffff) / 32768 - 1;
        double noise = 2 * rm_uniform(1, seed, 1, i) - 1;
        pcm[i] = (float)(loud * saw + (v.v[3] >> 24) / 255.0 * 0.1 * noise);
    }
    *ret_n = n;
    return pcm;
}

#endif

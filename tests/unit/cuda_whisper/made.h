/*
 * A Whisper model of any size with random weights, for backends alone: no files, no tokenizer. The
 * values depend on the tensors' names and order only, as those of a trained model are spread: norms
 * near one, matrices by the square root of their width.
 */
#ifndef TESTS_UNIT_CUDA_WHISPER_MADE_H
#define TESTS_UNIT_CUDA_WHISPER_MADE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/philox.h"
#include "whisper/model.h"

struct made_weights {
    struct wh_weights weights;
    struct num_weights *tensors;
    uint32_t n, room;
    uint32_t seed;
    bool half; /* F16, else F32 */
};

/* The shape of large-v3; turbo has 4 layers of text. */
static inline struct wh_dims made_large_v3(uint32_t n_text_layers) {
    return (struct wh_dims){.n_mels = 128,
                            .n_audio_ctx = 1500,
                            .n_text_ctx = 448,
                            .n_state = 1280,
                            .n_vocab = 51866,
                            .n_audio_layers = 32,
                            .n_audio_heads = 20,
                            .n_audio_ffn = 5120,
                            .n_text_layers = n_text_layers,
                            .n_text_heads = 20,
                            .n_text_ffn = 5120};
}

/* The upper bits of a float as binary16, cut off: all that random numbers need. */
static inline uint16_t made_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    return (uint16_t)(rest < 0x38800000 ? sign : sign | ((rest - (112u << 23)) >> 13));
}

static inline void made_values(struct made_weights *m, void *to, size_t n, float mean,
                               float spread) {
    struct num_philox bits = {{0}};
    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0)
            bits = num_philox(
                (struct num_philox){{(uint32_t)(i / 4), (uint32_t)(i >> 34), m->n, 0}}, m->seed);
        float x = mean + spread * (float)(2 * num_uniform(bits.v[i % 4]) - 1);
        if (m->half)
            ((uint16_t *)to)[i] = made_half(x);
        else
            ((float *)to)[i] = x;
    }
}

static inline void made_add(struct made_weights *m, const char *prefix, const char *name,
                            uint64_t d0, uint64_t d1, uint64_t d2, float mean, float spread) {
    char full[160];
    if (m->n == m->room) {
        m->room = m->room ? 2 * m->room : 64;
        m->tensors = realloc(m->tensors, m->room * sizeof *m->tensors);
    }
    struct num_weights *w = &m->tensors[m->n];
    uint64_t bytes;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    *w = (struct num_weights){.name = strdup(full),
                              .type = m->half ? NUM_WEIGHT_F16 : NUM_WEIGHT_F32,
                              .n_dims = d1 ? d2 ? 3 : 2 : 1,
                              .shape = {d0, d1, d2}};
    if (!num_weights_measure(w, &bytes))
        abort();
    void *data = malloc(bytes);
    made_values(m, data, w->rows * w->cols, mean, spread);
    w->data = data;
    m->n++;
}

static inline void made_matrix(struct made_weights *m, const char *prefix, const char *name,
                               uint64_t n_out, uint64_t n_in, bool bias) {
    char full[160];
    snprintf(full, sizeof full, "%s.weight", name);
    made_add(m, prefix, full, n_out, n_in, 0, 0, 1.7f / sqrtf((float)n_in));
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias)
        made_add(m, prefix, full, n_out, 0, 0, 0, 0.1f);
}

static inline void made_norm(struct made_weights *m, const char *prefix, const char *name,
                             uint64_t D) {
    char full[160];
    snprintf(full, sizeof full, "%s.weight", name);
    made_add(m, prefix, full, D, 0, 0, 1, 0.2f);
    snprintf(full, sizeof full, "%s.bias", name);
    made_add(m, prefix, full, D, 0, 0, 0, 0.2f);
}

static inline void made_attention(struct made_weights *m, const char *prefix, const char *name,
                                  uint64_t D) {
    char full[160];
    snprintf(full, sizeof full, "%s%s.", prefix, name);
    made_matrix(m, full, "q_proj", D, D, true);
    made_matrix(m, full, "k_proj", D, D, false);
    made_matrix(m, full, "v_proj", D, D, true);
    made_matrix(m, full, "out_proj", D, D, true);
}

static inline void made_layer(struct made_weights *m, const char *tower, uint32_t index, uint64_t D,
                              uint64_t F, bool decoder) {
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%slayers.%u.", tower, index);
    made_norm(m, prefix, "self_attn_layer_norm", D);
    made_attention(m, prefix, "self_attn", D);
    if (decoder) {
        made_norm(m, prefix, "encoder_attn_layer_norm", D);
        made_attention(m, prefix, "encoder_attn", D);
    }
    made_norm(m, prefix, "final_layer_norm", D);
    made_matrix(m, prefix, "fc1", F, D, true);
    made_matrix(m, prefix, "fc2", D, F, true);
}

static inline int made_by_name(const void *a, const void *b) {
    return strcmp(((const struct num_weights *)a)->name, ((const struct num_weights *)b)->name);
}

static inline void made_weights_make(struct made_weights *m, const struct wh_dims *s, bool half) {
    const char *enc = "model.encoder.", *dec = "model.decoder.";
    uint64_t D = s->n_state;
    *m = (struct made_weights){.seed = 7, .half = half};
    made_add(m, enc, "conv1.weight", D, s->n_mels, 3, 0, 1 / sqrtf((float)s->n_mels));
    made_add(m, enc, "conv1.bias", D, 0, 0, 0, 0.1f);
    made_add(m, enc, "conv2.weight", D, D, 3, 0, 1 / sqrtf((float)D));
    made_add(m, enc, "conv2.bias", D, 0, 0, 0, 0.1f);
    made_add(m, enc, "embed_positions.weight", s->n_audio_ctx, D, 0, 0, 0.5f);
    for (uint32_t i = 0; i < s->n_audio_layers; i++)
        made_layer(m, enc, i, D, s->n_audio_ffn, false);
    made_norm(m, enc, "layer_norm", D);
    made_add(m, dec, "embed_tokens.weight", s->n_vocab, D, 0, 0, 0.3f);
    made_add(m, dec, "embed_positions.weight", s->n_text_ctx, D, 0, 0, 0.5f);
    for (uint32_t i = 0; i < s->n_text_layers; i++)
        made_layer(m, dec, i, D, s->n_text_ffn, true);
    made_norm(m, dec, "layer_norm", D);
    qsort(m->tensors, m->n, sizeof *m->tensors, made_by_name);
    m->weights = (struct wh_weights){
        .tensors = m->tensors, .n_tensors = m->n, .path = "made", .sizes_from = "made"};
}

static inline void made_weights_free(struct made_weights *m) {
    for (uint32_t i = 0; i < m->n; i++) {
        free((void *)(uintptr_t)m->tensors[i].name);
        free((void *)(uintptr_t)m->tensors[i].data);
    }
    free(m->tensors);
}

#endif

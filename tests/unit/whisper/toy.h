/*
 * The toy model of tools/reference/toy.py: a folder of random weights that depend on a seed alone,
 * and made sounds. Both sides compute the same numbers, so none is stored.
 */
#ifndef TESTS_UNIT_WHISPER_TOY_H
#define TESTS_UNIT_WHISPER_TOY_H

#include "num/philox.h"
#include "num/safetensors.h"
#include "num/utf8.h"
#include "unit/whisper/clips.h"

enum {
    TOY_D = 64,
    TOY_F = 256,
    TOY_M = 80,
    TOY_T = 1500,
    TOY_C = 448,
    TOY_LAYERS = 2,
    TOY_HEADS = 2,
    TOY_EOT = 512,
    TOY_SPECIALS = 12,
    TOY_TIMES = 1501,
    TOY_TIMESTAMP_BEGIN = TOY_EOT + TOY_SPECIALS,
    TOY_V = TOY_TIMESTAMP_BEGIN + TOY_TIMES,
    TOY_NO_SPEECH = TOY_EOT + 10,
    TOY_MAX_TENSORS = 200,
    TOY_SEED = 2026
};

static const char *const toy_specials[TOY_SPECIALS] = {
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>",         "<|zh|>",        "<|de|>",
    "<|es|>",        "<|translate|>",         "<|transcribe|>", "<|startoflm|>", "<|startofprev|>",
    "<|nospeech|>",  "<|notimestamps|>"};

struct toy {
    struct num_tensor tensors[TOY_MAX_TENSORS];
    char names[TOY_MAX_TENSORS][96];
    size_t n;
};

/* Element i of the stream: word i % 4 of block (i / 4, a, b, c). */
static inline double toy_uniform(uint64_t i, uint32_t a, uint32_t b, uint32_t c, uint64_t key) {
    struct num_philox block = num_philox((struct num_philox){{(uint32_t)(i / 4), a, b, c}}, key);
    return num_uniform(block.v[i % 4]);
}

static inline void toy_add(struct toy *t, const char *prefix, const char *name, uint64_t d0,
                           uint64_t d1, uint64_t d2, double mean, double deviation) {
    CHECK(t->n < TOY_MAX_TENSORS);
    struct num_tensor *x = &t->tensors[t->n];
    snprintf(t->names[t->n], sizeof t->names[0], "%s%s", prefix, name);
    *x = (struct num_tensor){.name = t->names[t->n],
                             .dtype = NUM_F32,
                             .n_dims = d1 ? d2 ? 3 : 2 : 1,
                             .shape = {d0, d1, d2},
                             .n_elements = d0 * (d1 ? d1 : 1) * (d2 ? d2 : 1)};
    float *values = malloc(x->n_elements * sizeof *values);
    for (uint64_t i = 0; i < x->n_elements; i++) {
        double u = toy_uniform(i, (uint32_t)t->n, 0, 0, TOY_SEED);
        values[i] = (float)(mean + (2 * u - 1) * sqrt(3.0) * deviation);
    }
    x->data = values;
    t->n++;
}

static inline void toy_linear(struct toy *t, const char *prefix, const char *name, uint64_t n_out,
                              uint64_t n_in, double gain, bool bias) {
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    toy_add(t, prefix, full, n_out, n_in, 0, 0, gain / sqrt((double)n_in));
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias)
        toy_add(t, prefix, full, n_out, 0, 0, 0, 0.05);
}

static inline void toy_norm(struct toy *t, const char *prefix, const char *name, double bias) {
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    toy_add(t, prefix, full, TOY_D, 0, 0, 1, 0.1);
    snprintf(full, sizeof full, "%s.bias", name);
    toy_add(t, prefix, full, TOY_D, 0, 0, 0, bias);
}

static inline void toy_attention(struct toy *t, const char *prefix, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "%s%s.", prefix, name);
    toy_linear(t, full, "q_proj", TOY_D, TOY_D, 2, true);
    toy_linear(t, full, "k_proj", TOY_D, TOY_D, 2, false);
    toy_linear(t, full, "v_proj", TOY_D, TOY_D, 1, true);
    toy_linear(t, full, "out_proj", TOY_D, TOY_D, 2, true);
}

static inline void toy_tower(struct toy *t, bool decoder) {
    const char *p = decoder ? "model.decoder." : "model.encoder.";
    if (decoder) {
        toy_add(t, p, "embed_tokens.weight", TOY_V, TOY_D, 0, 0, 0.4);
    } else {
        toy_add(t, p, "conv1.weight", TOY_D, TOY_M, 3, 0, 2 / sqrt(3.0 * TOY_M));
        toy_add(t, p, "conv1.bias", TOY_D, 0, 0, 0, 0.1);
        toy_add(t, p, "conv2.weight", TOY_D, TOY_D, 3, 0, 2 / sqrt(3.0 * TOY_D));
        toy_add(t, p, "conv2.bias", TOY_D, 0, 0, 0, 0.1);
    }
    toy_add(t, p, "embed_positions.weight", decoder ? TOY_C : TOY_T, TOY_D, 0, 0,
            decoder ? 2.0 : 0.3);
    for (int i = 0; i < TOY_LAYERS; i++) {
        char layer[64];
        snprintf(layer, sizeof layer, "%slayers.%d.", p, i);
        toy_norm(t, layer, "self_attn_layer_norm", 0.1);
        toy_attention(t, layer, "self_attn");
        if (decoder) {
            toy_norm(t, layer, "encoder_attn_layer_norm", 0.1);
            toy_attention(t, layer, "encoder_attn");
        }
        toy_norm(t, layer, "final_layer_norm", 0.1);
        toy_linear(t, layer, "fc1", TOY_F, TOY_D, 1, true);
        toy_linear(t, layer, "fc2", TOY_D, TOY_F, 4, true);
    }
    toy_norm(t, p, "layer_norm", decoder ? 0.25 : 0.1);
}

/* What is added to a token's logit, so that texts, times and the end all occur. */
static inline double toy_offset(int token) {
    if (token >= TOY_TIMESTAMP_BEGIN)
        return -8;
    if (token == TOY_EOT)
        return 4;
    if (token == TOY_NO_SPEECH)
        return 9;
    if (token > TOY_EOT)
        return -10;
    return token >= 94 && token < 256 && token != 220 ? -8 : 0;
}

static inline float *toy_find(const struct toy *t, const char *name) {
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->names[i], name) == 0)
            return (float *)(uintptr_t)t->tensors[i].data;
    TEST_FAIL("no tensor %s", name);
}

static inline void toy_make(struct toy *t) {
    t->n = 0;
    toy_tower(t, false);
    toy_tower(t, true);
    float *embedding = toy_find(t, "model.decoder.embed_tokens.weight");
    const float *bias = toy_find(t, "model.decoder.layer_norm.bias");
    double sum = 0;
    for (int i = 0; i < TOY_D; i++)
        sum += (double)bias[i] * bias[i];
    for (int v = 0; v < TOY_V; v++)
        for (int i = 0; i < TOY_D; i++)
            embedding[v * TOY_D + i] =
                (float)(embedding[v * TOY_D + i] + toy_offset(v) * (bias[i] / sum));
}

/* ---- The folder -------------------------------------------------------------------------------
 */

static inline void toy_write_weights(const char *folder) {
    static struct toy t;
    char path[200];
    void *header;
    size_t len;
    toy_make(&t);
    CHECK_INT(num_safetensors_header(t.tensors, t.n, NULL, 0, 0, &header, &len, NULL), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(header, 1, len, f) == len);
    for (size_t i = 0; i < t.n; i++) {
        CHECK(fwrite(t.tensors[i].data, 4, t.tensors[i].n_elements, f) == t.tensors[i].n_elements);
        free((void *)(uintptr_t)t.tensors[i].data);
    }
    CHECK_INT(fclose(f), 0);
    free(header);
}

static inline bool toy_stands_for_itself(int byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/* GPT-2's order of bytes, and the character that it writes for each. */
static inline int toy_bytes(int order[256], uint32_t shown[256]) {
    int n = 0, next = 256;
    for (int round = 0; round < 2; round++)
        for (int b = 0; b < 256; b++)
            if (toy_stands_for_itself(b) == (round == 0)) {
                shown[b] = round ? (uint32_t)next++ : (uint32_t)b;
                order[n++] = b;
            }
    return n;
}

static inline void toy_set(json_t *vocab, const uint32_t shown[256], const char *bytes, size_t n,
                           int id) {
    char name[16];
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += num_utf8_put(shown[(uint8_t)bytes[i]], (uint8_t *)name + at);
    name[at] = '\0';
    CHECK_INT(json_object_set_new(vocab, name, json_integer(id)), 0);
}

static inline json_t *toy_vocab(void) {
    static const char vowels[] = "aeiou", consonants[] = "bcdfghjklmnpqrstvwxyz";
    json_t *vocab = json_object();
    uint32_t shown[256];
    int order[256], id = toy_bytes(order, shown);
    for (int i = 0; i < 256; i++) {
        char byte = (char)order[i];
        toy_set(vocab, shown, &byte, 1, i);
    }
    for (int c = 'a'; c <= 'z'; c++)
        toy_set(vocab, shown, (char[]){' ', (char)c}, 2, id++);
    for (int c = 'A'; c <= 'Z'; c++)
        toy_set(vocab, shown, (char[]){' ', (char)c}, 2, id++);
    for (int back = 0; back < 2; back++)
        for (const char *c = consonants; *c; c++)
            for (const char *v = vowels; *v && id < TOY_EOT; v++)
                toy_set(vocab, shown, back ? (char[]){*v, *c} : (char[]){*c, *v}, 2, id++);
    CHECK_INT(id, TOY_EOT);
    return vocab;
}

static inline json_t *toy_added(void) {
    json_t *added = json_object();
    for (int i = 0; i < TOY_SPECIALS; i++)
        json_object_set_new(added, toy_specials[i], json_integer(TOY_EOT + i));
    for (int i = 0; i < TOY_TIMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "<|%.2f|>", i * 0.02);
        json_object_set_new(added, name, json_integer(TOY_TIMESTAMP_BEGIN + i));
    }
    return added;
}

static inline void toy_dump(const char *folder, const char *file, json_t *o) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    CHECK_INT(json_dump_file(o, path, 0), 0);
    json_decref(o);
}

/* Writes the model into a new folder; the caller removes it with toy_remove(). */
static inline void toy_write(char folder[TEST_PATH], bool multilingual) {
    make_test_folder(folder);
    toy_dump(folder, "config.json",
             json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "num_mel_bins",
                       TOY_M, "max_source_positions", TOY_T, "max_target_positions", TOY_C,
                       "d_model", TOY_D, "vocab_size", TOY_V, "encoder_layers", TOY_LAYERS,
                       "decoder_layers", TOY_LAYERS, "encoder_attention_heads", TOY_HEADS,
                       "decoder_attention_heads", TOY_HEADS, "encoder_ffn_dim", TOY_F,
                       "decoder_ffn_dim", TOY_F));
    toy_dump(folder, "generation_config.json", json_pack("{s:b}", "is_multilingual", multilingual));
    toy_dump(folder, "vocab.json", toy_vocab());
    toy_dump(folder, "added_tokens.json", toy_added());
    toy_write_weights(folder);
}

static inline void toy_remove(const char *folder) {
    remove_test_files(folder);
}

/* ---- Sounds -----------------------------------------------------------------------------------
 */

/* Sawtooth tones that change every tenth of a second, with noise; n samples into `to`. */
static inline void toy_sound(uint32_t seed, size_t n, float *to) {
    for (size_t i = 0; i < n; i++) {
        struct num_philox v =
            num_philox((struct num_philox){{(uint32_t)(i / 1600), seed, 0, 0}}, 1);
        double loud = v.v[1] % 4 == 0 ? 0 : (v.v[0] >> 24) / 255.0 * 0.5;
        uint64_t step = 200 + v.v[2] % 6000;
        double saw = (double)(i * step & 0xffff) / 32768.0 - 1;
        double noise = 2 * toy_uniform(i, seed, 1, 0, 1) - 1;
        to[i] = (float)(loud * saw + (v.v[3] >> 24) / 255.0 * 0.1 * noise);
    }
}

/* The sound that a list of {wav, from, to}, {seed, seconds} and {silence} describes; malloc'ed. */
static inline float *toy_audio(const json_t *parts, size_t *ret_n) {
    const json_t *p;
    size_t i;
    float *pcm = NULL;
    *ret_n = 0;
    json_array_foreach(parts, i, p) {
        const char *name = json_string_value(json_object_get(p, "wav"));
        size_t n = 0, from = 0;
        float *clip = name ? clip_read(name, &n) : NULL;
        CHECK(!name || clip);
        const json_t *end = json_object_get(p, "to"), *silence = json_object_get(p, "silence");
        if (name) {
            from = (size_t)(json_number_value(json_object_get(p, "from")) * 16000);
            size_t to = end ? (size_t)(json_number_value(end) * 16000) : n;
            n = to < n ? to : n;
        } else {
            double s = json_number_value(silence ? silence : json_object_get(p, "seconds"));
            n = (size_t)(s * 16000);
            clip = calloc(n + 1, sizeof *clip);
            if (!silence)
                toy_sound((uint32_t)json_integer_value(json_object_get(p, "seed")), n, clip);
        }
        pcm = realloc(pcm, (*ret_n + n - from + 1) * sizeof *pcm);
        memcpy(pcm + *ret_n, clip + from, (n - from) * sizeof *pcm);
        *ret_n += n - from;
        free(clip);
    }
    return pcm;
}

#endif

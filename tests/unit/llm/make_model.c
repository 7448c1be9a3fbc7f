/* Random language models: see make_model.h. */
#include "unit/llm/make_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/half.h"
#include "num/safetensors.h"
#include "num/utf8.h"

#define MAX_TENSORS 2048
#define ALIGNMENT   32

static void die(const char *what) {
    perror(what);
    exit(1);
}

enum num_weight_type lm_made_type(const char *name) {
    for (int i = 0; i < NUM_N_WEIGHT_TYPES; i++)
        if (strcmp(num_weight_name((enum num_weight_type)i), name) == 0)
            return (enum num_weight_type)i;
    die(name);
    return NUM_WEIGHT_F32;
}

/* ---- Random numbers -------------------------------------------------------------------------- */

/* Number i of the tensor's: splitmix64 (Steele, Lea, Flood, 2014) of its name's FNV-1a. */
static uint64_t random_word(uint64_t seed, uint64_t i) {
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u + seed;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t seed_of(const char *name) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h;
}

/* ---- Tensors -------------------------------------------------------------------------------- */

enum kind { MATRIX, NORM, BIAS };

struct tensor {
    char hf[80], gguf[80];
    uint64_t rows, cols;
    enum kind kind;
    enum num_weight_type type;
    uint64_t head; /* GGUF: width of heads whose rows are interleaved; 0: none */
};

struct model {
    const json_t *config;
    enum num_weight_type type;
    struct tensor tensors[MAX_TENSORS];
    size_t n_tensors;
};

static uint64_t size_of(const json_t *config, const char *key, uint64_t missing) {
    const json_t *value = json_object_get(config, key);
    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : missing;
}

static enum num_weight_type fitting(enum num_weight_type type, uint64_t cols) {
    if (cols % num_weight_block(type) == 0)
        return type;
    return type == NUM_WEIGHT_Q6_K ? NUM_WEIGHT_Q8_0 : NUM_WEIGHT_Q5_0;
}

static struct tensor *add(struct model *m, uint64_t rows, uint64_t cols, enum kind kind) {
    struct tensor *t = &m->tensors[m->n_tensors++];
    *t = (struct tensor){.rows = rows, .cols = cols, .kind = kind, .type = NUM_WEIGHT_F32};
    if (kind == MATRIX)
        t->type = fitting(m->type, cols);
    return t;
}

static void add_of_layer(struct model *m, uint64_t layer, const char *hf, const char *gguf,
                         uint64_t rows, uint64_t cols, enum kind kind, uint64_t head) {
    struct tensor *t = add(m, rows, cols, kind);
    const char *end = kind == BIAS ? "bias" : "weight";
    snprintf(t->hf, sizeof t->hf, "model.layers.%d.%s.%s", (int)layer, hf, end);
    snprintf(t->gguf, sizeof t->gguf, "blk.%d.%s.%s", (int)layer, gguf, end);
    t->head = head;
}

static void add_linear(struct model *m, uint64_t layer, const char *hf, const char *gguf,
                       uint64_t rows, uint64_t cols, bool bias, uint64_t head) {
    add_of_layer(m, layer, hf, gguf, rows, cols, MATRIX, head);
    if (bias)
        add_of_layer(m, layer, hf, gguf, 1, rows, BIAS, head);
}

static void add_layer(struct model *m, uint64_t i) {
    const json_t *c = m->config;
    const char *family = json_string_value(json_object_get(c, "model_type"));
    uint64_t D = size_of(c, "hidden_size", 0), F = size_of(c, "intermediate_size", 0);
    uint64_t H = size_of(c, "num_attention_heads", 1), G = size_of(c, "num_key_value_heads", H);
    uint64_t d = size_of(c, "head_dim", D / H);
    bool bias = json_is_true(json_object_get(c, "attention_bias"));
    bool mlp = json_is_true(json_object_get(c, "mlp_bias"));
    bool qkv = bias || strcmp(family, "qwen2") == 0;
    uint64_t head = strcmp(family, "llama") == 0 || strcmp(family, "mistral") == 0 ? d : 0;
    add_of_layer(m, i, "input_layernorm", "attn_norm", 1, D, NORM, 0);
    add_of_layer(m, i, "post_attention_layernorm", "ffn_norm", 1, D, NORM, 0);
    add_linear(m, i, "self_attn.q_proj", "attn_q", H * d, D, qkv, head);
    add_linear(m, i, "self_attn.k_proj", "attn_k", G * d, D, qkv, head);
    add_linear(m, i, "self_attn.v_proj", "attn_v", G * d, D, qkv, 0);
    add_linear(m, i, "self_attn.o_proj", "attn_output", D, H * d, bias, 0);
    if (strcmp(family, "qwen3") == 0) {
        add_of_layer(m, i, "self_attn.q_norm", "attn_q_norm", 1, d, NORM, 0);
        add_of_layer(m, i, "self_attn.k_norm", "attn_k_norm", 1, d, NORM, 0);
    }
    add_linear(m, i, "mlp.gate_proj", "ffn_gate", F, D, mlp, 0);
    add_linear(m, i, "mlp.up_proj", "ffn_up", F, D, mlp, 0);
    add_linear(m, i, "mlp.down_proj", "ffn_down", D, F, mlp, 0);
}

static void name(struct tensor *t, const char *hf, const char *gguf) {
    snprintf(t->hf, sizeof t->hf, "%s", hf);
    snprintf(t->gguf, sizeof t->gguf, "%s", gguf);
}

static struct model *model_create(const json_t *config, enum num_weight_type type) {
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        die("a model");
    m->config = config;
    m->type = type;
    uint64_t D = size_of(config, "hidden_size", 0), V = size_of(config, "vocab_size", 0);
    name(add(m, V, D, MATRIX), "model.embed_tokens.weight", "token_embd.weight");
    for (uint64_t i = 0; i < size_of(config, "num_hidden_layers", 0); i++)
        add_layer(m, i);
    name(add(m, 1, D, NORM), "model.norm.weight", "output_norm.weight");
    if (!json_is_true(json_object_get(config, "tie_word_embeddings")))
        name(add(m, V, D, MATRIX), "lm_head.weight", "output.weight");
    return m;
}

/* ---- Data ----------------------------------------------------------------------------------- */

static float value(const struct tensor *t, uint64_t seed, uint64_t i) {
    float u = (float)(random_word(seed, i) >> 40) / 8388608.0f - 1;
    if (t->kind != MATRIX)
        return (t->kind == NORM ? 1 : 0) + u * 0.25f;
    return u * ldexpf(1, -(int)rint(log2((double)t->cols) / 2 - 0.5));
}

static void put_number(const struct tensor *t, float x, uint8_t *to) {
    uint16_t half = num_f32_to_f16(x), bf16 = num_f32_to_bf16(x);
    if (t->type == NUM_WEIGHT_F32)
        memcpy(to, &x, 4);
    else
        memcpy(to, t->type == NUM_WEIGHT_F16 ? &half : &bf16, 2);
}

/* Bits of the scales d and, where there is one, m: numbers stay near a quarter and below. */
static void scales_of(enum num_weight_type type, uint64_t *ret_d, uint64_t *ret_m) {
    static const uint16_t scales[NUM_N_WEIGHT_TYPES][2] = {
        [NUM_WEIGHT_Q8_0] = {0x1400, 0},      [NUM_WEIGHT_Q4_0] = {0x2400, 0},
        [NUM_WEIGHT_Q4_1] = {0x2000, 0xac00}, [NUM_WEIGHT_Q5_0] = {0x2000, 0},
        [NUM_WEIGHT_Q5_1] = {0x1c00, 0xac00}, [NUM_WEIGHT_Q4_K] = {0x0800, 0x1400},
        [NUM_WEIGHT_Q5_K] = {0x0400, 0x1400}, [NUM_WEIGHT_Q6_K] = {0x0400, 0},
    };
    *ret_d = scales[type][0];
    *ret_m = scales[type][1];
}

/* Block number `block` of a quantised tensor. */
static void put_block(const struct tensor *t, uint64_t seed, uint64_t block, uint8_t *to) {
    uint64_t size = num_weight_block_bytes(t->type), at = block * (size + 4), d, m;
    size_t d_at = t->type == NUM_WEIGHT_Q6_K ? size - 2 : 0;
    scales_of(t->type, &d, &m);
    for (uint64_t i = 0; i < size; i++)
        to[i] = (uint8_t)(random_word(seed, at + i) >> 56);
    uint16_t bits = (uint16_t)(d + (random_word(seed, at + size) >> 32) % 0x300);
    memcpy(to + d_at, &bits, 2);
    bits = (uint16_t)(m + (random_word(seed, at + size + 1) >> 32) % 0x300);
    if (m)
        memcpy(to + d_at + 2, &bits, 2);
}

static size_t row_bytes(const struct tensor *t) {
    return t->cols / num_weight_block(t->type) * num_weight_block_bytes(t->type);
}

static void put_row(const struct tensor *t, uint64_t row, uint8_t *to) {
    uint64_t seed = seed_of(t->hf), block = num_weight_block(t->type), n = t->cols / block;
    size_t bytes = num_weight_block_bytes(t->type);
    for (uint64_t i = 0; i < n; i++)
        if (block == 1)
            put_number(t, value(t, seed, row * t->cols + i), to + i * bytes);
        else
            put_block(t, seed, row * n + i, to + i * bytes);
}

/* The row that a GGUF file has at place `row`: the halves of a head's pairs are neighbours. */
static uint64_t interleaved(uint64_t row, uint64_t head) {
    if (head == 0)
        return row;
    uint64_t e = row % head;
    return row - e + e / 2 + (e % 2) * (head / 2);
}

static void write_data(const struct tensor *t, bool gguf, FILE *f) {
    uint8_t *row = malloc(row_bytes(t));
    if (!row)
        die("a row");
    if (t->kind == BIAS && gguf && t->head) {
        uint64_t seed = seed_of(t->hf);
        for (uint64_t i = 0; i < t->cols; i++)
            put_number(t, value(t, seed, interleaved(i, t->head)), row + 4 * i);
        fwrite(row, row_bytes(t), 1, f);
    } else {
        for (uint64_t i = 0; i < t->rows; i++) {
            put_row(t, gguf ? interleaved(i, t->head) : i, row);
            fwrite(row, row_bytes(t), 1, f);
        }
    }
    free(row);
}

/* ---- The alphabet --------------------------------------------------------------------------- */

/* GPT-2's character for a byte below 128, NUL-terminated. */
static void character(int byte, char ret[5]) {
    uint32_t c = byte >= '!' && byte <= '~' ? (uint32_t)byte
                 : byte <= ' '              ? 0x100u + (uint32_t)byte
                                            : 0x121u;
    ret[num_utf8_put(c, (uint8_t *)ret)] = '\0';
}

/* ---- A folder ------------------------------------------------------------------------------- */

static FILE *create(const char *folder, const char *file) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "wb");
    if (!f)
        die(path);
    return f;
}

static void write_json(const char *folder, const char *file, json_t *json) {
    FILE *f = create(folder, file);
    json_dumpf(json, f, 0);
    fclose(f);
    json_decref(json);
}

static json_t *tokenizer(void) {
    json_t *vocab = json_object();
    for (int i = 0; i < 128; i++) {
        char text[5];
        character(i, text);
        json_object_set_new(vocab, text, json_integer(i));
    }
    json_t *model = json_pack("{s:s, s:o, s:[]}", "type", "BPE", "vocab", vocab, "merges");
    json_t *pre =
        json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 1);
    return json_pack("{s:[], s:o, s:o}", "added_tokens", "model", model, "pre_tokenizer", pre);
}

static void write_shard(const struct model *m, size_t first, size_t end, const char *folder,
                        const char *file) {
    struct num_tensor *tensors = calloc(end - first + 1, sizeof *tensors);
    void *header;
    size_t len;
    struct num_err err;
    for (size_t i = first; i < end; i++) {
        const struct tensor *t = &m->tensors[i];
        struct num_tensor *to = &tensors[i - first];
        to->name = t->hf;
        to->dtype = t->type == NUM_WEIGHT_F32   ? NUM_F32
                    : t->type == NUM_WEIGHT_F16 ? NUM_F16
                                                : NUM_BF16;
        to->n_dims = t->kind == MATRIX ? 2 : 1;
        to->shape[0] = t->kind == MATRIX ? t->rows : t->cols;
        to->shape[1] = t->cols;
    }
    if (num_safetensors_header(tensors, end - first, NULL, 0, 0, &header, &len, &err))
        die(err.text);
    FILE *f = create(folder, file);
    fwrite(header, len, 1, f);
    for (size_t i = first; i < end; i++)
        write_data(&m->tensors[i], false, f);
    fclose(f);
    free(header);
    free(tensors);
}

void lm_made_folder(const json_t *config, enum num_weight_type type, size_t n_shards,
                    const char *folder) {
    struct model *m = model_create(config, type);
    write_json(folder, "config.json", json_deep_copy(config));
    write_json(folder, "tokenizer.json", tokenizer());
    if (n_shards == 1) {
        write_shard(m, 0, m->n_tensors, folder, "model.safetensors");
    } else {
        static const char *const files[] = {"model-00001-of-00002.safetensors",
                                            "model-00002-of-00002.safetensors"};
        size_t half = m->n_tensors / 2;
        json_t *map = json_object();
        for (size_t i = 0; i < m->n_tensors; i++)
            json_object_set_new(map, m->tensors[i].hf, json_string(files[i >= half]));
        write_json(folder, "model.safetensors.index.json", json_pack("{s:o}", "weight_map", map));
        write_shard(m, 0, half, folder, files[0]);
        write_shard(m, half, m->n_tensors, folder, files[1]);
    }
    free(m);
}

/* ---- GGUF ----------------------------------------------------------------------------------- */

static void put_u32(FILE *f, uint32_t n) {
    fwrite(&n, 4, 1, f);
}

static void put_u64(FILE *f, uint64_t n) {
    fwrite(&n, 8, 1, f);
}

static void put_text(FILE *f, const char *text) {
    put_u64(f, strlen(text));
    fwrite(text, strlen(text), 1, f);
}

enum { U32 = 4, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9 };

struct keys {
    FILE *f;
    const char *family;
    uint64_t n;
};

/* "%" in a key stands for the architecture. */
static void put_key(struct keys *k, const char *key, uint32_t type) {
    char full[100];
    snprintf(full, sizeof full, "%s%s", key[0] == '%' ? k->family : "", key + (key[0] == '%'));
    put_text(k->f, full);
    put_u32(k->f, type);
    k->n++;
}

static void put_number_key(struct keys *k, const char *key, uint64_t n) {
    put_key(k, key, U32);
    put_u32(k->f, (uint32_t)n);
}

static void put_float_key(struct keys *k, const char *key, double x) {
    float single = (float)x;
    put_key(k, key, F32);
    fwrite(&single, 4, 1, k->f);
}

static void put_string_key(struct keys *k, const char *key, const char *text) {
    put_key(k, key, STRING);
    put_text(k->f, text);
}

static void put_tokenizer(struct keys *k, uint64_t n_vocab) {
    put_string_key(k, "tokenizer.ggml.model", "gpt2");
    put_string_key(k, "tokenizer.ggml.pre", "gpt-2");
    put_key(k, "tokenizer.ggml.tokens", ARRAY);
    put_u32(k->f, STRING);
    put_u64(k->f, n_vocab);
    for (uint64_t i = 0; i < n_vocab; i++) {
        char text[32];
        if (i < 128)
            character((int)i, text);
        else if (i == 128)
            snprintf(text, sizeof text, "to");
        else
            snprintf(text, sizeof text, "token%d", (int)i);
        put_text(k->f, text);
    }
    put_key(k, "tokenizer.ggml.merges", ARRAY);
    put_u32(k->f, STRING);
    put_u64(k->f, n_vocab > 128);
    if (n_vocab > 128)
        put_text(k->f, "t o");
    put_number_key(k, "tokenizer.ggml.bos_token_id", 1);
    put_number_key(k, "tokenizer.ggml.eos_token_id", 2);
}

static void put_rope(struct keys *k, const json_t *config) {
    const json_t *scaling = json_object_get(config, "rope_scaling");
    const char *kind = json_string_value(json_object_get(scaling, "rope_type"));
    put_float_key(k, "%.rope.freq_base", json_number_value(json_object_get(config, "rope_theta")));
    if (!kind || strcmp(kind, "yarn") != 0)
        return;
    put_string_key(k, "%.rope.scaling.type", kind);
    put_float_key(k, "%.rope.scaling.factor",
                  json_number_value(json_object_get(scaling, "factor")));
    put_number_key(k, "%.rope.scaling.original_context_length",
                   size_of(scaling, "original_max_position_embeddings", 0));
}

static void put_keys(struct keys *k, const json_t *c) {
    uint64_t D = size_of(c, "hidden_size", 0), H = size_of(c, "num_attention_heads", 1);
    put_string_key(k, "general.architecture", k->family);
    put_number_key(k, "%.block_count", size_of(c, "num_hidden_layers", 0));
    put_number_key(k, "%.context_length", size_of(c, "max_position_embeddings", 0));
    put_number_key(k, "%.embedding_length", D);
    put_number_key(k, "%.feed_forward_length", size_of(c, "intermediate_size", 0));
    put_number_key(k, "%.attention.head_count", H);
    put_number_key(k, "%.attention.head_count_kv", size_of(c, "num_key_value_heads", H));
    put_number_key(k, "%.attention.key_length", size_of(c, "head_dim", D / H));
    put_number_key(k, "%.attention.value_length", size_of(c, "head_dim", D / H));
    put_float_key(k, "%.attention.layer_norm_rms_epsilon",
                  json_number_value(json_object_get(c, "rms_norm_eps")));
    put_rope(k, c);
    put_tokenizer(k, size_of(c, "vocab_size", 0));
}

static uint32_t ggml_number(enum num_weight_type type) {
    static const uint32_t numbers[NUM_N_WEIGHT_TYPES] = {
        [NUM_WEIGHT_F32] = 0,   [NUM_WEIGHT_F16] = 1,   [NUM_WEIGHT_BF16] = 30,
        [NUM_WEIGHT_Q4_0] = 2,  [NUM_WEIGHT_Q4_1] = 3,  [NUM_WEIGHT_Q5_0] = 6,
        [NUM_WEIGHT_Q5_1] = 7,  [NUM_WEIGHT_Q8_0] = 8,  [NUM_WEIGHT_Q4_K] = 12,
        [NUM_WEIGHT_Q5_K] = 13, [NUM_WEIGHT_Q6_K] = 14,
    };
    return numbers[type];
}

static void put_info(FILE *f, const struct tensor *t, uint64_t *offset) {
    put_text(f, t->gguf);
    put_u32(f, t->kind == MATRIX ? 2 : 1);
    put_u64(f, t->cols);
    if (t->kind == MATRIX)
        put_u64(f, t->rows);
    put_u32(f, ggml_number(t->type));
    put_u64(f, *offset);
    *offset += (t->rows * row_bytes(t) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void pad(FILE *f) {
    while (ftell(f) % ALIGNMENT)
        fputc(0, f);
}

void lm_made_gguf(const json_t *config, enum num_weight_type type, const json_t *rope_factors,
                  const char *path) {
    struct model *m = model_create(config, type);
    const char *family = json_string_value(json_object_get(config, "model_type"));
    struct keys k = {fopen(path, "wb"), strcmp(family, "mistral") == 0 ? "llama" : family, 0};
    size_t n_factors = json_array_size(rope_factors);
    uint64_t offset = 0;
    if (!k.f)
        die(path);
    fwrite("GGUF", 4, 1, k.f);
    put_u32(k.f, 3);
    put_u64(k.f, m->n_tensors + (n_factors > 0));
    put_u64(k.f, 0); /* the number of keys, when it is known */
    put_keys(&k, config);
    for (size_t i = 0; i < m->n_tensors; i++)
        put_info(k.f, &m->tensors[i], &offset);
    struct tensor factors = {.gguf = "rope_freqs.weight", .rows = 1, .cols = n_factors};
    factors.kind = NORM;
    if (n_factors)
        put_info(k.f, &factors, &offset);
    for (size_t i = 0; i < m->n_tensors; i++) {
        pad(k.f);
        write_data(&m->tensors[i], true, k.f);
    }
    pad(k.f);
    for (size_t i = 0; i < n_factors; i++) {
        float x = (float)json_number_value(json_array_get(rope_factors, i));
        fwrite(&x, 4, 1, k.f);
    }
    fseek(k.f, 16, SEEK_SET);
    put_u64(k.f, k.n);
    if (fclose(k.f))
        die(path);
    free(m);
}

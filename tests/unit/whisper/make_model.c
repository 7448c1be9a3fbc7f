/*
 * Random models: see make_model.h. Block types get random bytes with scales that keep the values
 * near 0.1; the vocabulary has one piece for each byte and made-up words behind, up to the special
 * tokens, which are named as in the published models where the size is one of theirs.
 */
#include "make_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "num/mel.h"
#include "whisper/published.h"

/* As in unit/test.h, which brings a main function along. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- Values --------------------------------------------------------------------------------- */

static uint32_t next(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Uniform in (-1, 1). */
static float uniform(uint32_t *state) {
    return (float)(int32_t)next(state) / 2147483648.0f;
}

/* A binary16 of a float between 2^-14 and 65504 in magnitude, cut; smaller ones become 0. */
static uint16_t to_f16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    int exponent = (int)(bits >> 23 & 255) - 112;
    uint32_t sign = bits >> 16 & 0x8000u;
    if (exponent < 1)
        return (uint16_t)sign;
    return (uint16_t)(sign | (uint32_t)exponent << 10 | (bits >> 13 & 0x3ffu));
}

static void fill_float(enum num_weight_type type, void *data, uint64_t n, float scale, float offset,
                       uint32_t *state) {
    for (uint64_t i = 0; i < n; i++) {
        float value = offset + scale * uniform(state);
        uint16_t half = to_f16(value);
        if (type == NUM_WEIGHT_F32)
            memcpy((char *)data + 4 * i, &value, 4);
        else if (type == NUM_WEIGHT_BF16)
            memcpy((char *)data + 2 * i, (char *)&value + 2, 2);
        else
            memcpy((char *)data + 2 * i, &half, 2);
    }
}

/* Scales of a block type: `d`, and `m` where it has one, with their places. */
static const struct {
    float d, m;
    size_t d_at, m_at;
} scales[NUM_N_WEIGHT_TYPES] = {
    [NUM_WEIGHT_Q4_0] = {0.012f, 0, 0, 0},        [NUM_WEIGHT_Q4_1] = {0.012f, -0.09f, 0, 2},
    [NUM_WEIGHT_Q5_0] = {0.006f, 0, 0, 0},        [NUM_WEIGHT_Q5_1] = {0.006f, -0.09f, 0, 2},
    [NUM_WEIGHT_Q8_0] = {0.0008f, 0, 0, 0},       [NUM_WEIGHT_Q4_K] = {0.0002f, 0.0016f, 0, 2},
    [NUM_WEIGHT_Q5_K] = {0.0001f, 0.0016f, 0, 2}, [NUM_WEIGHT_Q6_K] = {0.0001f, 0, 208, 0},
};

static void fill_blocks(enum num_weight_type type, uint8_t *data, uint64_t bytes, uint32_t *state) {
    uint32_t block = num_weight_block_bytes(type);
    for (uint64_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(next(state) >> 8);
    for (uint64_t at = 0; at < bytes; at += block) {
        uint16_t d = to_f16(scales[type].d * (1 + 0.3f * uniform(state)));
        uint16_t m = to_f16(scales[type].m);
        memcpy(data + at + scales[type].d_at, &d, 2);
        if (scales[type].m_at)
            memcpy(data + at + scales[type].m_at, &m, 2);
    }
}

/* ---- Tensors -------------------------------------------------------------------------------- */

struct maker {
    struct made *m;
    enum num_weight_type type;
    uint32_t state;
};

static void add(struct maker *k, enum num_weight_type type, const char *ours, const char *theirs,
                const uint64_t shape[3], float scale, float offset) {
    struct made *m = k->m;
    m->tensors = realloc(m->tensors, (m->n_tensors + 1) * sizeof *m->tensors);
    struct made_tensor *t = &m->tensors[m->n_tensors++];
    *t = (struct made_tensor){.view = {.type = type}};
    snprintf(t->ours, sizeof t->ours, "%s", ours);
    snprintf(t->theirs, sizeof t->theirs, "%s", theirs);
    for (; t->view.n_dims < 3 && shape[t->view.n_dims]; t->view.n_dims++)
        t->view.shape[t->view.n_dims] = shape[t->view.n_dims];
    CHECK(num_weights_measure(&t->view, &t->bytes));
    void *data = malloc(t->bytes);
    CHECK(data != NULL);
    if (num_weight_block(type) > 1)
        fill_blocks(type, data, t->bytes, &k->state);
    else
        fill_float(type, data, t->view.rows * t->view.cols, scale, offset, &k->state);
    t->view.data = data;
}

#define SHAPE(...) ((const uint64_t[3]){__VA_ARGS__})

static void add_pair(struct maker *k, const char *ours, const char *theirs, uint64_t n_out,
                     uint64_t n_in, bool bias) {
    char a[96], b[96];
    bool norm = n_in == 0;
    snprintf(a, sizeof a, "%s.weight", ours);
    snprintf(b, sizeof b, "%s.weight", theirs);
    add(k, norm ? NUM_WEIGHT_F32 : k->type, a, b, SHAPE(n_out, n_in), norm ? 0.2f : 0.1f, norm);
    snprintf(a, sizeof a, "%s.bias", ours);
    snprintf(b, sizeof b, "%s.bias", theirs);
    if (bias)
        add(k, NUM_WEIGHT_F32, a, b, SHAPE(n_out), 0.1f, 0);
}

static void add_attention(struct maker *k, const char *ours, const char *theirs) {
    static const char *const parts[][2] = {
        {"q_proj", "query"}, {"k_proj", "key"}, {"v_proj", "value"}, {"out_proj", "out"}};
    uint64_t D = k->m->dims.n_state;
    char a[90], b[90];
    for (int i = 0; i < 4; i++) {
        snprintf(a, sizeof a, "%s.%s", ours, parts[i][0]);
        snprintf(b, sizeof b, "%s.%s", theirs, parts[i][1]);
        add_pair(k, a, b, D, D, i != 1);
    }
    snprintf(a, sizeof a, "%s_layer_norm", ours);
    snprintf(b, sizeof b, "%s_ln", theirs);
    add_pair(k, a, b, D, 0, true);
}

static void add_layer(struct maker *k, const char *tower, uint32_t layer) {
    uint64_t D = k->m->dims.n_state;
    char ours[48], theirs[48], a[72], b[72];
    snprintf(ours, sizeof ours, "model.%s.layers.%u", tower, layer);
    snprintf(theirs, sizeof theirs, "%s.blocks.%u", tower, layer);
    const char *const parts[][2] = {
        {"fc1", "mlp.0"}, {"fc2", "mlp.2"}, {"final_layer_norm", "mlp_ln"}};
    for (int i = 0; i < 3; i++) {
        snprintf(a, sizeof a, "%s.%s", ours, parts[i][0]);
        snprintf(b, sizeof b, "%s.%s", theirs, parts[i][1]);
        add_pair(k, a, b, i == 0 ? 4 * D : D, i == 0 ? D : i == 1 ? 4 * D : 0, true);
    }
    for (int cross = 0; cross <= (tower[0] == 'd'); cross++) {
        snprintf(a, sizeof a, "%s.%s", ours, cross ? "encoder_attn" : "self_attn");
        snprintf(b, sizeof b, "%s.%s", theirs, cross ? "cross_attn" : "attn");
        add_attention(k, a, b);
    }
}

struct wh_dims made_dims(uint32_t n_mels, uint32_t D, uint32_t n_vocab, uint32_t layers) {
    uint32_t H = D / 16 < 4 ? D / 16 : 4;
    return (struct wh_dims){.n_mels = n_mels,
                            .n_audio_ctx = 24,
                            .n_text_ctx = 20,
                            .n_state = D,
                            .n_vocab = n_vocab,
                            .n_audio_layers = 2,
                            .n_audio_heads = H,
                            .n_audio_ffn = 4 * D,
                            .n_text_layers = layers,
                            .n_text_heads = H,
                            .n_text_ffn = 4 * D};
}

struct made *made_create(const struct wh_dims *dims, enum num_weight_type type, uint32_t seed) {
    struct made *m = calloc(1, sizeof *m);
    CHECK(m != NULL);
    m->dims = *dims;
    struct maker k = {m, type, seed * 2654435761u + 1};
    uint64_t D = dims->n_state;
    enum num_weight_type conv = num_weight_block(type) > 1 ? NUM_WEIGHT_F16 : type;
    add(&k, NUM_WEIGHT_F32, "model.encoder.embed_positions.weight", "encoder.positional_embedding",
        SHAPE(dims->n_audio_ctx, D), 0.5f, 0);
    add(&k, conv, "model.encoder.conv1.weight", "encoder.conv1.weight", SHAPE(D, dims->n_mels, 3),
        0.1f, 0);
    add(&k, NUM_WEIGHT_F32, "model.encoder.conv1.bias", "encoder.conv1.bias", SHAPE(D), 0.1f, 0);
    add(&k, conv, "model.encoder.conv2.weight", "encoder.conv2.weight", SHAPE(D, D, 3), 0.1f, 0);
    add(&k, NUM_WEIGHT_F32, "model.encoder.conv2.bias", "encoder.conv2.bias", SHAPE(D), 0.1f, 0);
    for (uint32_t i = 0; i < dims->n_audio_layers; i++)
        add_layer(&k, "encoder", i);
    add_pair(&k, "model.encoder.layer_norm", "encoder.ln_post", D, 0, true);
    add(&k, type, "model.decoder.embed_tokens.weight", "decoder.token_embedding.weight",
        SHAPE(dims->n_vocab, D), 0.1f, 0);
    add(&k, NUM_WEIGHT_F32, "model.decoder.embed_positions.weight", "decoder.positional_embedding",
        SHAPE(dims->n_text_ctx, D), 0.2f, 0);
    for (uint32_t i = 0; i < dims->n_text_layers; i++)
        add_layer(&k, "decoder", i);
    add_pair(&k, "model.decoder.layer_norm", "decoder.ln", D, 0, true);
    return m;
}

struct made *made_dequantised(const struct made *m) {
    struct made *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    f->dims = m->dims;
    f->n_tensors = m->n_tensors;
    f->tensors = calloc(m->n_tensors, sizeof *f->tensors);
    for (size_t i = 0; i < m->n_tensors; i++) {
        struct made_tensor *t = &f->tensors[i];
        *t = m->tensors[i];
        t->view.type = NUM_WEIGHT_F32;
        CHECK(num_weights_measure(&t->view, &t->bytes));
        float *data = malloc(t->bytes);
        num_weights_to_f32(&m->tensors[i].view, 0, t->view.rows, data);
        t->view.data = data;
    }
    return f;
}

void made_free(struct made *m) {
    for (size_t i = 0; i < m->n_tensors; i++)
        free((void *)m->tensors[i].view.data);
    free(m->tensors);
    free(m);
}

/* ---- Vocabulary ----------------------------------------------------------------------------- */

#define SMALL_PIECES 300 /* of a vocabulary that is not published; special tokens follow */

static const char *const small_specials[] = {
    "<|endoftext|>",  "<|startoftranscript|>", "<|en|>",       "<|de|>",          "<|translate|>",
    "<|transcribe|>", "<|startofprev|>",       "<|nospeech|>", "<|notimestamps|>"};

static uint32_t n_pieces(uint32_t n_vocab) {
    return !wh_published_vocab(n_vocab)  ? SMALL_PIECES
           : n_vocab == WH_VOCAB_ENGLISH ? 50256
                                         : 50257;
}

/* The bytes of piece i; returns how many. */
static uint32_t piece(uint32_t i, char bytes[16]) {
    bytes[0] = (char)i;
    return i < 256 ? 1 : (uint32_t)snprintf(bytes, 16, " w%u", i);
}

/* The name of special token i, counted from the end of the pieces. */
static void special(const struct num_bpe *published, uint32_t i, uint32_t n_vocab, char name[32]) {
    if (published)
        snprintf(name, 32, "%.*s", (int)published->tokens[n_pieces(n_vocab) + i].len,
                 (const char *)published->tokens[n_pieces(n_vocab) + i].bytes);
    else if (i < sizeof small_specials / sizeof *small_specials)
        snprintf(name, 32, "%s", small_specials[i]);
    else
        snprintf(name, 32, "<|%.2f|>", 0.02 * (i - sizeof small_specials / sizeof *small_specials));
}

/* The special tokens of a published size; false for others. */
static bool published_bpe(uint32_t n_vocab, struct num_bpe *ret) {
    if (!wh_published_vocab(n_vocab))
        return false;
    uint32_t n = n_pieces(n_vocab);
    struct num_bpe_token *none = calloc(n, sizeof *none);
    CHECK(wh_published_bpe(none, n, n_vocab, "", ret, NULL) == 0);
    free(none);
    return true;
}

/* GPT-2's character for a byte, as UTF-8. */
static void byte_name(int byte, char text[3]) {
    int code = byte, others = 0;
    for (int b = 0; b <= byte; b++) {
        bool own = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (!own && b == byte)
            code = 0x100 + others;
        others += !own;
    }
    memset(text, 0, 3);
    text[0] = (char)(code < 128 ? code : 0xc0 | code >> 6);
    if (code >= 128)
        text[1] = (char)(0x80 | (code & 63));
}

static json_t *vocab_json(uint32_t n) {
    json_t *vocab = json_object();
    for (uint32_t i = 0; i < n; i++) {
        char bytes[16], text[64] = "", one[3];
        uint32_t len = piece(i, bytes);
        for (uint32_t b = 0; b < len; b++) {
            byte_name((uint8_t)bytes[b], one);
            strcat(text, one);
        }
        json_object_set_new(vocab, text, json_integer(i));
    }
    return vocab;
}

/* ---- Files ---------------------------------------------------------------------------------- */

static FILE *create(const char *folder, const char *file) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL);
    return f;
}

static void write_json(const char *folder, const char *file, json_t *value) {
    FILE *f = create(folder, file);
    CHECK(json_dumpf(value, f, 0) == 0 && fclose(f) == 0);
    json_decref(value);
}

static void write_tokenizer(const struct made *m, const char *folder, bool one_file) {
    struct num_bpe bpe = {0};
    uint32_t V = m->dims.n_vocab, n = n_pieces(V);
    bool published = published_bpe(V, &bpe);
    json_t *vocab = vocab_json(n), *added = json_object(), *list = json_array();
    for (uint32_t i = 0; i < V - n; i++) {
        char name[32];
        special(published ? &bpe : NULL, i, V, name);
        if (i == 0 && !one_file) /* as in the published folders */
            json_object_set_new(vocab, name, json_integer(n));
        else
            json_object_set_new(added, name, json_integer(n + i));
        json_array_append_new(list, json_pack("{s:i, s:s, s:b}", "id", (int)(n + i), "content",
                                              name, "special", i < 110));
    }
    num_bpe_finish(&bpe);
    if (one_file) {
        write_json(folder, "tokenizer.json",
                   json_pack("{s:{s:s, s:o, s:[]}, s:o}", "model", "type", "BPE", "vocab", vocab,
                             "merges", "added_tokens", list));
        json_decref(added);
        return;
    }
    write_json(folder, "vocab.json", vocab);
    write_json(folder, "added_tokens.json", added);
    json_decref(list);
}

static void write_config(const struct wh_dims *d, const char *folder) {
    write_json(folder, "config.json",
               json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "num_mel_bins",
                         d->n_mels, "max_source_positions", d->n_audio_ctx, "max_target_positions",
                         d->n_text_ctx, "d_model", d->n_state, "vocab_size", d->n_vocab,
                         "encoder_layers", d->n_audio_layers, "decoder_layers", d->n_text_layers,
                         "encoder_attention_heads", d->n_audio_heads, "decoder_attention_heads",
                         d->n_text_heads, "encoder_ffn_dim", d->n_audio_ffn, "decoder_ffn_dim",
                         d->n_text_ffn));
}

/* Tensors number first, first + step, ... */
static void write_shard(const struct made *m, const char *folder, const char *file, size_t first,
                        size_t step, const char *skip) {
    struct num_tensor *list = calloc(m->n_tensors, sizeof *list);
    size_t n = 0, len;
    void *header;
    for (size_t i = first; i < m->n_tensors; i += step) {
        const struct num_weights *w = &m->tensors[i].view;
        struct num_tensor t = {.name = m->tensors[i].ours + strlen(skip), .n_dims = w->n_dims};
        CHECK(w->type <= NUM_WEIGHT_BF16);
        t.dtype = w->type == NUM_WEIGHT_F32   ? NUM_F32
                  : w->type == NUM_WEIGHT_F16 ? NUM_F16
                                              : NUM_BF16;
        memcpy(t.shape, w->shape, sizeof t.shape);
        list[n++] = t;
    }
    CHECK(num_safetensors_header(list, n, NULL, 0, 0, &header, &len, NULL) == 0);
    FILE *f = create(folder, file);
    CHECK(fwrite(header, 1, len, f) == len);
    for (size_t i = first; i < m->n_tensors; i += step)
        CHECK(fwrite(m->tensors[i].view.data, 1, m->tensors[i].bytes, f) == m->tensors[i].bytes);
    CHECK(fclose(f) == 0);
    free(header);
    free(list);
}

#define SHARDS 3

static void write_shards(const struct made *m, const char *folder, const char *skip) {
    json_t *map = json_object();
    for (size_t s = 0; s < SHARDS; s++) {
        char file[64];
        snprintf(file, sizeof file, "model-%05zu-of-%05d.safetensors", s + 1, SHARDS);
        write_shard(m, folder, file, s, SHARDS, skip);
        for (size_t i = s; i < m->n_tensors; i += SHARDS)
            json_object_set_new(map, m->tensors[i].ours + strlen(skip), json_string(file));
    }
    write_json(folder, "model.safetensors.index.json",
               json_pack("{s:{s:i}, s:o}", "metadata", "total_size", 1, "weight_map", map));
}

void made_write_folder(const struct made *m, const char *folder, unsigned flags) {
    const char *skip = flags & MADE_BARE_NAMES ? "model." : "";
    write_config(&m->dims, folder);
    write_tokenizer(m, folder, flags & MADE_ONE_TOKENIZER);
    if (flags & MADE_MULTI_SHARD)
        write_shards(m, folder, skip);
    else
        write_shard(m, folder, "model.safetensors", 0, 1, skip);
}

/* ---- whisper.cpp ---------------------------------------------------------------------------- */

static const uint32_t ggml_ids[NUM_N_WEIGHT_TYPES] = {
    [NUM_WEIGHT_F32] = 0,   [NUM_WEIGHT_F16] = 1,   [NUM_WEIGHT_BF16] = 30, [NUM_WEIGHT_Q4_0] = 2,
    [NUM_WEIGHT_Q4_1] = 3,  [NUM_WEIGHT_Q5_0] = 6,  [NUM_WEIGHT_Q5_1] = 7,  [NUM_WEIGHT_Q8_0] = 8,
    [NUM_WEIGHT_Q4_K] = 12, [NUM_WEIGHT_Q5_K] = 13, [NUM_WEIGHT_Q6_K] = 14,
};

static void put_u32(FILE *f, uint32_t value) {
    CHECK(fwrite(&value, 4, 1, f) == 1);
}

static void put_text(FILE *f, const char *bytes, uint32_t len) {
    CHECK(fwrite(bytes, 1, len, f) == len);
}

static void put_tensor(FILE *f, const struct made_tensor *t) {
    bool bias = strstr(t->theirs, "conv") && strstr(t->theirs, ".bias");
    put_u32(f, t->view.n_dims + bias);
    put_u32(f, (uint32_t)strlen(t->theirs));
    put_u32(f, ggml_ids[t->view.type]);
    if (bias)
        put_u32(f, 1);
    for (uint32_t i = t->view.n_dims; i-- > 0;)
        put_u32(f, (uint32_t)t->view.shape[i]);
    put_text(f, t->theirs, (uint32_t)strlen(t->theirs));
    CHECK(fwrite(t->view.data, 1, t->bytes, f) == t->bytes);
}

static void put_vocabulary(FILE *f, uint32_t n_vocab) {
    bool published = wh_published_vocab(n_vocab);
    uint32_t n = n_pieces(n_vocab), total = published ? n : n_vocab;
    put_u32(f, total);
    for (uint32_t i = 0; i < total; i++) {
        char bytes[32];
        uint32_t len;
        if (i < n) {
            len = piece(i, bytes);
        } else {
            special(NULL, i - n, n_vocab, bytes);
            len = (uint32_t)strlen(bytes);
        }
        put_u32(f, len);
        put_text(f, bytes, len);
    }
}

void made_write_ggml(const struct made *m, const char *path) {
    const struct wh_dims *d = &m->dims;
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL);
    const uint32_t head[] = {0x67676d6cu,      d->n_vocab,        d->n_audio_ctx, d->n_state,
                             d->n_audio_heads, d->n_audio_layers, d->n_text_ctx,  d->n_state,
                             d->n_text_heads,  d->n_text_layers,  d->n_mels,      1,
                             d->n_mels,        NUM_MEL_BINS};
    CHECK(fwrite(head, sizeof head, 1, f) == 1);
    for (uint32_t band = 0; band < d->n_mels; band++)
        for (uint32_t bin = 0; bin < NUM_MEL_BINS; bin++) {
            float weight = (float)num_mel_weight(d->n_mels, band, bin);
            CHECK(fwrite(&weight, 4, 1, f) == 1);
        }
    put_vocabulary(f, d->n_vocab);
    for (size_t i = 0; i < m->n_tensors; i++)
        put_tensor(f, &m->tensors[i]);
    CHECK(fclose(f) == 0);
}

void made_write_ggml_tensors(const struct made *m, const char *path, const void *head, size_t len) {
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL);
    put_text(f, head, (uint32_t)len);
    for (size_t i = 0; i < m->n_tensors; i++)
        put_tensor(f, &m->tensors[i]);
    CHECK(fclose(f) == 0);
}

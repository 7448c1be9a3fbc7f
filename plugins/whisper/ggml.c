/*
 * Reader of whisper.cpp's model files: the layout is in ggml.h.
 *
 * One pass over the span with a cursor that never runs past its end; every count is checked against
 * the bytes that are left before memory is taken for it. Tensors get Hugging Face's names, so that
 * backends know one set; a name that no Whisper model of these sizes has is refused, which also
 * bounds their number.
 */
#include "whisper/ggml.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/cursor.h"
#include "num/mel.h"
#include "whisper/published.h"

#define MAGIC            0x67676d6cu
#define MAX_NAME         128
#define NAME_ROOM        80   /* bytes of the longest name of ours */
#define FILTER_TOLERANCE 1e-6 /* filters reach 0.027; float rounding is below 1e-8 */

/* ---- Sizes ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t max;
} sizes[] = {
    {"n_vocab", 1 << 18},      {"n_audio_ctx", 1 << 16}, {"n_audio_state", 1 << 13},
    {"n_audio_head", 256},     {"n_audio_layer", 256},   {"n_text_ctx", 1 << 16},
    {"n_text_state", 1 << 13}, {"n_text_head", 256},     {"n_text_layer", 256},
    {"n_mels", 1024},
};
enum {
    VOCAB,
    AUDIO_CTX,
    AUDIO_STATE,
    AUDIO_HEAD,
    AUDIO_LAYER,
    TEXT_CTX,
    TEXT_STATE,
    TEXT_HEAD,
    TEXT_LAYER,
    MELS,
    N_SIZES
};

static int32_t read_sizes(struct num_cursor *r, struct wh_dims *ret) {
    uint32_t magic = 0, n[N_SIZES] = {0}, ftype;
    if (!num_take_u32(r, &magic) || magic != MAGIC)
        return NUM_REFUSE(r,
                          "%s is not a model file of whisper.cpp: it begins with %08" PRIx32
                          " where %08x is expected",
                          r->file, magic, MAGIC);
    for (int i = 0; i < N_SIZES; i++) {
        if (!num_take_u32(r, &n[i]))
            return NUM_REFUSE(r, "%s is cut short: it ends within its sizes", r->file);
        if (n[i] < 1 || n[i] > sizes[i].max)
            return NUM_REFUSE(
                r, "%s is not a Whisper model: %s is %" PRIu32 ", not a size from 1 to %" PRIu32,
                r->file, sizes[i].name, n[i], sizes[i].max);
    }
    uint32_t D = n[AUDIO_STATE];
    if (!num_take_u32(r, &ftype))
        return NUM_REFUSE(r, "%s is cut short: it ends within its sizes", r->file);
    if (n[TEXT_STATE] != D || D % n[AUDIO_HEAD] || D % n[TEXT_HEAD] || D % 2)
        return NUM_REFUSE(r,
                          "%s is not a Whisper model: its widths %" PRIu32 " and %" PRIu32
                          " must be equal and split into %" PRIu32 " and %" PRIu32 " heads",
                          r->file, D, n[TEXT_STATE], n[AUDIO_HEAD], n[TEXT_HEAD]);
    *ret = (struct wh_dims){.n_mels = n[MELS],
                            .n_audio_ctx = n[AUDIO_CTX],
                            .n_text_ctx = n[TEXT_CTX],
                            .n_state = D,
                            .n_vocab = n[VOCAB],
                            .n_audio_layers = n[AUDIO_LAYER],
                            .n_audio_heads = n[AUDIO_HEAD],
                            .n_audio_ffn = 4 * D,
                            .n_text_layers = n[TEXT_LAYER],
                            .n_text_heads = n[TEXT_HEAD],
                            .n_text_ffn = 4 * D,
                            .english_only = n[VOCAB] == WH_VOCAB_ENGLISH};
    return SLUICE_OK;
}

/* ---- Mel filters ---------------------------------------------------------------------------- */

static int32_t read_filters(struct num_cursor *r, const struct wh_dims *dims) {
    uint32_t n_mels, n_bins;
    if (!num_take_u32(r, &n_mels) || !num_take_u32(r, &n_bins))
        return NUM_REFUSE(r, "%s is cut short: it ends before its mel filters", r->file);
    if (n_mels != dims->n_mels || n_bins != NUM_MEL_BINS)
        return NUM_REFUSE(r,
                          "%s: its mel filters are %" PRIu32 " x %" PRIu32 " where %" PRIu32
                          " x %d are expected",
                          r->file, n_mels, n_bins, dims->n_mels, NUM_MEL_BINS);
    const uint8_t *filters = num_take(r, (size_t)n_mels * n_bins * sizeof(float));
    if (!filters)
        return NUM_REFUSE(r, "%s is cut short: it ends within its mel filters", r->file);
    for (uint32_t band = 0; band < n_mels; band++)
        for (uint32_t bin = 0; bin < n_bins; bin++) {
            float found;
            memcpy(&found, filters + ((size_t)band * n_bins + bin) * sizeof found, sizeof found);
            double ours = num_mel_weight(n_mels, band, bin), off = found - ours;
            if (!(off < FILTER_TOLERANCE && off > -FILTER_TOLERANCE))
                return NUM_REFUSE(r,
                                  "%s: its mel filters are not Whisper's: band %" PRIu32
                                  ", bin %" PRIu32 " weighs %g where %g is expected",
                                  r->file, band, bin, found, ours);
        }
    return SLUICE_OK;
}

/* ---- Vocabulary ----------------------------------------------------------------------------- */

static int32_t read_pieces(struct num_cursor *r, struct wh_ggml *g) {
    uint32_t n, len;
    if (!num_take_u32(r, &n))
        return NUM_REFUSE(r, "%s is cut short: it ends before its vocabulary", r->file);
    if (n > g->dims.n_vocab || n > num_left(r) / 4)
        return NUM_REFUSE(r,
                          "%s announces a vocabulary of %" PRIu32 " pieces; %" PRIu32
                          " tokens and the %zu bytes that follow leave no room for them",
                          r->file, n, g->dims.n_vocab, num_left(r));
    g->pieces = calloc((size_t)n + 1, sizeof *g->pieces);
    if (!g->pieces)
        return num_fail_memory(r->err, "a vocabulary", n * sizeof *g->pieces);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *bytes = num_take_u32(r, &len) ? num_take(r, len) : NULL;
        if (!bytes)
            return NUM_REFUSE(r,
                              "%s is cut short: it ends within piece %" PRIu32 " of its vocabulary",
                              r->file, i);
        g->pieces[g->n_pieces++] = (struct num_bpe_token){bytes, len, false};
    }
    return SLUICE_OK;
}

static bool is_special(const struct num_bpe_token *t) {
    return t->len > 4 && memcmp(t->bytes, "<|", 2) == 0 &&
           memcmp(t->bytes + t->len - 2, "|>", 2) == 0;
}

int32_t wh_ggml_bpe(const struct wh_ggml *ggml, const char *file, struct num_bpe *ret,
                    struct num_err *err) {
    uint32_t n_vocab = ggml->dims.n_vocab;
    if (wh_published_vocab(n_vocab))
        return wh_published_bpe(ggml->pieces, ggml->n_pieces, n_vocab, file, ret, err);
    if (ggml->n_pieces != n_vocab)
        return num_fail(err, SLUICE_INPUT,
                        "%s names %zu of its %" PRIu32 " tokens; the others' meaning is known for "
                        "models with 51864, 51865 or 51866 tokens only",
                        file, ggml->n_pieces, n_vocab);
    for (size_t i = 0; i < ggml->n_pieces; i++)
        ggml->pieces[i].special = is_special(&ggml->pieces[i]);
    return num_bpe_build(ggml->pieces, ggml->n_pieces, ret, err);
}

/* ---- Names ---------------------------------------------------------------------------------- */

struct rename {
    const char *from, *to;
};

/* Outside of the layers, behind "encoder." and "decoder.". */
static const struct rename tower_names[] = {
    {"positional_embedding", "embed_positions.weight"},
    {"token_embedding.weight", "embed_tokens.weight"},
    {"conv1.weight", "conv1.weight"},
    {"conv1.bias", "conv1.bias"},
    {"conv2.weight", "conv2.weight"},
    {"conv2.bias", "conv2.bias"},
    {"ln_post.weight", "layer_norm.weight"},
    {"ln_post.bias", "layer_norm.bias"},
    {"ln.weight", "layer_norm.weight"},
    {"ln.bias", "layer_norm.bias"},
};

/* Parts of a layer, in front of ".weight" and ".bias". */
static const struct rename layer_names[] = {
    {"attn_ln", "self_attn_layer_norm"},
    {"attn.query", "self_attn.q_proj"},
    {"attn.key", "self_attn.k_proj"},
    {"attn.value", "self_attn.v_proj"},
    {"attn.out", "self_attn.out_proj"},
    {"cross_attn_ln", "encoder_attn_layer_norm"},
    {"cross_attn.query", "encoder_attn.q_proj"},
    {"cross_attn.key", "encoder_attn.k_proj"},
    {"cross_attn.value", "encoder_attn.v_proj"},
    {"cross_attn.out", "encoder_attn.out_proj"},
    {"mlp_ln", "final_layer_norm"},
    {"mlp.0", "fc1"},
    {"mlp.2", "fc2"},
};

static bool rename_tower(const char *tower, const char *rest, char ret[NAME_ROOM]) {
    for (size_t i = 0; i < sizeof tower_names / sizeof *tower_names; i++)
        if (strcmp(rest, tower_names[i].from) == 0)
            return snprintf(ret, NAME_ROOM, "model.%s.%s", tower, tower_names[i].to) < NAME_ROOM;
    return false;
}

/* `rest` is "3.attn.query.weight". */
static bool rename_layer(const char *tower, const char *rest, uint32_t n_layers,
                         char ret[NAME_ROOM]) {
    char *end;
    const char *suffix = strrchr(rest, '.');
    unsigned long layer = rest[0] >= '0' && rest[0] <= '9' ? strtoul(rest, &end, 10) : n_layers;
    if (layer >= n_layers || *end != '.' || suffix <= end ||
        (strcmp(suffix, ".weight") != 0 && strcmp(suffix, ".bias") != 0))
        return false;
    const char *part = end + 1;
    size_t len = (size_t)(suffix - part);
    for (size_t i = 0; i < sizeof layer_names / sizeof *layer_names; i++)
        if (strlen(layer_names[i].from) == len && memcmp(part, layer_names[i].from, len) == 0)
            return snprintf(ret, NAME_ROOM, "model.%s.layers.%lu.%s%s", tower, layer,
                            layer_names[i].to, suffix) < NAME_ROOM;
    return false;
}

/* Our name of whisper.cpp's tensor; false where no model of these sizes has one. */
static bool rename_tensor(const char *name, const struct wh_dims *dims, char ret[NAME_ROOM]) {
    bool encoder = strncmp(name, "encoder.", 8) == 0;
    if (!encoder && strncmp(name, "decoder.", 8) != 0)
        return false;
    const char *tower = encoder ? "encoder" : "decoder", *rest = name + 8;
    if (strncmp(rest, "blocks.", 7) == 0)
        return rename_layer(tower, rest + 7, encoder ? dims->n_audio_layers : dims->n_text_layers,
                            ret);
    return rename_tower(tower, rest, ret);
}

/* ---- Tensors -------------------------------------------------------------------------------- */

/* A bias of a convolution is stored as (n, 1). */
static void drop_trailing_one(struct num_weights *w) {
    size_t len = strlen(w->name);
    bool bias = len > 5 && strcmp(w->name + len - 5, ".bias") == 0;
    if (bias && w->n_dims == 2 && w->shape[1] == 1)
        w->n_dims = 1;
}

/* What stands before a tensor's data. */
struct head {
    uint32_t n_dims, type_id, ne[4]; /* ne: the innermost size first */
    char name[MAX_NAME + 1];         /* theirs, with ? for what cannot be printed */
};

static int32_t read_head(struct num_cursor *r, struct head *ret) {
    struct head h = {0};
    uint32_t name_len;
    if (!num_take_u32(r, &h.n_dims) || !num_take_u32(r, &name_len) || !num_take_u32(r, &h.type_id))
        return NUM_REFUSE(r, "%s is cut short: it ends within the head of a tensor", r->file);
    if (h.n_dims < 1 || h.n_dims > 4 || name_len < 1 || name_len > MAX_NAME)
        return NUM_REFUSE(r,
                          "%s is damaged: at byte %zu a tensor with %" PRIu32
                          " dimensions and a name of %" PRIu32 " bytes begins",
                          r->file, r->at - 12, h.n_dims, name_len);
    for (uint32_t i = 0; i < h.n_dims; i++)
        if (!num_take_u32(r, &h.ne[i]))
            return NUM_REFUSE(r, "%s is cut short: it ends within the head of a tensor", r->file);
    const uint8_t *bytes = num_take(r, name_len);
    if (!bytes)
        return NUM_REFUSE(r, "%s is cut short: it ends within the name of a tensor", r->file);
    for (uint32_t i = 0; i < name_len; i++)
        h.name[i] = bytes[i] > ' ' && bytes[i] < 127 ? (char)bytes[i] : '?';
    *ret = h;
    return SLUICE_OK;
}

/* One tensor: its view, with a name that is written to `name`. */
static int32_t read_tensor(struct num_cursor *r, const struct wh_dims *dims, char name[NAME_ROOM],
                           struct num_weights *ret) {
    struct num_weights w = {.name = name};
    struct head h;
    int32_t status = read_head(r, &h);
    if (status != SLUICE_OK)
        return status;
    if (!rename_tensor(h.name, dims, name))
        return NUM_REFUSE(r, "%s: no Whisper model of these sizes has a tensor %s", r->file,
                          h.name);
    if (!num_weight_of_ggml(h.type_id, &w.type))
        return NUM_REFUSE(r,
                          "%s: tensor %s is of ggml type %" PRIu32
                          "; F32, F16, BF16, Q4_0, Q4_1, Q5_0, "
                          "Q5_1, Q8_0, Q4_K, Q5_K and Q6_K can be read",
                          r->file, h.name, h.type_id);
    w.n_dims = h.n_dims;
    for (uint32_t i = 0; i < h.n_dims; i++)
        w.shape[i] = h.ne[h.n_dims - 1 - i];
    drop_trailing_one(&w);
    uint64_t size;
    if (!num_weights_measure(&w, &size))
        return NUM_REFUSE(
            r,
            "%s: tensor %s has rows of %" PRIu32 " elements, which is no multiple of the "
            "block of %s (%u)",
            r->file, h.name, h.ne[0], num_weight_name(w.type), num_weight_block(w.type));
    if (size > num_left(r))
        return NUM_REFUSE(r, "%s is cut short: tensor %s takes %" PRIu64 " bytes and %zu are left",
                          r->file, h.name, size, num_left(r));
    w.data = num_take(r, size);
    *ret = w;
    return SLUICE_OK;
}

/* Most tensors that a model of these sizes has. */
static size_t max_tensors(const struct wh_dims *dims) {
    size_t towers = 2 * sizeof tower_names / sizeof *tower_names;
    size_t parts = 2 * sizeof layer_names / sizeof *layer_names;
    return towers + parts * ((size_t)dims->n_audio_layers + dims->n_text_layers);
}

static int32_t read_tensors(struct num_cursor *r, struct wh_ggml *g) {
    size_t room = max_tensors(&g->dims);
    g->tensors = calloc(room, sizeof *g->tensors);
    g->names = malloc(room * NAME_ROOM);
    if (!g->tensors || !g->names)
        return num_fail_memory(r->err, "the list of tensors", room * sizeof *g->tensors);
    if (r->at == r->len)
        return NUM_REFUSE(r, "%s holds no tensors: a header and a vocabulary only", r->file);
    while (r->at < r->len) {
        if (g->n_tensors == room)
            return NUM_REFUSE(r, "%s holds more than the %zu tensors that a model of its sizes has",
                              r->file, room);
        char *name = g->names + g->n_tensors * NAME_ROOM;
        int32_t status = read_tensor(r, &g->dims, name, &g->tensors[g->n_tensors]);
        if (status)
            return status;
        g->n_tensors++;
    }
    return SLUICE_OK;
}

int32_t wh_ggml_parse(const void *data, size_t len, const char *file, struct wh_ggml *ret,
                      struct num_err *err) {
    struct num_cursor r = {data, len, 0, file, err};
    struct wh_ggml g = {.n_pieces = 0};
    int32_t status = read_sizes(&r, &g.dims);
    if (!status)
        status = read_filters(&r, &g.dims);
    if (!status)
        status = read_pieces(&r, &g);
    if (!status)
        status = read_tensors(&r, &g);
    if (status)
        wh_ggml_finish(&g);
    else
        *ret = g;
    return status;
}

void wh_ggml_finish(struct wh_ggml *ggml) {
    free(ggml->pieces);
    free(ggml->tensors);
    free(ggml->names);
    *ggml = (struct wh_ggml){0};
}

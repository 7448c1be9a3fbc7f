/*
 * config.json and generation_config.json of a Hugging Face folder: see config.h. Families are a
 * table of what their names imply; everything else is read from the file.
 */
#include "llm/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#define MAX_SIZE   (1u << 20)
#define MAX_LAYERS 1024u
#define MAX_HEADS  1024u
#define MAX_VOCAB  (1u << 22)

struct reader {
    const json_t *root;
    const char *folder;
    struct num_err *err;
    struct lm_config *config;
};

#define REFUSE(r, ...) num_fail((r)->err, SLUICE_INPUT, __VA_ARGS__)

/* ---- Values --------------------------------------------------------------------------------- */

static bool missing(const json_t *value) {
    return !value || json_is_null(value);
}

/* A whole number from 1 to max; a missing one stays. */
static int32_t read_size(struct reader *r, const json_t *from, const char *key, uint32_t max,
                         uint32_t *ret) {
    const json_t *value = json_object_get(from, key);
    if (missing(value))
        return SLUICE_OK;
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : 0;
    if (n < 1 || n > max)
        return REFUSE(r, "%s/config.json: \"%s\" is not a whole number from 1 to %" PRIu32,
                      r->folder, key, max);
    *ret = (uint32_t)n;
    return SLUICE_OK;
}

/* A positive finite number; a missing one stays. */
static int32_t read_number(struct reader *r, const json_t *from, const char *key, double *ret) {
    const json_t *value = json_object_get(from, key);
    if (missing(value))
        return SLUICE_OK;
    double x = json_is_number(value) ? json_number_value(value) : 0;
    if (!(x > 0 && isfinite(x)))
        return REFUSE(r, "%s/config.json: \"%s\" is not a positive number", r->folder, key);
    *ret = x;
    return SLUICE_OK;
}

static bool read_bool(const json_t *from, const char *key, bool otherwise) {
    const json_t *value = json_object_get(from, key);
    return missing(value) ? otherwise : json_is_true(value);
}

/* ---- Families ------------------------------------------------------------------------------- */

static const struct family {
    const char *name;
    bool qkv_bias;       /* always; else where "attention_bias" says so, which "out" shares */
    bool attention_bias; /* "attention_bias" counts */
    bool mlp_bias;       /* "mlp_bias" counts */
    bool qk_norm;
    bool window;   /* "sliding_window" counts by itself */
    uint32_t base; /* default of rope_theta */
} families[] = {
    {.name = "llama", .attention_bias = true, .mlp_bias = true, .base = 10000},
    {.name = "mistral", .window = true, .base = 10000},
    {.name = "qwen2", .qkv_bias = true, .base = 10000},
    {.name = "qwen3", .attention_bias = true, .qk_norm = true, .base = 10000},
};

static int32_t read_family(struct reader *r, const struct family **ret) {
    const char *name = json_string_value(json_object_get(r->root, "model_type"));
    const char *act = json_string_value(json_object_get(r->root, "hidden_act"));
    if (!name)
        return REFUSE(r, "%s/config.json has no \"model_type\"", r->folder);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].name, name) == 0)
            *ret = &families[i];
    if (!*ret)
        return num_fail(r->err, SLUICE_UNSUPPORTED,
                        "%s is a model of type %.40s; llama, mistral, qwen2 and qwen3 can be run",
                        r->folder, name);
    if (act && strcmp(act, "silu") != 0)
        return num_fail(r->err, SLUICE_UNSUPPORTED,
                        "%s/config.json: \"hidden_act\" is %.40s; only silu can be run", r->folder,
                        act);
    if (!missing(json_object_get(r->root, "quantization_config")))
        return num_fail(r->err, SLUICE_UNSUPPORTED,
                        "%s: weights quantised by \"quantization_config\" cannot be read; take the "
                        "model in 16 bits, or as a GGUF file",
                        r->folder);
    snprintf(r->config->family, sizeof r->config->family, "%s", name);
    return SLUICE_OK;
}

/* ---- Sizes ---------------------------------------------------------------------------------- */

static int32_t read_sizes(struct reader *r) {
    struct lm_config *c = r->config;
    struct {
        const char *key;
        uint32_t max, *ret;
    } sizes[] = {
        {"vocab_size", MAX_VOCAB, &c->n_vocab},
        {"hidden_size", MAX_SIZE, &c->n_state},
        {"num_hidden_layers", MAX_LAYERS, &c->n_layers},
        {"num_attention_heads", MAX_HEADS, &c->n_heads},
        {"intermediate_size", MAX_SIZE, &c->n_ffn},
        {"max_position_embeddings", UINT32_MAX / 2, &c->n_context},
        {"num_key_value_heads", MAX_HEADS, &c->n_kv_heads}, /* the last two may be missing */
        {"head_dim", MAX_SIZE, &c->head_dim},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int32_t status = read_size(r, r->root, sizes[i].key, sizes[i].max, sizes[i].ret);
        if (status)
            return status;
        if (i < 6 && *sizes[i].ret == 0)
            return REFUSE(r, "%s/config.json has no \"%s\"", r->folder, sizes[i].key);
    }
    c->n_kv_heads = c->n_kv_heads ? c->n_kv_heads : c->n_heads;
    if (c->head_dim == 0)
        c->head_dim = c->n_state % c->n_heads ? 0 : c->n_state / c->n_heads;
    return SLUICE_OK;
}

/* ---- Positions ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum lm_rope_kind kind;
} rope_kinds[] = {
    {"default", LM_ROPE_PLAIN}, {"linear", LM_ROPE_LINEAR}, {"dynamic", LM_ROPE_DYNAMIC},
    {"llama3", LM_ROPE_LLAMA3}, {"yarn", LM_ROPE_YARN},
};

static int32_t read_rope_kind(struct reader *r, const json_t *scaling) {
    const char *name = json_string_value(json_object_get(scaling, "rope_type"));
    name = name ? name : json_string_value(json_object_get(scaling, "type"));
    for (size_t i = 0; name && i < sizeof rope_kinds / sizeof *rope_kinds; i++)
        if (strcmp(rope_kinds[i].name, name) == 0) {
            r->config->rope.kind = rope_kinds[i].kind;
            return SLUICE_OK;
        }
    return num_fail(r->err, SLUICE_UNSUPPORTED,
                    "%s/config.json: rotary positions are scaled by %.40s; linear, dynamic, llama3 "
                    "and yarn can be run",
                    r->folder, name ? name : "a rule without \"rope_type\"");
}

/* YaRN's factor on cosines and sines where the file gives none: 0.1 ln(factor) + 1. */
static int32_t read_yarn(struct reader *r, const json_t *scaling) {
    struct lm_rope *rope = &r->config->rope;
    rope->attention_factor = rope->factor > 1 ? 0.1 * log(rope->factor) + 1 : 1;
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    if (!missing(json_object_get(scaling, "mscale")) ||
        !missing(json_object_get(scaling, "mscale_all_dim")) ||
        !read_bool(scaling, "truncate", true))
        return num_fail(r->err, SLUICE_UNSUPPORTED,
                        "%s/config.json: yarn with \"mscale\", \"mscale_all_dim\" or \"truncate\" "
                        "cannot be run",
                        r->folder);
    int32_t status = read_number(r, scaling, "attention_factor", &rope->attention_factor);
    if (!status)
        status = read_number(r, scaling, "beta_fast", &rope->beta_fast);
    return status ? status : read_number(r, scaling, "beta_slow", &rope->beta_slow);
}

static int32_t read_scaling(struct reader *r, const json_t *scaling) {
    struct lm_config *c = r->config;
    int32_t status = read_rope_kind(r, scaling);
    if (status || c->rope.kind == LM_ROPE_PLAIN)
        return status;
    status = read_number(r, scaling, "factor", &c->rope.factor);
    if (!status && c->rope.factor < 1)
        return REFUSE(r,
                      "%s/config.json: rotary positions are scaled without a \"factor\" of at "
                      "least 1",
                      r->folder);
    if (!status && c->rope.kind != LM_ROPE_DYNAMIC)
        status = read_size(r, scaling, "original_max_position_embeddings", UINT32_MAX / 2,
                           &c->rope.original_context);
    if (!status && c->rope.kind == LM_ROPE_LLAMA3) {
        status = read_number(r, scaling, "low_freq_factor", &c->rope.low_freq_factor);
        if (!status)
            status = read_number(r, scaling, "high_freq_factor", &c->rope.high_freq_factor);
        if (!status &&
            !(c->rope.low_freq_factor > 0 && c->rope.high_freq_factor > c->rope.low_freq_factor))
            return REFUSE(r,
                          "%s/config.json: llama3's \"low_freq_factor\" has to be below its "
                          "\"high_freq_factor\"",
                          r->folder);
    }
    if (!status && c->rope.kind == LM_ROPE_YARN)
        status = read_yarn(r, scaling);
    return status;
}

static uint32_t scaled_context(const struct lm_config *c) {
    double n = c->n_context * c->rope.factor;
    return n < UINT32_MAX / 2 ? (uint32_t)n : UINT32_MAX / 2;
}

static int32_t read_rope(struct reader *r, const struct family *family) {
    struct lm_config *c = r->config;
    const json_t *parameters = json_object_get(r->root, "rope_parameters");
    const json_t *scaling =
        missing(parameters) ? json_object_get(r->root, "rope_scaling") : parameters;
    double partial = 1;
    c->rope = (struct lm_rope){.base = family->base, .original_context = c->n_context};
    int32_t status =
        read_number(r, missing(parameters) ? r->root : parameters, "rope_theta", &c->rope.base);
    if (!status)
        status = read_number(r, r->root, "partial_rotary_factor", &partial);
    if (!status && partial != 1)
        return num_fail(r->err, SLUICE_UNSUPPORTED,
                        "%s/config.json: \"partial_rotary_factor\" is not 1, which cannot be run",
                        r->folder);
    if (!status && !missing(scaling))
        status = read_scaling(r, scaling);
    if (!status && c->rope.kind == LM_ROPE_DYNAMIC)
        c->n_context = scaled_context(c); /* the file's number is the original one */
    else if (!status && c->rope.kind != LM_ROPE_PLAIN && c->rope.kind != LM_ROPE_LLAMA3 &&
             c->rope.original_context == c->n_context)
        c->n_context = scaled_context(c);
    return status;
}

/* ---- Windows -------------------------------------------------------------------------------- */

/* "layer_types": layers that see all, then layers that see a window. */
static int32_t read_layer_types(struct reader *r, const json_t *types) {
    struct lm_config *c = r->config;
    uint32_t n_full = 0;
    if (json_array_size(types) != c->n_layers)
        return REFUSE(r, "%s/config.json: \"layer_types\" names %zu layers of %" PRIu32, r->folder,
                      json_array_size(types), c->n_layers);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        bool full = type && strcmp(type, "full_attention") == 0;
        bool window = type && strcmp(type, "sliding_attention") == 0;
        if (!(full && n_full == i) && !window)
            return num_fail(r->err, SLUICE_UNSUPPORTED,
                            "%s/config.json: \"layer_types\" are not full_attention first and then "
                            "sliding_attention",
                            r->folder);
        n_full += full;
    }
    c->window_first_layer = n_full;
    return SLUICE_OK;
}

static int32_t read_window(struct reader *r, const struct family *family) {
    struct lm_config *c = r->config;
    const json_t *types = json_object_get(r->root, "layer_types");
    bool used = family->window || read_bool(r->root, "use_sliding_window", false);
    if (!used || missing(json_object_get(r->root, "sliding_window")))
        return SLUICE_OK;
    int32_t status = read_size(r, r->root, "sliding_window", UINT32_MAX / 2, &c->window);
    if (!status && !missing(types))
        status = read_layer_types(r, types);
    else if (!status && !family->window) /* zero is a size too */
        c->window_first_layer =
            (uint32_t)json_integer_value(json_object_get(r->root, "max_window_layers"));
    return status;
}

/* ---- Ends of text --------------------------------------------------------------------------- */

static bool is_token(const struct reader *r, const json_t *value) {
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           json_integer_value(value) < r->config->n_vocab;
}

/* A number or a list of them. What is no token of the model is left out. */
static void read_eos(struct reader *r, const json_t *value) {
    struct lm_config *c = r->config;
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    for (size_t i = 0; i < n && c->n_eos < LM_MAX_EOS; i++) {
        const json_t *one = json_is_array(value) ? json_array_get(value, i) : value;
        if (is_token(r, one))
            c->eos[c->n_eos++] = (int32_t)json_integer_value(one);
    }
}

static int32_t read_ends(struct reader *r, const char *generation, size_t len) {
    json_error_t why;
    const json_t *bos = json_object_get(r->root, "bos_token_id");
    r->config->bos = is_token(r, bos) ? (int32_t)json_integer_value(bos) : -1;
    if (generation) {
        json_t *root = json_loadb(generation, len, 0, &why);
        if (!root)
            return REFUSE(r, "%s/generation_config.json, line %d: %s", r->folder, why.line,
                          why.text);
        read_eos(r, json_object_get(root, "eos_token_id"));
        json_decref(root);
    }
    if (r->config->n_eos == 0)
        read_eos(r, json_object_get(r->root, "eos_token_id"));
    return SLUICE_OK;
}

/* ---- All of it ------------------------------------------------------------------------------ */

static int32_t read_config(struct reader *r) {
    struct lm_config *c = r->config;
    const struct family *family = NULL;
    c->norm_eps = 1e-6;
    int32_t status = read_family(r, &family);
    if (!status)
        status = read_sizes(r);
    if (!status)
        status = read_number(r, r->root, "rms_norm_eps", &c->norm_eps);
    if (!status)
        status = read_rope(r, family);
    if (!status)
        status = read_window(r, family);
    if (status)
        return status;
    c->tied = read_bool(r->root, "tie_word_embeddings", false);
    c->out_bias = family->attention_bias && read_bool(r->root, "attention_bias", false);
    c->qkv_bias = family->qkv_bias || c->out_bias;
    c->mlp_bias = family->mlp_bias && read_bool(r->root, "mlp_bias", false);
    c->qk_norm = family->qk_norm;
    return SLUICE_OK;
}

int32_t lm_config_parse(const char *text, size_t len, const char *generation, size_t generation_len,
                        const char *folder, struct lm_config *ret, struct num_err *err) {
    json_error_t why;
    struct lm_config config = {0};
    json_t *root = json_loadb(text, len, 0, &why);
    struct reader r = {root, folder, err, &config};
    char from[256];
    if (!root)
        return num_fail(err, SLUICE_INPUT, "%s/config.json, line %d: %s", folder, why.line,
                        why.text);
    snprintf(from, sizeof from, "%s/config.json", folder);
    int32_t status = read_config(&r);
    if (!status)
        status = lm_config_check(&config, from, err);
    if (!status)
        status = read_ends(&r, generation, generation_len);
    json_decref(root);
    if (!status)
        *ret = config;
    return status;
}

int32_t lm_config_check(const struct lm_config *c, const char *from, struct num_err *err) {
    if (c->n_layers > MAX_LAYERS || c->n_heads > MAX_HEADS || c->n_vocab > MAX_VOCAB ||
        c->n_state > MAX_SIZE || c->n_ffn > MAX_SIZE)
        return num_fail(err, SLUICE_INPUT, "%s: sizes of the model are beyond any that exist",
                        from);
    if (c->n_kv_heads < 1 || c->n_heads % c->n_kv_heads)
        return num_fail(err, SLUICE_INPUT,
                        "%s: %" PRIu32 " heads of queries cannot share %" PRIu32
                        " heads of keys and values",
                        from, c->n_heads, c->n_kv_heads);
    if (c->head_dim < 2 || c->head_dim % 2 || c->head_dim > 512)
        return num_fail(err, SLUICE_INPUT,
                        "%s: heads %" PRIu32 " wide; an even width from 2 to 512 is expected", from,
                        c->head_dim);
    if (!(c->norm_eps >= 0 && c->norm_eps < 1))
        return num_fail(err, SLUICE_INPUT, "%s: the norms' epsilon is %g, not from 0 to 1", from,
                        c->norm_eps);
    if (!(c->rope.base > 1) || (c->rope.kind == LM_ROPE_DYNAMIC && c->head_dim < 4))
        return num_fail(err, SLUICE_INPUT, "%s: the base of rotary positions is %g, not above 1",
                        from, c->rope.base);
    return SLUICE_OK;
}

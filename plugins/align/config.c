/* Sizes by a table of keys; then what would have to hold but may not, one check each. */
#include "align/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#define UNIT 32 /* widths are whole panels of the matrix products */

struct parser {
    const json_t *root;
    struct al_config c;
    struct num_err *err;
};

static int32_t read_size(const struct parser *p, const char *key, uint32_t most, uint32_t otherwise,
                         uint32_t *ret) {
    const json_t *value = json_object_get(p->root, key);
    if ((!value || json_is_null(value)) && otherwise) {
        *ret = otherwise;
        return SLUICE_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > most)
        return num_fail(p->err, SLUICE_INPUT, "config.json: %s must be a number from 1 to %u", key,
                        most);
    *ret = (uint32_t)json_integer_value(value);
    return SLUICE_OK;
}

static bool read_flag(const struct parser *p, const char *key, bool otherwise) {
    const json_t *value = json_object_get(p->root, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static const char *read_text(const struct parser *p, const char *key, const char *otherwise) {
    const char *text = json_string_value(json_object_get(p->root, key));
    return text ? text : otherwise;
}

static int32_t read_list(const struct parser *p, const char *key, uint32_t most, uint32_t *ret) {
    const json_t *list = json_object_get(p->root, key);
    if (json_array_size(list) != p->c.n_convs)
        return num_fail(p->err, SLUICE_INPUT,
                        "config.json: %s must be a list of %u numbers, as conv_dim is", key,
                        p->c.n_convs);
    for (size_t i = 0; i < p->c.n_convs; i++) {
        json_int_t n = json_integer_value(json_array_get(list, i));
        if (n < 1 || n > most)
            return num_fail(p->err, SLUICE_INPUT, "config.json: %s[%zu] must be from 1 to %u", key,
                            i, most);
        ret[i] = (uint32_t)n;
    }
    return SLUICE_OK;
}

static int32_t read_convs(struct parser *p) {
    size_t n = json_array_size(json_object_get(p->root, "conv_dim"));
    if (n < 2 || n > AL_MAX_CONVS)
        return num_fail(p->err, SLUICE_INPUT,
                        "config.json: conv_dim must be a list of 2 to %d numbers", AL_MAX_CONVS);
    p->c.n_convs = (uint32_t)n;
    int32_t status = read_list(p, "conv_dim", 4096, p->c.conv_dim);
    if (!status)
        status = read_list(p, "conv_kernel", 64, p->c.conv_kernel);
    if (!status)
        status = read_list(p, "conv_stride", 16, p->c.conv_stride);
    return status;
}

static int32_t read_sizes(struct parser *p) {
    struct {
        const char *key;
        uint32_t most, otherwise, *ret;
    } sizes[] = {
        {"hidden_size", 8192, 0, &p->c.n_state},
        {"num_hidden_layers", 200, 0, &p->c.n_layers},
        {"num_attention_heads", 256, 0, &p->c.n_heads},
        {"intermediate_size", 32768, 0, &p->c.n_ffn},
        {"vocab_size", 100000, 32, &p->c.n_vocab},
        {"num_conv_pos_embeddings", 512, 128, &p->c.pos_kernel},
        {"num_conv_pos_embedding_groups", 1024, 16, &p->c.pos_groups},
    };
    int32_t status = read_convs(p);
    for (size_t i = 0; !status && i < sizeof sizes / sizeof *sizes; i++)
        status = read_size(p, sizes[i].key, sizes[i].most, sizes[i].otherwise, sizes[i].ret);
    const json_t *adapter = json_object_get(p->root, "adapter_attn_dim");
    if (!status && adapter && !json_is_null(adapter))
        status = read_size(p, "adapter_attn_dim", 4096, 0, &p->c.n_adapter);
    return status;
}

static int32_t unsupported(const struct parser *p, const char *what) {
    return num_fail(p->err, SLUICE_UNSUPPORTED,
                    "config.json: %s; wav2vec2 and HuBERT models with a CTC head and widths in "
                    "multiples of %d are supported",
                    what, UNIT);
}

static int32_t check_sizes(const struct parser *p) {
    const struct al_config *c = &p->c;
    bool whole = c->n_state % UNIT == 0 && c->n_ffn % UNIT == 0;
    for (size_t i = 0; i < c->n_convs; i++)
        whole = whole && c->conv_dim[i] % UNIT == 0;
    if (!whole)
        return unsupported(p, "a width is not a multiple of 32");
    if (c->n_state % c->n_heads || c->n_state / c->n_heads % 2)
        return unsupported(p, "hidden_size is not an even multiple of num_attention_heads");
    if (c->n_state % c->pos_groups || c->n_state / c->pos_groups % 2)
        return unsupported(p,
                           "hidden_size is not an even multiple of num_conv_pos_embedding_groups");
    if (c->n_adapter && !c->stable)
        return unsupported(p, "adapter_attn_dim without do_stable_layer_norm");
    if (al_config_stride(c) > 4000)
        return unsupported(p, "a frame steps by more than 4000 samples");
    return SLUICE_OK;
}

static int32_t check_kind(struct parser *p) {
    const char *type = read_text(p, "model_type", "");
    const json_t *eps = json_object_get(p->root, "layer_norm_eps");
    const char *norm = read_text(p, "feat_extract_norm", "group");
    p->c.hubert = strcmp(type, "hubert") == 0;
    if (!p->c.hubert && strcmp(type, "wav2vec2") != 0) {
        char what[100];
        snprintf(what, sizeof what, "model_type is \"%.40s\"", type);
        return unsupported(p, what);
    }
    if (strcmp(read_text(p, "hidden_act", "gelu"), "gelu") != 0 ||
        strcmp(read_text(p, "feat_extract_activation", "gelu"), "gelu") != 0)
        return unsupported(p, "an activation is not gelu");
    if (json_is_number(eps) && fabs(json_number_value(eps) - 1e-5) > 1e-9)
        return unsupported(p, "layer_norm_eps is not 1e-5");
    if (strcmp(norm, "group") != 0 && strcmp(norm, "layer") != 0)
        return unsupported(p, "feat_extract_norm is neither group nor layer");
    if (read_flag(p, "add_adapter", false))
        return unsupported(p, "add_adapter is true: there are convolutions behind the transformer");
    if (read_flag(p, "conv_pos_batch_norm", false))
        return unsupported(p, "conv_pos_batch_norm is true");
    p->c.layer_norm_convs = strcmp(norm, "layer") == 0;
    p->c.conv_bias = read_flag(p, "conv_bias", false);
    p->c.stable = read_flag(p, "do_stable_layer_norm", false);
    p->c.projection_norm = !p->c.hubert || read_flag(p, "feat_proj_layer_norm", true);
    return SLUICE_OK;
}

static int32_t read_config(struct parser *p) {
    int32_t status = check_kind(p);
    if (!status)
        status = read_sizes(p);
    if (!status)
        status = check_sizes(p);
    const json_t *pad = json_object_get(p->root, "pad_token_id");
    p->c.pad = json_is_integer(pad) && json_integer_value(pad) >= 0 &&
                       json_integer_value(pad) < p->c.n_vocab
                   ? (int32_t)json_integer_value(pad)
                   : -1;
    return status;
}

static int32_t read_preprocessor(struct parser *p) {
    const json_t *rate = json_object_get(p->root, "sampling_rate");
    if (json_is_integer(rate) && json_integer_value(rate) != 16000)
        return num_fail(p->err, SLUICE_UNSUPPORTED,
                        "preprocessor_config.json: sampling_rate is not 16000");
    p->c.normalize = read_flag(p, "do_normalize", true);
    return SLUICE_OK;
}

static int32_t load(const char *text, size_t len, const char *file, json_t **ret,
                    struct num_err *err) {
    json_error_t why;
    *ret = json_loadb(text, len, 0, &why);
    if (!*ret)
        return num_fail(err, SLUICE_INPUT, "%s, line %d: %s", file, why.line, why.text);
    return SLUICE_OK;
}

int32_t al_config_parse(const char *config, size_t config_len, const char *preprocessor,
                        size_t preprocessor_len, struct al_config *ret, struct num_err *err) {
    json_t *root = NULL, *other = NULL;
    struct parser p = {.c = {.normalize = true}, .err = err};
    int32_t status = load(config, config_len, "config.json", &root, err);
    if (!status && preprocessor)
        status = load(preprocessor, preprocessor_len, "preprocessor_config.json", &other, err);
    if (!status) {
        p.root = root;
        status = read_config(&p);
    }
    if (!status && other) {
        p.root = other;
        status = read_preprocessor(&p);
    }
    json_decref(root);
    json_decref(other);
    if (!status)
        *ret = p.c;
    return status;
}

uint32_t al_config_stride(const struct al_config *c) {
    uint64_t stride = 1;
    for (size_t i = 0; i < c->n_convs && stride < UINT32_MAX / 16; i++)
        stride *= c->conv_stride[i];
    return (uint32_t)stride;
}

uint32_t al_config_field(const struct al_config *c) {
    uint64_t field = 1;
    for (size_t i = c->n_convs; i-- > 0;)
        field = (field - 1) * c->conv_stride[i] + c->conv_kernel[i];
    return (uint32_t)field;
}

size_t al_config_frames(const struct al_config *c, size_t n) {
    for (size_t i = 0; i < c->n_convs; i++)
        n = n < c->conv_kernel[i] ? 0 : (n - c->conv_kernel[i]) / c->conv_stride[i] + 1;
    return n;
}

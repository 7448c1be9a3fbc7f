/*
 * Sizes and kind of a model from the metadata of its GGUF file. Keys carry the architecture as a
 * prefix, "llama.block_count". Of llama files the rows of queries and keys are stored so that the
 * halves of a rotary pair are neighbours; those of Qwen are not.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "llm/weights.h"

struct reader {
    const struct lm_gguf *g;
    struct num_err *err;
    struct lm_config *config;
    char prefix[32]; /* "llama." */
};

static int32_t read_family(struct reader *r) {
    static const char *const known[] = {"llama", "qwen2", "qwen3"};
    struct lm_span name = lm_gguf_string(r->g, "", "general.architecture");
    struct lm_config *c = r->config;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (lm_span_is(name, known[i]))
            snprintf(c->family, sizeof c->family, "%s", known[i]);
    if (!c->family[0])
        return num_fail(r->err, name.at ? SLUICE_UNSUPPORTED : SLUICE_INPUT,
                        "%s is a model of architecture %.*s; llama, qwen2 and qwen3 can be run",
                        r->g->file, name.at ? (int)(name.len < 40 ? name.len : 40) : 7,
                        name.at ? name.at : "unknown");
    snprintf(r->prefix, sizeof r->prefix, "%s.", c->family);
    c->permuted = strcmp(c->family, "llama") == 0;
    c->qk_norm = strcmp(c->family, "qwen3") == 0;
    c->qkv_bias = strcmp(c->family, "qwen2") == 0;
    return SLUICE_OK;
}

/* Rows of the embedding: the vocabulary's size is no key of every file. */
static int32_t read_vocabulary(struct reader *r) {
    for (size_t i = 0; i < r->g->n_tensors; i++) {
        const struct num_weights *t = &r->g->tensors[i];
        if (strcmp(t->name, "token_embd.weight") == 0 && t->rows <= UINT32_MAX)
            r->config->n_vocab = (uint32_t)t->rows;
    }
    if (r->config->n_vocab == 0)
        return num_fail(r->err, SLUICE_INPUT, "%s has no tensor token_embd.weight", r->g->file);
    return SLUICE_OK;
}

static bool has_tensor(const struct lm_gguf *g, const char *name) {
    for (size_t i = 0; i < g->n_tensors; i++)
        if (strcmp(g->tensors[i].name, name) == 0)
            return true;
    return false;
}

static int32_t read_sizes(struct reader *r) {
    struct lm_config *c = r->config;
    uint32_t n_experts = 0, rope_dims, value_dim;
    struct {
        const char *key;
        uint32_t *ret;
        bool wanted;
    } sizes[] = {
        {"embedding_length", &c->n_state, true},
        {"block_count", &c->n_layers, true},
        {"attention.head_count", &c->n_heads, true},
        {"feed_forward_length", &c->n_ffn, true},
        {"context_length", &c->n_context, true},
        {"attention.head_count_kv", &c->n_kv_heads, false},
        {"attention.key_length", &c->head_dim, false},
        {"attention.sliding_window", &c->window, false},
        {"expert_count", &n_experts, false},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int32_t status =
            lm_gguf_u32(r->g, r->prefix, sizes[i].key, UINT32_MAX / 2, sizes[i].ret, r->err);
        if (status)
            return status;
        if (sizes[i].wanted && *sizes[i].ret == 0)
            return num_fail(r->err, SLUICE_INPUT, "%s has no %s%s", r->g->file, r->prefix,
                            sizes[i].key);
    }
    c->n_kv_heads = c->n_kv_heads ? c->n_kv_heads : c->n_heads;
    if (c->head_dim == 0)
        c->head_dim = c->n_state % c->n_heads ? 0 : c->n_state / c->n_heads;
    rope_dims = value_dim = c->head_dim;
    int32_t status =
        lm_gguf_u32(r->g, r->prefix, "rope.dimension_count", UINT32_MAX, &rope_dims, r->err);
    if (!status)
        status =
            lm_gguf_u32(r->g, r->prefix, "attention.value_length", UINT32_MAX, &value_dim, r->err);
    if (!status && (n_experts || rope_dims != c->head_dim || value_dim != c->head_dim))
        return num_fail(r->err, SLUICE_UNSUPPORTED,
                        "%s: models with experts, with positions on a part of a head, or with "
                        "values of another width than keys cannot be run",
                        r->g->file);
    return status;
}

/* ggml's YaRN: the factor on cosines and sines is its own times 0.1 ln(factor) + 1. */
static int32_t read_yarn(struct reader *r) {
    struct lm_rope *rope = &r->config->rope;
    double own = 1;
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    int32_t status =
        lm_gguf_f64(r->g, r->prefix, "rope.scaling.yarn_beta_fast", &rope->beta_fast, r->err);
    if (!status)
        status =
            lm_gguf_f64(r->g, r->prefix, "rope.scaling.yarn_beta_slow", &rope->beta_slow, r->err);
    if (!status)
        status = lm_gguf_f64(r->g, r->prefix, "rope.scaling.attn_factor", &own, r->err);
    rope->attention_factor = own * (rope->factor > 1 ? 0.1 * log(rope->factor) + 1 : 1);
    return status;
}

static int32_t read_rope(struct reader *r) {
    struct lm_config *c = r->config;
    struct lm_span kind = lm_gguf_string(r->g, r->prefix, "rope.scaling.type");
    c->rope = (struct lm_rope){.base = 10000, .factor = 1, .original_context = c->n_context};
    c->has_rope_factors = has_tensor(r->g, "rope_freqs.weight");
    int32_t status = lm_gguf_f64(r->g, r->prefix, "rope.freq_base", &c->rope.base, r->err);
    if (!status)
        status = lm_gguf_f64(r->g, r->prefix, "rope.scaling.factor", &c->rope.factor, r->err);
    if (!status)
        status = lm_gguf_u32(r->g, r->prefix, "rope.scaling.original_context_length",
                             UINT32_MAX / 2, &c->rope.original_context, r->err);
    if (status)
        return status;
    if (c->rope.factor < 1 || c->rope.original_context == 0)
        return num_fail(r->err, SLUICE_INPUT,
                        "%s: positions are scaled by %g of %" PRIu32 " tokens", r->g->file,
                        c->rope.factor, c->rope.original_context);
    if (!kind.at || lm_span_is(kind, "none"))
        return SLUICE_OK;
    c->rope.kind = lm_span_is(kind, "linear") ? LM_ROPE_LINEAR : LM_ROPE_YARN;
    if (c->rope.kind == LM_ROPE_LINEAR)
        return SLUICE_OK;
    if (lm_span_is(kind, "yarn"))
        return read_yarn(r);
    return num_fail(r->err, SLUICE_UNSUPPORTED,
                    "%s: rotary positions are scaled by %.*s; linear and yarn can be run",
                    r->g->file, (int)(kind.len < 40 ? kind.len : 40), kind.at);
}

static int32_t read_ends(struct reader *r) {
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    struct lm_config *c = r->config;
    uint32_t bos = UINT32_MAX;
    int32_t status = lm_gguf_u32(r->g, "", "tokenizer.ggml.bos_token_id", UINT32_MAX, &bos, r->err);
    c->bos = bos < c->n_vocab ? (int32_t)bos : -1;
    for (size_t i = 0; !status && i < sizeof keys / sizeof *keys; i++) {
        uint32_t eos = UINT32_MAX;
        status = lm_gguf_u32(r->g, "", keys[i], UINT32_MAX, &eos, r->err);
        if (eos < c->n_vocab)
            c->eos[c->n_eos++] = (int32_t)eos;
    }
    return status;
}

int32_t lm_gguf_config(const struct lm_gguf *g, struct lm_config *ret, struct num_err *err) {
    struct lm_config config = {.norm_eps = 1e-6};
    struct reader r = {.g = g, .err = err, .config = &config};
    int32_t status = read_family(&r);
    if (!status)
        status = read_vocabulary(&r);
    if (!status)
        status = read_sizes(&r);
    if (!status)
        status =
            lm_gguf_f64(g, r.prefix, "attention.layer_norm_rms_epsilon", &config.norm_eps, err);
    if (!status)
        status = read_rope(&r);
    if (!status)
        status = read_ends(&r);
    if (!status)
        status = lm_config_check(&config, g->file, err);
    if (status)
        return status;
    config.tied = !has_tensor(g, "output.weight");
    config.qkv_bias |= has_tensor(g, "blk.0.attn_q.bias");
    config.out_bias = has_tensor(g, "blk.0.attn_output.bias");
    config.mlp_bias = has_tensor(g, "blk.0.ffn_gate.bias");
    *ret = config;
    return SLUICE_OK;
}

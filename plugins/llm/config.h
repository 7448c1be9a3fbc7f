/*
 * What a decoder-only language model is: sizes, kinds and numbers, from a Hugging Face folder's
 * config.json or from the metadata of a GGUF file.
 *
 * All families here are one network: embedding; layers of norm, attention with rotary positions and
 * grouped keys and values, norm, gated MLP (SiLU); norm, vocabulary. They differ in the fields
 * below. What a file asks for and this network has not is refused by name.
 */
#ifndef LM_CONFIG_H
#define LM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LM_MAX_EOS 8

enum lm_rope_kind {
    LM_ROPE_PLAIN,
    LM_ROPE_LINEAR,  /* positions divided by `factor` */
    LM_ROPE_DYNAMIC, /* base grows with the length beyond `original_context` */
    LM_ROPE_LLAMA3,  /* low frequencies divided by `factor`, smoothly */
    LM_ROPE_YARN,    /* the same by another ramp, and a factor on queries and keys */
};

struct lm_rope {
    enum lm_rope_kind kind;
    double base; /* "theta" */
    double factor;
    double low_freq_factor, high_freq_factor; /* llama3 */
    double beta_fast, beta_slow;              /* yarn */
    double attention_factor;                  /* yarn: on cosines and sines */
    uint32_t original_context;
};

struct lm_config {
    char family[16];  /* "llama", "mistral", "qwen2", "qwen3" */
    uint32_t n_vocab; /* rows of the embedding */
    uint32_t n_state; /* D, width of the residual stream */
    uint32_t n_layers;
    uint32_t n_heads;    /* of queries */
    uint32_t n_kv_heads; /* of keys and values; divides n_heads */
    uint32_t head_dim;   /* width of a head, even */
    uint32_t n_ffn;      /* width inside the MLP */
    uint32_t n_context;  /* longest text the model was made for, tokens */
    double norm_eps;
    struct lm_rope rope;
    uint32_t window;             /* a token sees so many, itself among them; 0: all before it */
    uint32_t window_first_layer; /* layers below it see all */
    bool tied;                   /* the vocabulary's matrix is the embedding's */
    bool qkv_bias, out_bias, mlp_bias;
    bool qk_norm;            /* queries and keys are normed in each head */
    bool permuted;           /* GGUF's llama: rows of queries and keys in interleaved order */
    bool has_rope_factors;   /* GGUF: divisors of the frequencies are a tensor, rope_freqs */
    int32_t bos;             /* -1: none */
    int32_t eos[LM_MAX_EOS]; /* each of them ends a text */
    uint32_t n_eos;
};

/*
 * Parses config.json and generation_config.json (NULL where there is none); `folder` names them in
 * messages. SLUICE_INPUT where they are not well formed or lie, SLUICE_UNSUPPORTED where the model
 * is none of ours.
 */
int32_t lm_config_parse(const char *text, size_t len, const char *generation, size_t generation_len,
                        const char *folder, struct lm_config *ret, struct num_err *err);

/* Checks sizes against each other, whoever read them; `from` names the file. */
int32_t lm_config_check(const struct lm_config *config, const char *from, struct num_err *err);

/* The angle of one position for each of head_dim / 2 pairs, and what cosines and sines are
 * multiplied with. `length`: of the longest text the engine will hold (for LM_ROPE_DYNAMIC). */
void lm_rope_frequencies(const struct lm_config *config, uint32_t length, float *ret_frequencies,
                         float *ret_scale);

#ifdef __cplusplus
}
#endif

#endif

/*
 * Frequencies of rotary positions. Plain: base^(-2 i / d) for pair i of d / 2 (Su et al., RoFormer,
 * 2021). The variants as Hugging Face transformers computes them (modeling_rope_utils.py): linear
 * (Chen et al., 2023), dynamic NTK, llama3 (Llama 3.1's), YaRN (Peng et al., 2023).
 */
#include <math.h>

#include "llm/config.h"

/* Frequencies whose waves are longer than the original context are divided by the factor, short
 * ones stay, and those between are mixed. */
static double llama3_frequency(const struct lm_rope *r, double frequency) {
    double wave = 2 * M_PI / frequency, context = r->original_context;
    if (wave < context / r->high_freq_factor)
        return frequency;
    if (wave > context / r->low_freq_factor)
        return frequency / r->factor;
    double smooth =
        (context / wave - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * frequency / r->factor + smooth * frequency;
}

/* The pair, as a fraction, that turns so many times within the original context. */
static double yarn_pair(const struct lm_rope *r, double turns, double d) {
    return d * log(r->original_context / (turns * 2 * M_PI)) / (2 * log(r->base));
}

static double yarn_frequency(const struct lm_rope *r, double frequency, uint32_t pair, double d) {
    double low = fmax(floor(yarn_pair(r, r->beta_fast, d)), 0);
    double high = fmin(ceil(yarn_pair(r, r->beta_slow, d)), d - 1);
    high += high == low ? 0.001 : 0;
    double ramp = fmin(fmax((pair - low) / (high - low), 0), 1);
    return frequency / r->factor * ramp + frequency * (1 - ramp);
}

static double grown_base(const struct lm_rope *r, uint32_t length, double d) {
    if (r->kind != LM_ROPE_DYNAMIC || length <= r->original_context)
        return r->base;
    double grown = r->factor * length / r->original_context - (r->factor - 1);
    return r->base * pow(grown, d / (d - 2));
}

void lm_rope_frequencies(const struct lm_config *config, uint32_t length, float *ret_frequencies,
                         float *ret_scale) {
    const struct lm_rope *r = &config->rope;
    double d = config->head_dim, base = grown_base(r, length, d);
    for (uint32_t i = 0; i < config->head_dim / 2; i++) {
        double f = pow(base, -2.0 * i / d);
        if (r->kind == LM_ROPE_LINEAR)
            f /= r->factor;
        else if (r->kind == LM_ROPE_LLAMA3)
            f = llama3_frequency(r, f);
        else if (r->kind == LM_ROPE_YARN)
            f = yarn_frequency(r, f, i, d);
        ret_frequencies[i] = (float)f;
    }
    *ret_scale = r->kind == LM_ROPE_YARN ? (float)r->attention_factor : 1;
}

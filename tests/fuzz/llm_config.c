/* Any bytes as config.json and generation_config.json (behind the first zero) of a language
 * model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "llm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lm_config config;
    struct num_err err;
    float frequencies[256], scale;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t len = zero ? (size_t)(zero - data) : size;
    const char *generation = zero ? (const char *)zero + 1 : NULL;
    if (lm_config_parse((const char *)data, len, generation, zero ? size - len - 1 : 0, "fuzz",
                        &config, &err))
        return 0;
    if (config.n_eos > LM_MAX_EOS || config.n_heads % config.n_kv_heads || config.head_dim > 512)
        abort();
    lm_rope_frequencies(&config, 1000, frequencies, &scale);
    return 0;
}

/* Any bytes as a GGUF file: what it says can be read to its end, and its tokenizer can be used. */
#include <stdlib.h>

#include "llm/tokenizer_files.h"
#include "llm/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_tokenizer(const struct lm_gguf *g) {
    static const char text[] = "Hello  world, it's 12:34 \xe4\xbc\x9a\xff<s>";
    struct lm_tokenizer *t;
    struct num_err err;
    int32_t *tokens;
    size_t n;
    char *back;
    if (lm_tokenizer_of_gguf(g, &t, &err))
        return;
    if (!lm_tokenizer_encode(t, text, sizeof text, 3, &tokens, &n, &err)) {
        if (!lm_tokenizer_decode(t, tokens, n, true, &back, &err))
            free(back);
        free(tokens);
    }
    lm_tokenizer_destroy(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lm_gguf g;
    struct lm_config config;
    struct num_err err;
    volatile uint8_t sum = 0;
    if (lm_gguf_parse(data, size, "fuzz", &g, &err))
        return 0;
    for (size_t i = 0; i < g.n_tensors; i++) {
        const struct num_weights *w = &g.tensors[i];
        const uint8_t *bytes = w->data;
        sum += bytes[0] + bytes[w->rows * w->row_bytes - 1];
    }
    if (!lm_gguf_config(&g, &config, &err) && config.n_eos > LM_MAX_EOS)
        abort();
    use_tokenizer(&g);
    lm_gguf_finish(&g);
    return 0;
}

/* Any bytes as tokenizer.json of a language model; what it accepts cuts texts, the file among
 * them. */
#include <stdlib.h>

#include "llm/tokenizer_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lm_tokenizer *t;
    struct num_err err;
    int32_t *tokens;
    size_t n;
    char *back;
    if (lm_tokenizer_parse((const char *)data, size, NULL, 0, "fuzz", &t, &err))
        return 0;
    size_t len = size < 2000 ? size : 2000;
    if (!lm_tokenizer_encode(t, (const char *)data + size - len, len, 3, &tokens, &n, &err)) {
        for (size_t i = 0; i < n; i++)
            if (tokens[i] < 0 || (uint32_t)tokens[i] >= lm_tokenizer_size(t))
                abort();
        if (!lm_tokenizer_decode(t, tokens, n, false, &back, &err))
            free(back);
        free(tokens);
    }
    lm_tokenizer_destroy(t);
    return 0;
}

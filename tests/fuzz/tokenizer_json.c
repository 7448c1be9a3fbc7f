/* Any bytes as tokenizer.json: what parses can be decoded. */
#include <stdlib.h>

#include "num/bpe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct num_bpe bpe;
    struct num_err err;
    int32_t tokens[64];
    char *text;
    if (num_bpe_parse_tokenizer((const char *)data, size, "fuzz", &bpe, &err))
        return 0;
    for (int32_t i = 0; i < 64; i++)
        tokens[i] = i - 2;
    if (num_bpe_decode(&bpe, tokens, 64, &text, &err) == 0)
        free(text);
    num_bpe_special(&bpe, "<|en|>");
    num_bpe_finish(&bpe);
    return 0;
}

/* Any two JSON files, split at the first NUL or in the middle, as a tokenizer: what parses can be
 * decoded. */
#include <stdlib.h>
#include <string.h>

#include "num/bpe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t first = nul ? (size_t)(nul - data) : size / 2, skip = nul ? 1 : 0;
    struct num_bpe bpe;
    struct num_err err;
    if (num_bpe_parse((const char *)data, first, (const char *)data + first + skip,
                      size - first - skip, "fuzz", &bpe, &err))
        return 0;
    int32_t tokens[64];
    char *text;
    for (int32_t i = 0; i < 64; i++)
        tokens[i] = i - 2;
    if (num_bpe_decode(&bpe, tokens, 64, &text, &err) == 0)
        free(text);
    num_bpe_special(&bpe, "<|en|>");
    num_bpe_finish(&bpe);
    return 0;
}

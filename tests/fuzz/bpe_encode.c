/*
 * Any text through the encoder of a small tokenizer whose tokens cover every byte: the tokens'
 * bytes in a row are the text again.
 */
#include <stdlib.h>
#include <string.h>

#include "num/bpe_encode.h"

#define PAIRS 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const pairs[PAIRS] = {"ab", "aba", "bab", "aa", "aaaa"};
    struct num_bpe_token tokens[256 + PAIRS];
    uint8_t single[256];
    struct num_bpe bpe;
    struct num_bpe_encoder *encoder;
    struct num_err err;
    int32_t *ids;
    size_t n, at = 0;
    for (int i = 0; i < 256; i++) {
        single[i] = (uint8_t)i;
        tokens[i] = (struct num_bpe_token){&single[i], 1, false};
    }
    for (int i = 0; i < PAIRS; i++)
        tokens[256 + i] =
            (struct num_bpe_token){(const uint8_t *)pairs[i], (uint32_t)strlen(pairs[i]), false};
    if (num_bpe_build(tokens, 256 + PAIRS, &bpe, &err) ||
        num_bpe_encoder_create(&bpe, &encoder, &err) ||
        num_bpe_encode(encoder, (const char *)data, size, &ids, &n, &err))
        abort();
    for (size_t i = 0; i < n; i++) {
        const struct num_bpe_token *t = &bpe.tokens[ids[i]];
        if (at + t->len > size || memcmp(t->bytes, data + at, t->len) != 0)
            abort();
        at += t->len;
    }
    if (at != size)
        abort();
    free(ids);
    num_bpe_encoder_destroy(encoder);
    num_bpe_finish(&bpe);
    return 0;
}

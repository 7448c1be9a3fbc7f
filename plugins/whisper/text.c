/*
 * Texts of tokens: see text.h.
 */
#include "whisper/text.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "num/unicode.h"
#include "num/utf8.h"

bool wh_is_blank(const char *text) {
    size_t first;
    return num_text_trim(text, strlen(text), &first) == 0;
}

static double ratio_of(const char *text, size_t len) {
    uLongf packed_len = compressBound(len);
    Bytef *packed = malloc(packed_len);
    double ratio = -1;
    if (packed && compress(packed, &packed_len, (const Bytef *)text, len) == Z_OK)
        ratio = (double)len / (double)packed_len;
    free(packed);
    return ratio;
}

double wh_compression_ratio(const struct wh_model *model, const int32_t *tokens, uint32_t n) {
    size_t len = 0, at = 0, first;
    for (uint32_t i = 0; i < n; i++)
        len += wh_token_bytes(model, tokens[i])->len;
    uint8_t *bytes = malloc(len + 1);
    char *text = malloc(3 * len + 1);
    double ratio = -1;
    for (uint32_t i = 0; bytes && i < n; i++) {
        const struct num_bpe_token *t = wh_token_bytes(model, tokens[i]);
        if (tokens[i] >= model->rules.timestamp_begin || t->len == 0)
            continue;
        memcpy(bytes + at, t->bytes, t->len);
        at += t->len;
    }
    if (bytes && text) {
        len = num_utf8_clean(bytes, at, text);
        len = num_text_trim(text, len, &first);
        ratio = ratio_of(text + first, len);
    }
    free(bytes);
    free(text);
    return ratio;
}

/*
 * Texts of tokens: see text.h.
 */
#include "whisper/text.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "num/utf8.h"

static bool is_white(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t wh_strip(const char *text, size_t len, size_t *ret_first) {
    size_t first = 0, end = 0;
    bool begun = false;
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = num_utf8_next((const uint8_t *)text + i, len - i, &c);
        bool white = n && is_white(c);
        n = n ? n : c;
        if (!white && !begun)
            first = i;
        begun |= !white;
        i += n;
        if (!white)
            end = i;
    }
    *ret_first = first;
    return end - first;
}

bool wh_is_blank(const char *text) {
    size_t first;
    return wh_strip(text, strlen(text), &first) == 0;
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
        len = wh_strip(text, len, &first);
        ratio = ratio_of(text + first, len);
    }
    free(bytes);
    free(text);
    return ratio;
}

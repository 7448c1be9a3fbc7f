/*
 * Texts of tokens: joining, blanks, repetitiveness.
 */
#ifndef WH_TEXT_H
#define WH_TEXT_H

#include "whisper/model.h"

/* Bytes that the token stands for; special tokens are written as their names. */
static inline const struct num_bpe_token *wh_token_bytes(const struct wh_model *model,
                                                         int32_t token) {
    static const struct num_bpe_token none = {NULL, 0, false};
    bool known = token >= 0 && (size_t)token < model->bpe.n_tokens;
    return known ? &model->bpe.tokens[token] : &none;
}

/* Whether there is nothing but white space. */
bool wh_is_blank(const char *text);

/*
 * Bytes of the tokens' text, with white space around it left out, over its bytes when compressed by
 * zlib: high where a text repeats itself. Timestamps are left out; other special tokens count as
 * their names. 0 for no text; -1 without memory.
 */
double wh_compression_ratio(const struct wh_model *model, const int32_t *tokens, uint32_t n);

#endif

/*
 * Cuts a text's tokens into words, as tokenizer.py of github.com/openai/whisper: before blanks and
 * punctuation, or, in scripts without blanks between words, wherever tokens end with a character.
 */
#ifndef WH_SPLIT_H
#define WH_SPLIT_H

#include "whisper/model.h"

/* A word: bytes [text, text + len) of the split's text, and its tokens in a row. */
struct wh_piece {
    size_t text, len;
    uint32_t n_tokens;
};

struct wh_split {
    char *text; /* valid UTF-8; U+FFFD for bytes that are none, and for NUL */
    struct wh_piece *pieces;
    uint32_t n;
};

/* `language`: a code, or NULL. Owned by the caller, freed by wh_split_finish(). */
int32_t wh_split(const struct wh_model *model, const int32_t *tokens, uint32_t n_tokens,
                 const char *language, struct wh_split *ret, struct num_err *err);
/* Takes a zeroed struct too. */
void wh_split_finish(struct wh_split *split);

/* Whether the words of the language are not set apart by blanks. */
bool wh_is_unspaced(const char *language);

#endif

/*
 * Byte-pair tokenizer in GPT-2's files: vocab.json (piece -> id, with bytes written as printable
 * characters) and added_tokens.json (special token -> id), or tokenizer.json, which holds both; or
 * from a list of tokens. Turns ids into bytes; it does not encode text.
 */
#ifndef NUM_BPE_H
#define NUM_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NUM_BPE_MAX_TOKENS (1u << 22)

struct num_bpe_token {
    /* of the text, or the literal name of a special token; NULL: no such id */
    const uint8_t *bytes;
    uint32_t len;
    bool special;
};

struct num_bpe {
    struct num_bpe_token *tokens; /* by id */
    size_t n_tokens;              /* largest id + 1 */
    uint8_t *bytes;               /* owns the bytes of all tokens */
};

/*
 * Parses the contents of both files; `added` may be NULL. `folder` names them in messages. A piece
 * of vocab.json that is written like a special token, "<|endoftext|>", is one. SLUICE_INPUT where
 * they are not a tokenizer.
 */
int32_t num_bpe_parse(const char *vocab, size_t vocab_len, const char *added, size_t added_len,
                      const char *folder, struct num_bpe *ret, struct num_err *err);
/* Parses the contents of tokenizer.json: the vocabulary of its model and its added tokens. */
int32_t num_bpe_parse_tokenizer(const char *text, size_t len, const char *folder,
                                struct num_bpe *ret, struct num_err *err);
/* Copies n tokens, at most NUM_BPE_MAX_TOKENS; `bytes` NULL where an id is not used. */
int32_t num_bpe_build(const struct num_bpe_token *tokens, size_t n, struct num_bpe *ret,
                      struct num_err *err);
void num_bpe_finish(struct num_bpe *bpe);

/* The id of the special token of that name, or -1. */
int32_t num_bpe_special(const struct num_bpe *bpe, const char *name);

/*
 * Joins the bytes of the tokens that are not special into *ret_text: valid UTF-8 with U+FFFD for
 * what is not, NUL-terminated, freed by the caller. Characters may be split over tokens.
 * SLUICE_RESOURCE without memory.
 */
int32_t num_bpe_decode(const struct num_bpe *bpe, const int32_t *tokens, size_t n, char **ret_text,
                       struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

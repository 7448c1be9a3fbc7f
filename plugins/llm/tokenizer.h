/*
 * Tokenizers of language models: text into tokens and back, from tokenizer.json or from the
 * vocabulary of a GGUF file. Three kinds:
 *
 *   byte-level BPE    GPT-2's and its heirs': a text is cut into pieces by the family's rule, and
 *                     in each piece the pair of the earliest merge is joined until none is left
 *   SentencePiece BPE Llama 2's and Mistral's: the whole text with blanks as U+2581; what is no
 *                     token becomes bytes
 *   unigram           SentencePiece's other kind: the division of the best sum of scores
 *
 * Results equal those of Hugging Face tokenizers for tokenizer.json and of SentencePiece for its
 * vocabularies. A tokenizer is immutable; any thread may use it.
 */
#ifndef LM_TOKENIZER_H
#define LM_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lm_tokenizer;

enum lm_encode_flags {
    LM_ENCODE_BOS = 1,     /* put in front what the model's file says every text begins with */
    LM_ENCODE_SPECIAL = 2, /* names of special tokens in the text become those tokens; else they are
                              text like any other, as what a user says has to be */
};

/*
 * The tokens of `len` bytes of any content into *ret_tokens (freed by the caller with free()) and
 * their number. Bytes that are no UTF-8 count as U+FFFD, as the reference tokenizers read them.
 * Time grows with len * log(len). SLUICE_INPUT above 256 MiB, SLUICE_RESOURCE without memory.
 */
int32_t lm_tokenizer_encode(const struct lm_tokenizer *t, const char *text, size_t len,
                            uint32_t flags, int32_t **ret_tokens, size_t *ret_n,
                            struct num_err *err);

/*
 * The text of n tokens into *ret_text: valid UTF-8 with U+FFFD for what is not, NUL-terminated,
 * freed by the caller. Special tokens are left out, or with `special` written by their names. A
 * blank that encoding puts in front of every text is taken off again.
 */
int32_t lm_tokenizer_decode(const struct lm_tokenizer *t, const int32_t *tokens, size_t n,
                            bool special, char **ret_text, struct num_err *err);

/*
 * The bytes that a token stands for within a text, borrowed from the tokenizer: for a special token
 * none (*ret_len is 0). They may be part of a character.
 */
const uint8_t *lm_tokenizer_bytes(const struct lm_tokenizer *t, int32_t token, size_t *ret_len);

/* The name of any token as its file has it, NUL-terminated ("<|im_end|>", "Ġthe"); "" for a number
 * that is no token. */
const char *lm_tokenizer_name(const struct lm_tokenizer *t, int32_t token);

/* The special or otherwise added token of that name, or -1. */
int32_t lm_tokenizer_find(const struct lm_tokenizer *t, const char *name);

bool lm_tokenizer_is_special(const struct lm_tokenizer *t, int32_t token);

/* Largest token + 1; a model may have more rows than that. */
uint32_t lm_tokenizer_size(const struct lm_tokenizer *t);

/* What the files name; -1 where they name none. */
int32_t lm_tokenizer_bos(const struct lm_tokenizer *t);
int32_t lm_tokenizer_eos(const struct lm_tokenizer *t);

/* True where every text begins with BOS (what LM_ENCODE_BOS adds). */
bool lm_tokenizer_adds_bos(const struct lm_tokenizer *t);

void lm_tokenizer_destroy(struct lm_tokenizer *t); /* takes NULL */

#ifdef __cplusplus
}
#endif

#endif

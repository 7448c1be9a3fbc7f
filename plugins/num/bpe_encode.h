/*
 * Text into the tokens of a byte-pair tokenizer, as GPT-2 does: the text is cut into pieces by kind
 * of character (num_bpe_piece), and in each piece the pair of neighbours that makes the lowest
 * numbered token is joined until no pair makes one. Special tokens are never made: their names are
 * text like any other.
 */
#ifndef NUM_BPE_ENCODE_H
#define NUM_BPE_ENCODE_H

#include "num/bpe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An index over the tokens of `bpe`, which must outlive it. Numbers are merge ranks, as in the
 * tokenizers of GPT-2 and Whisper. */
struct num_bpe_encoder;

int32_t num_bpe_encoder_create(const struct num_bpe *bpe, struct num_bpe_encoder **ret,
                               struct num_err *err);
void num_bpe_encoder_destroy(struct num_bpe_encoder *encoder);

/*
 * The tokens of `len` bytes of any content into *ret_tokens, which the caller frees, and their
 * number. Time grows with len * log(len). Bytes that the tokenizer has no token for are left out.
 * SLUICE_INPUT above 1 GiB, SLUICE_RESOURCE without memory.
 */
int32_t num_bpe_encode(const struct num_bpe_encoder *encoder, const char *text, size_t len,
                       int32_t **ret_tokens, size_t *ret_n, struct num_err *err);

/* The token of exactly these bytes, or -1; special tokens are not found. */
int32_t num_bpe_token(const struct num_bpe_encoder *encoder, const void *bytes, size_t len);

/*
 * Bytes of the first piece of the text (len > 0): a blank and letters, or a blank and digits, or a
 * blank and other signs; English endings such as 's; or blanks. For tests, and for
 * num_bpe_encode().
 */
size_t num_bpe_piece(const uint8_t *text, size_t len);

#ifdef __cplusplus
}
#endif

#endif

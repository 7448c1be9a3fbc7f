/*
 * What the published Whisper models have in common and their weight files do not say: ids of
 * special tokens, languages, suppressed tokens, alignment heads.
 *
 * Sources: tokenizer.py (LANGUAGES, special tokens and their order, non_speech_tokens), decoding.py
 * (what is suppressed beside them) and __init__.py (_ALIGNMENT_HEADS) of github.com/openai/whisper.
 */
#ifndef WH_PUBLISHED_H
#define WH_PUBLISHED_H

#include "whisper/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WH_VOCAB_ENGLISH      51864 /* 50256 pieces, 99 languages that are never used */
#define WH_VOCAB_MULTILINGUAL 51865 /* 50257 pieces, 99 languages */
#define WH_VOCAB_CANTONESE    51866 /* the same with a hundredth language, yue: large-v3, turbo */

#define WH_DEFAULT_MAX_INITIAL 50 /* max_initial_timestamp: 1.0 s */

bool wh_published_vocab(uint32_t n_vocab);

/*
 * The tokenizer of a published model: `pieces` (n, ids from 0; those past the first special token
 * are ignored) and the special tokens that n_vocab implies, under their names. SLUICE_INPUT where
 * there are too few pieces.
 */
int32_t wh_published_bpe(const struct num_bpe_token *pieces, size_t n, uint32_t n_vocab,
                         const char *path, struct num_bpe *ret, struct num_err *err);

/*
 * The tokens that the reference suppresses by default ("-1"): symbols that are no speech, and
 * special tokens that no text holds; and those suppressed at the beginning, a blank and the end.
 * Sorted. *ret_lists holds first the one list and then the other; freed by the caller with free().
 * `rules` must know the end of text.
 */
int32_t wh_published_suppress(const struct num_bpe *bpe, struct wh_rules *rules,
                              int32_t **ret_lists, struct num_err *err);

/*
 * Sets the alignment heads of `dims` from its decoder's shape and from `path`, which tells large-v1
 * from large-v2 by its name. Other shapes get what the reference takes for unknown models, all
 * heads of the upper half of the decoder, the topmost WH_MAX_ALIGNMENT_HEADS of them.
 */
void wh_published_alignment(struct wh_dims *dims, const char *path);

#ifdef __cplusplus
}
#endif

#endif

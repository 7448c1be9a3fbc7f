/*
 * Where tokenizers come from: tokenizer.json (with the names of its special tokens in
 * tokenizer_config.json), and the vocabulary in the metadata of a GGUF file.
 */
#ifndef LM_TOKENIZER_FILES_H
#define LM_TOKENIZER_FILES_H

#include "llm/gguf.h"
#include "llm/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `config` is NULL where there is no tokenizer_config.json; `folder` names both in messages.
 * SLUICE_INPUT where they are damaged, SLUICE_UNSUPPORTED where they ask for a step that is none of
 * ours. */
int32_t lm_tokenizer_parse(const char *text, size_t len, const char *config, size_t config_len,
                           const char *folder, struct lm_tokenizer **ret, struct num_err *err);

int32_t lm_tokenizer_of_gguf(const struct lm_gguf *g, struct lm_tokenizer **ret,
                             struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

/*
 * The files of a language model, opened: its configuration, and its tensors by what they are for
 * rather than by the names that each format has for them.
 */
#ifndef LM_WEIGHTS_H
#define LM_WEIGHTS_H

#include "llm/config.h"
#include "llm/gguf.h"
#include "llm/tokenizer.h"
#include "num/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

enum lm_tensor {
    LM_EMBEDDING, /* (n_vocab, D) */
    LM_FINAL_NORM,
    LM_VOCABULARY,   /* (n_vocab, D); not there where tied */
    LM_ROPE_FACTORS, /* GGUF: (head_dim / 2) */
    LM_ATTN_NORM,    /* from here on: of a layer */
    LM_Q,
    LM_K,
    LM_V,
    LM_OUT,
    LM_Q_NORM,
    LM_K_NORM,
    LM_MLP_NORM,
    LM_GATE,
    LM_UP,
    LM_DOWN,
    LM_N_TENSORS
};

struct lm_weights; /* mapped files; everything that is borrowed from them lives until the close */

/* Opens a .gguf file or a Hugging Face folder, and reads sizes and the list of tensors. */
int32_t lm_weights_open(const char *path, struct lm_weights **ret, struct num_err *err);
void lm_weights_close(struct lm_weights *w); /* takes NULL */

const struct lm_config *lm_weights_config(const struct lm_weights *w);

/* The tensor that `what` names, of that layer; `bias`: its bias. rows x cols are the sizes that it
 * must have, rows 1 for a vector. NULL with an error that names tensor and file; NULL without one
 * where it is missing and `optional`. */
const struct num_weights *lm_weights_find(const struct lm_weights *w, enum lm_tensor what,
                                          uint32_t layer, bool bias, uint64_t rows, uint64_t cols,
                                          bool optional, struct num_err *err);

/* Makes the tokenizer of the same files. */
int32_t lm_weights_tokenizer(const struct lm_weights *w, struct lm_tokenizer **ret,
                             struct num_err *err);

/* The chat template, malloc'ed, or NULL where there is none. */
int32_t lm_weights_chat_template(const struct lm_weights *w, char **ret, struct num_err *err);

/* Sizes and kind of the model in a GGUF file (gguf_config.c). */
int32_t lm_gguf_config(const struct lm_gguf *g, struct lm_config *ret, struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

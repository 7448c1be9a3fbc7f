/*
 * A language model, loaded: weights as the engine multiplies them, its tokenizer and what its files
 * say about its use. From a GGUF file (v2, v3) or a Hugging Face folder (config.json,
 * tokenizer.json, model.safetensors or shards).
 *
 * compute:
 *   LM_F32   exact: every weight as a float (quantised ones dequantised), sums in float
 *   LM_BF16  weights of 16 and 32 bits as bfloat16, blocks of a quantised file as they are stored;
 *            inputs as bfloat16 for prompts and, where blocks are stored, as bytes for each token
 *   LM_INT8  as LM_BF16, but weights of 16 and 32 bits become bytes with one scale an output
 *   LM_AUTO  LM_BF16 where the processor multiplies bfloat16, or the file is quantised; else LM_F32
 *
 * A model is immutable once loaded and may be shared by engines of one thread.
 */
#ifndef LM_MODEL_H
#define LM_MODEL_H

#include "llm/config.h"
#include "llm/tokenizer.h"
#include "num/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

enum lm_compute { LM_AUTO, LM_F32, LM_BF16, LM_INT8 };

struct lm_model;
struct lm_card; /* card.h */

/*
 * Loads `path`, a .gguf file or a folder. `pool` is used while loading and by engines of the model;
 * borrowed until the model is freed. `memory` is what the model may take, bytes, 0 for any:
 * SLUICE_RESOURCE with the numbers where its weights alone need more. SLUICE_INPUT where the files
 * are damaged or missing, SLUICE_UNSUPPORTED where the model is none of ours.
 */
int32_t lm_model_load(const char *path, enum lm_compute compute, struct num_pool *pool,
                      uint64_t memory, struct lm_model **ret, struct num_err *err);
/* The same onto card `device`; `memory` is of the card, for weights and engine. LM_AUTO is LM_BF16
 * there, and LM_INT8 is not. `card` NULL: the processor. */
int32_t lm_model_load_on(const char *path, enum lm_compute compute, struct num_pool *pool,
                         uint64_t memory, const struct lm_card *card, int device,
                         struct lm_model **ret, struct num_err *err);
void lm_model_free(struct lm_model *model); /* takes NULL */

struct lm_card_info;
/* False: it is the processor's. */
bool lm_model_card(const struct lm_model *model, struct lm_card_info *ret);

/* Borrowed until the model is freed. */
const struct lm_config *lm_model_config(const struct lm_model *model);
const struct lm_tokenizer *lm_model_tokenizer(const struct lm_model *model);

/* The chat template (Jinja) of its files, or NULL. */
const char *lm_model_chat_template(const struct lm_model *model);

/* What runs: never LM_AUTO. Bytes of weights in memory. */
enum lm_compute lm_model_compute(const struct lm_model *model);
uint64_t lm_model_bytes(const struct lm_model *model);

#ifdef __cplusplus
}
#endif

#endif

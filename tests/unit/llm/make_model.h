/*
 * Language models of random weights, written as a Hugging Face folder or as a GGUF file. Weights
 * are functions of their tensors' names, the same as in tools/reference/llm.py. For tests and
 * measurements; dies where a file cannot be written.
 */
#ifndef TESTS_UNIT_LLM_MAKE_MODEL_H
#define TESTS_UNIT_LLM_MAKE_MODEL_H

#include <jansson.h>

#include "num/weights.h"

/* The type of that name ("Q4_K"). */
enum num_weight_type lm_made_type(const char *name);

/*
 * Writes a folder (which must be there): config.json as given, a tokenizer whose tokens are the
 * bytes below 128, and weights of `type` (F32, F16 or BF16) in n_shards files, 1 or 2.
 */
void lm_made_folder(const json_t *config, enum num_weight_type type, size_t n_shards,
                    const char *folder);

/* Writes a GGUF file of the same model; rope_factors (an array) may be NULL. Rows that are no whole
 * number of super-blocks become Q5_0 where Q4_K and Q5_K are wanted, Q8_0 where Q6_K is. */
void lm_made_gguf(const json_t *config, enum num_weight_type type, const json_t *rope_factors,
                  const char *path);

#endif

/*
 * Which token comes next: pure functions over one row of logits. Order and meaning of the steps are
 * those of Hugging Face transformers' generate(): repetition penalty, temperature, top-k, top-p,
 * min-p; presence and frequency penalties as the OpenAI API defines them.
 */
#ifndef LM_SAMPLE_H
#define LM_SAMPLE_H

#include "llm/generate.h"

/* Memory for one choice; `candidates` has room for n_vocab. */
struct lm_candidate {
    float logit;
    int32_t token;
};

struct lm_sampler {
    uint32_t n_vocab;
    struct lm_candidate *candidates;
    uint32_t *seen;    /* n_vocab bits, zeros between calls */
    uint32_t *allowed; /* n_vocab bits up to whole words */
    float *work;       /* (n_vocab): logits after penalties and constraint */
};

int32_t lm_sampler_init(struct lm_sampler *s, uint32_t n_vocab, struct num_err *err);
void lm_sampler_finish(struct lm_sampler *s); /* takes a zeroed struct too */
uint64_t lm_sampler_bytes(uint32_t n_vocab);

/*
 * The token after `tokens` (n_prompt of the prompt, the rest of the answer), number `step` of its
 * answer: sampling with the same seed and step takes the same random number. -1 where the
 * constraint allows none. *ret_logprob: natural log of its probability, before any step.
 */
int32_t lm_sample(struct lm_sampler *s, const float *logits, const struct lm_sampling *how,
                  const struct lm_constraint *constraint, const int32_t *tokens, size_t n_tokens,
                  size_t n_prompt, uint64_t step, float *ret_logprob);

/* Whether that is the likeliest token whatever came before, and then the same: it needs no sampler,
 * so rows can be looked at by several threads. Pure. */
bool lm_sample_is_plain(const struct lm_sampling *how, const struct lm_constraint *constraint);
int32_t lm_sample_plain(const float *logits, uint32_t n_vocab, float *ret_logprob);

#endif

/*
 * A session with a model on this machine: weights, engine and chat template.
 *
 * The chat template of the model's files makes a prompt of a question, or its texts follow each
 * other where a model has none. Names of special tokens inside them ("<|im_end|>") get a blank
 * behind their first character, so that nobody's words become control tokens. A template that
 * refuses a system text is given it in front of the user's. Templates that ask for the day are told
 * one that never changes, so that answers do not depend on it.
 *
 * Answers depend neither on other questions, earlier or at the same time, nor on the number of
 * threads.
 */
#ifndef LM_SESSION_ENGINE_H
#define LM_SESSION_ENGINE_H

#include "llm/session.h"

struct lm_session_options {
    const char *model; /* path of a .gguf file or of a Hugging Face folder */
    enum lm_compute compute;
    uint32_t context;   /* tokens of question and answer; at most the model's own, 0: just that */
    uint32_t n_threads; /* at least 1 */
    /* questions at a time; 0: 1. Keys and values are taken for two of full length */
    uint32_t parallel;
    uint64_t memory;            /* bytes, 0: any; of the card where there is one */
    const struct lm_card *card; /* what runs the model; NULL: the processor */
    int device;                 /* of cards: which */
    /* The card can be used by this process no more; NULL: nobody wants to know. */
    void (*lost)(void *ctx);
    void *ctx;
    bool thoughts; /* what a model thinks aloud is part of its answer */
};

/* SLUICE_INPUT, SLUICE_UNSUPPORTED and SLUICE_RESOURCE as lm_model_load() and lm_plan() have
 * them. */
int32_t lm_session_open(const struct lm_session_options *options, struct lm_session **ret,
                        struct num_err *err);

struct lm_card_info;
/* The card of a session of this kind; false: it is the processor's. */
bool lm_session_card(const struct lm_session *s, struct lm_card_info *ret);

/* The prompt's tokens, freed by the caller; of a session of this kind. Statuses as those of
 * lm_session_frame(). */
int32_t lm_session_prompt(const struct lm_session *s, const char *system, const char *user,
                          size_t user_len, int32_t **ret_tokens, size_t *ret_n,
                          struct num_err *err);

#endif

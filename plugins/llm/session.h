/*
 * A model ready to be asked: weights, engine and chat template, and one question after another.
 *
 * A question is a system text and a user's; the chat template of the model's files makes a prompt of
 * them, or they follow each other where a model has none. Names of special tokens inside them
 * ("<|im_end|>") get a blank behind their first character, so that nobody's words become control
 * tokens. A template that refuses a system text is given it in front of the user's. Templates that
 * ask for the day are told one that never changes, so that answers do not depend on it.
 *
 * A session belongs to one thread. What it answers depends neither on earlier questions nor on the
 * number of threads.
 */
#ifndef LM_SESSION_H
#define LM_SESSION_H

#include "num/buf.h"
#include "llm/generate.h"
#include "llm/grammar.h"

struct lm_session_options {
    const char *model; /* path of a .gguf file or of a Hugging Face folder */
    enum lm_compute compute;
    uint32_t context;   /* tokens of question and answer; at most the model's own, 0: just that */
    uint32_t n_threads; /* at least 1 */
    uint64_t memory;    /* bytes, 0: any */
};

struct lm_session;

/* SLUICE_INPUT, SLUICE_UNSUPPORTED and SLUICE_RESOURCE as lm_model_load() and lm_plan() have them. */
int32_t lm_session_open(const struct lm_session_options *options, struct lm_session **ret,
                        struct num_err *err);
void lm_session_close(struct lm_session *s); /* takes NULL */

uint32_t lm_session_context(const struct lm_session *s);

/* Tokens that `len` bytes take as part of a question; of the parts of a text they may be some more
 * or fewer than of the whole. */
int32_t lm_session_count(const struct lm_session *s, const char *text, size_t len, uint32_t *ret,
                         struct num_err *err);

/* The prompt's tokens, freed by the caller. SLUICE_INPUT: the texts are not UTF-8, or the template
 * fails; SLUICE_UNSUPPORTED: it uses what is not supported. `system` may be NULL. */
int32_t lm_session_prompt(const struct lm_session *s, const char *system, const char *user,
                          size_t user_len, int32_t **ret_tokens, size_t *ret_n,
                          struct num_err *err);

struct lm_ask {
    const char *system; /* NULL: none */
    const char *user;   /* user_len bytes */
    size_t user_len;
    uint32_t max_tokens; /* of the answer; 0: until the context is full */
    struct lm_sampling sampling;
    const char *const *stops; /* n_stops strings that end the answer */
    uint32_t n_stops;
    const struct lm_grammar *grammar; /* what the answer has to be; NULL: any text */
    void *ctx;                        /* of the following, each of which may be NULL */
    bool (*cancelled)(void *ctx);     /* asked before each token and between layers of a prompt */
    void (*text)(void *ctx, const char *text, size_t len); /* the answer as it comes */
};

struct lm_answer {
    uint32_t n_prompt, n_cached, n_tokens;
    enum lm_end end;
};

/*
 * Appends the answer to `out`: UTF-8 without white space at its ends and without control characters
 * but newline and tab; with a grammar a text that it accepts, completed where it was cut off.
 * SLUICE_INPUT where the question leaves no room in the context, with the numbers;
 * SLUICE_CANCELLED.
 */
int32_t lm_session_ask(struct lm_session *s, const struct lm_ask *ask, struct num_buf *out,
                       struct lm_answer *ret, struct num_err *err);

#endif

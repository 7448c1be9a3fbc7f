/*
 * What answers questions: a model on this machine (session_engine.h), or a server (http/client.h).
 * What the stages make of answers is written once, above this seam.
 *
 * A question is a system text and a user's. Several may be under way at once; the answers of a
 * model on this machine do not depend on what else is. A session belongs to one thread; only
 * lm_session_count(), lm_session_frame() and lm_session_wake() may be called by others meanwhile.
 */
#ifndef LM_SESSION_H
#define LM_SESSION_H

#include <jansson.h>
#include <stdatomic.h>

#include "num/buf.h"
#include "llm/generate.h"
#include "llm/grammar.h"
#include "llm/thought.h"

struct lm_ask {
    const char *system; /* NULL: none */
    const char *user;   /* user_len bytes of UTF-8 */
    size_t user_len;
    uint32_t max_tokens; /* of the answer; 0: until the context is full */
    struct lm_sampling sampling;
    const char *const *stops; /* n_stops strings that end the answer */
    uint32_t n_stops;
    const struct lm_grammar *grammar; /* what the answer has to be; NULL: any text */
    const json_t *schema; /* what `grammar` was made of, for a server; NULL: no schema */
    const char *gbnf;     /* the same for a grammar in that notation */
    bool checks; /* who asks checks the answer: one that is cut off or of no form is no failure */
    void *ctx;   /* of the following, each of which may be NULL */
    /* Asked before each token and between layers of a prompt, and some ten times a second while a
     * server works. */
    bool (*cancelled)(void *ctx);
    void (*text)(void *ctx, const char *text, size_t len); /* the answer as it comes */
};

struct lm_answer {
    uint32_t n_prompt, n_cached, n_tokens;
    enum lm_end end;
};

/* One question on its way. Zeroed but for `ask`, whose pointers stay valid until `done`. */
struct lm_question {
    struct lm_ask ask;
    /* When done: UTF-8 without white space at its ends and without control characters but newline
     * and tab; with a grammar a text that it accepts. The owner's to finish. */
    struct num_buf out;
    struct lm_answer answer;
    int32_t status; /* when done */
    struct num_err err;
    atomic_bool done; /* set last */
    atomic_bool stop; /* set by the owner: it is to end as cancelled */
    struct lm_thought thought;
    bool strips; /* thoughts are taken out */
};

struct lm_session;

struct lm_session_ops {
    void (*close)(struct lm_session *s);
    int32_t (*count)(const struct lm_session *s, const char *text, size_t len, uint32_t *ret,
                     struct num_err *err);
    int32_t (*frame)(const struct lm_session *s, const char *system, const char *user, size_t len,
                     uint32_t *ret, struct num_err *err);
    void (*start)(struct lm_session *s, struct lm_question *q);
    void (*step)(struct lm_session *s);
    void (*wake)(struct lm_session *s); /* from any thread; NULL: a step never waits */
};

/* The beginning of every kind. */
struct lm_session {
    const struct lm_session_ops *ops;
    uint32_t context;  /* tokens of question and answer */
    uint32_t parallel; /* so many questions are worth being under way at once, at least 1 */
    bool thoughts;     /* what a model thinks aloud is part of its answer */
};

/* ---- For stages ------------------------------------------------------------------------------ */

void lm_session_close(struct lm_session *s); /* takes NULL */

/* Tokens that `len` bytes take as part of a question; of the parts of a text they may be some more
 * or fewer than of the whole. Of a server an estimate that is rather too high. */
int32_t lm_session_count(const struct lm_session *s, const char *text, size_t len, uint32_t *ret,
                         struct num_err *err);

/* Tokens of a whole question. SLUICE_INPUT: the texts are not UTF-8, or the model's chat template
 * fails; SLUICE_UNSUPPORTED: it uses what is not supported. `system` may be NULL. */
int32_t lm_session_frame(const struct lm_session *s, const char *system, const char *user,
                         size_t len, uint32_t *ret, struct num_err *err);

/*
 * Appends the answer to `out`; `ret` may be NULL. SLUICE_INPUT where the question leaves no room in
 * the context, with the numbers, or a server refuses it; SLUICE_TRANSIENT where a server cannot be
 * reached or breaks off; SLUICE_CANCELLED.
 */
int32_t lm_session_ask(struct lm_session *s, const struct lm_ask *ask, struct num_buf *out,
                       struct lm_answer *ret, struct num_err *err);

/*
 * Works on n questions until all are done, s->parallel of them at a time; `answered` (may be NULL)
 * is told after each. Ends with the status of the first that failed, the others cancelled.
 */
int32_t lm_session_ask_all(struct lm_session *s, struct lm_question *questions, size_t n,
                           void (*answered)(void *ctx, size_t n_done), void *ctx,
                           struct num_err *err);
/* Finishes the answers of `n` questions and frees the list. */
void lm_questions_free(struct lm_question *questions, size_t n);

/* ---- For kinds of sessions ------------------------------------------------------------------- */

/* Begins a question; a failure is in it when it is done. */
void lm_session_start(struct lm_session *s, struct lm_question *q);
/* Works for a moment on what was started: a token, or a tenth of a second of waiting. */
void lm_session_step(struct lm_session *s);
/* Ends the waiting of a step, or of the next one. From any thread, while the session is open. */
void lm_session_wake(struct lm_session *s);

bool lm_question_cancelled(const struct lm_question *q);
/* Takes back what was answered so far, for another attempt. */
void lm_question_restart(struct lm_question *q);
/* A part of the answer; `show` false: not for whoever watches. */
void lm_question_text(struct lm_question *q, const char *text, size_t len, bool show);
/* The end, with q->err where `status` is a failure: the answer is made clean and `done` is set. */
void lm_question_end(struct lm_question *q, int32_t status);

#endif

/*
 * What a server answers to a chat completion, read as it comes: server-sent events whose data are
 * JSON objects with a piece of the text each, or one JSON object with all of it (a server may not
 * stream). Fed with bytes cut anywhere. Pure.
 *
 * The forms are those of the OpenAI API's "chat completions"
 * (platform.openai.com/docs/api-reference/chat) and the event stream of WHATWG HTML 9.2.6.
 */
#ifndef LM_HTTP_REPLY_H
#define LM_HTTP_REPLY_H

#include "num/buf.h"
#include "llm/generate.h"
#include "num/err.h"

#define LM_REPLY_MAX_EVENT (1 << 20)  /* bytes of one event, or of one line of it */
#define LM_REPLY_MAX       (64 << 20) /* bytes of all */

enum lm_reply_kind { LM_REPLY_UNKNOWN, LM_REPLY_EVENTS, LM_REPLY_OBJECT };

/* Zeroed but for `text` and `ctx`. */
struct lm_reply {
    void (*text)(void *ctx, const char *text, size_t len); /* pieces of the answer, UTF-8 */
    void *ctx;
    enum lm_reply_kind kind;
    struct num_buf line;  /* of the line, or of the object, that is being received */
    struct num_buf event; /* data of the event that is being received */
    bool has_field;       /* there was a line as event streams have them */
    bool ending;          /* what is left may be cut off */
    bool after_cr;        /* a newline that follows belongs to the line before */
    size_t n_bytes;
    bool over;                             /* the server has said that there is no more */
    bool has_end;                          /* ... why the text ends */
    enum lm_end end;                       /* LM_END_STOP or LM_END_LENGTH */
    uint32_t n_prompt, n_cached, n_tokens; /* where the server counts them, else 0 */
    int32_t status;                        /* of the first failure */
    struct num_err err;
};

/* Takes `len` bytes; false: it has failed, and more is of no use. */
bool lm_reply_feed(struct lm_reply *r, const void *data, size_t len);

/*
 * The end of what was received: SLUICE_OK where the answer is whole. SLUICE_TRANSIENT: it broke
 * off, or the server says that it failed; SLUICE_UNSUPPORTED: it is no chat completion;
 * SLUICE_INPUT: the server withholds it; SLUICE_RESOURCE: it is too large.
 */
int32_t lm_reply_end(struct lm_reply *r, struct num_err *err);

void lm_reply_finish(struct lm_reply *r);

/* What the body of a refusal says, as one line without control characters; "" where it says
 * nothing. */
void lm_reply_refusal(const char *body, size_t len, char *ret, size_t size);

#endif

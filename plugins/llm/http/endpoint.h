/*
 * Where a server is and what it is told to trust us: its URL, the key, and what of them may be
 * said.
 *
 * The key is read from a file or from the environment, by this process alone. It is in no
 * parameter, log, message or journal: what a server says goes through lm_endpoint_redact() first.
 */
#ifndef LM_HTTP_ENDPOINT_H
#define LM_HTTP_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "num/err.h"

#define LM_MAX_KEY 4096 /* bytes */

struct lm_endpoint {
    char *url;     /* of chat completions; owned, as the others */
    char *origin;  /* "http://host:port", for messages */
    char *key;     /* NULL: none */
    bool loopback; /* the server is this machine */
    bool open;     /* not encrypted */
};

/*
 * `url` is the base of the API, "http://localhost:8080/v1"; without a path it is /v1. SLUICE_INPUT:
 * it is no URL of http or https, or has a password in it. Pure.
 */
int32_t lm_endpoint_parse(const char *url, struct lm_endpoint *ret, struct num_err *err);

/*
 * Reads the key from where `where` says, JSON: {"env": NAME} or {"file": PATH}, of which the first
 * line counts. SLUICE_INPUT where it is neither, or the key is missing, empty, or has characters
 * that no key has. A key written down as text is refused, without repeating it.
 */
int32_t lm_endpoint_read_key(struct lm_endpoint *e, const char *where, struct num_err *err);

/* Takes the key out of a text, wherever it occurs; also its beginning where the text, cut off, ends
 * in it. */
void lm_endpoint_redact(const struct lm_endpoint *e, char *text);

void lm_endpoint_finish(struct lm_endpoint *e); /* takes a zeroed struct; wipes the key */

#endif

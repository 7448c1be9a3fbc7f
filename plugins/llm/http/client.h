/*
 * A session with a server that speaks the OpenAI API (vLLM, llama.cpp's server, hosted ones): each
 * question is a POST to /chat/completions, whose answer is read as it comes.
 *
 * What passes is tried again: no connection, a connection that breaks, no byte for `timeout_s`,
 * status 408, 429 and those from 500 on, an answer that is not what was asked for; after 1, 2, 4
 * ... seconds, or as long as the server says. Other refusals are SLUICE_INPUT with its reason.
 * Redirects are not followed, certificates are verified. Proxies are those of the environment, but
 * none for a server on this machine.
 */
#ifndef LM_HTTP_CLIENT_H
#define LM_HTTP_CLIENT_H

#include "llm/http/endpoint.h"
#include "llm/session.h"

/* More would hold the stage up for longer than a minute, which is what its own retry is for. */
#define LM_CLIENT_ATTEMPTS 6

struct lm_client_options {
    struct lm_endpoint endpoint; /* taken, also on failure */
    const char *model;           /* as the server calls it; borrowed, as the following */
    /* members of every request besides; null takes one out; NULL: none; shared */
    const json_t *extra;
    const char *ca;    /* a file of certificates to trust instead of the system's; NULL: those */
    double timeout_s;  /* without a byte */
    uint32_t attempts; /* of each question, 1 to LM_CLIENT_ATTEMPTS */
    uint32_t context;  /* tokens that the server's model takes */
    uint32_t parallel; /* questions at a time, at least 1 */
    bool thoughts;
    double pause_s; /* the first; 0: 1. For tests */
};

/* SLUICE_UNSUPPORTED where this process may not use the network. */
int32_t lm_client_open(struct lm_client_options *options, struct lm_session **ret,
                       struct num_err *err);

/* The body of a request, JSON, freed by the caller; NULL without memory. Pure. */
char *lm_client_body(const struct lm_client_options *options, const struct lm_ask *ask);

/* Whether the status of a refusal may pass by itself. */
bool lm_client_passes(long status);

#endif

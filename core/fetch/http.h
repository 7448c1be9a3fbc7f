/*
 * HTTP for downloads, on libcurl's easy interface: one transfer at a time, on the caller's thread.
 * Redirects are followed; the token goes to the endpoint alone. Classes of failures:
 *     SLUICE_TRANSIENT   network, time-out, 429 and 5xx: the same again may work, from where it
 * stopped SLUICE_INPUT       404 and other refusals SLUICE_RESOURCE    the disk is full
 *     SLUICE_CANCELLED   SIGINT or SIGTERM
 */
#ifndef FETCH_HTTP_H
#define FETCH_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct sl_http;

struct sl_http_options {
    const char *endpoint; /* begin of all URLs, without a slash at its end */
    const char *token;    /* NULL: none */
    int timeout_s;        /* without a byte, and for a connection */
    int signals;          /* a signalfd, not blocking: readable means stop */
};

/* A file that is being received. */
struct sl_http_file {
    int fd;          /* open for reading and writing; what is in it is kept and continued */
    uint64_t size;   /* how large it is to become; UINT64_MAX: not known */
    uint64_t have;   /* out: bytes in it, also after a failure */
    char sha256[65]; /* out: of the content, where a header of the hub says it, else "" */
    void (*progress)(void *ctx, uint64_t have); /* NULL: none */
    void *ctx;
};

/* NULL where libcurl cannot start. Options are borrowed. */
struct sl_http *sl_http_create(const struct sl_http_options *options);
void sl_http_destroy(struct sl_http *http);

/* Whether a signal asks to stop; waits up to `wait_ms` for one. */
bool sl_http_interrupted(const struct sl_http *http, int wait_ms);

/* The body of a GET, at most `limit` bytes, appended to `ret`. `what` names it in messages. */
int sl_http_text(struct sl_http *http, const char *path, const char *what, size_t limit,
                 struct sl_str *ret, struct sl_err *err);

/* Continues `file` to its end, once; the caller repeats on SLUICE_TRANSIENT. */
int sl_http_download(struct sl_http *http, const char *path, const char *what,
                     struct sl_http_file *file, struct sl_err *err);

#endif

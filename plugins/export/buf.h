/*
 * A growable byte buffer, and the error that the engine's functions fill in.
 *
 * Appending never fails at the call: a buffer that ran out of memory remembers it in `failed` and
 * ignores what follows, so a writer checks once, at its end.
 */
#ifndef EXPORT_BUF_H
#define EXPORT_BUF_H

#include <stdbool.h>
#include <stddef.h>

/* Why a call failed: one sentence. Written only when the call returns a negative class of
 * sluice/types.h. */
struct ex_err {
    char message[512];
};

/* Formats the message and returns `status`. */
int ex_fail(struct ex_err *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct ex_buf {
    char *data; /* owned; NULL while empty; not NUL-terminated unless appended so */
    size_t len, cap;
    bool failed; /* out of memory: the content is incomplete */
};

void ex_buf_add(struct ex_buf *buf, const void *data, size_t len);
void ex_buf_adds(struct ex_buf *buf, const char *text);
void ex_buf_addc(struct ex_buf *buf, char c);
/* At most 255 bytes an append. */
void ex_buf_addf(struct ex_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Frees the content and makes the buffer empty again. */
void ex_buf_finish(struct ex_buf *buf);

#define ex_autobuf __attribute__((cleanup(ex_buf_finish))) struct ex_buf

#endif

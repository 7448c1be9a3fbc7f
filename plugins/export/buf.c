/*
 * The growable buffer. Capacity doubles, so n appends cost O(n) copies in all; sizes are checked
 * against overflow. It does no formatting beyond short numbers and times: text is appended as it
 * is.
 */
#include "export/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ex_fail(struct ex_err *err, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

static bool reserve(struct ex_buf *buf, size_t more) {
    if (buf->failed || more > SIZE_MAX / 2 - buf->len)
        buf->failed = true;
    if (buf->failed || buf->len + more <= buf->cap)
        return !buf->failed;
    size_t cap = buf->cap ? buf->cap : 256;
    while (cap < buf->len + more)
        cap *= 2;
    char *data = realloc(buf->data, cap);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

void ex_buf_add(struct ex_buf *buf, const void *data, size_t len) {
    if (len == 0 || !reserve(buf, len))
        return;
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
}

void ex_buf_adds(struct ex_buf *buf, const char *text) {
    ex_buf_add(buf, text, strlen(text));
}

void ex_buf_addc(struct ex_buf *buf, char c) {
    ex_buf_add(buf, &c, 1);
}

void ex_buf_addf(struct ex_buf *buf, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0)
        ex_buf_add(buf, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void ex_buf_finish(struct ex_buf *buf) {
    free(buf->data);
    *buf = (struct ex_buf){0};
}

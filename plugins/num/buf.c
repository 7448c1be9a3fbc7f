/* A growable byte buffer: see buf.h. Capacity doubles, so that appending is linear in all. */
#include "num/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/utf8.h"

/* Room for `more` bytes and a NUL behind what is there. */
static bool reserve(struct num_buf *buf, size_t more) {
    if (buf->failed || more > SIZE_MAX / 4 - buf->len)
        buf->failed = true;
    if (buf->failed || (buf->data && buf->len + more < buf->cap))
        return !buf->failed;
    size_t cap = (buf->len + more + 1) * 2;
    char *data = realloc(buf->data, cap < 64 ? 64 : cap);
    buf->failed = !data;
    if (data) {
        buf->data = data;
        buf->cap = cap < 64 ? 64 : cap;
    }
    return !buf->failed;
}

void num_buf_add(struct num_buf *buf, const void *data, size_t len) {
    if (!reserve(buf, len))
        return;
    if (len)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void num_buf_adds(struct num_buf *buf, const char *text) {
    num_buf_add(buf, text, strlen(text));
}

void num_buf_addc(struct num_buf *buf, char c) {
    num_buf_add(buf, &c, 1);
}

void num_buf_add_char(struct num_buf *buf, uint32_t c) {
    uint8_t bytes[4];
    num_buf_add(buf, bytes, num_utf8_put(c, bytes));
}

void num_buf_addf(struct num_buf *buf, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0)
        num_buf_add(buf, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

const char *num_buf_text(const struct num_buf *buf) {
    return buf->data ? buf->data : "";
}

char *num_buf_steal(struct num_buf *buf) {
    num_buf_add(buf, "", 0);
    char *data = buf->failed ? NULL : buf->data;
    if (!data)
        free(buf->data);
    *buf = (struct num_buf){0};
    return data;
}

void num_buf_finish(struct num_buf *buf) {
    free(buf->data);
    *buf = (struct num_buf){0};
}

void num_free_text(char **text) {
    free(*text);
}

int32_t num_grow(void *items, size_t n, size_t *room, size_t size, const char *what,
                 struct num_err *err) {
    void **at = items;
    size_t more = *room ? 2 * *room : 32;
    if (n < *room)
        return SLUICE_OK;
    void *grown = realloc(*at, more * size);
    if (!grown)
        return num_fail_memory(err, what, more * size);
    *at = grown;
    *room = more;
    return SLUICE_OK;
}

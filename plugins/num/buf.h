/*
 * Growing arrays, and a growable byte buffer. Appending to that never fails at the call: a buffer
 * that ran out of memory remembers it in `failed` and ignores what follows, so a writer checks once,
 * at its end. `len` may be lowered, which drops the end of the content.
 */
#ifndef NUM_BUF_H
#define NUM_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

struct num_buf {
    char *data; /* owned; NULL while empty; a NUL stands behind what was appended last */
    size_t len, cap;
    bool failed; /* out of memory: the content is incomplete */
};

void num_buf_add(struct num_buf *buf, const void *data, size_t len);
void num_buf_adds(struct num_buf *buf, const char *text);
void num_buf_addc(struct num_buf *buf, char c);
/* The character `c` (at most 0x10ffff) as UTF-8. */
void num_buf_add_char(struct num_buf *buf, uint32_t c);
/* At most 511 bytes of it. */
void num_buf_addf(struct num_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The content, "" where there is none; borrowed until the next append. */
const char *num_buf_text(const struct num_buf *buf);
/* The content, owned by the caller, and the buffer empty again; NULL where it failed. */
char *num_buf_steal(struct num_buf *buf);
/* Frees the content and makes the buffer empty again. */
void num_buf_finish(struct num_buf *buf);

#define num_autobuf __attribute__((cleanup(num_buf_finish))) struct num_buf

/*
 * Room for one more item of `size` bytes behind the `n` of an array: where it is full, *(T **)items,
 * of malloc() or NULL, becomes twice as long. SLUICE_RESOURCE, in the words of num_fail_memory():
 * all stays as it is.
 */
int32_t num_grow(void *items, size_t n, size_t *room, size_t size, const char *what,
                 struct num_err *err);

/* For a text that free() frees. */
void num_free_text(char **text);
#define num_autotext __attribute__((cleanup(num_free_text))) char

#endif

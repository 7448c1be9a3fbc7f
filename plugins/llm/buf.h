/*
 * A growable byte buffer. Appending never fails at the call: a buffer that ran out of memory
 * remembers it in `failed` and ignores what follows, so a writer checks once, at its end.
 */
#ifndef LLM_BUF_H
#define LLM_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lm_buf {
    char *data; /* owned; NULL while empty; a NUL stands behind the content */
    size_t len, cap;
    bool failed; /* out of memory: the content is incomplete */
};

void lm_buf_add(struct lm_buf *buf, const void *data, size_t len);
void lm_buf_adds(struct lm_buf *buf, const char *text);
void lm_buf_addc(struct lm_buf *buf, char c);
/* The character `c` (at most 0x10ffff) as UTF-8. */
void lm_buf_add_char(struct lm_buf *buf, uint32_t c);
/* At most 511 bytes an append. */
void lm_buf_addf(struct lm_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The content, "" where there is none; borrowed until the next append. */
const char *lm_buf_text(const struct lm_buf *buf);
/* The content, owned by the caller, and the buffer empty again; NULL where it failed. */
char *lm_buf_steal(struct lm_buf *buf);
/* Frees the content and makes the buffer empty again. */
void lm_buf_finish(struct lm_buf *buf);

#define lm_autobuf __attribute__((cleanup(lm_buf_finish))) struct lm_buf

void lm_free_text(char **text);
#define lm_autotext __attribute__((cleanup(lm_free_text))) char

#endif

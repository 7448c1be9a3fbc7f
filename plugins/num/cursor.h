/*
 * A cursor over the bytes of a file, for readers that go through it once. Numbers are little-endian
 * and may lie at any address. It never runs past the end: what is not there in full is not taken,
 * and the reader refuses the file with NUM_REFUSE().
 */
#ifndef NUM_CURSOR_H
#define NUM_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct num_cursor {
    const uint8_t *data; /* borrowed, as are the pointers into it that num_take() gives out */
    size_t len, at;      /* at <= len: the next byte */
    const char *file;    /* for messages */
    struct num_err *err; /* for messages; may be NULL */
};

/* Fails with SLUICE_INPUT and the message, for `return NUM_REFUSE(cursor, "%s is ...", ...)`. */
#define NUM_REFUSE(cursor, ...) num_fail((cursor)->err, SLUICE_INPUT, __VA_ARGS__)

static inline size_t num_left(const struct num_cursor *c) {
    return c->len - c->at;
}

/* The next n bytes, or NULL where the file ends before; the cursor stays then. */
static inline const uint8_t *num_take(struct num_cursor *c, uint64_t n) {
    if (n > num_left(c))
        return NULL;
    c->at += n;
    return c->data + c->at - n;
}

/* The number in `size` bytes (1 to 8) at p. */
static inline uint64_t num_number(const uint8_t *p, size_t size) {
    uint64_t n = 0;
    for (size_t i = size; i-- > 0;)
        n = n << 8 | p[i];
    return n;
}

static inline bool num_take_u32(struct num_cursor *c, uint32_t *ret) {
    const uint8_t *p = num_take(c, 4);
    if (p)
        *ret = (uint32_t)num_number(p, 4);
    return p != NULL;
}

static inline bool num_take_u64(struct num_cursor *c, uint64_t *ret) {
    const uint8_t *p = num_take(c, 8);
    if (p)
        *ret = num_number(p, 8);
    return p != NULL;
}

#ifdef __cplusplus
}
#endif

#endif

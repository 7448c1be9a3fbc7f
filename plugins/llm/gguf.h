/*
 * GGUF files, versions 2 and 3: metadata, and tensors as views of the span. All numbers are
 * little-endian, nothing but tensor data is aligned; a string is its length (64 bits) and its
 * bytes.
 *
 *     magic "GGUF", version (u32), number of tensors (u64), number of keys (u64)
 *     for each key: its name (string), type (u32), value; an array: type of elements (u32), number
 *         (u64), elements
 *     for each tensor: name (string), number of sizes (u32), sizes innermost first (u64 each),
 *         type (u32), offset (u64) of its data behind the next multiple of general.alignment (32
 *         where no key says otherwise)
 *
 * Format: github.com/ggml-org/ggml, docs/gguf.md. Version 1 and big-endian files are refused.
 */
#ifndef LM_GGUF_H
#define LM_GGUF_H

#include <string.h>

#include "num/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

enum lm_gguf_type {
    LM_GGUF_U8,
    LM_GGUF_I8,
    LM_GGUF_U16,
    LM_GGUF_I16,
    LM_GGUF_U32,
    LM_GGUF_I32,
    LM_GGUF_F32,
    LM_GGUF_BOOL,
    LM_GGUF_STRING,
    LM_GGUF_ARRAY,
    LM_GGUF_U64,
    LM_GGUF_I64,
    LM_GGUF_F64,
    LM_GGUF_N_TYPES
};

struct lm_span {
    const char *at; /* not NUL-terminated */
    size_t len;
};

struct lm_gguf_key {
    struct lm_span name;
    enum lm_gguf_type type; /* of the value, or of an array's elements */
    bool array;
    uint64_t n;          /* elements; 1 where it is no array */
    const uint8_t *data; /* of the value or the first element */
};

/* Everything is borrowed from the span, but for the lists and names, which are owned. */
struct lm_gguf {
    const char *file; /* for messages; borrowed */
    struct lm_gguf_key *keys;
    size_t n_keys;
    struct num_weights *tensors; /* sorted by name */
    size_t n_tensors;
    char *names; /* of the tensors */
};

/* Parses the span. SLUICE_INPUT where it is no GGUF file, is cut short, or lies: names that come
 * twice, sizes that overflow, data that overlap or lie outside. SLUICE_UNSUPPORTED for types of
 * tensors that are none of num/weights.h, and for files that are one part of several. */
int32_t lm_gguf_parse(const void *data, size_t len, const char *file, struct lm_gguf *ret,
                      struct num_err *err);
void lm_gguf_finish(struct lm_gguf *g); /* takes a zeroed struct too */

/* The key of that name, or NULL. `prefix` (may be "") goes before the name. */
const struct lm_gguf_key *lm_gguf_find(const struct lm_gguf *g, const char *prefix,
                                       const char *name);

/* A number of any type that is not negative; *ret stays where the key is missing. SLUICE_INPUT
 * where it is no such number or larger than `max`. */
int32_t lm_gguf_u32(const struct lm_gguf *g, const char *prefix, const char *name, uint32_t max,
                    uint32_t *ret, struct num_err *err);
/* A finite number; *ret stays where the key is missing. */
int32_t lm_gguf_f64(const struct lm_gguf *g, const char *prefix, const char *name, double *ret,
                    struct num_err *err);
bool lm_gguf_bool(const struct lm_gguf *g, const char *name, bool missing);
/* The string of that key; .at is NULL where it is missing or no string. */
struct lm_span lm_gguf_string(const struct lm_gguf *g, const char *prefix, const char *name);

/* The n strings of an array into `ret`, which has room for them. */
void lm_gguf_strings(const struct lm_gguf_key *key, struct lm_span *ret);
/* Element i of an array of numbers. */
double lm_gguf_element(const struct lm_gguf_key *key, uint64_t i);

static inline bool lm_span_is(struct lm_span span, const char *text) {
    return span.at && strlen(text) == span.len && memcmp(span.at, text, span.len) == 0;
}

#ifdef __cplusplus
}
#endif

#endif

/* JSON through jansson, with the options and messages that the whole core shares. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

#define SL_JSON_MAX_DEPTH 64

/* Parses exactly one JSON value (any kind) of `len` bytes. Refuses duplicate keys, NULs in keys and
 * more than SL_JSON_MAX_DEPTH levels. The message says line and column. *ret is owned:
 * json_decref. */
int sl_json_parse(const char *text, size_t len, json_t **ret, struct sl_err *err);

/* One line, keys in the order they were set, real UTF-8, 17 digits only where needed; owned,
 * free(). */
char *sl_json_line(const json_t *value);

/* Scope-bound reference. */
static inline void sl_json_cleanup(json_t **j) {
    json_decref(*j);
}
#define sl_autojson __attribute__((cleanup(sl_json_cleanup)))

/* Members of an object with a fallback, for reading our own records. Strings are borrowed from
 * `object`. */
const char *sl_json_str(const json_t *object, const char *key, const char *fallback);
double sl_json_num(const json_t *object, const char *key, double fallback);

/* json_object_set_new that ignores a NULL value (leaves the key out) and cannot fail. */
void sl_json_set(json_t *object, const char *key, json_t *value);
/* A JSON string; bytes that are not UTF-8 are replaced by U+FFFD. */
json_t *sl_json_text(const char *text);

#endif

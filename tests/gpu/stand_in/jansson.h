/*
 * Stands in for jansson where only the backends are built: what the sources name, and every parse
 * fails. Tests there make their models in memory.
 */
#ifndef STAND_IN_JANSSON_H
#define STAND_IN_JANSSON_H

#include <stddef.h>
#include <string.h>

typedef struct json_t json_t;
typedef long long json_int_t;
typedef struct json_error_t {
    int line, column, position;
    char source[80], text[160];
} json_error_t;
enum json_error_code { json_error_unknown, json_error_out_of_memory };

#define JSON_REJECT_DUPLICATES 1
#define JSON_DECODE_ANY        2
#define JSON_COMPACT           4
#define JSON_ALLOW_NUL         8
#define JSON_INDENT(n)         0
#define JSON_REAL_PRECISION(n) 0

static inline json_t *json_loadb(const char *text, size_t size, size_t flags, json_error_t *error) {
    (void)text, (void)size, (void)flags;
    if (error) {
        memset(error, 0, sizeof *error);
        strcpy(error->text, "this build has no JSON");
    }
    return NULL;
}
static inline json_t *json_loads(const char *text, size_t flags, json_error_t *error) {
    return json_loadb(text, 0, flags, error);
}
static inline enum json_error_code json_error_code(const json_error_t *error) {
    (void)error;
    return json_error_unknown;
}

/* What follows is never called with a value, since there are none. */
#define STAND_IN(type, name, value)                                                                \
    static inline type name() {                                                                    \
        return value;                                                                              \
    }
STAND_IN(char *, json_dumps, NULL)
STAND_IN(json_t *, json_pack, NULL)
STAND_IN(json_t *, json_array, NULL)
STAND_IN(json_t *, json_object, NULL)
STAND_IN(json_t *, json_string, NULL)
STAND_IN(json_t *, json_stringn, NULL)
STAND_IN(json_t *, json_copy, NULL)
STAND_IN(json_t *, json_integer, NULL)
STAND_IN(json_t *, json_real, NULL)
STAND_IN(json_t *, json_object_get, NULL)
STAND_IN(json_t *, json_array_get, NULL)
STAND_IN(int, json_object_set, -1)
STAND_IN(int, json_object_set_new, -1)
STAND_IN(int, json_array_append, -1)
STAND_IN(int, json_array_append_new, -1)
STAND_IN(int, json_object_del, -1)
STAND_IN(size_t, json_array_size, 0)
STAND_IN(size_t, json_object_size, 0)
STAND_IN(size_t, json_string_length, 0)
STAND_IN(const char *, json_string_value, NULL)
STAND_IN(json_int_t, json_integer_value, 0)
STAND_IN(double, json_number_value, 0)
STAND_IN(int, json_is_object, 0)
STAND_IN(int, json_is_array, 0)
STAND_IN(int, json_is_string, 0)
STAND_IN(int, json_is_integer, 0)
STAND_IN(int, json_is_number, 0)
STAND_IN(int, json_is_boolean, 0)
STAND_IN(int, json_is_false, 0)
STAND_IN(int, json_is_true, 0)
STAND_IN(int, json_is_null, 0)
STAND_IN(void *, json_object_iter, NULL)
#undef STAND_IN
static inline void json_decref(json_t *value) {
    (void)value;
}

#define json_array_foreach(array, i, value)                                                        \
    for (i = 0; i < json_array_size(array) && ((value) = json_array_get(array, i)); i++)
#define json_object_foreach(object, key, value)                                                    \
    for ((key) = NULL, (value) = NULL; json_object_iter(object);)

#endif

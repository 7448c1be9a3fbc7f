/* Reading JSON: see json.h. */
#include "num/json.h"

#include <string.h>

#define ASK_BYTES 65536 /* parsed in about a millisecond */

/* Bytes on their way to jansson. */
struct source {
    const char *data;
    size_t len, at, asked; /* `asked`: where the watch was asked last */
    const struct num_watch *watch;
    bool cancelled;
};

static size_t read_source(void *room, size_t len, void *data) {
    struct source *s = data;
    if (s->at - s->asked >= ASK_BYTES) {
        s->asked = s->at;
        s->cancelled = num_cancelled(s->watch);
    }
    if (s->cancelled)
        return (size_t)-1;
    size_t n = s->len - s->at < len ? s->len - s->at : len;
    if (n > 0)
        memcpy(room, s->data + s->at, n);
    s->at += n;
    return n;
}

int32_t num_json_parse(const void *data, size_t len, size_t flags, const char *what,
                       const struct num_watch *watch, json_t **ret, struct num_err *err) {
    json_error_t where;
    struct source source = {.data = data, .len = len, .watch = watch};
    json_t *value = json_load_callback(read_source, &source, flags, &where);
    if (value) {
        *ret = value;
        return SLUICE_OK;
    }
    if (source.cancelled)
        return num_fail(err, SLUICE_CANCELLED, "cancelled");
    if (json_error_code(&where) == json_error_out_of_memory)
        return num_fail_memory(err, what, len);
    return num_fail(err, SLUICE_INPUT, "%s is not JSON: %s (line %d, column %d)", what, where.text,
                    where.line, where.column);
}

bool num_json_times(const json_t *object, double *ret_start, double *ret_end) {
    const json_t *start = json_object_get(object, "start"), *end = json_object_get(object, "end");
    if (!json_is_number(start) || !json_is_number(end))
        return false;
    *ret_start = json_number_value(start);
    *ret_end = json_number_value(end);
    return true;
}

void num_json_drop(json_t **value) {
    json_decref(*value);
}

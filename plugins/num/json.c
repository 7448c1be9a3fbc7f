/* Reading JSON: see json.h. */
#include "num/json.h"

int32_t num_json_parse(const void *data, size_t len, size_t flags, const char *what, json_t **ret,
                       struct num_err *err) {
    json_error_t where;
    json_t *value = json_loadb(len ? data : "", len, flags, &where);
    if (!value && json_error_code(&where) == json_error_out_of_memory)
        return num_fail_memory(err, what, len);
    if (!value)
        return num_fail(err, SLUICE_INPUT, "%s is not JSON: %s (line %d, column %d)", what,
                        where.text, where.line, where.column);
    *ret = value;
    return SLUICE_OK;
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

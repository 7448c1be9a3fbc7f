/* JSON helpers over jansson, see json.h. jansson bounds recursion at 2048; we bound it further
 * down. */
#include "base/json.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* jansson parses recursively; deep nesting is refused before it gets there. */
static int check_depth(const char *text, size_t len, struct sl_err *err) {
    int depth = 0, in_string = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            depth++;
        else if (!in_string && (c == '}' || c == ']'))
            depth--;
        if (depth > SL_JSON_MAX_DEPTH)
            return sl_err_set(err, SLUICE_INPUT, "JSON nested deeper than %d levels",
                              SL_JSON_MAX_DEPTH);
    }
    return 0;
}

int sl_json_parse(const char *text, size_t len, json_t **ret, struct sl_err *err) {
    json_error_t why;
    int rc = check_depth(text, len, err);
    if (rc < 0)
        return rc;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!value)
        return sl_err_set(err, SLUICE_INPUT, "not valid JSON, line %d column %d: %s", why.line,
                          why.column, why.text);
    *ret = value;
    return 0;
}

/* True if 15 digits give every number in `value` back exactly; 17 always do. */
static bool reads_well(const json_t *value) {
    const char *key;
    json_t *member;
    size_t i;
    char digits[32];
    if (json_is_real(value)) {
        snprintf(digits, sizeof digits, "%.15g", json_real_value(value));
        return strtod(digits, NULL) == json_real_value(value);
    }
    json_object_foreach((json_t *)value, key, member) if (!reads_well(member)) return false;
    json_array_foreach(value, i, member) if (!reads_well(member)) return false;
    return true;
}

char *sl_json_line(const json_t *value) {
    size_t digits = reads_well(value) ? JSON_REAL_PRECISION(15) : JSON_REAL_PRECISION(17);
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | digits);
    if (!text)
        text = sl_xstrdup("null");
    return text;
}

const char *sl_json_str(const json_t *object, const char *key, const char *fallback) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : fallback;
}

double sl_json_num(const json_t *object, const char *key, double fallback) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

void sl_json_set(json_t *object, const char *key, json_t *value) {
    if (value)
        json_object_set_new(object, key, value);
}

json_t *sl_json_text(const char *text) {
    size_t len = strlen(text);
    sl_autostr struct sl_str clean = {0};
    while (len > 0) {
        size_t good = sl_utf8_valid(text, len);
        sl_str_addn(&clean, text, good);
        if (good < len) {
            sl_str_add(&clean, "\xef\xbf\xbd");
            good++;
        }
        text += good;
        len -= good;
    }
    return json_string(sl_str_text(&clean));
}

/*
 * Reads with jansson, prints with a printer of its own. jansson's prints every real with a fixed
 * number of digits: 17 turn 0.1 into 0.10000000000000001, 15 change a value that had 16. The
 * printer here takes the first of 15, 16 and 17 digits that reads back as the same double, so 0.38
 * stays 0.38 and nothing is lost. It also keeps a list of numbers (a segment's tokens) on one line,
 * where one number a line would make an hour's transcript unreadable.
 */
#include "export/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/types.h>

#include "num/json.h"

struct printer {
    struct num_buf *out;
    const struct num_watch *watch;
    bool cancelled; /* the rest is left out */
};

static void print_value(struct printer *p, const json_t *value, size_t depth);

static void print_newline(struct num_buf *out, size_t depth) {
    num_buf_addc(out, '\n');
    for (size_t i = 0; i < depth; i++)
        num_buf_adds(out, "  ");
}

static void print_string(struct num_buf *out, const char *text, size_t len) {
    num_buf_addc(out, '"');
    size_t done = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        num_buf_add(out, text + done, i - done);
        const char *named = c ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", c) : NULL;
        if (named)
            num_buf_addf(out, "\\%c", named[1]);
        else
            num_buf_addf(out, "\\u%04x", c);
        done = i + 1;
    }
    num_buf_add(out, text + done, len - done);
    num_buf_addc(out, '"');
}

static void print_real(struct num_buf *out, double value) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    num_buf_adds(out, text);
    if (!strpbrk(text, ".e"))
        num_buf_adds(out, ".0");
}

static bool is_number_list(const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_number(json_array_get(list, i)))
            return false;
    return true;
}

static void print_list(struct printer *p, const json_t *list, size_t depth) {
    bool flat = is_number_list(list);
    num_buf_addc(p->out, '[');
    for (size_t i = 0; i < json_array_size(list) && !p->cancelled; i++) {
        p->cancelled = !flat && num_cancelled(p->watch);
        if (i > 0)
            num_buf_adds(p->out, flat ? ", " : ",");
        if (!flat)
            print_newline(p->out, depth + 1);
        print_value(p, json_array_get(list, i), depth + 1);
    }
    if (!flat)
        print_newline(p->out, depth);
    num_buf_addc(p->out, ']');
}

static void print_object(struct printer *p, json_t *object, size_t depth) {
    const char *key, *comma = "";
    json_t *value;
    num_buf_addc(p->out, '{');
    json_object_foreach(object, key, value) {
        num_buf_adds(p->out, comma);
        print_newline(p->out, depth + 1);
        print_string(p->out, key, strlen(key));
        num_buf_adds(p->out, ": ");
        print_value(p, value, depth + 1);
        comma = ",";
    }
    if (*comma)
        print_newline(p->out, depth);
    num_buf_addc(p->out, '}');
}

/* The depth is bounded: jansson reads at most 2048 levels. */
static void print_value(struct printer *p, const json_t *value, size_t depth) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        print_object(p, (json_t *)(uintptr_t)value, depth);
        break;
    case JSON_ARRAY:
        print_list(p, value, depth);
        break;
    case JSON_STRING:
        print_string(p->out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        num_buf_addf(p->out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        print_real(p->out, json_real_value(value));
        break;
    case JSON_TRUE:
        num_buf_adds(p->out, "true");
        break;
    case JSON_FALSE:
        num_buf_adds(p->out, "false");
        break;
    case JSON_NULL:
        num_buf_adds(p->out, "null");
        break;
    }
}

static int parse(const char *name, const void *data, size_t len, const struct num_watch *watch,
                 json_t **ret, struct num_err *err) {
    char what[128];
    snprintf(what, sizeof what, "the input `%.100s`", name);
    return num_json_parse(data, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, what, watch, ret, err);
}

static bool is_json_type(const char *type) {
    static const char *const types[] = {SLUICE_TYPE_JSON, SLUICE_TYPE_REGIONS,
                                        SLUICE_TYPE_TRANSCRIPT, SLUICE_TYPE_TURNS};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

/* The value of an addition, owned by the caller. */
static int addition_value(const struct ex_addition *a, const struct num_watch *watch, json_t **ret,
                          struct num_err *err) {
    if (is_json_type(a->type))
        return parse(a->name, a->data, a->len, watch, ret, err);
    if (strcmp(a->type, SLUICE_TYPE_TEXT) != 0)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "the input `%s` is %s, which has no place in JSON; connect text/1, json/1, "
                        "regions/1, transcript/1 or turns/1",
                        a->name, a->type);
    *ret = json_stringn(a->len ? a->data : "", a->len);
    if (!*ret)
        return num_fail(err, SLUICE_INPUT, "the input `%s` is not UTF-8 text", a->name);
    return 0;
}

static int add_member(json_t *root, const struct ex_addition *a, const struct num_watch *watch,
                      struct num_err *err) {
    if (json_object_get(root, a->name))
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "the input `%s` would replace `%s` of the transcript; give it another name",
                        a->name, a->name);
    json_t *value = NULL;
    int status = addition_value(a, watch, &value, err);
    if (status < 0)
        return status;
    if (json_object_set_new(root, a->name, value) < 0)
        return num_fail(err, SLUICE_RESOURCE, "out of memory for `%s`", a->name);
    return 0;
}

static int parse_defaults(const char *defaults, json_t **ret, struct num_err *err) {
    int status = parse("defaults", defaults, strlen(defaults), NULL, ret, err);
    if (status == 0 && !json_is_object(*ret))
        status = num_fail(err, SLUICE_INPUT, "defaults: expected a map of names and values");
    return status;
}

int ex_json_check_defaults(const char *defaults, struct num_err *err) {
    num_autojson *value = NULL;
    return parse_defaults(defaults, &value, err);
}

static int add_defaults(json_t *root, const char *defaults, struct num_err *err) {
    num_autojson *values = NULL;
    int status = defaults ? parse_defaults(defaults, &values, err) : 0;
    if (status == 0 && json_object_update_missing(root, values) < 0 && values)
        status = num_fail(err, SLUICE_RESOURCE, "out of memory for the defaults");
    return status;
}

int ex_json_write(const void *transcript, size_t len, const struct ex_addition *additions, size_t n,
                  const char *defaults, const struct num_watch *watch, struct num_buf *out,
                  struct num_err *err) {
    num_autojson *root = NULL;
    struct printer printer = {out, watch, false};
    int status = parse("transcript", transcript, len, watch, &root, err);
    if (status < 0)
        return status;
    if (!json_is_object(root))
        return num_fail(err, SLUICE_INPUT, "the transcript is not a JSON object");
    for (size_t i = 0; i < n; i++) {
        status = add_member(root, &additions[i], watch, err);
        if (status < 0)
            return status;
    }
    status = add_defaults(root, defaults, err);
    if (status < 0)
        return status;
    print_value(&printer, root, 0);
    num_buf_addc(out, '\n');
    if (printer.cancelled)
        return num_fail(err, SLUICE_CANCELLED, "cancelled");
    return out->failed ? num_fail(err, SLUICE_RESOURCE, "out of memory for the JSON text") : 0;
}

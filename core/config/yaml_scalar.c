/*
 * What YAML nodes mean: scalars by the core schema of YAML 1.2.2 (section 10.3.2), lookup in maps,
 * and words for messages. Patterns are matched by hand: a handful of lines each, no regular
 * expressions, no locale.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/yaml.h"

#define DESCRIBE_COLUMNS 40

static bool one_of(const char *text, const char *const *words) {
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

static bool is_null(const char *t) {
    return one_of(t, (const char *const[]){"", "~", "null", "Null", "NULL", NULL});
}

static bool is_true(const char *t) {
    return one_of(t, (const char *const[]){"true", "True", "TRUE", NULL});
}

static bool is_false(const char *t) {
    return one_of(t, (const char *const[]){"false", "False", "FALSE", NULL});
}

static const char *skip_digits(const char *t) {
    return t + strspn(t, "0123456789");
}

/* [-+]?[0-9]+ | 0o[0-7]+ | 0x[0-9a-fA-F]+ */
static bool is_int(const char *t) {
    if (sl_starts_with(t, "0o") || sl_starts_with(t, "0x")) {
        const char *digits = t[1] == 'o' ? "01234567" : "0123456789abcdefABCDEF";
        return t[2] && !t[2 + strspn(t + 2, digits)];
    }
    t += *t == '-' || *t == '+';
    return *t && !*skip_digits(t);
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_finite_float(const char *t) {
    t += *t == '-' || *t == '+';
    const char *whole = skip_digits(t), *end = whole;
    if (*whole == '.')
        end = skip_digits(whole + 1);
    if (whole == t && end <= whole + 1)
        return false;
    if (*end == 'e' || *end == 'E') {
        end++;
        end += *end == '-' || *end == '+';
        if (!*end || *skip_digits(end))
            return false;
        return true;
    }
    return !*end;
}

/* .inf and .nan are numbers to YAML and to nobody here. */
static bool is_special_float(const char *t) {
    const char *unsigned_part = t + (*t == '-' || *t == '+');
    return one_of(unsigned_part, (const char *const[]){".inf", ".Inf", ".INF", NULL}) ||
           one_of(t, (const char *const[]){".nan", ".NaN", ".NAN", NULL});
}

enum sl_yaml_type sl_yaml_type(const struct sl_yaml *scalar) {
    const char *t = scalar->text;
    if (scalar->style == SL_YAML_QUOTED)
        return SL_YAML_STRING;
    if (is_null(t))
        return SL_YAML_NULL;
    if (is_true(t) || is_false(t))
        return SL_YAML_BOOL;
    if (is_int(t))
        return SL_YAML_INT;
    return is_finite_float(t) || is_special_float(t) ? SL_YAML_FLOAT : SL_YAML_STRING;
}

static bool is_scalar_of(const struct sl_yaml *node, enum sl_yaml_type type) {
    return node && node->kind == SL_YAML_SCALAR && sl_yaml_type(node) == type;
}

bool sl_yaml_is_null(const struct sl_yaml *node) {
    return !node || is_scalar_of(node, SL_YAML_NULL);
}

bool sl_yaml_bool(const struct sl_yaml *node, bool *ret) {
    if (!is_scalar_of(node, SL_YAML_BOOL))
        return false;
    *ret = is_true(node->text);
    return true;
}

bool sl_yaml_int(const struct sl_yaml *node, int64_t *ret) {
    if (!is_scalar_of(node, SL_YAML_INT))
        return false;
    const char *t = node->text;
    int base = sl_starts_with(t, "0x") ? 16 : sl_starts_with(t, "0o") ? 8 : 10;
    errno = 0;
    long long value = strtoll(base == 10 ? t : t + 2, NULL, base);
    if (errno)
        return false;
    *ret = value;
    return true;
}

bool sl_yaml_float(const struct sl_yaml *node, double *ret) {
    int64_t whole;
    double value;
    if (sl_yaml_int(node, &whole))
        value = (double)whole;
    else if (is_scalar_of(node, SL_YAML_FLOAT) && is_finite_float(node->text))
        value = strtod(node->text, NULL);
    else
        return false;
    if (!isfinite(value))
        return false;
    *ret = value;
    return true;
}

bool sl_yaml_text(const struct sl_yaml *node, const char **ret) {
    if (!node || node->kind != SL_YAML_SCALAR)
        return false;
    if (node->style != SL_YAML_EITHER && sl_yaml_type(node) != SL_YAML_STRING)
        return false;
    *ret = node->text;
    return true;
}

const struct sl_yaml_pair *sl_yaml_find(const struct sl_yaml *map, const char *key) {
    for (int i = 0; map && map->kind == SL_YAML_MAP && i < map->n; i++)
        if (strcmp(map->pairs[i].key, key) == 0)
            return &map->pairs[i];
    return NULL;
}

const struct sl_yaml *sl_yaml_get(const struct sl_yaml *map, const char *key) {
    const struct sl_yaml_pair *pair = sl_yaml_find(map, key);
    return pair ? pair->value : NULL;
}

/* Up to DESCRIBE_COLUMNS of the first line. */
static void add_cut(struct sl_str *out, const char *text) {
    sl_autofree char *line = sl_xstrndup(text, strcspn(text, "\r\n"));
    size_t len = sl_utf8_prefix(line, DESCRIBE_COLUMNS);
    sl_str_addn(out, line, len);
    if (text[len])
        sl_str_add(out, "...");
}

void sl_yaml_describe(const struct sl_yaml *node, struct sl_str *out) {
    static const char *const words[] = {[SL_YAML_BOOL] = "",
                                        [SL_YAML_INT] = "integer ",
                                        [SL_YAML_FLOAT] = "number ",
                                        [SL_YAML_STRING] = "text \""};
    if (sl_yaml_is_null(node)) {
        sl_str_add(out, "nothing");
    } else if (node->kind == SL_YAML_SCALAR) {
        enum sl_yaml_type type = sl_yaml_type(node);
        sl_str_add(out, words[type]);
        add_cut(out, node->text);
        sl_str_add(out, type == SL_YAML_STRING ? "\"" : "");
    } else {
        sl_str_add(out, node->kind == SL_YAML_LIST  ? "a list"
                        : node->kind == SL_YAML_MAP ? "a map"
                                                    : "a mistake");
    }
}

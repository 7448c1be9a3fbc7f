/*
 * The table-driven reader of schema.h. One function a kind of value; the table of expectations
 * beside it gives the words for a mistake, so that every key of the format complains alike.
 */
#include "config/schema.h"

#include <stdio.h>
#include <string.h>

#include "base/units.h"

#define SUGGEST_MAX_ERRORS 100

const char *sl_suggest(struct sl_diags *diags, const char *word, const char *const *candidates,
                       size_t n) {
    const char *near =
        diags->n_errors < SUGGEST_MAX_ERRORS ? sl_nearest(word, candidates, n) : NULL;
    return near ? sl_arena_printf(&diags->arena, " (did you mean \"%s\"?)", near) : "";
}

/* YAML 1.1 knew more words for true and false than people remember. */
static const char *bool_hint(const struct sl_yaml *node) {
    static const char *const yes[] = {"yes", "Yes", "YES", "on", "On", "ON", "y", "Y"};
    static const char *const no[] = {"no", "No", "NO", "off", "Off", "OFF", "n", "N"};
    for (size_t i = 0; node->kind == SL_YAML_SCALAR && i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(node->text, yes[i]) == 0)
            return " (write true)";
        if (strcmp(node->text, no[i]) == 0)
            return " (write false)";
    }
    return "";
}

static const char *quote_hint(const struct sl_yaml *node, const char *expected) {
    bool scalar = node->kind == SL_YAML_SCALAR && !sl_yaml_is_null(node);
    if (scalar && node->style == SL_YAML_QUOTED) {
        struct sl_yaml plain = *node;
        plain.style = SL_YAML_PLAIN;
        enum sl_yaml_type type = sl_yaml_type(&plain);
        return type != SL_YAML_STRING && type != SL_YAML_NULL ? " (write it without quotes)" : "";
    }
    return scalar && sl_starts_with(expected, "text") && sl_yaml_type(node) != SL_YAML_STRING
               ? " (write it in quotes)"
               : "";
}

void sl_diag_expected(struct sl_diags *diags, const char *what, const struct sl_yaml *node,
                      const char *fmt, ...) {
    sl_autostr struct sl_str expected = {0}, found = {0};
    if (node->kind == SL_YAML_BAD)
        return;
    va_list args;
    va_start(args, fmt);
    sl_str_vaddf(&expected, fmt, args);
    va_end(args);
    sl_yaml_describe(node, &found);
    const char *hint = sl_starts_with(sl_str_text(&expected), "true or false")
                           ? bool_hint(node)
                           : quote_hint(node, sl_str_text(&expected));
    sl_diag_error(diags, node->pos, "%s: expected %s, found %s%s", what, sl_str_text(&expected),
                  sl_str_text(&found), hint);
}

bool sl_read_duration(const struct sl_yaml *node, double *ret_seconds) {
    if (node->kind != SL_YAML_SCALAR || sl_yaml_is_null(node))
        return false;
    double seconds;
    if (!sl_parse_duration(node->text, &seconds) || !(seconds >= 0 && seconds <= 1e9))
        return false;
    *ret_seconds = seconds;
    return true;
}

bool sl_read_size(const struct sl_yaml *node, uint64_t *ret_bytes) {
    return node->kind == SL_YAML_SCALAR && !sl_yaml_is_null(node) &&
           sl_parse_size(node->text, ret_bytes);
}

struct reading {
    const struct sl_field *field;
    const char *what; /* `stage "asr": retry: attempts` */
    void *member;
    struct sl_diags *diags;
};

static bool in_range(const struct sl_field *f, double value) {
    return (f->min == 0 && f->max == 0) || (value >= f->min && value <= f->max);
}

static void expected_number(const struct reading *r, const struct sl_yaml *node, const char *noun) {
    const struct sl_field *f = r->field;
    if (f->min == 0 && f->max == 0)
        sl_diag_expected(r->diags, r->what, node, "%s", noun);
    else
        sl_diag_expected(r->diags, r->what, node, "%s from %.15g to %.15g", noun, f->min, f->max);
}

static bool read_int(const struct reading *r, const struct sl_yaml *node) {
    int64_t value;
    if (!sl_yaml_int(node, &value) || !in_range(r->field, (double)value) || (int)value != value) {
        expected_number(r, node, "an integer");
        return false;
    }
    *(int *)r->member = (int)value;
    return true;
}

static bool read_float(const struct reading *r, const struct sl_yaml *node) {
    double value;
    if (!sl_yaml_float(node, &value) || !in_range(r->field, value)) {
        expected_number(r, node, "a number");
        return false;
    }
    *(double *)r->member = value;
    return true;
}

static bool read_choice(const struct reading *r, const struct sl_yaml *node) {
    const char *text = NULL;
    size_t n = 0;
    for (; r->field->choices[n]; n++)
        if (sl_yaml_text(node, &text) && strcmp(text, r->field->choices[n]) == 0) {
            *(int *)r->member = (int)n;
            return true;
        }
    sl_autostr struct sl_str list = {0};
    sl_str_add_list(&list, r->field->choices, n, "or");
    sl_diag_expected(r->diags, r->what, node, "one of %s%s", sl_str_text(&list),
                     text ? sl_suggest(r->diags, text, r->field->choices, n) : "");
    return false;
}

static bool read_simple(const struct reading *r, const struct sl_yaml *node) {
    switch (r->field->kind) {
    case SL_FIELD_TEXT:
        if (sl_yaml_text(node, r->member))
            return true;
        sl_diag_expected(r->diags, r->what, node, "text");
        return false;
    case SL_FIELD_DURATION:
        if (sl_read_duration(node, r->member))
            return true;
        sl_diag_expected(r->diags, r->what, node, "a duration such as 90s, 1h30m or 2h");
        return false;
    case SL_FIELD_SIZE:
        if (sl_read_size(node, r->member))
            return true;
        sl_diag_expected(r->diags, r->what, node, "a size such as 512MiB or 4GiB");
        return false;
    default:
        return false;
    }
}

static bool read_field(const struct reading *r, const struct sl_yaml_pair *pair) {
    const struct sl_yaml *node = pair->value;
    switch (r->field->kind) {
    case SL_FIELD_NODE:
        *(const struct sl_yaml **)r->member = node;
        return true;
    case SL_FIELD_INT:
        return read_int(r, node);
    case SL_FIELD_FLOAT:
        return read_float(r, node);
    case SL_FIELD_CHOICE:
        return read_choice(r, node);
    default:
        return read_simple(r, node);
    }
}

/* "stage "asr": timeout" or, at the top of the file, "timeout". */
static const char *add_key(struct sl_diags *diags, const char *what, const char *key) {
    return *what ? sl_arena_printf(&diags->arena, "%s: %s", what, key) : key;
}

static void unknown_key(const struct sl_field *fields, size_t n_fields, const char *what,
                        const struct sl_yaml_pair *pair, struct sl_diags *diags) {
    const char *keys[64];
    size_t n = 0;
    for (size_t i = 0; i < n_fields && n < 64; i++)
        keys[n++] = fields[i].key;
    const char *near = sl_suggest(diags, pair->key, keys, n);
    sl_autostr struct sl_str text = {0};
    sl_str_addf(&text, "%s%sunknown key \"%.80s\"", what, *what ? ": " : "", pair->key);
    if (*near) {
        sl_str_add(&text, near);
    } else {
        sl_str_add(&text, "; accepted: ");
        sl_str_add_list(&text, keys, n, "and");
    }
    sl_diag_error(diags, pair->pos, "%s", sl_str_text(&text));
}

static const struct sl_field *find_field(const struct sl_field *fields, size_t n_fields,
                                         const char *key) {
    for (size_t i = 0; i < n_fields; i++)
        if (strcmp(fields[i].key, key) == 0)
            return &fields[i];
    return NULL;
}

bool sl_schema_read(const struct sl_field *fields, size_t n_fields, const char *what,
                    const struct sl_yaml *map, void *target, struct sl_diags *diags) {
    bool good = true;
    if (map->kind != SL_YAML_MAP) {
        sl_diag_expected(diags, *what ? what : "the file", map, "a map");
        return false;
    }
    for (int i = 0; i < map->n; i++) {
        const struct sl_yaml_pair *pair = &map->pairs[i];
        const struct sl_field *f = find_field(fields, n_fields, pair->key);
        if (!f) {
            unknown_key(fields, n_fields, what, pair, diags);
            good = false;
            continue;
        }
        struct reading r = {f, add_key(diags, what, f->key), (char *)target + f->offset, diags};
        good &= read_field(&r, pair);
    }
    for (size_t i = 0; i < n_fields; i++)
        if (fields[i].required && !sl_yaml_find(map, fields[i].key)) {
            sl_diag_error(diags, map->pos, "%s%skey \"%s\" is missing", what, *what ? ": " : "",
                          fields[i].key);
            good = false;
        }
    return good;
}

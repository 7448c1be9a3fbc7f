/*
 * One reader a kind of parameter, see param.h. A default is text "as it would be written in a
 * pipeline file" and goes through the same readers, so that what a user copies from the
 * documentation means the same.
 */
#include "graph/param.h"

#include <string.h>

#include "base/json.h"
#include "base/units.h"
#include "config/schema.h"

struct reading {
    const struct sl_param_desc *param;
    const char *what;
    const struct sl_yaml *node;
    struct sl_diags *diags;
};

static bool in_range(const struct sl_param_desc *p, double value) {
    return !p->ranged || (value >= p->min && value <= p->max);
}

/* " from 1 to 16 tokens" in the kind's own words. */
static void add_range(const struct sl_param_desc *p, struct sl_str *out) {
    char low[64], high[64];
    if (p->ranged && p->kind == SLUICE_PARAM_SIZE)
        sl_str_addf(out, " from %s to %s",
                    sl_format_size((uint64_t)(p->min > 0 ? p->min : 0), low, sizeof low),
                    sl_format_size((uint64_t)(p->max > 0 && p->max < 9e18 ? p->max : 9e18), high,
                                   sizeof high));
    else if (p->ranged && p->kind == SLUICE_PARAM_DURATION)
        sl_str_addf(out, " from %.15gs to %.15gs", p->min, p->max);
    else if (p->ranged)
        sl_str_addf(out, " from %.15g to %.15g%s%s", p->min, p->max, *p->unit ? " " : "", p->unit);
}

static json_t *expected(const struct reading *r, const char *noun) {
    sl_autostr struct sl_str words = {0};
    sl_str_add(&words, noun);
    add_range(r->param, &words);
    sl_diag_expected(r->diags, r->what, r->node, "%s", sl_str_text(&words));
    return NULL;
}

static json_t *read_bool(const struct reading *r) {
    bool value;
    return sl_yaml_bool(r->node, &value) ? json_boolean(value) : expected(r, "true or false");
}

static json_t *read_int(const struct reading *r) {
    int64_t value;
    if (!sl_yaml_int(r->node, &value) || !in_range(r->param, (double)value))
        return expected(r, "an integer");
    return json_integer(value);
}

static json_t *read_float(const struct reading *r) {
    double value;
    if (!sl_yaml_float(r->node, &value) || !in_range(r->param, value))
        return expected(r, "a number");
    return json_real(value);
}

static json_t *read_string(const struct reading *r) {
    const struct sl_param_desc *p = r->param;
    const char *text;
    if (!sl_yaml_text(r->node, &text) && p->n_choices == 0)
        return expected(r, "text");
    for (int i = 0; i < p->n_choices && sl_yaml_text(r->node, &text); i++)
        if (strcmp(p->choices[i], text) == 0)
            return json_string(text);
    if (p->n_choices == 0)
        return json_string(text);
    sl_autostr struct sl_str list = {0};
    sl_str_add_list(&list, (const char *const *)p->choices, (size_t)p->n_choices, "or");
    const char *near = "";
    if (sl_yaml_text(r->node, &text))
        near = sl_suggest(r->diags, text, (const char *const *)p->choices, (size_t)p->n_choices);
    sl_diag_expected(r->diags, r->what, r->node, "one of %s%s", sl_str_text(&list), near);
    return NULL;
}

static json_t *read_duration(const struct reading *r) {
    double seconds;
    if (!sl_read_duration(r->node, &seconds) || !in_range(r->param, seconds))
        return expected(r, "a duration such as 90s or 2h");
    return json_real(seconds);
}

static json_t *read_size(const struct reading *r) {
    uint64_t bytes;
    if (!sl_read_size(r->node, &bytes) || !in_range(r->param, (double)bytes))
        return expected(r, "a size such as 512MiB or 4GiB");
    return json_integer((json_int_t)bytes);
}

/* ---- Numbers, lists and maps ----------------------------------------------------------------- */

/* A tree while it becomes JSON; `room` is what may still be added, so that shared subtrees cannot
 * multiply. */
struct conversion {
    const struct reading *reading;
    size_t room;
};

static json_t *tree_to_json(struct conversion *c, const struct sl_yaml *node);

static bool take_room(struct conversion *c, const struct sl_yaml *node, size_t bytes) {
    if (bytes <= c->room) {
        c->room -= bytes;
        return true;
    }
    if (c->room > 0)
        sl_diag_error(c->reading->diags, node->pos, "%s: larger than %u KiB", c->reading->what,
                      SL_PARAMS_MAX_BYTES >> 10);
    c->room = 0;
    return false;
}

static json_t *scalar_to_json(struct conversion *c, const struct sl_yaml *node) {
    bool truth;
    int64_t whole;
    double number;
    if (sl_yaml_is_null(node))
        return json_null();
    if (sl_yaml_bool(node, &truth))
        return json_boolean(truth);
    if (sl_yaml_int(node, &whole))
        return json_integer(whole);
    if (sl_yaml_float(node, &number))
        return json_real(number);
    if (sl_yaml_type(node) == SL_YAML_STRING)
        return json_string(node->text);
    sl_diag_expected(c->reading->diags, c->reading->what, node, "a number that can be represented");
    return NULL;
}

static json_t *list_to_json(struct conversion *c, const struct sl_yaml *node) {
    json_t *list = json_array();
    for (int i = 0; list && i < node->n; i++) {
        json_t *item = tree_to_json(c, node->items[i]);
        if (!item || json_array_append_new(list, item) < 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *map_to_json(struct conversion *c, const struct sl_yaml *node) {
    json_t *map = json_object();
    for (int i = 0; map && i < node->n; i++) {
        json_t *value = NULL;
        if (take_room(c, node, strlen(node->pairs[i].key)))
            value = tree_to_json(c, node->pairs[i].value);
        if (!value || json_object_set_new(map, node->pairs[i].key, value) < 0) {
            json_decref(map);
            map = NULL;
        }
    }
    return map;
}

static json_t *tree_to_json(struct conversion *c, const struct sl_yaml *node) {
    if (!take_room(c, node, 1 + (node->kind == SL_YAML_SCALAR ? strlen(node->text) : 0)))
        return NULL;
    switch (node->kind) {
    case SL_YAML_SCALAR:
        return scalar_to_json(c, node);
    case SL_YAML_LIST:
        return list_to_json(c, node);
    case SL_YAML_MAP:
        return map_to_json(c, node);
    default:
        return NULL;
    }
}

static json_t *read_json(const struct reading *r) {
    struct conversion c = {r, SL_PARAMS_MAX_BYTES};
    double number;
    bool scalar = r->node->kind == SL_YAML_SCALAR;
    if (scalar ? !sl_yaml_float(r->node, &number)
               : r->node->kind != SL_YAML_LIST && r->node->kind != SL_YAML_MAP)
        return expected(r, "a number, a list or a map");
    return tree_to_json(&c, r->node);
}

/* ---- By kind -------------------------------------------------------------------------------- */

bool sl_param_read(const struct sl_param_desc *param, const char *what, const struct sl_yaml *node,
                   struct sl_diags *diags, json_t **ret) {
    static json_t *(*const readers[])(const struct reading *) = {
        [SLUICE_PARAM_BOOL] = read_bool,         [SLUICE_PARAM_INT] = read_int,
        [SLUICE_PARAM_FLOAT] = read_float,       [SLUICE_PARAM_STRING] = read_string,
        [SLUICE_PARAM_DURATION] = read_duration, [SLUICE_PARAM_SIZE] = read_size,
        [SLUICE_PARAM_JSON] = read_json};
    struct reading r = {param, what, node, diags};
    json_t *value = readers[param->kind](&r);
    if (value)
        *ret = value;
    return value != NULL;
}

/* The default's text as a node: lists, maps and quoted text are YAML, the rest one scalar. */
static const struct sl_yaml *default_node(const struct sl_param_desc *param, struct sl_arena *arena,
                                          struct sl_diags *diags) {
    const char *text = param->default_value;
    bool quoted = param->kind == SLUICE_PARAM_STRING && (*text == '"' || *text == '\'');
    if (param->kind == SLUICE_PARAM_JSON || quoted)
        return sl_yaml_parse(text, strlen(text), arena, diags);
    return sl_yaml_scalar(arena, (struct sl_pos){0}, SL_YAML_EITHER, text);
}

static json_t *read_default(const struct sl_param_desc *param, struct sl_diags *diags) {
    struct sl_arena arena = {0};
    struct sl_param_desc loose = *param;
    json_t *value = NULL;
    loose.ranged = false;
    const struct sl_yaml *node = default_node(param, &arena, diags);
    if (node)
        sl_param_read(&loose, "default", node, diags, &value);
    sl_arena_finish(&arena);
    return value;
}

json_t *sl_param_default(const struct sl_param_desc *param) {
    struct sl_diags diags = {0};
    json_t *value = param->default_value ? read_default(param, &diags) : NULL;
    sl_diags_finish(&diags);
    return value;
}

int sl_param_check_default(const struct sl_param_desc *param, const char *where,
                           struct sl_err *err) {
    struct sl_diags diags = {0};
    json_t *value = read_default(param, &diags);
    int rc = 0;
    if (!value)
        rc = sl_err_set(err, SLUICE_INPUT, "%s: parameter \"%s\": default \"%.60s\": %s", where,
                        param->name, param->default_value,
                        diags.n ? diags.items[0].text : "cannot be read");
    json_decref(value);
    sl_diags_finish(&diags);
    return rc;
}

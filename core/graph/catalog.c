/*
 * Reads the descriptions of plugins into the catalog, see catalog.h. A description comes out of a
 * process that ran foreign code, so everything is checked: kinds, names, types, defaults, counts.
 * Keys that are not known are passed over, so that a newer worker's description can be read.
 */
#include "graph/catalog.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/str.h"
#include "graph/param.h"

#define MAX_STAGES  1000 /* of a plugin */
#define MAX_ENTRIES 500  /* ports, parameters or choices of a stage */
#define MAX_JOBS    4096

static const char *const kind_names[] = {
    [SLUICE_PARAM_BOOL] = "bool",         [SLUICE_PARAM_INT] = "int",
    [SLUICE_PARAM_FLOAT] = "float",       [SLUICE_PARAM_STRING] = "string",
    [SLUICE_PARAM_DURATION] = "duration", [SLUICE_PARAM_SIZE] = "size",
    [SLUICE_PARAM_JSON] = "json"};
#define N_KINDS ((int)(sizeof kind_names / sizeof *kind_names))

const char *sl_param_kind_name(int kind) {
    return kind > 0 && kind < N_KINDS ? kind_names[kind] : "unknown";
}

int sl_param_kind_from_name(const char *name) {
    for (int i = 1; i < N_KINDS; i++)
        if (strcmp(kind_names[i], name) == 0)
            return i;
    return 0;
}

/* ---- Members -------------------------------------------------------------------------------- */

struct reader {
    struct sl_arena *arena;
    const char *where; /* "stage audio/decode" */
    struct sl_err *err;
};

static int wrong(const struct reader *r, const char *key, const char *expected) {
    return sl_err_set(r->err, SLUICE_INPUT, "%s: \"%s\" is not %s", r->where, key, expected);
}

/* A string; absent where `fallback` is given. Line breaks and other control characters are refused.
 */
static int read_text(const struct reader *r, const json_t *object, const char *key,
                     const char *fallback, const char **ret) {
    const json_t *value = json_object_get(object, key);
    if (!value && fallback) {
        *ret = fallback;
        return 0;
    }
    const char *text = json_string_value(value);
    if (!text || strlen(text) != json_string_length(value))
        return wrong(r, key, "text");
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t')
            return wrong(r, key, "text without control characters");
    *ret = sl_arena_strdup(r->arena, text);
    return 0;
}

static int read_bool(const struct reader *r, const json_t *object, const char *key, bool *ret) {
    const json_t *value = json_object_get(object, key);
    if (value && !json_is_boolean(value))
        return wrong(r, key, "true or false");
    *ret = json_is_true(value);
    return 0;
}

/* An array of at most `limit`; absent: empty. */
static int read_array(const struct reader *r, const json_t *object, const char *key, size_t limit,
                      const json_t **ret) {
    const json_t *value = json_object_get(object, key);
    if (value && (!json_is_array(value) || json_array_size(value) > limit))
        return wrong(r, key, "a list of a sensible length");
    *ret = value;
    return 0;
}

/* "name/version": audio/1. */
static bool is_type(const char *text) {
    const char *slash = strchr(text, '/');
    if (!slash || slash - text > 64 || !slash[1] || strlen(slash + 1) > 9)
        return false;
    sl_autofree char *name = sl_xstrndup(text, (size_t)(slash - text));
    return sl_is_identifier(name) && strspn(slash + 1, "0123456789") == strlen(slash + 1);
}

/* ---- Ports ---------------------------------------------------------------------------------- */

static int read_port(const struct reader *r, const json_t *object, struct sl_port_desc *port) {
    int rc;
    if (!json_is_object(object))
        return wrong(r, "port", "an object");
    if ((rc = read_text(r, object, "name", NULL, &port->name)) < 0 ||
        (rc = read_text(r, object, "type", NULL, &port->type)) < 0 ||
        (rc = read_text(r, object, "doc", "", &port->doc)) < 0 ||
        (rc = read_bool(r, object, "optional", &port->optional)) < 0)
        return rc;
    if (strcmp(port->name, "*") != 0 && !sl_is_identifier(port->name))
        return sl_err_set(r->err, SLUICE_INPUT,
                          "%s: port name \"%.60s\" is not of the form [a-z][a-z0-9_]*", r->where,
                          port->name);
    if (!is_type(port->type) && (strcmp(port->name, "*") != 0 || strcmp(port->type, "*") != 0))
        return sl_err_set(r->err, SLUICE_INPUT,
                          "%s: port \"%s\": \"%.60s\" is not a type such as audio/1", r->where,
                          port->name, port->type);
    return 0;
}

static int read_ports(const struct reader *r, const json_t *stage, const char *key,
                      struct sl_port_desc **ret_ports, int *ret_n) {
    const json_t *list;
    int rc = read_array(r, stage, key, MAX_ENTRIES, &list), n = (int)json_array_size(list);
    if (rc < 0)
        return rc;
    struct sl_port_desc *ports = sl_arena_alloc(r->arena, (size_t)n * sizeof *ports);
    for (int i = 0; i < n; i++) {
        if ((rc = read_port(r, json_array_get(list, (size_t)i), &ports[i])) < 0)
            return rc;
        for (int j = 0; j < i; j++)
            if (strcmp(ports[j].name, ports[i].name) == 0)
                return sl_err_set(r->err, SLUICE_INPUT, "%s: %s holds \"%s\" twice", r->where, key,
                                  ports[i].name);
    }
    *ret_ports = ports;
    *ret_n = n;
    return 0;
}

/* ---- Parameters ----------------------------------------------------------------------------- */

static int read_range(const struct reader *r, const json_t *object, struct sl_param_desc *param) {
    const json_t *min = json_object_get(object, "min"), *max = json_object_get(object, "max");
    if (!min && !max)
        return 0;
    if (!json_is_number(min) || !json_is_number(max))
        return wrong(r, "min and max", "a pair of numbers");
    param->ranged = true;
    param->min = json_number_value(min);
    param->max = json_number_value(max);
    if (!isfinite(param->min) || !isfinite(param->max) || param->min > param->max)
        return sl_err_set(r->err, SLUICE_INPUT, "%s: parameter \"%s\": the range is empty",
                          r->where, param->name);
    return 0;
}

static int read_choices(const struct reader *r, const json_t *object, struct sl_param_desc *param) {
    const json_t *list;
    int rc = read_array(r, object, "choices", MAX_ENTRIES, &list);
    if (rc < 0)
        return rc;
    int n = (int)json_array_size(list);
    param->choices = sl_arena_alloc(r->arena, (size_t)n * sizeof *param->choices);
    for (int i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, (size_t)i));
        if (!text || !*text)
            return wrong(r, "choices", "a list of text");
        param->choices[param->n_choices++] = sl_arena_strdup(r->arena, text);
    }
    return 0;
}

static int read_param(const struct reader *r, const json_t *object, struct sl_param_desc *param) {
    const char *kind = NULL;
    int rc;
    if (!json_is_object(object))
        return wrong(r, "parameter", "an object");
    if ((rc = read_text(r, object, "name", NULL, &param->name)) < 0 ||
        (rc = read_text(r, object, "kind", NULL, &kind)) < 0 ||
        (rc = read_text(r, object, "doc", "", &param->doc)) < 0 ||
        (rc = read_text(r, object, "unit", "", &param->unit)) < 0 ||
        (rc = read_bool(r, object, "required", &param->required)) < 0 ||
        (rc = read_range(r, object, param)) < 0 || (rc = read_choices(r, object, param)) < 0)
        return rc;
    param->kind = sl_param_kind_from_name(kind);
    if (!sl_is_identifier(param->name))
        return sl_err_set(r->err, SLUICE_INPUT,
                          "%s: parameter name \"%.60s\" is not of the form [a-z][a-z0-9_]*",
                          r->where, param->name);
    if (!param->kind)
        return sl_err_set(r->err, SLUICE_INPUT, "%s: parameter \"%s\": there is no kind \"%.60s\"",
                          r->where, param->name, kind);
    const json_t *text = json_object_get(object, "default");
    if (!text || json_is_null(text))
        return 0;
    if ((rc = read_text(r, object, "default", NULL, &param->default_value)) < 0)
        return rc;
    return sl_param_check_default(param, r->where, r->err);
}

static int read_params(const struct reader *r, const json_t *object, struct sl_stage_desc *stage) {
    const json_t *list;
    int rc = read_array(r, object, "params", MAX_ENTRIES, &list), n = (int)json_array_size(list);
    if (rc < 0)
        return rc;
    stage->params = sl_arena_alloc(r->arena, (size_t)n * sizeof *stage->params);
    for (; stage->n_params < n; stage->n_params++) {
        struct sl_param_desc *param = &stage->params[stage->n_params];
        if ((rc = read_param(r, json_array_get(list, (size_t)stage->n_params), param)) < 0)
            return rc;
        for (int j = 0; j < stage->n_params; j++)
            if (strcmp(stage->params[j].name, param->name) == 0)
                return sl_err_set(r->err, SLUICE_INPUT, "%s: parameter \"%s\" is declared twice",
                                  r->where, param->name);
    }
    return 0;
}

/* ---- Stages and plugins --------------------------------------------------------------------- */

/* Flags that are not known are a newer worker's. */
static int read_flags(const struct reader *r, const json_t *object, uint32_t *ret_flags) {
    const json_t *list;
    int rc = read_array(r, object, "flags", MAX_ENTRIES, &list);
    *ret_flags = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!name)
            return wrong(r, "flags", "a list of text");
        *ret_flags |= strcmp(name, "deterministic") == 0 ? SLUICE_STAGE_DETERMINISTIC
                      : strcmp(name, "cuda") == 0        ? SLUICE_STAGE_CUDA
                                                         : 0;
    }
    return rc;
}

/* "audio/decode" of the plugin "audio". */
static bool is_stage_id(const char *id, const char *plugin) {
    size_t len = strlen(plugin);
    return strlen(id) <= 200 && strncmp(id, plugin, len) == 0 && id[len] == '/' && id[len + 1] &&
           strspn(id + len + 1,
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
               strlen(id + len + 1);
}

static int read_stage(const struct reader *up, const json_t *object,
                      const struct sl_plugin_desc *plugin, struct sl_stage_desc *stage) {
    struct reader r = *up;
    int rc;
    if (!json_is_object(object))
        return wrong(&r, "stages", "a list of objects");
    if ((rc = read_text(&r, object, "id", NULL, &stage->id)) < 0)
        return rc;
    if (!is_stage_id(stage->id, plugin->name))
        return sl_err_set(r.err, SLUICE_INPUT, "stage id \"%.60s\" is not of the form %s/NAME",
                          stage->id, plugin->name);
    r.where = sl_arena_printf(r.arena, "stage %s", stage->id);
    stage->plugin = plugin;
    const json_t *jobs = json_object_get(object, "max_jobs");
    if (jobs && (!json_is_integer(jobs) || json_integer_value(jobs) < 0 ||
                 json_integer_value(jobs) > MAX_JOBS))
        return wrong(&r, "max_jobs", "an integer from 0 to 4096");
    stage->max_jobs = jobs && json_integer_value(jobs) > 0 ? (int)json_integer_value(jobs) : 1;
    if ((rc = read_text(&r, object, "version", "", &stage->version)) < 0 ||
        (rc = read_text(&r, object, "summary", "", &stage->summary)) < 0 ||
        (rc = read_flags(&r, object, &stage->flags)) < 0 ||
        (rc = read_ports(&r, object, "inputs", &stage->inputs, &stage->n_inputs)) < 0 ||
        (rc = read_ports(&r, object, "outputs", &stage->outputs, &stage->n_outputs)) < 0)
        return rc;
    return read_params(&r, object, stage);
}

static int read_abi(const struct reader *r, const json_t *object, struct sl_plugin_desc *plugin) {
    const json_t *abi = json_object_get(object, "abi");
    const json_t *major = json_array_get(abi, 0), *minor = json_array_get(abi, 1);
    if (!json_is_integer(major) || !json_is_integer(minor) || json_integer_value(major) < 0 ||
        json_integer_value(major) > 1 << 20 || json_integer_value(minor) < 0 ||
        json_integer_value(minor) > 1 << 20)
        return wrong(r, "abi", "a pair of version numbers");
    plugin->abi_major = (int)json_integer_value(major);
    plugin->abi_minor = (int)json_integer_value(minor);
    return 0;
}

static int read_plugin(const struct reader *r, const json_t *root, struct sl_plugin_desc *plugin) {
    const json_t *stages;
    int rc;
    if (!json_is_object(root))
        return wrong(r, "description", "an object");
    if ((rc = read_text(r, root, "name", NULL, &plugin->name)) < 0 ||
        (rc = read_text(r, root, "version", "", &plugin->version)) < 0 ||
        (rc = read_text(r, root, "licence", "", &plugin->licence)) < 0 ||
        (rc = read_abi(r, root, plugin)) < 0 ||
        (rc = read_array(r, root, "stages", MAX_STAGES, &stages)) < 0)
        return rc;
    if (!sl_is_identifier(plugin->name) || strlen(plugin->name) > 64)
        return wrong(r, "name", "of the form [a-z][a-z0-9_]*");
    int n = (int)json_array_size(stages);
    plugin->stages = sl_arena_alloc(r->arena, (size_t)n * sizeof *plugin->stages);
    for (; plugin->n_stages < n; plugin->n_stages++) {
        struct sl_stage_desc *stage = &plugin->stages[plugin->n_stages];
        if ((rc = read_stage(r, json_array_get(stages, (size_t)plugin->n_stages), plugin, stage)) <
            0)
            return rc;
        for (int j = 0; j < plugin->n_stages; j++)
            if (strcmp(plugin->stages[j].id, stage->id) == 0)
                return sl_err_set(r->err, SLUICE_INPUT, "stage %s is declared twice", stage->id);
    }
    return 0;
}

static void push(struct sl_catalog *c, struct sl_plugin_desc *plugin) {
    SL_PUSH_ROOM(c->plugins, c->n_plugins, c->cap_plugins);
    c->plugins[c->n_plugins++] = plugin;
}

/* ---- The catalog ---------------------------------------------------------------------------- */

int sl_catalog_add(struct sl_catalog *c, const char *path, const char *build, const char *json,
                   size_t len, struct sl_err *err) {
    sl_autojson json_t *root = NULL;
    int rc = sl_json_parse(json, len, &root, err);
    if (rc < 0)
        return rc;
    struct sl_plugin_desc *plugin = sl_arena_alloc(&c->arena, sizeof *plugin);
    plugin->path = sl_arena_strdup(&c->arena, path);
    plugin->build = sl_arena_strdup(&c->arena, build ? build : "");
    struct reader r = {&c->arena, "plugin", err};
    if ((rc = read_plugin(&r, root, plugin)) < 0)
        return rc;
    push(c, plugin);
    return 0;
}

void sl_catalog_add_broken(struct sl_catalog *c, const char *path, const char *reason) {
    const char *base = sl_path_base(path), *dot = strrchr(base, '.');
    struct sl_plugin_desc *plugin = sl_arena_alloc(&c->arena, sizeof *plugin);
    *plugin = (struct sl_plugin_desc){
        .name = sl_arena_strndup(&c->arena, base,
                                 dot && dot > base ? (size_t)(dot - base) : strlen(base)),
        .version = "",
        .licence = "",
        .path = sl_arena_strdup(&c->arena, path),
        .build = "",
        .broken = sl_arena_strdup(&c->arena, reason),
    };
    push(c, plugin);
}

const struct sl_stage_desc *sl_catalog_stage(const struct sl_catalog *c, const char *id) {
    for (int i = 0; i < c->n_plugins; i++)
        for (int j = 0; j < c->plugins[i]->n_stages; j++)
            if (strcmp(c->plugins[i]->stages[j].id, id) == 0)
                return &c->plugins[i]->stages[j];
    return NULL;
}

void sl_catalog_finish(struct sl_catalog *c) {
    sl_arena_finish(&c->arena);
    free(c->plugins);
    *c = (struct sl_catalog){0};
}

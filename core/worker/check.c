/*
 * Checks of a plugin's description, see check.h. Each level checks its own fields and adds its place in front of the
 * message of the level below: "stage audio/decode: parameter channel: its default "x" is not an int".
 */
#include "worker/check.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "base/units.h"

/* The sizes of ABI 1.0: the least that a struct may have. */
#define MIN_PORT_SIZE 32u
#define MIN_PARAM_SIZE 72u
#define MIN_STAGE_SIZE 96u
#define MIN_PLUGIN_SIZE 48u

#define REBUILD "rebuild the plugin with the headers of this version"

static const char *const kind_names[] = {
    [SLUICE_PARAM_BOOL] = "bool",         [SLUICE_PARAM_INT] = "int",
    [SLUICE_PARAM_FLOAT] = "float",       [SLUICE_PARAM_STRING] = "string",
    [SLUICE_PARAM_DURATION] = "duration", [SLUICE_PARAM_SIZE] = "size",
    [SLUICE_PARAM_JSON] = "json",
};

const char *sl_check_kind_name(int kind) {
    return kind > 0 && kind < (int)(sizeof kind_names / sizeof *kind_names) ? kind_names[kind] : NULL;
}

#define wrong(err, ...) sl_err_set((err), SLUICE_INTERNAL, __VA_ARGS__)

static int check_size(const char *what, uint32_t size, uint32_t least, struct sl_err *err) {
    return size >= least ? 0 : wrong(err, "%s: size is %u, expected at least %u: " REBUILD, what, size, least);
}

/* Elements of a NULL-terminated array, NULL counting as empty; -1 where it does not end. */
static int count_items(const void *const *array) {
    for (int n = 0; n <= SL_CHECK_MAX_ITEMS; n++)
        if (!array || !array[n])
            return n;
    return -1;
}

/* "name/version" of lower-case letters, digits, _ and -, with a number as version; or "*". */
static bool is_type(const char *type) {
    if (strcmp(type, "*") == 0)
        return true;
    const char *slash = strchr(type, '/');
    if (!slash || slash == type || !slash[1])
        return false;
    for (const char *at = type; *at; at++) {
        bool fits = at < slash ? islower((unsigned char)*at) || isdigit((unsigned char)*at) || strchr("_-", *at)
                               : at == slash || isdigit((unsigned char)*at);
        if (!fits)
            return false;
    }
    return true;
}

static int check_text(const char *what, const char *text, struct sl_err *err) {
    if (!text || !*text)
        return wrong(err, "%s is missing", what);
    return sl_utf8_valid(text, strlen(text)) == strlen(text) ? 0 : wrong(err, "%s is not valid UTF-8", what);
}

/* ---- Ports ----------------------------------------------------------------------------------- */

static int check_port(const struct sluice_port *port, struct sl_err *err) {
    int rc = check_size("struct sluice_port", port->size, MIN_PORT_SIZE, err);
    if (rc == 0)
        rc = check_text("its name", port->name, err);
    if (rc < 0)
        return rc;
    if (strcmp(port->name, "*") != 0 && !sl_is_identifier(port->name))
        return wrong(err, "its name is \"%s\", expected lower-case letters, digits and _", port->name);
    if (!port->type || !is_type(port->type))
        return wrong(err, "type of \"%s\" is \"%s\", expected NAME/VERSION such as text/1", port->name,
                     port->type ? port->type : "(NULL)");
    if (port->doc && sl_utf8_valid(port->doc, strlen(port->doc)) != strlen(port->doc))
        return wrong(err, "doc of \"%s\" is not valid UTF-8", port->name);
    return 0;
}

static int check_ports(const char *what, const struct sluice_port *const *ports, struct sl_err *err) {
    int n = count_items((const void *const *)ports);
    if (n < 0)
        return wrong(err, "%ss do not end: more than %d, or the NULL is missing", what, SL_CHECK_MAX_ITEMS);
    for (int i = 0; i < n; i++) {
        int rc = check_port(ports[i], err);
        if (rc < 0)
            return sl_err_wrap(err, "%s %d", what, i + 1);
        for (int j = 0; j < i; j++)
            if (strcmp(ports[i]->name, ports[j]->name) == 0)
                return wrong(err, "%s \"%s\" is declared twice", what, ports[i]->name);
    }
    return 0;
}

/* ---- Parameters ------------------------------------------------------------------------------ */

static bool default_is_choice(const struct sluice_param *p) {
    bool found = !p->choices;
    for (int i = 0; p->choices && p->choices[i]; i++)
        found |= strcmp(p->choices[i], p->default_value) == 0;
    return found;
}

static bool default_is_json(const char *text) {
    sl_autojson json_t *value = NULL;
    return sl_json_parse(text, strlen(text), &value, NULL) == 0;
}

/* True where the default can be read as its kind; numbers also into *ret_number. */
static bool read_default(const struct sluice_param *p, double *ret_number) {
    const char *text = p->default_value;
    int64_t i = 0;
    uint64_t bytes = 0;
    bool ok = true;
    switch (p->kind) {
    case SLUICE_PARAM_BOOL:
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
    case SLUICE_PARAM_INT:
        ok = sl_parse_int(text, &i);
        *ret_number = (double)i;
        return ok;
    case SLUICE_PARAM_FLOAT:
        return sl_parse_float(text, ret_number);
    case SLUICE_PARAM_DURATION:
        return sl_parse_duration(text, ret_number);
    case SLUICE_PARAM_SIZE:
        ok = sl_parse_size(text, &bytes);
        *ret_number = (double)bytes;
        return ok;
    case SLUICE_PARAM_JSON:
        return default_is_json(text);
    default:
        return default_is_choice(p);
    }
}

static int check_default(const struct sluice_param *p, struct sl_err *err) {
    double number = p->min;
    if (!p->default_value)
        return 0;
    if (p->flags & SLUICE_PARAM_REQUIRED)
        return wrong(err, "it is required and has a default");
    if (!read_default(p, &number))
        return wrong(err, "its default \"%s\" is not %s %s%s", p->default_value,
                     p->kind == SLUICE_PARAM_INT ? "an" : "a", sl_check_kind_name(p->kind),
                     p->choices ? " among its choices" : "");
    if ((p->flags & SLUICE_PARAM_RANGED) && !(number >= p->min && number <= p->max))
        return wrong(err, "its default %s lies outside [%g, %g]", p->default_value, p->min, p->max);
    return 0;
}

static int check_param(const struct sluice_param *p, struct sl_err *err) {
    int rc = check_size("struct sluice_param", p->size, MIN_PARAM_SIZE, err);
    if (rc == 0)
        rc = check_text("its name", p->name, err);
    if (rc < 0)
        return rc;
    if (!sl_is_identifier(p->name))
        return wrong(err, "its name is \"%s\", expected lower-case letters, digits and _", p->name);
    if (!sl_check_kind_name(p->kind))
        return wrong(err, "\"%s\": kind is %d, expected 1 to 7", p->name, p->kind);
    if ((p->flags & SLUICE_PARAM_RANGED) && !(p->min <= p->max))
        return wrong(err, "\"%s\": min %g is above max %g", p->name, p->min, p->max);
    if (count_items((const void *const *)p->choices) < 0)
        return wrong(err, "\"%s\": choices do not end", p->name);
    rc = check_default(p, err);
    return rc < 0 ? sl_err_wrap(err, "\"%s\"", p->name) : 0;
}

static int check_params(const struct sluice_param *const *params, struct sl_err *err) {
    int n = count_items((const void *const *)params);
    if (n < 0)
        return wrong(err, "parameters do not end: more than %d, or the NULL is missing", SL_CHECK_MAX_ITEMS);
    for (int i = 0; i < n; i++) {
        int rc = check_param(params[i], err);
        if (rc < 0)
            return sl_err_wrap(err, "parameter %d", i + 1);
        for (int j = 0; j < i; j++)
            if (strcmp(params[i]->name, params[j]->name) == 0)
                return wrong(err, "parameter \"%s\" is declared twice", params[i]->name);
    }
    return 0;
}

/* ---- Stages and the plugin ------------------------------------------------------------------- */

static int check_id(const char *id, const char *plugin, struct sl_err *err) {
    size_t len = strlen(plugin);
    if (!id || strncmp(id, plugin, len) != 0 || id[len] != '/' || !sl_is_identifier(id + len + 1))
        return wrong(err, "id is \"%s\", expected \"%s/NAME\"", id ? id : "(NULL)", plugin);
    return 0;
}

/* An output "*" takes its names from the parameter `outputs`. */
static int check_open_outputs(const struct sluice_stage *stage, struct sl_err *err) {
    bool open = false, named = false;
    for (int i = 0; stage->outputs && stage->outputs[i]; i++)
        open |= strcmp(stage->outputs[i]->name, "*") == 0;
    for (int i = 0; stage->params && stage->params[i]; i++)
        named |= strcmp(stage->params[i]->name, "outputs") == 0 && stage->params[i]->kind == SLUICE_PARAM_JSON;
    return !open || named ? 0 : wrong(err, "output \"*\" needs a parameter \"outputs\" of kind json");
}

static int check_stage_fields(const struct sluice_stage *stage, struct sl_err *err) {
    int rc = check_text("version", stage->version, err);
    if (rc == 0)
        rc = check_text("summary", stage->summary, err);
    if (rc == 0)
        rc = check_ports("input", stage->inputs, err);
    if (rc == 0)
        rc = check_ports("output", stage->outputs, err);
    if (rc == 0)
        rc = check_params(stage->params, err);
    if (rc == 0)
        rc = check_open_outputs(stage, err);
    if (rc == 0 && !stage->process)
        rc = wrong(err, "process is NULL, expected a function");
    if (rc == 0 && stage->max_jobs > SL_CHECK_MAX_ITEMS)
        rc = wrong(err, "max_jobs is %u, expected at most %d", stage->max_jobs, SL_CHECK_MAX_ITEMS);
    return rc;
}

static int check_stages(const struct sluice_plugin *plugin, struct sl_err *err) {
    int n = count_items((const void *const *)plugin->stages);
    if (n <= 0)
        return wrong(err, "%s", n == 0 ? "it has no stages" : "stages do not end: the NULL is missing");
    for (int i = 0; i < n; i++) {
        const struct sluice_stage *stage = plugin->stages[i];
        int rc = check_size("struct sluice_stage", stage->size, MIN_STAGE_SIZE, err);
        if (rc == 0)
            rc = check_id(stage->id, plugin->name, err);
        if (rc < 0)
            return sl_err_wrap(err, "stage %d", i + 1);
        rc = check_stage_fields(stage, err);
        if (rc < 0)
            return sl_err_wrap(err, "stage %s", stage->id);
        for (int j = 0; j < i; j++)
            if (strcmp(stage->id, plugin->stages[j]->id) == 0)
                return wrong(err, "stage %s is declared twice", stage->id);
    }
    return 0;
}

static int check_abi(const struct sluice_plugin *p, struct sl_err *err) {
    if (p->magic != SLUICE_PLUGIN_MAGIC)
        return wrong(err, "not a plugin of Sluice: magic is 0x%08x, expected 0x%08x", p->magic, SLUICE_PLUGIN_MAGIC);
    int rc = check_size("struct sluice_plugin", p->size, MIN_PLUGIN_SIZE, err);
    if (rc < 0)
        return rc;
    if (p->abi_major != SLUICE_ABI_MAJOR)
        return wrong(err, "abi_major is %u, expected %u: " REBUILD, p->abi_major, SLUICE_ABI_MAJOR);
    if (p->abi_minor > SLUICE_ABI_MINOR)
        return wrong(err, "abi_minor is %u, expected at most %u: the plugin needs a newer Sluice", p->abi_minor,
                     SLUICE_ABI_MINOR);
    return 0;
}

int sl_check_plugin(const void *entry, struct sl_err *err) {
    const struct sluice_plugin *p = entry;
    int rc = check_abi(p, err);
    if (rc == 0)
        rc = check_text("name", p->name, err);
    if (rc < 0)
        return rc;
    if (!sl_is_identifier(p->name))
        return wrong(err, "name is \"%s\", expected lower-case letters, digits and _", p->name);
    rc = check_text("version", p->version, err);
    if (rc == 0)
        rc = check_text("licence", p->licence, err);
    return rc < 0 ? rc : check_stages(p, err);
}

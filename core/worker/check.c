/*
 * Checks of a plugin's description, see check.h. Each level checks its own fields and adds its
 * place in front of the message of the level below: "stage audio/decode: parameter 2: "channel":
 * kind is 9, expected 1 to 7". Whether a default can be read as its kind is the core's to check: it
 * is written in the language of pipeline files.
 */
#include "worker/check.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* The sizes of ABI 1.0: the least that a struct may have. */
#define MIN_PORT_SIZE   32u
#define MIN_PARAM_SIZE  72u
#define MIN_STAGE_SIZE  96u
#define MIN_PLUGIN_SIZE 48u

#define TYPE_NAME_MAX 64
#define VERSION_MAX   9 /* digits */

#define REBUILD "rebuild the plugin with the headers of this version"

static const char *const kind_names[] = {
    [SLUICE_PARAM_BOOL] = "bool",         [SLUICE_PARAM_INT] = "int",
    [SLUICE_PARAM_FLOAT] = "float",       [SLUICE_PARAM_STRING] = "string",
    [SLUICE_PARAM_DURATION] = "duration", [SLUICE_PARAM_SIZE] = "size",
    [SLUICE_PARAM_JSON] = "json",
};

const char *sl_check_kind_name(int kind) {
    return kind > 0 && kind < (int)(sizeof kind_names / sizeof *kind_names) ? kind_names[kind]
                                                                            : NULL;
}

#define wrong(err, ...) sl_err_set((err), SLUICE_INTERNAL, __VA_ARGS__)

static int check_size(const char *what, uint32_t size, uint32_t least, struct sl_err *err) {
    return size >= least
               ? 0
               : wrong(err, "%s: size is %u, expected at least %u: " REBUILD, what, size, least);
}

/* Elements of a NULL-terminated array, NULL counting as empty; -1 where it does not end. */
static int count_items(const void *const *array) {
    for (int n = 0; n <= SL_CHECK_MAX_ITEMS; n++)
        if (!array || !array[n])
            return n;
    return -1;
}

/* "name/version", the name an identifier and the version a number; for the port "*" also "*". */
static bool is_type(const struct sluice_port *port) {
    if (strcmp(port->name, "*") == 0 && strcmp(port->type, "*") == 0)
        return true;
    char name[TYPE_NAME_MAX + 1];
    const char *slash = strchr(port->type, '/');
    if (!slash || slash - port->type > TYPE_NAME_MAX)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(slash - port->type), port->type);
    size_t digits = strspn(slash + 1, "0123456789");
    return sl_is_identifier(name) && digits > 0 && digits <= VERSION_MAX && !slash[1 + digits];
}

static int check_text(const char *what, const char *text, struct sl_err *err) {
    if (!text || !*text)
        return wrong(err, "%s is missing", what);
    return sl_utf8_valid(text, strlen(text)) == strlen(text)
               ? 0
               : wrong(err, "%s is not valid UTF-8", what);
}

/* ---- Ports ----------------------------------------------------------------------------------- */

static int check_port(const struct sluice_port *port, struct sl_err *err) {
    int rc = check_size("struct sluice_port", port->size, MIN_PORT_SIZE, err);
    if (rc == 0)
        rc = check_text("its name", port->name, err);
    if (rc < 0)
        return rc;
    if (strcmp(port->name, "*") != 0 && !sl_is_identifier(port->name))
        return wrong(err, "its name is \"%s\", expected lower-case letters, digits and _",
                     port->name);
    if (!port->type || !is_type(port))
        return wrong(err, "type of \"%s\" is \"%s\", expected NAME/VERSION such as text/1",
                     port->name, port->type ? port->type : "(NULL)");
    if (port->doc && sl_utf8_valid(port->doc, strlen(port->doc)) != strlen(port->doc))
        return wrong(err, "doc of \"%s\" is not valid UTF-8", port->name);
    return 0;
}

static int check_ports(const char *what, const struct sluice_port *const *ports,
                       struct sl_err *err) {
    int n = count_items((const void *const *)ports);
    if (n < 0)
        return wrong(err, "%ss do not end: more than %d, or the NULL is missing", what,
                     SL_CHECK_MAX_ITEMS);
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
    if ((p->flags & SLUICE_PARAM_RANGED) &&
        !(isfinite(p->min) && isfinite(p->max) && p->min <= p->max))
        return wrong(err, "\"%s\": its range is [%g, %g], expected finite numbers in order",
                     p->name, p->min, p->max);
    if ((p->flags & SLUICE_PARAM_REQUIRED) && p->default_value)
        return wrong(err, "\"%s\": it is required and has a default", p->name);
    if (count_items((const void *const *)p->choices) < 0)
        return wrong(err, "\"%s\": choices do not end", p->name);
    return 0;
}

static int check_params(const struct sluice_param *const *params, struct sl_err *err) {
    int n = count_items((const void *const *)params);
    if (n < 0)
        return wrong(err, "parameters do not end: more than %d, or the NULL is missing",
                     SL_CHECK_MAX_ITEMS);
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
        named |= strcmp(stage->params[i]->name, "outputs") == 0 &&
                 stage->params[i]->kind == SLUICE_PARAM_JSON;
    return !open || named ? 0
                          : wrong(err, "output \"*\" needs a parameter \"outputs\" of kind json");
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
        return wrong(err, "%s",
                     n == 0 ? "it has no stages" : "stages do not end: the NULL is missing");
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
        return wrong(err, "not a plugin of Sluice: magic is 0x%08x, expected 0x%08x", p->magic,
                     SLUICE_PLUGIN_MAGIC);
    int rc = check_size("struct sluice_plugin", p->size, MIN_PLUGIN_SIZE, err);
    if (rc < 0)
        return rc;
    if (p->abi_major != SLUICE_ABI_MAJOR)
        return wrong(err, "abi_major is %u, expected %u: " REBUILD, p->abi_major, SLUICE_ABI_MAJOR);
    if (p->abi_minor > SLUICE_ABI_MINOR)
        return wrong(err, "abi_minor is %u, expected at most %u: the plugin needs a newer Sluice",
                     p->abi_minor, SLUICE_ABI_MINOR);
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

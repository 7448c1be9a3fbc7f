/* Parameters of the stage, by kind; set once by START, so no lock is needed. See plugin.h for the
 * contract. */
#include <stdio.h>
#include <string.h>

#include "worker/host.h"

static struct sl_host *host_of(const struct sluice_host *table) {
    return (struct sl_host *)(uintptr_t)table;
}

static const struct sluice_param *declared(const struct sl_host *host, const char *name) {
    for (int i = 0; name && host->stage.params && host->stage.params[i]; i++)
        if (strcmp(host->stage.params[i]->name, name) == 0)
            return host->stage.params[i];
    return NULL;
}

static int32_t wrong(const struct sl_host *host, const char *name, const char *what) {
    fprintf(stderr, "error: %s asks for parameter \"%s\" %s\n", host->stage_id,
            name ? name : "(NULL)", what);
    return SLUICE_INTERNAL;
}

/* Finds the value of a parameter whose declared kind is one of two. */
static int32_t find_value(const struct sl_host *host, const char *name, int kind, int other_kind,
                          json_t **ret) {
    const struct sluice_param *p = declared(host, name);
    if (!p)
        return wrong(host, name, "which it does not declare");
    if (p->kind != kind && p->kind != other_kind)
        return wrong(host, name, "as another kind than it declares");
    json_t *value = json_object_get(host->params, name);
    if (!value || json_is_null(value))
        return SLUICE_UNSUPPORTED;
    *ret = value;
    return 0;
}

static int32_t param_bool(const struct sluice_host *table, const char *name, int32_t *ret) {
    const struct sl_host *host = host_of(table);
    json_t *value;
    int32_t rc = find_value(host, name, SLUICE_PARAM_BOOL, SLUICE_PARAM_BOOL, &value);
    if (rc < 0)
        return rc;
    if (!json_is_boolean(value))
        return wrong(host, name, "whose value is not true or false");
    *ret = json_is_true(value);
    return 0;
}

static int32_t param_int(const struct sluice_host *table, const char *name, int64_t *ret) {
    const struct sl_host *host = host_of(table);
    json_t *value;
    int32_t rc = find_value(host, name, SLUICE_PARAM_INT, SLUICE_PARAM_SIZE, &value);
    if (rc < 0)
        return rc;
    if (!json_is_integer(value))
        return wrong(host, name, "whose value is not an integer");
    *ret = json_integer_value(value);
    return 0;
}

static int32_t param_float(const struct sluice_host *table, const char *name, double *ret) {
    const struct sl_host *host = host_of(table);
    json_t *value;
    int32_t rc = find_value(host, name, SLUICE_PARAM_FLOAT, SLUICE_PARAM_DURATION, &value);
    if (rc < 0)
        return rc;
    if (!json_is_number(value))
        return wrong(host, name, "whose value is not a number");
    *ret = json_number_value(value);
    return 0;
}

static int32_t param_string(const struct sluice_host *table, const char *name, const char **ret) {
    const struct sl_host *host = host_of(table);
    json_t *value;
    int32_t rc = find_value(host, name, SLUICE_PARAM_STRING, SLUICE_PARAM_STRING, &value);
    if (rc < 0)
        return rc;
    if (!json_is_string(value))
        return wrong(host, name, "whose value is not text");
    *ret = json_string_value(value);
    return 0;
}

static int32_t param_json(const struct sluice_host *table, const char *name, const char **ret) {
    const struct sl_host *host = host_of(table);
    if (!declared(host, name))
        return wrong(host, name, "which it does not declare");
    const char *text = json_string_value(json_object_get(host->params_text, name));
    if (!text || strcmp(text, "null") == 0)
        return SLUICE_UNSUPPORTED;
    *ret = text;
    return 0;
}

void sl_params_fill_table(struct sluice_host *t) {
    t->param_bool = param_bool;
    t->param_int = param_int;
    t->param_float = param_float;
    t->param_string = param_string;
    t->param_json = param_json;
}

/* Values of a stage's parameters: from YAML, judged by the declaration, to the JSON that a worker
 * receives. */
#ifndef GRAPH_PARAM_H
#define GRAPH_PARAM_H

#include <jansson.h>

#include "base/err.h"
#include "config/yaml.h"
#include "graph/catalog.h"

/* All parameters of a stage, encoded: they travel in one message. */
#define SL_PARAMS_MAX_BYTES (48u << 10)

/*
 * The value of `node` for `param`: *ret is owned. Durations become seconds, sizes bytes. False
 * after a mistake was reported, its message beginning with `what`; nothing is said of SL_YAML_BAD.
 */
bool sl_param_read(const struct sl_param_desc *param, const char *what, const struct sl_yaml *node,
                   struct sl_diags *diags, json_t **ret);

/* The declared default as a value (owned); NULL where there is none. */
json_t *sl_param_default(const struct sl_param_desc *param);

/* SLUICE_INPUT where the default's text is not of the parameter's kind. Ranges are not applied: a
 * default may stand outside to mean "off". */
int sl_param_check_default(const struct sl_param_desc *param, const char *where,
                           struct sl_err *err);

#endif

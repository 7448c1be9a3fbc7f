/*
 * The catalog: what plugins declare, as data. It is filled from JSON descriptions, which a
 * throwaway worker prints (`sluice-worker --describe FILE.so`) and which the registry caches;
 * nothing here loads code.
 *
 * A description (one JSON object a plugin):
 *   {"name": "audio", "version": "0.1.0", "licence": "MIT", "abi": [1, 0],
 *    "stages": [{"id": "audio/decode", "version": "1", "summary": "...",
 *      "flags": ["deterministic", "cuda"], "max_jobs": 1,
 *      "inputs":  [{"name": "file", "type": "file/1", "optional": false, "doc": "..."}],
 *      "outputs": [{"name": "audio", "type": "audio/1", "optional": false, "doc": "..."}],
 *      "params":  [{"name": "channel", "kind": "int", "required": false, "default": "-1",
 *                   "min": -1, "max": 63, "choices": [], "unit": "", "doc": "..."}]}]}
 * `default` is the text as it would stand in a pipeline file; absent where there is none. kind is
 * one of bool, int, float, string, duration, size, json.
 */
#ifndef GRAPH_CATALOG_H
#define GRAPH_CATALOG_H

#include <sluice/plugin.h>

#include "base/err.h"
#include "base/mem.h"

struct sl_port_desc {
    const char *name, *type, *doc;
    bool optional;
};

struct sl_param_desc {
    const char *name, *default_value /* NULL: none */, *unit, *doc;
    int kind; /* SLUICE_PARAM_* kind */
    bool required, ranged;
    double min, max;
    const char **choices;
    int n_choices;
};

struct sl_stage_desc {
    const char *id, *version, *summary;
    uint32_t flags; /* SLUICE_STAGE_* */
    int max_jobs;   /* at least 1 */
    struct sl_port_desc *inputs, *outputs;
    int n_inputs, n_outputs;
    struct sl_param_desc *params;
    int n_params;
    const struct sl_plugin_desc *plugin;
};

struct sl_plugin_desc {
    const char *name, *version, *licence;
    const char *path;   /* of the shared object, absolute */
    const char *build;  /* GNU build id in hex, or "" */
    const char *broken; /* NULL, or why it cannot be described (then there are no stages) */
    int abi_major, abi_minor;
    struct sl_stage_desc *stages;
    int n_stages;
};

struct sl_catalog {
    struct sl_arena arena; /* owns everything below */
    struct sl_plugin_desc **plugins;
    int n_plugins, cap_plugins;
};

/* Adds the plugin at `path` from its description. SLUICE_INPUT: not a description. */
int sl_catalog_add(struct sl_catalog *c, const char *path, const char *build, const char *json,
                   size_t len, struct sl_err *err);
/* Adds a plugin that could not be described, with the reason. */
void sl_catalog_add_broken(struct sl_catalog *c, const char *path, const char *reason);
/* The stage `id`, or NULL. The plugin that was added first wins. */
const struct sl_stage_desc *sl_catalog_stage(const struct sl_catalog *c, const char *id);
void sl_catalog_finish(struct sl_catalog *c);

/* "bool", "int"... of a SLUICE_PARAM_* kind, and back (0: no such kind). */
const char *sl_param_kind_name(int kind);
int sl_param_kind_from_name(const char *name);

#endif

/* Any bytes as a plugin's description: what is taken has every member that the planner reads. */
#include <stdint.h>
#include <stdlib.h>

#include "base/str.h"
#include "graph/catalog.h"
#include "graph/param.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool true_here) {
    if (!true_here)
        abort();
}

static void visit_ports(const struct sl_port_desc *ports, int n) {
    for (int i = 0; i < n; i++)
        need(ports[i].name && ports[i].type && ports[i].doc);
}

static void visit(const struct sl_stage_desc *stage) {
    need(stage->id && stage->version && stage->summary && stage->plugin && stage->max_jobs >= 1);
    visit_ports(stage->inputs, stage->n_inputs);
    visit_ports(stage->outputs, stage->n_outputs);
    for (int i = 0; i < stage->n_params; i++) {
        need(stage->params[i].name && stage->params[i].unit && stage->params[i].doc &&
             stage->params[i].kind);
        json_t *value = sl_param_default(&stage->params[i]);
        need((value != NULL) == (stage->params[i].default_value != NULL));
        json_decref(value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sl_catalog catalog = {0};
    struct sl_err err;
    sl_catalog_add(&catalog, "/plugins/fuzz.so", "", (const char *)data, size, &err);
    for (int i = 0; i < catalog.n_plugins; i++)
        for (int k = 0; k < catalog.plugins[i]->n_stages; k++)
            visit(&catalog.plugins[i]->stages[k]);
    sl_catalog_finish(&catalog);
    return 0;
}

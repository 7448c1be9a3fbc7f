/*
 * The plan: a pipeline that was checked against the catalog, ready to be scheduled. Immutable after
 * it was made.
 *
 * Stages are in topological order (a stage stands after all that it takes from); the stages under
 * `outputs:` are stages like the others, marked is_output.
 */
#ifndef GRAPH_PLAN_H
#define GRAPH_PLAN_H

#include <jansson.h>

#include "config/diag.h"
#include "config/expand.h"
#include "config/pipeline.h"
#include "config/policy.h"
#include "graph/catalog.h"

struct sl_plan_input {
    const char *port; /* of the taking stage */
    const char *type; /* of what comes */
    int from_stage;   /* index into stages, or -1: an input of the pipeline */
    int from_port;    /* index into that stage's outputs, or into the plan's inputs */
    bool optional;    /* the port may stay empty when its source failed and was ignored */
};

struct sl_plan_output {
    const char *port, *type;
    bool optional; /* may stay uncommitted */
};

struct sl_plan_stage {
    const char *name;
    bool is_output; /* written as DIR/<item>.<name> from outputs[0] */
    const char *use;
    const struct sl_stage_desc *desc; /* borrowed from the catalog */
    struct sl_plan_input *inputs;
    int n_inputs;
    struct sl_plan_output *outputs;
    int n_outputs;
    const char *params; /* JSON object: every parameter, defaults filled in, references resolved;
                                         durations in seconds, sizes in bytes */
    int max_jobs;       /* items that its process takes at a time */
    struct sl_device device;
    struct sl_resources resources;
    struct sl_retry_policy retry;
    struct sl_timeouts timeouts;
    bool sandbox, network; /* it is confined; it may use the network then */
    enum sl_cache_use_kind cache;
    struct sl_keep keep; /* settled: its kind is not AUTO */
    struct sl_oom_policy on_oom;
    struct sl_pos pos; /* of the stage's name in the file */
};

struct sl_plan_pipeline_input {
    const char *name, *type, *help;
};

struct sl_plan {
    struct sl_arena arena; /* owns everything below */
    const char *name, *description;
    /* inputs[0] takes the files of the command line, one item each */
    struct sl_plan_pipeline_input *inputs;
    int n_inputs;
    struct sl_plan_stage *stages;
    int n_stages;
    const char *on_finish, *on_failure; /* JSON, see hooks.h; NULL: nobody is told */
};

/*
 * Checks everything and makes the plan. Adds all mistakes to `diags` (also those of the settings,
 * without a position); *ret_plan is written if there were none. Returns 0 or SL_USAGE. The plan
 * borrows from the catalog.
 */
int sl_plan_make(const struct sl_pipeline *pipeline, const struct sl_catalog *catalog,
                 const struct sl_setting *settings, int n_settings, struct sl_diags *diags,
                 struct sl_plan **ret_plan);
void sl_plan_destroy(struct sl_plan *plan);

/* The parameter batch_size in parameters of a stage (JSON text); 0: it has none, or not a
 * number. */
int sl_plan_batch(const char *params);
/* The same parameters with another batch_size, owned. */
char *sl_plan_with_batch(const char *params, int batch);

#endif

/* What the parts of the planner share while a plan is made; internal to core/graph. */
#ifndef GRAPH_PLANNER_H
#define GRAPH_PLANNER_H

#include "graph/plan.h"

/* What is known of a stage beside its plan; index as in the file. */
struct sl_plan_note {
    const struct sl_pipeline_stage *source;
    const char *what;    /* `stage "asr"`, opens messages */
    bool outputs_unsure; /* its outputs could not be read: say nothing of its ports */
};

struct sl_planner {
    const struct sl_pipeline *pipeline;
    const struct sl_catalog *catalog;
    struct sl_diags *diags;
    struct sl_arena *arena; /* the plan's */
    struct sl_expander expander;
    struct sl_plan_stage *stages; /* in the file's order; desc is NULL where `use` is not known */
    struct sl_plan_note *notes;
    int n_stages;
    const struct sl_plan_pipeline_input *inputs; /* type NULL: not known, which was reported */
    bool *input_used;                            /* of the pipeline's inputs */
};

/* typecheck.c: types, and the edges between ports. Fills in stages[i].inputs with file-order
 * indices. */
void sl_typecheck_inputs(struct sl_planner *p);
/* Whether any plugin or types.h knows the type; reports it otherwise. */
bool sl_typecheck_known(struct sl_planner *p, const char *what, const char *type,
                        struct sl_pos pos);
/* What an input of type `input` takes. */
bool sl_type_accepts(const char *input, const char *source);

/* with.c: `with:`. Fills in outputs and params of stages[i]. */
void sl_plan_with(struct sl_planner *p, int i);
/* Reads one value of `with:` of stage i into `values`, unless there is a mistake. */
void sl_plan_value(struct sl_planner *p, int i, const struct sl_yaml_pair *pair, json_t *values);

/* Parameters of stages by which the plan itself is shaped. */
#define SL_OUTPUTS_PARAM "outputs"    /* ports, of a stage with a "*" output */
#define SL_BATCH_PARAM   "batch_size" /* items that its process takes at a time */

/* "; accepted: a, b and c" or "; there are no NOUN", for messages; in the diagnostics' arena. */
const char *sl_plan_list(struct sl_planner *p, const char *noun, const char *const *names, int n);
/* The suggestion where a name is near, else the list. */
const char *sl_plan_suggest_or_list(struct sl_planner *p, const char *word, const char *noun,
                                    const char *const *names, int n);

const struct sl_port_desc *sl_port_find(const struct sl_port_desc *ports, int n, const char *name);

#endif

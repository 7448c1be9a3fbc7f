/*
 * `with:` of a stage: the values of its parameters, judged by their declaration, with defaults
 * filled in, as the JSON object that the worker receives; and the outputs that a stage with a "*"
 * output declares by its parameter `outputs`.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "config/schema.h"
#include "graph/param.h"
#include "graph/planner.h"

#define MAX_OUTPUTS 100 /* that one stage may declare */

static bool takes_any(const struct sl_port_desc *ports, int n) {
    return sl_port_find(ports, n, "*") != NULL;
}

/* ---- Outputs -------------------------------------------------------------------------------- */

static void add_output(struct sl_planner *p, struct sl_plan_stage *stage, const char *port,
                       const char *type, bool optional) {
    stage->outputs[stage->n_outputs++] =
        (struct sl_plan_output){.port = sl_arena_strdup(p->arena, port),
                                .type = sl_arena_strdup(p->arena, type),
                                .optional = optional};
}

static void add_declared(struct sl_planner *p, int i, const struct sl_yaml_pair *pair) {
    struct sl_plan_stage *stage = &p->stages[i];
    const char *type = NULL, *what = sl_arena_printf(&p->diags->arena, "%s: outputs: %.80s",
                                                     p->notes[i].what, pair->key);
    const struct sl_port_desc *any =
        sl_port_find(stage->desc->outputs, stage->desc->n_outputs, "*");
    if (!sl_is_identifier(pair->key))
        sl_diag_error(p->diags, pair->pos, "%s: a port's name is of the form [a-z][a-z0-9_]*",
                      what);
    else if (sl_port_find(stage->desc->outputs, stage->desc->n_outputs, pair->key))
        sl_diag_error(p->diags, pair->pos, "%s: %s has an output of this name already", what,
                      stage->use);
    else if (!sl_yaml_text(pair->value, &type))
        sl_diag_expected(p->diags, what, pair->value, "a type such as text/1");
    else if (sl_typecheck_known(p, what, type, pair->value->pos) &&
             !sl_type_accepts(any->type, type))
        sl_diag_error(p->diags, pair->value->pos, "%s: %s gives only %s here", what, stage->use,
                      any->type);
    p->notes[i].outputs_unsure |= !type;
    if (sl_is_identifier(pair->key))
        add_output(p, stage, pair->key, type ? type : "", any->optional);
}

/* Declared outputs first come from the plugin, then from `outputs`, in the file's order. */
static void plan_outputs(struct sl_planner *p, int i, const struct sl_yaml *declared) {
    struct sl_plan_stage *stage = &p->stages[i];
    const struct sl_stage_desc *desc = stage->desc;
    int n = declared && declared->kind == SL_YAML_MAP ? declared->n : 0;
    if (declared && declared->kind != SL_YAML_MAP)
        sl_diag_expected(p->diags,
                         sl_arena_printf(&p->diags->arena, "%s: outputs", p->notes[i].what),
                         declared, "a map { PORT: TYPE }");
    if (n > MAX_OUTPUTS) {
        sl_diag_error(p->diags, declared->pos, "%s: more than %d outputs", p->notes[i].what,
                      MAX_OUTPUTS);
        n = 0;
    }
    p->notes[i].outputs_unsure = declared && (n == 0 && declared->n > 0);
    p->notes[i].outputs_unsure |= declared && declared->kind != SL_YAML_MAP;
    stage->outputs =
        sl_arena_alloc(p->arena, (size_t)(desc->n_outputs + n) * sizeof *stage->outputs);
    for (int k = 0; k < desc->n_outputs; k++)
        if (strcmp(desc->outputs[k].name, "*") != 0)
            add_output(p, stage, desc->outputs[k].name, desc->outputs[k].type,
                       desc->outputs[k].optional);
    for (int k = 0; k < n; k++)
        add_declared(p, i, &declared->pairs[k]);
}

/* ---- ${in.PORT} and ${out.PORT} ------------------------------------------------------------- */

struct port_context {
    struct sl_planner *planner;
    int stage;
};

static bool check_port(void *context, const char *kind, const char *name, struct sl_pos pos) {
    struct port_context *c = context;
    struct sl_planner *p = c->planner;
    const struct sl_plan_note *note = &p->notes[c->stage];
    const struct sl_plan_stage *stage = &p->stages[c->stage];
    bool in = strcmp(kind, "in") == 0;
    const char *names[SL_PIPELINE_MAX_STAGES];
    int n_all = in ? note->source->n_refs : stage->n_outputs, n = 0;
    for (int k = 0; k < n_all && n < SL_PIPELINE_MAX_STAGES; k++) {
        names[n] = in ? note->source->refs[k].port : stage->outputs[k].port;
        if (strcmp(names[n++], name) == 0)
            return true;
    }
    if (!in && note->outputs_unsure)
        return false;
    sl_diag_error(p->diags, pos, "%s: ${%s.%.80s}: %s \"%.80s\"%s", note->what, kind, name,
                  in ? "nothing is connected to an input" : "\"outputs\" declares no output", name,
                  sl_plan_suggest_or_list(p, name, in ? "connected inputs" : "outputs", names, n));
    return false;
}

static bool accept_port(void *context, const char *kind, const char *name, struct sl_pos pos) {
    (void)context, (void)kind, (void)name, (void)pos;
    return true;
}

/* ---- Parameters ----------------------------------------------------------------------------- */

static const struct sl_param_desc *find_param(const struct sl_stage_desc *desc, const char *name) {
    for (int k = 0; k < desc->n_params; k++)
        if (strcmp(desc->params[k].name, name) == 0)
            return &desc->params[k];
    return NULL;
}

static void unknown_param(struct sl_planner *p, int i, const struct sl_yaml_pair *pair) {
    const struct sl_stage_desc *desc = p->stages[i].desc;
    sl_autofree const char **names = sl_xcalloc((size_t)desc->n_params, sizeof *names);
    for (int k = 0; k < desc->n_params; k++)
        names[k] = desc->params[k].name;
    sl_diag_error(p->diags, pair->pos, "%s: unknown parameter \"%.80s\"%s", p->notes[i].what,
                  pair->key,
                  sl_plan_suggest_or_list(p, pair->key, "parameters", names, desc->n_params));
}

/* The references of one value replaced; the ports that it may name are those of the stage. */
static const struct sl_yaml *expand_value(struct sl_planner *p, int i,
                                          const struct sl_yaml_pair *pair) {
    const struct sl_stage_desc *desc = p->stages[i].desc;
    struct port_context context = {p, i};
    bool any = !desc || takes_any(desc->inputs, desc->n_inputs) ||
               takes_any(desc->outputs, desc->n_outputs);
    const char *what =
        sl_arena_printf(&p->diags->arena, "%s: parameter \"%.80s\"", p->notes[i].what, pair->key);
    return sl_expand(&p->expander, what, pair->value,
                     !desc ? accept_port
                     : any ? check_port
                           : NULL,
                     &context);
}

static void read_value(struct sl_planner *p, int i, const struct sl_yaml_pair *pair,
                       const struct sl_yaml *value, json_t *values) {
    const struct sl_param_desc *param = find_param(p->stages[i].desc, pair->key);
    json_t *json = NULL;
    if (!param) {
        unknown_param(p, i, pair);
        return;
    }
    const char *what =
        sl_arena_printf(&p->diags->arena, "%s: parameter \"%s\"", p->notes[i].what, param->name);
    if (sl_param_read(param, what, value, p->diags, &json))
        json_object_set_new(values, param->name, json);
}

void sl_plan_value(struct sl_planner *p, int i, const struct sl_yaml_pair *pair, json_t *values) {
    read_value(p, i, pair, expand_value(p, i, pair), values);
}

/* Whether `with` holds the parameter, or a name so near to it that the mistake was told already. */
static bool is_given(const struct sl_yaml *with, const struct sl_stage_desc *desc,
                     const struct sl_param_desc *param) {
    for (int k = 0; with && k < with->n; k++) {
        const char *key = with->pairs[k].key;
        if (strcmp(key, param->name) == 0 ||
            (!find_param(desc, key) && sl_nearest(key, &param->name, 1)))
            return true;
    }
    return false;
}

static bool takes(const struct sl_pipeline_stage *taker, const char *stage, const char *port) {
    for (int k = 0; k < taker->n_refs; k++) {
        const struct sl_pipeline_ref *ref = &taker->refs[k];
        if (ref->stage && ref->source_port && strcmp(ref->stage, stage) == 0 &&
            strcmp(ref->source_port, port) == 0)
            return true;
    }
    return false;
}

/* A truth value that is named as an optional output says whether to make it: where somebody takes
 * it, yes. */
static bool is_wanted(const struct sl_planner *p, int i, const struct sl_param_desc *param) {
    const struct sl_stage_desc *desc = p->stages[i].desc;
    const struct sl_port_desc *port = sl_port_find(desc->outputs, desc->n_outputs, param->name);
    if (param->kind != SLUICE_PARAM_BOOL || !port || !port->optional)
        return false;
    for (int s = 0; s < p->pipeline->n_stages; s++)
        if (takes(&p->pipeline->stages[s], p->notes[i].source->name, param->name))
            return true;
    return false;
}

static json_t *default_of(const struct sl_planner *p, int i, const struct sl_param_desc *param) {
    return is_wanted(p, i, param) ? json_true() : sl_param_default(param);
}

/* All parameters in the order of their declaration; `values` holds those given. */
static json_t *fill_defaults(struct sl_planner *p, int i, const struct sl_yaml *with,
                             const json_t *values) {
    const struct sl_stage_desc *desc = p->stages[i].desc;
    json_t *all = json_object();
    for (int k = 0; k < desc->n_params; k++) {
        const struct sl_param_desc *param = &desc->params[k];
        json_t *given = json_object_get(values, param->name);
        if (given)
            json_object_set(all, param->name, given);
        else if (param->default_value)
            sl_json_set(all, param->name, default_of(p, i, param));
        else if (param->required && !is_given(with, desc, param))
            sl_diag_error(p->diags, p->notes[i].source->pos,
                          "%s: parameter \"%s\" of %s is missing%s%s", p->notes[i].what,
                          param->name, desc->id, *param->doc ? ": " : "", param->doc);
    }
    return all;
}

static void encode(struct sl_planner *p, int i, const json_t *all) {
    sl_autofree char *text = sl_json_line(all);
    if (strlen(text) > SL_PARAMS_MAX_BYTES)
        sl_diag_error(p->diags, p->notes[i].source->pos,
                      "%s: its parameters take %zu bytes; the limit is %u KiB", p->notes[i].what,
                      strlen(text), SL_PARAMS_MAX_BYTES >> 10);
    else
        p->stages[i].params = sl_arena_strdup(p->arena, text);
}

/* A stage that is not known: its references are still looked up, so that their mistakes are told.
 */
static void expand_only(struct sl_planner *p, int i, const struct sl_yaml *with) {
    for (int k = 0; with && k < with->n; k++)
        expand_value(p, i, &with->pairs[k]);
}

void sl_plan_with(struct sl_planner *p, int i) {
    const struct sl_yaml *with = p->notes[i].source->with;
    const struct sl_stage_desc *desc = p->stages[i].desc;
    if (sl_yaml_is_null(with))
        with = NULL;
    if (with && with->kind != SL_YAML_MAP) {
        sl_diag_expected(p->diags, sl_arena_printf(&p->diags->arena, "%s: with", p->notes[i].what),
                         with, "a map of parameters");
        with = NULL;
    }
    if (!desc) {
        expand_only(p, i, with);
        return;
    }
    const struct sl_yaml_pair *declared = sl_yaml_find(with, SL_OUTPUTS_PARAM);
    if (!takes_any(desc->outputs, desc->n_outputs))
        declared = NULL;
    const struct sl_yaml *outputs = declared ? expand_value(p, i, declared) : NULL;
    plan_outputs(p, i, outputs);
    sl_autojson json_t *values = json_object();
    for (int k = 0; with && k < with->n; k++) {
        const struct sl_yaml_pair *pair = &with->pairs[k];
        read_value(p, i, pair, pair == declared ? outputs : expand_value(p, i, pair), values);
    }
    sl_autojson json_t *all = fill_defaults(p, i, with, values);
    encode(p, i, all);
}

/*
 * Checks the edges of a pipeline: every `in: { PORT: SOURCE }` must name a port that the stage has,
 * a source that exists, and types that fit; required ports must be connected. A stage or port that
 * is not known is one mistake: what follows from it is not complained about again.
 */
#include <string.h>

#include "config/schema.h"
#include "graph/planner.h"

#define MAX_NAMES 1100 /* for suggestions */

/* One line a type for messages; the table of sluice/types.h. */
static const struct {
    const char *type, *doc;
} types[] = {
    {SLUICE_TYPE_FILE, "a file of yours, by path"},
    {SLUICE_TYPE_AUDIO, "mono samples at 16 kHz"},
    {SLUICE_TYPE_REGIONS, "stretches of speech"},
    {SLUICE_TYPE_TRANSCRIPT, "a transcript with times"},
    {SLUICE_TYPE_ATTENTION, "attention of the alignment heads"},
    {SLUICE_TYPE_TURNS, "who spoke when"},
    {SLUICE_TYPE_EMBEDDINGS, "one vector a speaker"},
    {SLUICE_TYPE_TEXT, "plain text"},
    {SLUICE_TYPE_JSON, "any JSON"},
};
#define N_TYPES (sizeof types / sizeof *types)

/* "audio/1 (mono samples at 16 kHz)". */
static const char *type_with_doc(struct sl_planner *p, const char *type) {
    for (size_t i = 0; i < N_TYPES; i++)
        if (strcmp(types[i].type, type) == 0)
            return sl_arena_printf(&p->diags->arena, "%s (%s)", type, types[i].doc);
    return type;
}

static bool declared_by_a_plugin(const struct sl_catalog *c, const char *type) {
    for (int i = 0; i < c->n_plugins; i++)
        for (int j = 0; j < c->plugins[i]->n_stages; j++) {
            const struct sl_stage_desc *s = &c->plugins[i]->stages[j];
            for (int k = 0; k < s->n_inputs; k++)
                if (strcmp(s->inputs[k].type, type) == 0)
                    return true;
            for (int k = 0; k < s->n_outputs; k++)
                if (strcmp(s->outputs[k].type, type) == 0)
                    return true;
        }
    return false;
}

bool sl_typecheck_known(struct sl_planner *p, const char *what, const char *type,
                        struct sl_pos pos) {
    const char *names[N_TYPES];
    for (size_t i = 0; i < N_TYPES; i++) {
        names[i] = types[i].type;
        if (strcmp(type, names[i]) == 0)
            return true;
    }
    if (strcmp(type, "*") != 0 && declared_by_a_plugin(p->catalog, type))
        return true;
    sl_diag_error(p->diags, pos, "%s: unknown type \"%.60s\"%s", what, type,
                  sl_plan_suggest_or_list(p, type, "types", names, (int)N_TYPES));
    return false;
}

bool sl_type_accepts(const char *input, const char *source) {
    static const char *const json_like[] = {SLUICE_TYPE_REGIONS, SLUICE_TYPE_TRANSCRIPT,
                                            SLUICE_TYPE_TURNS};
    if (strcmp(input, "*") == 0 || strcmp(input, source) == 0)
        return true;
    for (size_t i = 0;
         strcmp(input, SLUICE_TYPE_JSON) == 0 && i < sizeof json_like / sizeof *json_like; i++)
        if (strcmp(json_like[i], source) == 0)
            return true;
    return false;
}

const struct sl_port_desc *sl_port_find(const struct sl_port_desc *ports, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (strcmp(ports[i].name, name) == 0)
            return &ports[i];
    return NULL;
}

/* ---- Sources -------------------------------------------------------------------------------- */

/* Where a reference leads; type NULL: nothing is known of it, which was reported. */
struct source {
    int stage, port;
    const char *type;
};

static int stage_index(const struct sl_planner *p, const char *name) {
    for (int i = 0; i < p->n_stages; i++)
        if (strcmp(p->stages[i].name, name) == 0)
            return i;
    return -1;
}

static struct source find_pipeline_input(struct sl_planner *p, const char *what,
                                         const struct sl_pipeline_ref *ref) {
    const char *names[SL_PIPELINE_MAX_INPUTS];
    int n = p->pipeline->n_inputs;
    for (int i = 0; i < n; i++) {
        names[i] = p->pipeline->inputs[i].name;
        if (ref->source_port && strcmp(names[i], ref->source_port) == 0) {
            p->input_used[i] = true;
            return (struct source){-1, i, p->inputs[i].type};
        }
    }
    if (!ref->source_port)
        sl_diag_error(p->diags, ref->source_pos, "%s: expected inputs.NAME, found \"inputs\"%s",
                      what, sl_plan_list(p, "inputs", names, n));
    else
        sl_diag_error(p->diags, ref->source_pos, "%s: the pipeline has no input \"%.80s\"%s", what,
                      ref->source_port,
                      sl_plan_suggest_or_list(p, ref->source_port, "inputs", names, n));
    return (struct source){-1, -1, NULL};
}

static void unknown_stage(struct sl_planner *p, const char *what,
                          const struct sl_pipeline_ref *ref) {
    const char *names[MAX_NAMES];
    int n = 0;
    for (int i = 0; i < p->pipeline->n_inputs; i++)
        if (strcmp(p->pipeline->inputs[i].name, ref->stage) == 0) {
            sl_diag_error(p->diags, ref->source_pos,
                          "%s: unknown stage \"%.80s\" (did you mean \"inputs.%.80s\"?)", what,
                          ref->stage, ref->stage);
            return;
        }
    for (int i = 0; i < p->n_stages && n < MAX_NAMES; i++)
        if (!p->stages[i].is_output)
            names[n++] = p->stages[i].name;
    sl_diag_error(p->diags, ref->source_pos, "%s: unknown stage \"%.80s\"%s", what, ref->stage,
                  sl_plan_suggest_or_list(p, ref->stage, "stages", names, n));
}

/* The reference named a stage that has no such output. */
static void unknown_source_port(struct sl_planner *p, const char *what,
                                const struct sl_pipeline_ref *ref, int stage) {
    const struct sl_plan_stage *from = &p->stages[stage];
    const char *names[MAX_NAMES];
    int n = from->n_outputs < MAX_NAMES ? from->n_outputs : MAX_NAMES;
    for (int i = 0; i < n; i++)
        names[i] = from->outputs[i].port;
    if (ref->source_port && n > 0)
        sl_diag_error(p->diags, ref->source_pos, "%s: \"%s\" (%s) has no output \"%.80s\"%s", what,
                      from->name, from->use, ref->source_port,
                      sl_plan_suggest_or_list(p, ref->source_port, "outputs", names, n));
    else if (n == 0)
        sl_diag_error(p->diags, ref->source_pos, "%s: \"%s\" (%s) has no outputs to take", what,
                      from->name, from->use);
    else if (n == 1)
        sl_diag_error(p->diags, ref->source_pos,
                      "%s: expected STAGE.PORT, found \"%s\" (did you mean \"%s.%s\"?)", what,
                      ref->stage, ref->stage, names[0]);
    else
        sl_diag_error(p->diags, ref->source_pos, "%s: expected STAGE.PORT, found \"%s\"%s", what,
                      ref->stage, sl_plan_list(p, "outputs of that stage", names, n));
}

static struct source find_stage_output(struct sl_planner *p, const char *what,
                                       const struct sl_pipeline_ref *ref) {
    int i = stage_index(p, ref->stage);
    struct source none = {i, -1, NULL};
    if (i < 0) {
        unknown_stage(p, what, ref);
        return none;
    }
    const struct sl_plan_stage *from = &p->stages[i];
    if (from->is_output) {
        sl_diag_error(p->diags, ref->source_pos,
                      "%s: \"%s\" stands under outputs; only what stands under stages can be "
                      "taken from",
                      what, from->name);
        none.stage = -1;
        return none;
    }
    for (int k = 0; ref->source_port && k < from->n_outputs; k++)
        if (strcmp(from->outputs[k].port, ref->source_port) == 0)
            return (struct source){i, k, from->outputs[k].type};
    if (from->desc && !p->notes[i].outputs_unsure)
        unknown_source_port(p, what, ref, i);
    return none;
}

/* ---- Edges ---------------------------------------------------------------------------------- */

/* The port that `name` connects to, also "*"; NULL after it was reported. */
static const struct sl_port_desc *find_input_port(struct sl_planner *p, int i,
                                                  const struct sl_pipeline_ref *ref) {
    const struct sl_stage_desc *desc = p->stages[i].desc;
    const struct sl_port_desc *port = sl_port_find(desc->inputs, desc->n_inputs, ref->port);
    if (!port && sl_is_identifier(ref->port))
        port = sl_port_find(desc->inputs, desc->n_inputs, "*");
    if (port)
        return port;
    const char *names[MAX_NAMES];
    for (int k = 0; k < desc->n_inputs; k++)
        names[k] = desc->inputs[k].name;
    bool any = sl_port_find(desc->inputs, desc->n_inputs, "*") != NULL;
    if (any)
        sl_diag_error(p->diags, ref->pos,
                      "%s: input \"%.80s\": a port's name is of the form [a-z][a-z0-9_]*",
                      p->notes[i].what, ref->port);
    else
        sl_diag_error(p->diags, ref->pos, "%s: %s has no input \"%.80s\"%s", p->notes[i].what,
                      desc->id, ref->port,
                      sl_plan_suggest_or_list(p, ref->port, "inputs", names, desc->n_inputs));
    return NULL;
}

static void connect(struct sl_planner *p, int i, const struct sl_pipeline_ref *ref) {
    struct sl_plan_stage *stage = &p->stages[i];
    const char *what = p->notes[i].what;
    const struct sl_port_desc *port = stage->desc ? find_input_port(p, i, ref) : NULL;
    if (!ref->stage)
        return;
    struct source from = strcmp(ref->stage, "inputs") == 0 ? find_pipeline_input(p, what, ref)
                                                           : find_stage_output(p, what, ref);
    if (port && from.type && !sl_type_accepts(port->type, from.type))
        sl_diag_error(p->diags, ref->source_pos, "%s: input \"%s\" takes %s, but %s.%s is %s", what,
                      ref->port, type_with_doc(p, port->type), ref->stage, ref->source_port,
                      type_with_doc(p, from.type));
    if (from.stage < 0 && from.port < 0)
        return;
    stage->inputs[stage->n_inputs++] = (struct sl_plan_input){
        .port = sl_arena_strdup(p->arena, ref->port),
        .type = from.type ? sl_arena_strdup(p->arena, from.type) : "",
        .from_stage = from.stage,
        .from_port = from.port,
        .optional = port && port->optional,
    };
}

/* Whether some reference names the port, or a name so near to it that the mistake was told already.
 */
static bool is_connected(const struct sl_pipeline_stage *source, const struct sl_stage_desc *desc,
                         const struct sl_port_desc *port) {
    for (int k = 0; k < source->n_refs; k++) {
        const char *name = source->refs[k].port;
        bool elsewhere = sl_port_find(desc->inputs, desc->n_inputs, name) != NULL;
        if (strcmp(name, port->name) == 0 || (!elsewhere && sl_nearest(name, &port->name, 1)))
            return true;
    }
    return false;
}

static void check_required(struct sl_planner *p, int i) {
    const struct sl_stage_desc *desc = p->stages[i].desc;
    for (int k = 0; k < desc->n_inputs; k++) {
        const struct sl_port_desc *port = &desc->inputs[k];
        if (port->optional || strcmp(port->name, "*") == 0 ||
            is_connected(p->notes[i].source, desc, port))
            continue;
        sl_diag_error(p->diags, p->notes[i].source->pos,
                      "%s: input \"%s\" of %s is not connected; it takes %s%s%s", p->notes[i].what,
                      port->name, desc->id, type_with_doc(p, port->type), *port->doc ? ": " : "",
                      port->doc);
    }
}

static void check_stage(struct sl_planner *p, int i) {
    const struct sl_pipeline_stage *source = p->notes[i].source;
    p->stages[i].inputs =
        sl_arena_alloc(p->arena, (size_t)source->n_refs * sizeof *p->stages[i].inputs);
    for (int k = 0; k < source->n_refs; k++)
        connect(p, i, &source->refs[k]);
    if (p->stages[i].desc)
        check_required(p, i);
}

void sl_typecheck_inputs(struct sl_planner *p) {
    for (int i = 0; i < p->n_stages; i++)
        check_stage(p, i);
}

/*
 * Makes the plan: every stage is looked up in the catalog, its parameters and policies are read
 * (with.c), its ports are connected (typecheck.c), cycles are found, and the stages are put in
 * order. Each step looks at all stages before the next begins and reports what it finds; the plan
 * is handed out only if nobody had anything to report.
 */
#include "graph/plan.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "config/policy_read.h"
#include "config/schema.h"
#include "graph/graph.h"
#include "graph/hooks.h"
#include "graph/planner.h"

#define LIST_MAX 12 /* names in a message */
#define MAX_IDS  4000

const char *sl_plan_list(struct sl_planner *p, const char *noun, const char *const *names, int n) {
    sl_autostr struct sl_str list = {0};
    if (n == 0)
        return sl_arena_printf(&p->diags->arena, "; there are no %s", noun);
    for (int i = 0; n > LIST_MAX && i < LIST_MAX; i++)
        sl_str_addf(&list, "%s%s", i ? ", " : "", names[i]);
    if (n > LIST_MAX)
        sl_str_addf(&list, " and %d more", n - LIST_MAX);
    else
        sl_str_add_list(&list, names, (size_t)n, "and");
    return sl_arena_printf(&p->diags->arena, "; accepted: %s", sl_str_text(&list));
}

const char *sl_plan_suggest_or_list(struct sl_planner *p, const char *word, const char *noun,
                                    const char *const *names, int n) {
    const char *near = sl_suggest(p->diags, word, names, (size_t)n);
    return *near ? near : sl_plan_list(p, noun, names, n);
}

/* ---- use ------------------------------------------------------------------------------------ */

/* The plugin that `use` names by its first part; NULL: there is none. */
static const struct sl_plugin_desc *find_plugin(const struct sl_catalog *c, const char *use) {
    size_t len = strcspn(use, "/");
    for (int i = 0; i < c->n_plugins; i++)
        if (strlen(c->plugins[i]->name) == len && memcmp(c->plugins[i]->name, use, len) == 0)
            return c->plugins[i];
    return NULL;
}

static void unknown_use(struct sl_planner *p, const char *what, const char *use,
                        struct sl_pos pos) {
    const struct sl_plugin_desc *plugin = find_plugin(p->catalog, use);
    if (plugin && plugin->broken) {
        sl_diag_error(p->diags, pos, "%s: \"%.100s\" cannot be used: plugin %s (%s) is broken: %s",
                      what, use, plugin->name, plugin->path, plugin->broken);
        return;
    }
    sl_autofree const char **all = sl_xcalloc(MAX_IDS, sizeof *all),
                           **own = sl_xcalloc(MAX_IDS, sizeof *own);
    int n = 0, n_own = 0;
    for (int i = 0; i < p->catalog->n_plugins; i++)
        for (int j = 0; j < p->catalog->plugins[i]->n_stages && n < MAX_IDS; j++) {
            all[n++] = p->catalog->plugins[i]->stages[j].id;
            if (p->catalog->plugins[i] == plugin)
                own[n_own++] = all[n - 1];
        }
    const char *near = sl_suggest(p->diags, use, all, (size_t)n);
    if (*near || plugin)
        sl_diag_error(p->diags, pos, "%s: there is no stage \"%.100s\"%s", what, use,
                      *near ? near : sl_plan_list(p, "stages of this plugin", own, n_own));
    else
        sl_diag_error(
            p->diags, pos,
            "%s: there is no stage \"%.100s\": no plugin \"%.*s\" was found (sluice plugins "
            "lists them)",
            what, use, (int)strcspn(use, "/") < 80 ? (int)strcspn(use, "/") : 80, use);
}

/* ---- Policies ------------------------------------------------------------------------------- */

struct policies {
    struct sl_retry_policy retry;
    struct sl_timeouts timeouts;
    struct sl_resources resources;
    struct sl_device device;
    struct sl_keep keep;
    enum sl_cache_use_kind cache;
    struct sl_oom_policy on_oom;
    bool sandbox, sandbox_given, network;
};

static struct policies read_defaults(struct sl_planner *p) {
    struct policies d = {.retry = sl_retry_default(),
                         .timeouts = sl_timeouts_default(),
                         .device = {SL_DEVICE_AUTO, -1},
                         .keep = sl_keep_default()};
    const struct sl_pipeline *f = p->pipeline;
    struct sl_expander *x = &p->expander;
    sl_retry_read("defaults", sl_expand(x, "defaults: retry", f->retry, NULL, NULL), &d.retry,
                  p->diags);
    sl_timeouts_read("defaults", sl_expand(x, "defaults: timeout", f->timeout, NULL, NULL),
                     &d.timeouts, p->diags);
    sl_resources_read("defaults", sl_expand(x, "defaults: resources", f->resources, NULL, NULL),
                      &d.resources, p->diags);
    sl_device_read("defaults", sl_expand(x, "defaults: device", f->device, NULL, NULL), &d.device,
                   p->diags);
    sl_cache_read("defaults", sl_expand(x, "defaults: cache", f->cache, NULL, NULL), &d.cache,
                  p->diags);
    sl_keep_read("defaults", sl_expand(x, "defaults: keep", f->keep, NULL, NULL), &d.keep,
                 p->diags);
    sl_on_oom_read("defaults", sl_expand(x, "defaults: on_oom", f->on_oom, NULL, NULL), &d.on_oom,
                   p->diags);
    d.sandbox_given = f->sandbox != NULL;
    sl_sandbox_read("defaults", sl_expand(x, "defaults: sandbox", f->sandbox, NULL, NULL),
                    &d.sandbox, p->diags);
    sl_network_read("defaults", sl_expand(x, "defaults: network", f->network, NULL, NULL),
                    &d.network, p->diags);
    return d;
}

/* Without a word in the file a stage is confined, but for one that runs programs of the user's (its
 * outputs are named there): what those need only the user knows. */
static void read_sandbox(struct sl_planner *p, int i, const struct policies *defaults) {
    struct sl_plan_stage *stage = &p->stages[i];
    const struct sl_pipeline_stage *f = p->notes[i].source;
    const struct sl_stage_desc *d = stage->desc;
    struct sl_expander *x = &p->expander;
    const char *what = p->notes[i].what;
    bool runs_programs = d && sl_port_find(d->outputs, d->n_outputs, "*");
    stage->sandbox = defaults->sandbox_given ? defaults->sandbox : !runs_programs;
    stage->network = defaults->network;
    sl_sandbox_read(what, sl_expand(x, what, f->sandbox, NULL, NULL), &stage->sandbox, p->diags);
    sl_network_read(what, sl_expand(x, what, f->network, NULL, NULL), &stage->network, p->diags);
}

/* `optional:` beside `retry: { then: ... }` that says otherwise. */
static void check_optional(struct sl_planner *p, const char *what, const struct sl_yaml *optional,
                           const struct sl_yaml *retry) {
    const struct sl_yaml *then = sl_yaml_get(retry, "then");
    const char *text;
    bool is_optional;
    if (optional && then && sl_yaml_bool(optional, &is_optional) && sl_yaml_text(then, &text) &&
        is_optional != (strcmp(text, "ignore") == 0))
        sl_diag_error(p->diags, optional->pos,
                      "%s: optional: %s contradicts retry: { then: %s }; keep one of them", what,
                      optional->text, text);
}

static void read_device(struct sl_planner *p, int i, const struct sl_yaml *node) {
    struct sl_plan_stage *stage = &p->stages[i];
    bool can_cuda = !stage->desc || stage->desc->flags & SLUICE_STAGE_CUDA;
    if (!node && !can_cuda)
        stage->device =
            (struct sl_device){SL_DEVICE_AUTO, -1}; /* the default is for those that can */
    sl_device_read(p->notes[i].what, node, &stage->device, p->diags);
    if (node && stage->device.kind == SL_DEVICE_CUDA && !can_cuda && node->kind != SL_YAML_BAD)
        sl_diag_error(p->diags, node->pos,
                      "%s: device: %s runs on the CPU only; accepted: auto and cpu",
                      p->notes[i].what, stage->use);
}

/* Steps that a stage asks for itself and can never take. */
static void warn_of_idle_steps(struct sl_planner *p, int i, const struct sl_yaml *on_oom) {
    const struct sl_plan_stage *stage = &p->stages[i];
    for (int k = 0; on_oom && stage->desc && k < stage->on_oom.n; k++) {
        enum sl_oom_step step = stage->on_oom.steps[k];
        const char *why = NULL;
        if (step == SL_OOM_SHRINK && sl_plan_batch(stage->params) == 0)
            why = "has no batch_size";
        else if ((step == SL_OOM_OTHER_GPU || step == SL_OOM_CPU) &&
                 !(stage->desc->flags & SLUICE_STAGE_CUDA))
            why = "runs on the CPU only";
        if (why)
            sl_diag_warn(p->diags, on_oom->pos, "%s: on_oom: %s changes nothing: %s %s",
                         p->notes[i].what, sl_oom_step_name(step), stage->use, why);
    }
}

static void read_policies(struct sl_planner *p, int i, const struct policies *defaults) {
    struct sl_plan_stage *stage = &p->stages[i];
    const struct sl_pipeline_stage *f = p->notes[i].source;
    struct sl_expander *x = &p->expander;
    const char *what = p->notes[i].what;
    const struct sl_yaml *retry = sl_expand(x, what, f->retry, NULL, NULL);
    const struct sl_yaml *optional = sl_expand(x, what, f->optional, NULL, NULL);
    stage->retry = defaults->retry;
    stage->timeouts = defaults->timeouts;
    stage->resources = defaults->resources;
    stage->device = defaults->device;
    stage->keep = defaults->keep;
    stage->cache = defaults->cache;
    stage->on_oom = defaults->on_oom;
    sl_retry_read(what, retry, &stage->retry, p->diags);
    sl_optional_read(what, optional, &stage->retry, p->diags);
    check_optional(p, what, optional, retry);
    sl_timeouts_read(what, sl_expand(x, what, f->timeout, NULL, NULL), &stage->timeouts, p->diags);
    sl_resources_read(what, sl_expand(x, what, f->resources, NULL, NULL), &stage->resources,
                      p->diags);
    read_device(p, i, sl_expand(x, what, f->device, NULL, NULL));
    sl_cache_read(what, sl_expand(x, what, f->cache, NULL, NULL), &stage->cache, p->diags);
    sl_keep_read(what, sl_expand(x, what, f->keep, NULL, NULL), &stage->keep, p->diags);
    const struct sl_yaml *on_oom = sl_expand(x, what, f->on_oom, NULL, NULL);
    sl_on_oom_read(what, on_oom, &stage->on_oom, p->diags);
    warn_of_idle_steps(p, i, on_oom);
    read_sandbox(p, i, defaults);
}

/* ---- Stages --------------------------------------------------------------------------------- */

/*
 * Items that the stage's process takes at a time: what the stage declares, but where it has a
 * parameter batch_size no more than that. And then only where the pipeline says how many processors
 * that one process gets: items that have a process each use all of them.
 */
static int max_jobs(const struct sl_plan_stage *stage) {
    int most = stage->desc ? stage->desc->max_jobs : 1, n = sl_plan_batch(stage->params);
    if (n == 0)
        return most;
    if (stage->resources.cpus <= 0)
        return 1;
    return n < most ? n : most;
}

int sl_plan_batch(const char *params) {
    sl_autojson json_t *all = params ? json_loads(params, 0, NULL) : NULL;
    json_int_t n = json_integer_value(json_object_get(all, SL_BATCH_PARAM));
    return n < 1 ? 0 : n > INT_MAX ? INT_MAX : (int)n;
}

char *sl_plan_with_batch(const char *params, int batch) {
    sl_autojson json_t *all = json_loads(params, 0, NULL);
    sl_json_set(all, SL_BATCH_PARAM, json_integer(batch));
    return json_dumps(all, JSON_COMPACT | JSON_ENCODE_ANY);
}

#define MODEL_PARAM "model"

/* A stage that names the model it loads by a parameter of this name gains from keeping it
 * loaded. */
static bool loads_model(const struct sl_plan_stage *stage) {
    for (int i = 0; stage->desc && i < stage->desc->n_params; i++)
        if (strcmp(stage->desc->params[i].name, MODEL_PARAM) == 0)
            return true;
    return false;
}

/* Settles what `keep` and taking several items at a time mean for each other. */
static void settle_keep(struct sl_plan_stage *stage) {
    struct sl_keep *keep = &stage->keep;
    stage->max_jobs = keep->kind == SL_KEEP_NONE ? 1 : max_jobs(stage);
    if (keep->kind == SL_KEEP_AUTO)
        keep->kind = loads_model(stage) || stage->max_jobs > 1 ? SL_KEEP_BATCH : SL_KEEP_NONE;
    if (keep->workers == 0 && stage->max_jobs > 1)
        keep->workers = 1;
}

static void plan_stage(struct sl_planner *p, int i, const struct policies *defaults) {
    const struct sl_pipeline_stage *source = &p->pipeline->stages[i];
    struct sl_plan_stage *stage = &p->stages[i];
    *stage = (struct sl_plan_stage){
        .name = sl_arena_strdup(p->arena, source->name),
        .is_output = source->is_output,
        .use = sl_arena_strdup(p->arena, source->use ? source->use : ""),
        .pos = source->pos,
    };
    p->notes[i] = (struct sl_plan_note){
        .source = source,
        .what = sl_arena_printf(&p->diags->arena, "%s \"%.100s\"",
                                source->is_output ? "output" : "stage", source->name),
    };
    if (source->use) {
        stage->desc = sl_catalog_stage(p->catalog, source->use);
        if (!stage->desc)
            unknown_use(p, p->notes[i].what, source->use, source->use_pos);
    }
    sl_plan_with(p, i);
    read_policies(p, i, defaults);
    settle_keep(stage);
    if (stage->is_output && stage->desc && stage->n_outputs == 0 && !p->notes[i].outputs_unsure)
        sl_diag_error(p->diags, source->use_pos, "%s: %s has no output that could be written",
                      p->notes[i].what, source->use);
}

static void plan_inputs(struct sl_planner *p, struct sl_plan *plan) {
    int n = p->pipeline->n_inputs;
    plan->inputs = sl_arena_alloc(p->arena, (size_t)n * sizeof *plan->inputs);
    plan->n_inputs = n;
    p->inputs = plan->inputs;
    for (int i = 0; i < n; i++) {
        const struct sl_pipeline_input *in = &p->pipeline->inputs[i];
        const char *what = sl_arena_printf(&p->diags->arena, "input \"%.100s\"", in->name);
        bool known = in->type && sl_typecheck_known(p, what, in->type, in->type_pos);
        plan->inputs[i] = (struct sl_plan_pipeline_input){
            .name = sl_arena_strdup(p->arena, in->name),
            .type = known ? sl_arena_strdup(p->arena, in->type) : NULL,
            .help = sl_arena_strdup(p->arena, in->help)};
    }
}

/* Only of a file without mistakes: a misspelt reference is told once. */
static void warn_unused(struct sl_planner *p) {
    if (p->diags->n_errors > 0)
        return;
    for (int i = 0; i < p->pipeline->n_inputs; i++)
        if (!p->input_used[i])
            sl_diag_warn(p->diags, p->pipeline->inputs[i].pos, "input \"%s\" is not used",
                         p->pipeline->inputs[i].name);
    sl_expander_warn_unused(&p->expander);
}

/* ---- Order ---------------------------------------------------------------------------------- */

static void report_cycle(void *context, const int *path, int n) {
    struct sl_planner *p = context;
    sl_autostr struct sl_str text = {0};
    for (int k = 0; k < n; k++)
        sl_str_addf(&text, "%s%s", k ? " -> " : "", p->stages[path[k]].name);
    sl_diag_error(p->diags, p->stages[path[0]].pos,
                  "%s: stages take from each other in a cycle: %s", p->notes[path[0]].what,
                  sl_str_text(&text));
}

/* Copies the stages into the plan in topological order and renumbers their inputs; false where
 * there is a cycle. */
static bool order_stages(struct sl_planner *p, struct sl_plan *plan) {
    struct sl_graph g;
    sl_graph_init(&g, p->n_stages);
    for (int i = 0; i < p->n_stages; i++)
        for (int k = 0; k < p->stages[i].n_inputs; k++)
            if (p->stages[i].inputs[k].from_stage >= 0)
                sl_graph_add_edge(&g, p->stages[i].inputs[k].from_stage, i);
    sl_autofree int *order = sl_xcalloc((size_t)p->n_stages, sizeof *order);
    sl_autofree int *place = sl_xcalloc((size_t)p->n_stages, sizeof *place);
    bool sorted = sl_graph_sort(&g, order) == p->n_stages;
    if (!sorted)
        sl_graph_cycles(&g, report_cycle, p);
    sl_graph_finish(&g);
    if (!sorted)
        return false;
    plan->stages = sl_arena_alloc(p->arena, (size_t)p->n_stages * sizeof *plan->stages);
    plan->n_stages = p->n_stages;
    for (int at = 0; at < p->n_stages; at++) {
        place[order[at]] = at;
        plan->stages[at] = p->stages[order[at]];
        for (int k = 0; k < plan->stages[at].n_inputs; k++) {
            int *from = &plan->stages[at].inputs[k].from_stage;
            *from = *from < 0 ? -1 : place[*from];
        }
    }
    return true;
}

/* ---- The plan ------------------------------------------------------------------------------- */

static void make(struct sl_planner *p, struct sl_plan *plan) {
    int n = p->pipeline->n_stages;
    p->n_stages = n;
    p->stages = sl_xcalloc((size_t)n, sizeof *p->stages);
    p->notes = sl_xcalloc((size_t)n, sizeof *p->notes);
    p->input_used = sl_xcalloc((size_t)p->pipeline->n_inputs, sizeof *p->input_used);
    plan->name = sl_arena_strdup(p->arena, p->pipeline->name);
    plan->description = sl_arena_strdup(p->arena, p->pipeline->description);
    struct policies defaults = read_defaults(p);
    plan_inputs(p, plan);
    for (int i = 0; i < n; i++)
        plan_stage(p, i, &defaults);
    sl_typecheck_inputs(p);
    order_stages(p, plan);
    plan->on_finish = sl_plan_hooks(p, "on_finish", p->pipeline->on_finish);
    plan->on_failure = sl_plan_hooks(p, "on_failure", p->pipeline->on_failure);
    warn_unused(p);
    free(p->stages);
    free(p->notes);
    free(p->input_used);
}

int sl_plan_make(const struct sl_pipeline *pipeline, const struct sl_catalog *catalog,
                 const struct sl_setting *settings, int n_settings, struct sl_diags *diags,
                 struct sl_plan **ret_plan) {
    struct sl_plan *plan = sl_xcalloc(1, sizeof *plan);
    struct sl_arena expanded = {0};
    struct sl_planner p = {
        .pipeline = pipeline, .catalog = catalog, .diags = diags, .arena = &plan->arena};
    sl_expander_init(&p.expander, pipeline, settings, n_settings, &expanded, diags);
    make(&p, plan);
    sl_arena_finish(&expanded);
    if (diags->n_errors > 0) {
        sl_plan_destroy(plan);
        return SL_USAGE;
    }
    *ret_plan = plan;
    return 0;
}

void sl_plan_destroy(struct sl_plan *plan) {
    if (!plan)
        return;
    sl_arena_finish(&plan->arena);
    free(plan);
}

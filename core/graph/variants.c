/*
 * Sets of parameters, see variants.h. When a set is added, the values under `with:` that refer to a
 * column are read and judged, and forgotten again; they are read once more when a worker is to be
 * started. So a hundred thousand items with titles of their own cost what their titles cost.
 *
 * The planner's readers (with.c) do the reading: they are given a planner of which only what they
 * look at is filled in.
 */
#include "graph/variants.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "config/schema.h"
#include "graph/planner.h"

/* What of one stage depends on columns. */
struct dependent {
    int source; /* index of the stage in the file */
    const struct sl_yaml_pair **pairs;
    int n_pairs;
    bool *uses;        /* by column */
    int *keys;         /* by set */
    json_t *by_values; /* the values that it uses -> key */
    int n_keys;
};

struct sl_variants {
    const struct sl_pipeline *pipeline;
    const struct sl_catalog *catalog;
    const struct sl_plan *plan;
    const struct sl_setting *settings;
    int n_settings;
    const char *const *names;
    int *params; /* of each column: index of the pipeline's parameter */
    int n_names;
    struct dependent **stages;         /* by stage of the plan; NULL: it depends on no column */
    struct sl_plan_stage *file_stages; /* for the readers, which go by the order of the file */
    struct sl_plan_note *notes;
    struct sl_arena arena;    /* owns those two */
    const char *const **sets; /* values; [0] is unused */
    int n_sets, cap_sets;
    json_t *by_values; /* of all columns -> set */
};

/* ---- Columns --------------------------------------------------------------------------------- */

static int find_param(const struct sl_pipeline *p, const char *name) {
    for (int i = 0; i < p->n_params; i++)
        if (strcmp(p->params[i].name, name) == 0)
            return i;
    return -1;
}

static void unknown_column(const struct sl_pipeline *p, const char *name, struct sl_pos pos,
                           struct sl_diags *diags) {
    const char *names[SL_PIPELINE_MAX_PARAMS] = {NULL};
    sl_autostr struct sl_str list = {0};
    int n = p->n_params;
    for (int i = 0; i < n; i++)
        names[i] = p->params[i].name;
    const char *near = sl_suggest(diags, name, names, (size_t)n);
    sl_str_add_list(&list, names, (size_t)(n < 20 ? n : 20), "and");
    sl_diag_error(diags, pos, "column \"%.80s\" is no parameter of the pipeline%s%s%s", name, near,
                  *near ? ""
                  : n   ? "; accepted: file, "
                        : "; it has none",
                  *near || !n ? "" : sl_str_text(&list));
}

/* Where a parameter is referred to that cannot differ from item to item; NULL: nowhere. */
static const char *fixed_place(const struct sl_pipeline_stage *s, const char *name) {
    const struct {
        const char *key;
        const struct sl_yaml *node;
    } places[] = {{"device", s->device},
                  {"resources", s->resources},
                  {"retry", s->retry},
                  {"timeout", s->timeout},
                  {"optional", s->optional},
                  {"keep", s->keep},
                  {"on_oom", s->on_oom},
                  {"sandbox", s->sandbox},
                  {"network", s->network},
                  {SL_OUTPUTS_PARAM, sl_yaml_get(s->with, SL_OUTPUTS_PARAM)},
                  {SL_BATCH_PARAM, sl_yaml_get(s->with, SL_BATCH_PARAM)}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (sl_expand_names(places[i].node, name))
            return places[i].key;
    return NULL;
}

static bool check_column(const struct sl_pipeline *p, const char *name, struct sl_pos pos,
                         struct sl_diags *diags) {
    const struct sl_yaml *const defaults[] = {p->device, p->resources, p->retry, p->timeout};
    const char *place = NULL, *stage = "defaults";
    if (find_param(p, name) < 0) {
        unknown_column(p, name, pos, diags);
        return false;
    }
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (sl_expand_names(defaults[i], name))
            place = "resources, device, retry or timeout";
    for (int s = 0; !place && s < p->n_stages; s++) {
        place = fixed_place(&p->stages[s], name);
        stage = p->stages[s].name;
    }
    if (place)
        sl_diag_error(diags, pos,
                      "column \"%.80s\" cannot differ from file to file: \"%s\" uses it for %s",
                      name, stage, place);
    return !place;
}

/* ---- Stages that depend on columns ----------------------------------------------------------- */

static bool note_uses(const struct sl_variants *v, const struct sl_yaml *value, bool *uses) {
    bool any = false;
    for (int c = 0; c < v->n_names; c++)
        if (sl_expand_names(value, v->names[c]))
            uses[c] = any = true;
    return any;
}

static void dependent_destroy(struct dependent *d) {
    if (!d)
        return;
    free(d->pairs);
    free(d->uses);
    free(d->keys);
    json_decref(d->by_values);
    free(d);
}

static struct dependent *dependent_create(const struct sl_variants *v, int source) {
    const struct sl_yaml *with = v->pipeline->stages[source].with;
    int n = with && with->kind == SL_YAML_MAP ? with->n : 0;
    struct dependent *d = sl_xcalloc(1, sizeof *d);
    d->source = source;
    d->pairs = sl_xcalloc((size_t)n, sizeof *d->pairs);
    d->uses = sl_xcalloc((size_t)v->n_names, sizeof *d->uses);
    d->by_values = json_object();
    for (int i = 0; i < n; i++)
        if (note_uses(v, with->pairs[i].value, d->uses))
            d->pairs[d->n_pairs++] = &with->pairs[i];
    if (d->n_pairs > 0)
        return d;
    dependent_destroy(d);
    return NULL;
}

/* What the readers look at of stage s. */
static void note_stage(struct sl_variants *v, int s, int source) {
    const struct sl_plan_stage *stage = &v->plan->stages[s];
    v->file_stages[source] = *stage;
    v->notes[source] = (struct sl_plan_note){
        .source = &v->pipeline->stages[source],
        .what = sl_arena_printf(&v->arena, "%s \"%.100s\"", stage->is_output ? "output" : "stage",
                                stage->name)};
}

static int find_source(const struct sl_pipeline *p, const char *name) {
    int i = 0;
    while (strcmp(p->stages[i].name, name) != 0)
        i++;
    return i;
}

struct sl_variants *sl_variants_create(const struct sl_pipeline *pipeline,
                                       const struct sl_catalog *catalog, const struct sl_plan *plan,
                                       const struct sl_setting *settings, int n_settings,
                                       const char *const *names, const struct sl_pos *name_pos,
                                       int n_names, struct sl_diags *diags) {
    bool good = true;
    for (int c = 0; c < n_names; c++)
        good &= check_column(pipeline, names[c], name_pos[c], diags);
    if (!good)
        return NULL;
    struct sl_variants *v = sl_xcalloc(1, sizeof *v);
    *v = (struct sl_variants){.pipeline = pipeline,
                              .catalog = catalog,
                              .plan = plan,
                              .settings = settings,
                              .n_settings = n_settings,
                              .names = names,
                              .n_names = n_names,
                              .by_values = json_object()};
    v->params = sl_xcalloc((size_t)n_names, sizeof *v->params);
    for (int c = 0; c < n_names; c++)
        v->params[c] = find_param(pipeline, names[c]);
    v->stages = sl_xcalloc((size_t)plan->n_stages, sizeof *v->stages);
    v->file_stages = sl_arena_alloc(&v->arena, (size_t)pipeline->n_stages * sizeof *v->file_stages);
    v->notes = sl_arena_alloc(&v->arena, (size_t)pipeline->n_stages * sizeof *v->notes);
    for (int s = 0; s < plan->n_stages; s++) {
        int source = find_source(pipeline, plan->stages[s].name);
        note_stage(v, s, source);
        v->stages[s] = dependent_create(v, source);
    }
    SL_PUSH_ROOM(v->sets, v->n_sets, v->cap_sets);
    v->sets[v->n_sets++] = NULL;
    return v;
}

void sl_variants_destroy(struct sl_variants *v) {
    if (!v)
        return;
    for (int s = 0; s < v->plan->n_stages; s++)
        dependent_destroy(v->stages[s]);
    sl_arena_finish(&v->arena);
    free(v->stages);
    free(v->params);
    free(v->sets);
    json_decref(v->by_values);
    free(v);
}

/* ---- Reading values -------------------------------------------------------------------------- */

/* Reads what of stage `s` depends on columns, with these values, into `ret`. */
static void read_stage(const struct sl_variants *v, int s, const char *const *values,
                       struct sl_diags *diags, json_t *ret) {
    const struct dependent *d = v->stages[s];
    struct sl_arena arena = {0};
    struct sl_planner p = {.pipeline = v->pipeline,
                           .catalog = v->catalog,
                           .diags = diags,
                           .arena = &arena,
                           .stages = v->file_stages,
                           .notes = v->notes,
                           .n_stages = v->pipeline->n_stages};
    sl_expander_init(&p.expander, v->pipeline, v->settings, v->n_settings, &arena, diags);
    for (int c = 0; c < v->n_names; c++) {
        struct sl_setting setting = {v->names[c], values[c]};
        const struct sl_yaml *value =
            !values[c]   ? NULL
            : *values[c] ? sl_setting_value(&setting, "column ", &arena, diags)
                         : sl_yaml_scalar(&arena, (struct sl_pos){0}, SL_YAML_QUOTED, "");
        if (value)
            p.expander.values[v->params[c]] = value;
    }
    for (int i = 0; diags->n_errors == 0 && i < d->n_pairs; i++)
        sl_plan_value(&p, d->source, d->pairs[i], ret);
    sl_arena_finish(&arena);
}

/* Judges the values for every stage; their mistakes become those of the row. */
static bool check_values(const struct sl_variants *v, const char *const *values, struct sl_pos pos,
                         struct sl_diags *diags) {
    bool good = true;
    for (int s = 0; s < v->plan->n_stages; s++) {
        struct sl_diags own = {.file = diags->file};
        sl_autojson json_t *read = json_object();
        if (!v->stages[s])
            continue;
        read_stage(v, s, values, &own, read);
        for (int i = 0; i < own.n; i++)
            if (!own.items[i].warning)
                sl_diag_error(diags, pos, "%s", own.items[i].text);
        good &= own.n_errors == 0;
        sl_diags_finish(&own);
    }
    return good;
}

/* ---- Sets and keys --------------------------------------------------------------------------- */

/* The values of the columns in `uses` (NULL: all) as one text that tells every combination
 * apart. */
static void add_joined(const struct sl_variants *v, const char *const *values, const bool *uses,
                       struct sl_str *out) {
    for (int c = 0; c < v->n_names; c++) {
        if (uses && !uses[c])
            continue;
        if (values[c])
            sl_str_addf(out, "%zu:%s", strlen(values[c]), values[c]);
        sl_str_add(out, ",");
    }
}

static bool all_absent(const struct sl_variants *v, const char *const *values, const bool *uses) {
    for (int c = 0; c < v->n_names; c++)
        if (values[c] && (!uses || uses[c]))
            return false;
    return true;
}

static int key_of(const struct sl_variants *v, struct dependent *d, const char *const *values) {
    sl_autostr struct sl_str joined = {0};
    if (all_absent(v, values, d->uses))
        return 0;
    add_joined(v, values, d->uses, &joined);
    const json_t *known = json_object_get(d->by_values, sl_str_text(&joined));
    if (known)
        return (int)json_integer_value(known);
    json_object_set_new(d->by_values, sl_str_text(&joined), json_integer(++d->n_keys));
    return d->n_keys;
}

static void grow_keys(struct sl_variants *v, int before) {
    if (v->cap_sets == before)
        return;
    for (int s = 0; s < v->plan->n_stages; s++)
        if (v->stages[s])
            v->stages[s]->keys = sl_xrealloc(v->stages[s]->keys, (size_t)v->cap_sets, sizeof(int));
}

static int add_set(struct sl_variants *v, const char *const *values) {
    int before = v->n_sets == 1 ? 0 : v->cap_sets;
    SL_PUSH_ROOM(v->sets, v->n_sets, v->cap_sets);
    grow_keys(v, before);
    for (int s = 0; s < v->plan->n_stages; s++)
        if (v->stages[s])
            v->stages[s]->keys[v->n_sets] = key_of(v, v->stages[s], values);
    v->sets[v->n_sets] = values;
    return v->n_sets++;
}

int sl_variants_add(struct sl_variants *v, const char *const *values, struct sl_pos pos,
                    struct sl_diags *diags) {
    sl_autostr struct sl_str joined = {0};
    if (all_absent(v, values, NULL))
        return 0;
    add_joined(v, values, NULL, &joined);
    const json_t *known = json_object_get(v->by_values, sl_str_text(&joined));
    if (known)
        return (int)json_integer_value(known);
    if (!check_values(v, values, pos, diags))
        return -1;
    int set = add_set(v, values);
    json_object_set_new(v->by_values, sl_str_text(&joined), json_integer(set));
    return set;
}

int sl_variants_key(const struct sl_variants *v, int set, int stage) {
    return v && set > 0 && v->stages[stage] ? v->stages[stage]->keys[set] : 0;
}

char *sl_variants_params(const struct sl_variants *v, int set, int stage) {
    struct sl_diags diags = {0};
    json_t *own = NULL;
    if (sl_variants_key(v, set, stage) == 0)
        return NULL;
    const char *base = v->plan->stages[stage].params;
    sl_autojson json_t *all = json_loads(base, 0, NULL);
    own = json_object();
    read_stage(v, stage, v->sets[set], &diags, own);
    json_object_update(all, own);
    json_decref(own);
    sl_diags_finish(&diags);
    return sl_json_line(all);
}

json_t *sl_variants_values(const struct sl_variants *v, int set) {
    if (!v || set <= 0)
        return NULL;
    json_t *values = json_object();
    for (int c = 0; c < v->n_names; c++)
        if (v->sets[set][c])
            sl_json_set(values, v->names[c], json_string(v->sets[set][c]));
    return values;
}

/*
 * Reads the sections of a pipeline file into struct sl_pipeline, see pipeline.h. Each section is a
 * map of names to small maps, read by a table; what a stage gives its plugin stays a YAML node
 * until the catalog can judge it.
 *
 * Names are checked here, references only for their form: whether a stage or port exists is the
 * plan's question.
 */
#include "config/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/schema.h"

#define NAME_MAX_LEN 100
#define NAME_DEFAULT "pipeline"

struct file {
    const struct sl_yaml *format;
    const char *name, *description;
    const struct sl_yaml *inputs, *params, *defaults, *stages, *outputs, *on_finish, *on_failure;
};

static const struct sl_field file_fields[] = {
    {"sluice", SL_FIELD_NODE, offsetof(struct file, format)},
    {"name", SL_FIELD_TEXT, offsetof(struct file, name)},
    {"description", SL_FIELD_TEXT, offsetof(struct file, description)},
    {"inputs", SL_FIELD_NODE, offsetof(struct file, inputs)},
    {"params", SL_FIELD_NODE, offsetof(struct file, params)},
    {"defaults", SL_FIELD_NODE, offsetof(struct file, defaults)},
    {"stages", SL_FIELD_NODE, offsetof(struct file, stages)},
    {"outputs", SL_FIELD_NODE, offsetof(struct file, outputs)},
    {"on_finish", SL_FIELD_NODE, offsetof(struct file, on_finish)},
    {"on_failure", SL_FIELD_NODE, offsetof(struct file, on_failure)},
};

static const struct sl_field defaults_fields[] = {
    {"retry", SL_FIELD_NODE, offsetof(struct sl_pipeline, retry)},
    {"timeout", SL_FIELD_NODE, offsetof(struct sl_pipeline, timeout)},
    {"resources", SL_FIELD_NODE, offsetof(struct sl_pipeline, resources)},
    {"device", SL_FIELD_NODE, offsetof(struct sl_pipeline, device)},
    {"keep", SL_FIELD_NODE, offsetof(struct sl_pipeline, keep)},
    {"on_oom", SL_FIELD_NODE, offsetof(struct sl_pipeline, on_oom)},
    {"sandbox", SL_FIELD_NODE, offsetof(struct sl_pipeline, sandbox)},
    {"network", SL_FIELD_NODE, offsetof(struct sl_pipeline, network)},
    {"cache", SL_FIELD_NODE, offsetof(struct sl_pipeline, cache)},
};

struct stage_keys {
    const struct sl_yaml *use, *in, *with, *device, *resources, *retry, *timeout, *optional, *keep,
        *on_oom, *cache, *sandbox, *network;
};

static const struct sl_field stage_fields[] = {
    {"use", SL_FIELD_NODE, offsetof(struct stage_keys, use), .required = true},
    {"in", SL_FIELD_NODE, offsetof(struct stage_keys, in)},
    {"with", SL_FIELD_NODE, offsetof(struct stage_keys, with)},
    {"device", SL_FIELD_NODE, offsetof(struct stage_keys, device)},
    {"resources", SL_FIELD_NODE, offsetof(struct stage_keys, resources)},
    {"retry", SL_FIELD_NODE, offsetof(struct stage_keys, retry)},
    {"timeout", SL_FIELD_NODE, offsetof(struct stage_keys, timeout)},
    {"optional", SL_FIELD_NODE, offsetof(struct stage_keys, optional)},
    {"keep", SL_FIELD_NODE, offsetof(struct stage_keys, keep)},
    {"cache", SL_FIELD_NODE, offsetof(struct stage_keys, cache)},
    {"on_oom", SL_FIELD_NODE, offsetof(struct stage_keys, on_oom)},
    {"sandbox", SL_FIELD_NODE, offsetof(struct stage_keys, sandbox)},
    {"network", SL_FIELD_NODE, offsetof(struct stage_keys, network)},
};

/* ---- Names ---------------------------------------------------------------------------------- */

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

static bool is_name(const char *text) {
    size_t len = strlen(text);
    return len <= NAME_MAX_LEN && strspn(text, LETTERS) > 0 &&
           strspn(text, LETTERS DIGITS "_-") == len;
}

/* Names of outputs end the names of files: "srt", "words.json". */
static bool is_output_name(const char *text) {
    size_t len = strlen(text);
    return len <= NAME_MAX_LEN && strspn(text, LETTERS DIGITS) > 0 &&
           strspn(text, LETTERS DIGITS "._-") == len;
}

static bool check_name(const struct sl_yaml_pair *pair, const char *noun, struct sl_diags *diags) {
    if (is_name(pair->key))
        return true;
    sl_diag_error(diags, pair->pos,
                  "%s \"%.100s\": a name begins with a letter and holds letters, digits, _ and -, "
                  "at most %d in all",
                  noun, pair->key, NAME_MAX_LEN);
    return false;
}

/* Whether `node` (NULL: absent) is a map of at most `limit` names; anything else is reported. */
static bool is_section(const struct sl_yaml *node, const char *key, int limit,
                       struct sl_diags *diags) {
    if (!node || sl_yaml_is_null(node))
        return false;
    if (node->kind != SL_YAML_MAP)
        sl_diag_expected(diags, key, node, "a map of names");
    else if (node->n > limit)
        sl_diag_error(diags, node->pos, "%s: more than %d names", key, limit);
    return node->kind == SL_YAML_MAP && node->n <= limit;
}

/* ---- inputs and params ---------------------------------------------------------------------- */

static void read_inputs(struct sl_pipeline *p, const struct sl_yaml *section,
                        struct sl_diags *diags) {
    static const struct sl_field fields[] = {
        {"type", SL_FIELD_TEXT, offsetof(struct sl_pipeline_input, type), .required = true},
        {"help", SL_FIELD_TEXT, offsetof(struct sl_pipeline_input, help)},
    };
    if (!is_section(section, "inputs", SL_PIPELINE_MAX_INPUTS, diags))
        return;
    p->inputs = sl_arena_alloc(&p->arena, (size_t)section->n * sizeof *p->inputs);
    for (int i = 0; i < section->n; i++) {
        const struct sl_yaml_pair *pair = &section->pairs[i];
        struct sl_pipeline_input *in = &p->inputs[p->n_inputs++];
        *in = (struct sl_pipeline_input){
            .name = pair->key, .help = "", .pos = pair->pos, .type_pos = pair->pos};
        check_name(pair, "input", diags);
        const char *what = sl_arena_printf(&p->arena, "input \"%.100s\"", pair->key);
        SL_SCHEMA_READ(fields, what, pair->value, in, diags);
        const struct sl_yaml *type = sl_yaml_get(pair->value, "type");
        if (type)
            in->type_pos = type->pos;
    }
}

/* `{ default: VALUE, help: TEXT }`, or the value itself; nothing: it must be given. */
static void read_param(struct sl_pipeline *p, const struct sl_yaml_pair *pair,
                       struct sl_diags *diags) {
    static const struct sl_field fields[] = {
        {"default", SL_FIELD_NODE, offsetof(struct sl_pipeline_param, value)},
        {"help", SL_FIELD_TEXT, offsetof(struct sl_pipeline_param, help)},
    };
    struct sl_pipeline_param *param = &p->params[p->n_params++];
    *param = (struct sl_pipeline_param){.name = pair->key, .help = "", .pos = pair->pos};
    check_name(pair, "parameter", diags);
    if (sl_yaml_is_null(pair->value))
        return;
    if (pair->value->kind == SL_YAML_MAP) {
        const char *what = sl_arena_printf(&p->arena, "parameter \"%.100s\"", pair->key);
        SL_SCHEMA_READ(fields, what, pair->value, param, diags);
    } else {
        param->value = pair->value;
    }
}

static void read_params(struct sl_pipeline *p, const struct sl_yaml *section,
                        struct sl_diags *diags) {
    if (!is_section(section, "params", SL_PIPELINE_MAX_PARAMS, diags))
        return;
    p->params = sl_arena_alloc(&p->arena, (size_t)section->n * sizeof *p->params);
    for (int i = 0; i < section->n; i++)
        read_param(p, &section->pairs[i], diags);
}

/* ---- stages and outputs --------------------------------------------------------------------- */

#define REF_FORM "STAGE.PORT or inputs.NAME"

/* Splits "decode.audio". */
static void read_ref(struct sl_pipeline *p, const char *what, const struct sl_yaml_pair *pair,
                     struct sl_pipeline_ref *ref, struct sl_diags *diags) {
    const char *text = NULL;
    *ref = (struct sl_pipeline_ref){
        .port = pair->key, .pos = pair->pos, .source_pos = pair->value->pos};
    const char *where = sl_arena_printf(&p->arena, "%s: input \"%.100s\"", what, pair->key);
    if (!sl_yaml_text(pair->value, &text)) {
        sl_diag_expected(diags, where, pair->value, "%s", REF_FORM);
        return;
    }
    const char *dot = strchr(text, '.');
    char *stage = sl_arena_strndup(&p->arena, text, dot ? (size_t)(dot - text) : strlen(text));
    bool good =
        is_name(stage) && (!dot || strcmp(stage, "inputs") == 0 ? is_name(dot ? dot + 1 : stage)
                                                                : sl_is_identifier(dot + 1));
    if (!good) {
        sl_diag_error(diags, ref->source_pos, "%s: expected %s, found \"%.100s\"%s", where,
                      REF_FORM, text,
                      strstr(text, "${") ? " (parameters are not looked up here)" : "");
        return;
    }
    ref->stage = stage;
    ref->source_port = dot ? dot + 1 : NULL;
}

static void read_refs(struct sl_pipeline *p, const char *what, const struct sl_yaml *in,
                      struct sl_pipeline_stage *stage, struct sl_diags *diags) {
    if (sl_yaml_is_null(in))
        return;
    if (in->kind != SL_YAML_MAP) {
        sl_diag_expected(diags, sl_arena_printf(&p->arena, "%s: in", what), in,
                         "a map { PORT: %s }", REF_FORM);
        return;
    }
    stage->refs = sl_arena_alloc(&p->arena, (size_t)in->n * sizeof *stage->refs);
    for (int i = 0; i < in->n; i++)
        read_ref(p, what, &in->pairs[i], &stage->refs[stage->n_refs++], diags);
}

static void read_use(const char *what, const struct sl_yaml *use, struct sl_pipeline_stage *stage,
                     struct sl_diags *diags) {
    const char *text;
    if (!use)
        return;
    stage->use_pos = use->pos;
    if (!sl_yaml_text(use, &text) || !*text)
        sl_diag_expected(diags, what, use, "use: PLUGIN/STAGE");
    else if (strstr(text, "${"))
        sl_diag_error(diags, use->pos,
                      "%s: use: parameters are not looked up here; write PLUGIN/STAGE", what);
    else
        stage->use = text;
}

static void read_stage(struct sl_pipeline *p, const struct sl_yaml_pair *pair, bool is_output,
                       struct sl_diags *diags) {
    const char *what =
        sl_arena_printf(&p->arena, "%s \"%.100s\"", is_output ? "output" : "stage", pair->key);
    struct sl_pipeline_stage *stage = &p->stages[p->n_stages++];
    struct stage_keys keys = {0};
    SL_SCHEMA_READ(stage_fields, what, pair->value, &keys, diags);
    *stage = (struct sl_pipeline_stage){.name = pair->key,
                                        .pos = pair->pos,
                                        .is_output = is_output,
                                        .use_pos = pair->pos,
                                        .with = keys.with,
                                        .device = keys.device,
                                        .resources = keys.resources,
                                        .retry = keys.retry,
                                        .timeout = keys.timeout,
                                        .optional = keys.optional,
                                        .keep = keys.keep,
                                        .sandbox = keys.sandbox,
                                        .network = keys.network,
                                        .cache = keys.cache,
                                        .on_oom = keys.on_oom};
    read_use(what, keys.use, stage, diags);
    read_refs(p, what, keys.in, stage, diags);
}

static const struct sl_pipeline_stage *find_stage(const struct sl_pipeline *p, const char *name) {
    for (int i = 0; i < p->n_stages; i++)
        if (strcmp(p->stages[i].name, name) == 0)
            return &p->stages[i];
    return NULL;
}

static void check_stage_name(const struct sl_yaml_pair *pair, struct sl_diags *diags) {
    if (check_name(pair, "stage", diags) &&
        (strcmp(pair->key, "inputs") == 0 || strcmp(pair->key, "params") == 0))
        sl_diag_error(
            diags, pair->pos,
            "stage \"%s\": this name is taken: references to the pipeline's %s begin with it",
            pair->key, pair->key);
}

static void check_output_name(const struct sl_pipeline *p, const struct sl_yaml_pair *pair,
                              struct sl_diags *diags) {
    const struct sl_pipeline_stage *same = find_stage(p, pair->key);
    if (!is_output_name(pair->key))
        sl_diag_error(
            diags, pair->pos,
            "output \"%.100s\": a name begins with a letter or digit and holds letters, digits, "
            "., _ and -, at most %d in all",
            pair->key, NAME_MAX_LEN);
    else if (same)
        sl_diag_error(diags, pair->pos,
                      "output \"%s\": a stage has this name too, at line %d, column %d; rename one",
                      pair->key, same->pos.line, same->pos.column);
}

static bool is_empty(const struct sl_yaml *section) {
    return sl_yaml_is_null(section) || (section->kind == SL_YAML_MAP && section->n == 0);
}

static void read_stages(struct sl_pipeline *p, const struct file *f, const struct sl_yaml *root,
                        struct sl_diags *diags) {
    bool stages = is_section(f->stages, "stages", SL_PIPELINE_MAX_STAGES, diags);
    bool outputs = is_section(f->outputs, "outputs", SL_PIPELINE_MAX_STAGES, diags);
    int n_stages = stages ? f->stages->n : 0, n_outputs = outputs ? f->outputs->n : 0;
    if (is_empty(f->stages) && is_empty(f->outputs))
        sl_diag_error(diags, root->pos, "nothing to do: there are no stages");
    p->stages = sl_arena_alloc(&p->arena, (size_t)(n_stages + n_outputs) * sizeof *p->stages);
    for (int i = 0; i < n_stages; i++) {
        check_stage_name(&f->stages->pairs[i], diags);
        read_stage(p, &f->stages->pairs[i], false, diags);
    }
    for (int i = 0; i < n_outputs; i++) {
        check_output_name(p, &f->outputs->pairs[i], diags);
        read_stage(p, &f->outputs->pairs[i], true, diags);
    }
}

/* ---- The file ------------------------------------------------------------------------------- */

/* A file of another version is not read further: its mistakes would be ours. */
static bool check_format(const struct sl_yaml *root, struct sl_diags *diags) {
    const struct sl_yaml *format = sl_yaml_get(root, "sluice");
    int64_t version;
    if (root->kind != SL_YAML_MAP)
        return true;
    if (!format)
        sl_diag_error(diags, root->pos,
                      "key \"sluice\" is missing; begin the file with \"sluice: %d\"",
                      SL_PIPELINE_FORMAT);
    else if (!sl_yaml_int(format, &version))
        sl_diag_expected(diags, "sluice", format, "the version of the format, %d",
                         SL_PIPELINE_FORMAT);
    else if (version != SL_PIPELINE_FORMAT) {
        sl_diag_error(diags, format->pos,
                      "sluice: this is version %lld of the format; this program reads version %d",
                      (long long)version, SL_PIPELINE_FORMAT);
        return false;
    }
    return true;
}

/* "meeting" of "dir/meeting.yaml". */
static const char *name_of_file(struct sl_arena *arena, const char *file) {
    const char *slash = file ? strrchr(file, '/') : NULL, *base = slash ? slash + 1 : file;
    if (!base || !*base)
        return NAME_DEFAULT;
    const char *dot = strrchr(base, '.');
    return sl_arena_strndup(arena, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

static struct sl_pipeline *read_file(struct sl_pipeline *p, const struct sl_yaml *root,
                                     struct sl_diags *diags) {
    struct file f = {0};
    if (!root || !check_format(root, diags))
        return NULL;
    SL_SCHEMA_READ(file_fields, "", root, &f, diags);
    if (root->kind != SL_YAML_MAP)
        return NULL;
    p->name = f.name && *f.name ? f.name : name_of_file(&p->arena, diags->file);
    p->description = f.description ? f.description : "";
    p->on_finish = f.on_finish;
    p->on_failure = f.on_failure;
    read_inputs(p, f.inputs, diags);
    read_params(p, f.params, diags);
    if (!sl_yaml_is_null(f.defaults))
        SL_SCHEMA_READ(defaults_fields, "defaults", f.defaults, p, diags);
    read_stages(p, &f, root, diags);
    return p;
}

static int finish_load(struct sl_pipeline *p, const struct sl_yaml *root, struct sl_diags *diags,
                       struct sl_pipeline **ret_pipeline) {
    if (!read_file(p, root, diags)) {
        sl_pipeline_destroy(p);
        return SL_USAGE;
    }
    *ret_pipeline = p;
    return 0;
}

int sl_pipeline_load(const char *path, struct sl_diags *diags, struct sl_pipeline **ret_pipeline) {
    struct sl_pipeline *p = sl_xcalloc(1, sizeof *p);
    return finish_load(p, sl_yaml_load(path, &p->arena, diags), diags, ret_pipeline);
}

int sl_pipeline_parse(const char *bytes, size_t len, struct sl_diags *diags,
                      struct sl_pipeline **ret_pipeline) {
    struct sl_pipeline *p = sl_xcalloc(1, sizeof *p);
    return finish_load(p, sl_yaml_parse(bytes, len, &p->arena, diags), diags, ret_pipeline);
}

void sl_pipeline_destroy(struct sl_pipeline *p) {
    if (!p)
        return;
    sl_arena_finish(&p->arena);
    free(p);
}

/*
 * Replaces references in YAML trees, see expand.h. A scalar without a dollar sign is passed
 * through, so most of a tree is shared with its source. What references insert is charged to one
 * budget for the whole pipeline, so that a file cannot grow by naming a long parameter a thousand
 * times.
 */
#include "config/expand.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/schema.h"

#define ACCEPTED   "accepted: ${params.NAME} and ${env.NAME}"
#define NODE_BYTES 16 /* what an inserted node counts beside its text */

/* ---- Values of parameters ------------------------------------------------------------------- */

static const char *param_names(const struct sl_pipeline *p, struct sl_diags *diags,
                               const char *word) {
    const char *names[SL_PIPELINE_MAX_PARAMS];
    sl_autostr struct sl_str list = {0};
    for (int i = 0; i < p->n_params; i++)
        names[i] = p->params[i].name;
    const char *near = sl_suggest(diags, word, names, (size_t)p->n_params);
    if (*near)
        return near;
    if (p->n_params == 0)
        return "; this pipeline has no parameters";
    sl_str_add_list(&list, names, (size_t)(p->n_params < 20 ? p->n_params : 20), "and");
    return sl_arena_printf(&diags->arena, "; accepted: %s%s", sl_str_text(&list),
                           p->n_params > 20 ? " and more" : "");
}

static int find_param(const struct sl_pipeline *p, const char *name) {
    for (int i = 0; i < p->n_params; i++)
        if (strcmp(p->params[i].name, name) == 0)
            return i;
    return -1;
}

const struct sl_yaml *sl_setting_value(const struct sl_setting *s, const char *what,
                                       struct sl_arena *arena, struct sl_diags *diags) {
    size_t len = strlen(s->value);
    const struct sl_yaml *node;
    if (len > SL_YAML_MAX_TEXT || sl_utf8_valid(s->value, len) < len) {
        sl_diag_error(diags, (struct sl_pos){0}, "%s%.80s: the value is %s", what, s->name,
                      len > SL_YAML_MAX_TEXT ? "too long" : "not UTF-8");
        return NULL;
    }
    if (!*s->value || !strchr("[{\"'", *s->value))
        return sl_yaml_scalar(arena, (struct sl_pos){0}, SL_YAML_EITHER, s->value);
    struct sl_diags own = {.file = "value"};
    node = sl_yaml_parse(s->value, len, arena, &own);
    if (own.n_errors > 0) {
        sl_diag_error(diags, (struct sl_pos){0}, "%s%.80s: %s", what, s->name, own.items[0].text);
        node = NULL;
    }
    sl_diags_finish(&own);
    return node;
}

static void apply_setting(struct sl_expander *x, const struct sl_setting *s) {
    int i = find_param(x->pipeline, s->name);
    if (i < 0) {
        sl_diag_error(x->diags, (struct sl_pos){0}, "--set %.80s: there is no such parameter%s",
                      s->name, param_names(x->pipeline, x->diags, s->name));
        return;
    }
    const struct sl_yaml *value = sl_setting_value(s, "--set ", x->arena, x->diags);
    x->values[i] = value ? value : sl_yaml_bad(x->arena, x->pipeline->params[i].pos);
}

/* The default, in which the environment may be named but no parameter. */
static void apply_default(struct sl_expander *x, int i) {
    const struct sl_pipeline_param *param = &x->pipeline->params[i];
    if (param->value) {
        struct sl_pipeline none = {0};
        struct sl_expander env_only = *x;
        env_only.pipeline = &none;
        x->values[i] = sl_expand(&env_only, "default", param->value, NULL, NULL);
        x->bytes = env_only.bytes;
    } else {
        sl_diag_error(x->diags, param->pos,
                      "parameter \"%.80s\" has no default and must be given: --set %.80s=...",
                      param->name, param->name);
        x->values[i] = sl_yaml_bad(x->arena, param->pos);
    }
}

void sl_expander_init(struct sl_expander *x, const struct sl_pipeline *pipeline,
                      const struct sl_setting *settings, int n_settings, struct sl_arena *arena,
                      struct sl_diags *diags) {
    *x = (struct sl_expander){.arena = arena, .diags = diags, .pipeline = pipeline};
    x->values = sl_arena_alloc(arena, (size_t)pipeline->n_params * sizeof *x->values);
    x->used = sl_arena_alloc(arena, (size_t)pipeline->n_params * sizeof *x->used);
    for (int i = 0; i < n_settings; i++)
        apply_setting(x, &settings[i]);
    for (int i = 0; i < pipeline->n_params; i++)
        if (!x->values[i])
            apply_default(x, i);
}

void sl_expander_warn_unused(const struct sl_expander *x) {
    for (int i = 0; i < x->pipeline->n_params; i++)
        if (!x->used[i])
            sl_diag_warn(x->diags, x->pipeline->params[i].pos, "parameter \"%s\" is not used",
                         x->pipeline->params[i].name);
}

/* ---- One scalar ----------------------------------------------------------------------------- */

struct scalar_job {
    struct sl_expander *x;
    const char *what;
    const struct sl_yaml *node;
    sl_port_check *ports;
    void *context;
};

/* Charges the budget; false once it is spent, reported once. */
static bool charge(const struct scalar_job *job, size_t bytes) {
    struct sl_expander *x = job->x;
    bool was_within = x->bytes <= SL_EXPAND_MAX_BYTES;
    x->bytes += bytes;
    if (x->bytes <= SL_EXPAND_MAX_BYTES)
        return true;
    if (was_within)
        sl_diag_error(x->diags, job->node->pos,
                      "%s: references expand to more than %u KiB of text in all", job->what,
                      SL_EXPAND_MAX_BYTES >> 10);
    return false;
}

static size_t tree_bytes(const struct sl_yaml *node) {
    size_t bytes = NODE_BYTES;
    if (node->kind == SL_YAML_SCALAR)
        return bytes + strlen(node->text);
    for (int i = 0; i < node->n; i++)
        bytes += node->kind == SL_YAML_MAP
                     ? strlen(node->pairs[i].key) + tree_bytes(node->pairs[i].value)
                     : tree_bytes(node->items[i]);
    return bytes;
}

static const struct sl_yaml *param_value(const struct scalar_job *job, const char *name) {
    struct sl_expander *x = job->x;
    int i = find_param(x->pipeline, name);
    if (i < 0) {
        sl_diag_error(x->diags, job->node->pos,
                      "%s: unknown parameter \"%.80s\" in ${params.%.80s}%s", job->what, name, name,
                      param_names(x->pipeline, x->diags, name));
        return NULL;
    }
    x->used[i] = true;
    if (!x->values[i] || x->values[i]->kind == SL_YAML_BAD)
        return NULL;
    return charge(job, tree_bytes(x->values[i])) ? x->values[i] : NULL;
}

static bool is_env_name(const char *text) {
    return (*text == '_' || (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z')) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
               strlen(text);
}

static const struct sl_yaml *env_value(const struct scalar_job *job, const char *name) {
    const char *text = is_env_name(name) ? getenv(name) : NULL;
    struct sl_pos pos = job->node->pos;
    if (!is_env_name(name))
        sl_diag_error(job->x->diags, pos,
                      "%s: \"%.80s\" cannot be the name of an environment variable", job->what,
                      name);
    else if (!text)
        sl_diag_error(job->x->diags, pos,
                      "%s: environment variable %.80s is not set; set it first: export %.80s=...",
                      job->what, name, name);
    else if (sl_utf8_valid(text, strlen(text)) < strlen(text))
        sl_diag_error(job->x->diags, pos, "%s: environment variable %.80s is not UTF-8", job->what,
                      name);
    else if (charge(job, strlen(text)))
        return sl_yaml_scalar(job->x->arena, pos, SL_YAML_EITHER, text);
    return NULL;
}

/* What "KIND.NAME" between the braces stands for; NULL after a mistake was reported. */
static const struct sl_yaml *look_up(const struct scalar_job *job, const char *inside) {
    const char *dot = strchr(inside, '.');
    sl_autofree char *kind = sl_xstrndup(inside, dot ? (size_t)(dot - inside) : strlen(inside));
    const char *name = dot ? dot + 1 : "";
    bool is_port = strcmp(kind, "in") == 0 || strcmp(kind, "out") == 0;
    if (dot && strcmp(kind, "params") == 0)
        return param_value(job, name);
    if (dot && strcmp(kind, "env") == 0)
        return env_value(job, name);
    if (dot && is_port && job->ports) {
        if (!job->ports(job->context, kind, name, job->node->pos))
            return NULL;
        return sl_yaml_scalar(job->x->arena, job->node->pos, SL_YAML_QUOTED,
                              sl_arena_printf(job->x->arena, "${%s}", inside));
    }
    sl_diag_error(
        job->x->diags, job->node->pos, "%s: ${%.80s} is not a reference; " ACCEPTED "%s%s",
        job->what, inside, job->ports ? ", ${in.PORT} and ${out.PORT}" : "",
        is_port ? " (a stage with ports of your own, such as exec/command, also takes ${in.PORT})"
                : "");
    return NULL;
}

/* The reference at `at` ("${..."): its value, and *ret_end past the brace. */
static const struct sl_yaml *take_reference(const struct scalar_job *job, const char *at,
                                            const char **ret_end) {
    const char *end = strchr(at, '}');
    if (!end) {
        sl_diag_error(job->x->diags, job->node->pos,
                      "%s: \"${\" without \"}\" (a dollar sign is written $$)", job->what);
        return NULL;
    }
    sl_autofree char *inside = sl_xstrndup(at + 2, (size_t)(end - at - 2));
    *ret_end = end + 1;
    return look_up(job, inside);
}

/* Adds the text of a value that stands inside other text. */
static bool add_inside(const struct scalar_job *job, const struct sl_yaml *value,
                       struct sl_str *out) {
    if (value->kind == SL_YAML_SCALAR) {
        sl_str_add(out, value->text);
        return true;
    }
    sl_autostr struct sl_str found = {0};
    sl_yaml_describe(value, &found);
    sl_diag_error(job->x->diags, job->node->pos,
                  "%s: %s can only be the whole value, not a part of text", job->what,
                  sl_str_text(&found));
    return false;
}

static bool expand_text(const struct scalar_job *job, struct sl_str *out) {
    const char *at = job->node->text;
    while (*at) {
        size_t plain = strcspn(at, "$");
        sl_str_addn(out, at, plain);
        at += plain;
        if (at[0] == '$' && at[1] == '{') {
            const struct sl_yaml *value = take_reference(job, at, &at);
            if (!value || !add_inside(job, value, out))
                return false;
        } else if (*at) {
            sl_str_add(out, "$");
            at += at[1] == '$' ? 2 : 1;
        }
    }
    return charge(job, out->len);
}

static const struct sl_yaml *expand_scalar(const struct scalar_job *job) {
    const struct sl_yaml *node = job->node;
    const char *end = NULL;
    if (!strchr(node->text, '$'))
        return node;
    if (job->x->bytes > SL_EXPAND_MAX_BYTES) /* reported */
        return sl_yaml_bad(job->x->arena, node->pos);
    if (sl_starts_with(node->text, "${") && (end = strchr(node->text, '}')) && !end[1]) {
        const struct sl_yaml *value = take_reference(job, node->text, &end);
        if (!value)
            return sl_yaml_bad(job->x->arena, node->pos);
        struct sl_yaml *here = sl_arena_alloc(job->x->arena, sizeof *here);
        *here = *value;
        here->pos = node->pos;
        return here;
    }
    sl_autostr struct sl_str text = {0};
    if (!expand_text(job, &text))
        return sl_yaml_bad(job->x->arena, node->pos);
    return sl_yaml_scalar(job->x->arena, node->pos, SL_YAML_QUOTED, sl_str_text(&text));
}

/* ---- Trees ---------------------------------------------------------------------------------- */

static bool holds_reference(const struct sl_yaml *node) {
    if (node->kind == SL_YAML_SCALAR)
        return strchr(node->text, '$') != NULL;
    for (int i = 0; i < node->n; i++)
        if (holds_reference(node->kind == SL_YAML_MAP ? node->pairs[i].value : node->items[i]))
            return true;
    return false;
}

bool sl_expand_names(const struct sl_yaml *node, const char *param) {
    if (!node)
        return false;
    if (node->kind == SL_YAML_SCALAR) {
        sl_autofree char *reference = sl_xasprintf("${params.%s}", param);
        return strstr(node->text, reference) != NULL;
    }
    for (int i = 0; i < node->n; i++)
        if (sl_expand_names(node->kind == SL_YAML_MAP ? node->pairs[i].value : node->items[i],
                            param))
            return true;
    return false;
}

static const struct sl_yaml *expand_tree(struct scalar_job *job, const struct sl_yaml *node) {
    job->node = node;
    if (node->kind == SL_YAML_SCALAR)
        return expand_scalar(job);
    struct sl_yaml *copy = sl_arena_alloc(job->x->arena, sizeof *copy);
    *copy = *node;
    if (node->kind == SL_YAML_LIST) {
        copy->items = sl_arena_alloc(job->x->arena, (size_t)node->n * sizeof *copy->items);
        for (int i = 0; i < node->n; i++)
            copy->items[i] = expand_tree(job, node->items[i]);
    } else if (node->kind == SL_YAML_MAP) {
        struct sl_yaml_pair *pairs = sl_arena_alloc(job->x->arena, (size_t)node->n * sizeof *pairs);
        for (int i = 0; i < node->n; i++) {
            pairs[i] = node->pairs[i];
            pairs[i].value = expand_tree(job, node->pairs[i].value);
        }
        copy->pairs = pairs;
    }
    return copy;
}

const struct sl_yaml *sl_expand(struct sl_expander *x, const char *what, const struct sl_yaml *node,
                                sl_port_check *ports, void *context) {
    if (!node || !holds_reference(node))
        return node;
    struct scalar_job job = {.x = x, .what = what, .ports = ports, .context = context};
    return expand_tree(&job, node);
}

/*
 * References in values: `${params.NAME}` and `${env.NAME}`, and `$$` for a dollar sign. A reference
 * that is the whole value keeps the type of what it names; one inside text becomes text. There is
 * nothing else: no expressions.
 */
#ifndef CONFIG_EXPAND_H
#define CONFIG_EXPAND_H

#include "config/pipeline.h"

/* All text that references of one pipeline may expand to, together. */
#define SL_EXPAND_MAX_BYTES (1u << 20)

/* A `--set NAME=VALUE`. */
struct sl_setting {
    const char *name, *value;
};

/* The parameters of a pipeline with their values. */
struct sl_expander {
    struct sl_arena *arena; /* of all new nodes; borrowed */
    struct sl_diags *diags;
    const struct sl_pipeline *pipeline;
    /* one a parameter; NULL or SL_YAML_BAD: no value, which was reported */
    const struct sl_yaml **values;
    bool *used;   /* one a parameter */
    size_t bytes; /* expanded so far */
};

/*
 * Settles the values: a setting takes the place of the default. A setting's value is text that
 * resolves like a plain scalar; one that begins with [ { " or ' is read as YAML. Mistakes: unknown
 * settings, parameters without a value.
 */
void sl_expander_init(struct sl_expander *x, const struct sl_pipeline *pipeline,
                      const struct sl_setting *settings, int n_settings, struct sl_arena *arena,
                      struct sl_diags *diags);

/* The value of a setting as a node without a position; NULL after a mistake was reported, in a
 * message that `what` and the setting's name open. */
const struct sl_yaml *sl_setting_value(const struct sl_setting *s, const char *what,
                                       struct sl_arena *arena, struct sl_diags *diags);

/* Whether the tree (NULL: none) refers to a parameter of the pipeline. */
bool sl_expand_names(const struct sl_yaml *node, const char *param);

/* Judges `${in.NAME}` (kind "in") and `${out.NAME}` in a stage that takes them: true leaves them as
 * they are, false after the mistake was reported. */
typedef bool sl_port_check(void *context, const char *kind, const char *name, struct sl_pos pos);

/*
 * The tree of `node` with its references replaced; `node` itself where there are none. `what` opens
 * messages. A mistake gives SL_YAML_BAD in its place. `ports` NULL: `${in...}` and `${out...}` are
 * mistakes.
 */
const struct sl_yaml *sl_expand(struct sl_expander *x, const char *what, const struct sl_yaml *node,
                                sl_port_check *ports, void *context);

/* Warns of parameters that nothing refers to. */
void sl_expander_warn_unused(const struct sl_expander *x);

#endif

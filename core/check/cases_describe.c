/* Tests of what a plugin declares: that it is accepted, complete and readable. */
#include <string.h>

#include "check/case.h"
#include "graph/param.h"

static const struct sl_plugin_desc *described(struct sl_case *c) {
    if (c->plugin && !c->plugin->broken)
        return c->plugin;
    sl_case_skip(c, "it has no valid description, see describe.valid");
    return NULL;
}

static void test_valid(struct sl_case *c) {
    sl_case_inspect(c);
    if (c->inspection.failure[0] && c->inspection.load_failed)
        sl_case_skip(c, "it cannot be loaded, see load.opens");
    else if (!c->plugin)
        sl_case_fail(c, "it is not found as a plugin");
    else if (c->plugin->broken)
        sl_case_fail(c, "%s", c->plugin->broken);
}

static void check_sentence(struct sl_case *c, const char *stage, const char *what, const char *name,
                           const char *text) {
    size_t len = strlen(text);
    if (len == 0)
        sl_case_fail(c, "%s: %s%s has no text", stage, what, name);
    else if (text[len - 1] != '.')
        sl_case_fail(c, "%s: %s%s is no sentence, a full stop is missing: \"%.60s\"", stage, what,
                     name, text);
    else if (strpbrk(text, "\n\r\t"))
        sl_case_fail(c, "%s: %s%s is more than one line", stage, what, name);
}

static void check_stage_docs(struct sl_case *c, const struct sl_stage_desc *s) {
    check_sentence(c, s->id, "its summary", "", s->summary);
    for (int i = 0; i < s->n_inputs; i++)
        check_sentence(c, s->id, "the doc of input ", s->inputs[i].name, s->inputs[i].doc);
    for (int i = 0; i < s->n_outputs; i++)
        check_sentence(c, s->id, "the doc of output ", s->outputs[i].name, s->outputs[i].doc);
    for (int i = 0; i < s->n_params; i++)
        check_sentence(c, s->id, "the doc of parameter ", s->params[i].name, s->params[i].doc);
}

static void test_docs(struct sl_case *c) {
    const struct sl_plugin_desc *p = described(c);
    for (int i = 0; p && i < p->n_stages; i++)
        check_stage_docs(c, &p->stages[i]);
}

static double number_of(const json_t *value, double fallback) {
    return json_is_number(value) ? json_number_value(value) : fallback;
}

static void check_default(struct sl_case *c, const struct sl_stage_desc *s,
                          const struct sl_param_desc *p) {
    json_t *value = sl_param_default(p);
    double number = number_of(value, p->min);
    if (p->default_value && !value)
        sl_case_fail(
            c, "%s: the default of %s, \"%.60s\", is not of its kind or not among its choices",
            s->id, p->name, p->default_value);
    else if (p->ranged && (number < p->min || number > p->max))
        sl_case_warn(c,
                     "%s: the default of %s, %s, lies outside its range %g to %g: nobody can write "
                     "it in a pipeline",
                     s->id, p->name, p->default_value, p->min, p->max);
    json_decref(value);
}

static void test_defaults(struct sl_case *c) {
    const struct sl_plugin_desc *p = described(c);
    for (int i = 0; p && i < p->n_stages; i++)
        for (int k = 0; k < p->stages[i].n_params; k++)
            check_default(c, &p->stages[i], &p->stages[i].params[k]);
}

static void check_names(struct sl_case *c, const struct sl_stage_desc *s) {
    for (int i = 0; i < s->n_params; i++)
        for (int k = 0; k < s->params[i].n_choices; k++)
            for (int j = 0; j < k; j++)
                if (strcmp(s->params[i].choices[j], s->params[i].choices[k]) == 0)
                    sl_case_fail(c, "%s: parameter %s has the choice \"%s\" twice", s->id,
                                 s->params[i].name, s->params[i].choices[k]);
    if (s->n_outputs == 0)
        sl_case_warn(c, "%s: it has no output, so nothing can follow it", s->id);
}

static void test_names(struct sl_case *c) {
    const struct sl_plugin_desc *p = described(c);
    if (p && strncmp(strrchr(c->path, '/') + 1, p->name, strlen(p->name)) != 0)
        sl_case_warn(c,
                     "the plugin is called %s, its file is not: a folder of plugins is easier to "
                     "read if they agree",
                     p->name);
    for (int i = 0; p && i < p->n_stages; i++)
        check_names(c, &p->stages[i]);
}

const struct sl_test sl_describe_tests[] = {
    {"describe.valid", "its declarations are accepted", .run = test_valid},
    {"describe.docs", "every stage, port and parameter has a sentence", .run = test_docs},
    {"describe.defaults", "defaults are of their kind, in range, among the choices",
     .run = test_defaults},
    {"describe.names", "names are unique and fit the file", .run = test_names},
    {0},
};

/* A plan as Graphviz: `sluice graph FILE --format dot | dot -Tpng`. Inputs are ovals, outputs are
 * filled. */
#include <stdio.h>

#include "graph/render.h"

/* A quoted Graphviz string. */
static void add_quoted(struct sl_str *out, const char *text) {
    sl_str_add(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            sl_str_add(out, "\\");
        if (*text == '\n')
            sl_str_add(out, "\\n");
        else
            sl_str_addn(out, text, 1);
    }
    sl_str_add(out, "\"");
}

static void add_node(struct sl_str *out, const char *id, const char *title, const char *subtitle,
                     const char *style) {
    sl_autostr struct sl_str label = {0};
    sl_str_addf(&label, "%s\n%s", title, subtitle);
    sl_str_addf(out, "  %s [label=", id);
    add_quoted(out, sl_str_text(&label));
    sl_str_addf(out, "%s];\n", style);
}

static void add_nodes(const struct sl_plan *plan, struct sl_str *out) {
    char id[32];
    for (int i = 0; i < plan->n_inputs; i++) {
        snprintf(id, sizeof id, "i%d", i);
        add_node(out, id, plan->inputs[i].name, plan->inputs[i].type, ", shape=oval");
    }
    for (int i = 0; i < plan->n_stages; i++) {
        const struct sl_plan_stage *s = &plan->stages[i];
        snprintf(id, sizeof id, "s%d", i);
        add_node(out, id, s->name, s->use,
                 s->is_output      ? ", style=\"rounded,filled\", fillcolor=\"#dff0df\""
                 : s->retry.ignore ? ", style=\"rounded,dashed\""
                                   : "");
    }
}

int sl_render_dot(const struct sl_plan *plan, struct sl_str *out) {
    sl_str_add(out, "digraph ");
    add_quoted(out, plan->name);
    sl_str_add(out,
               " {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n"
               "  edge [fontname=\"sans-serif\", fontsize=10];\n");
    add_nodes(plan, out);
    for (int i = 0; i < plan->n_stages; i++)
        for (int k = 0; k < plan->stages[i].n_inputs; k++) {
            const struct sl_plan_input *in = &plan->stages[i].inputs[k];
            sl_str_addf(out, "  %s%d -> s%d [label=", in->from_stage < 0 ? "i" : "s",
                        in->from_stage < 0 ? in->from_port : in->from_stage, i);
            add_quoted(out, in->type);
            sl_str_add(out, "];\n");
        }
    sl_str_add(out, "}\n");
    return 0;
}

/*
 * Statements of a template. A loop has a scope of its own for each round, as in Jinja: what is set
 * inside does not last, which is why templates carry values out of loops in namespaces.
 */
#include <string.h>

#include "llm/template_node.h"

static bool set_in(struct lm_tpl_run *x, struct lm_tpl_scope *scope, struct lm_tpl_text name,
                   struct lm_tpl_value value) {
    for (struct lm_tpl_var *v = scope->vars; v; v = v->next) {
        if (v->name.len == name.len && memcmp(v->name.data, name.data, name.len) == 0) {
            v->value = value;
            return true;
        }
    }
    struct lm_tpl_var *v = lm_tpl_new(x, sizeof *v);
    if (!v)
        return false;
    *v = (struct lm_tpl_var){name, value, scope->vars};
    scope->vars = v;
    return true;
}

static void set_target(struct lm_tpl_run *x, const struct lm_tpl_node *target,
                       struct lm_tpl_value value) {
    if (target->kind == N_NAME) {
        set_in(x, x->scope, target->text, value);
        return;
    }
    struct lm_tpl_value of = lm_tpl_eval(x, target->a);
    if (x->status)
        return;
    x->at = target;
    if (of.kind == T_NAMESPACE)
        lm_tpl_dict_set(x, of.dict, (struct lm_tpl_value){.kind = T_STRING, .s = &target->text},
                        value);
    else
        lm_tpl_fail(x, SLUICE_INPUT, "attributes can be set of a namespace only, not of %s",
                    lm_tpl_type(of));
}

/* Gives `value` to the targets; several take its items. */
static void set_targets(struct lm_tpl_run *x, const struct lm_tpl_node *targets,
                        struct lm_tpl_value value) {
    if (!targets->next) {
        set_target(x, targets, value);
        return;
    }
    const struct lm_tpl_list *items = lm_tpl_items(x, value);
    size_t n = 0, i = 0;
    for (const struct lm_tpl_node *t = targets; t; t = t->next)
        n++;
    if (!x->status && items->n != n) {
        lm_tpl_fail(x, SLUICE_INPUT, "%zu values for %zu names", items->n, n);
        return;
    }
    for (; targets && !x->status; targets = targets->next)
        set_target(x, targets, items->items[i++]);
}

/* The text that a body prints. */
static struct lm_tpl_value capture(struct lm_tpl_run *x, const struct lm_tpl_node *body) {
    num_autobuf text = {0};
    struct num_buf *out = x->out;
    x->out = &text;
    lm_tpl_exec(x, body);
    x->out = out;
    return x->status ? LM_TPL_UNDEFINED : lm_tpl_take(x, &text);
}

/* Applies a chain of filters, whose innermost has no `a`, to a value. */
static struct lm_tpl_value apply(struct lm_tpl_run *x, const struct lm_tpl_node *filter,
                                 struct lm_tpl_value v) {
    struct lm_tpl_node literal = {.kind = N_LITERAL, .value = v};
    struct lm_tpl_node copies[16];
    size_t n = 0;
    for (const struct lm_tpl_node *f = filter; f; f = f->a) {
        if (n == sizeof copies / sizeof *copies)
            return lm_tpl_fail(x, SLUICE_UNSUPPORTED, "more than 16 filters on a block");
        copies[n] = *f;
        if (n > 0)
            copies[n - 1].a = &copies[n];
        n++;
    }
    copies[n - 1].a = &literal;
    return lm_tpl_eval(x, &copies[0]);
}

static void exec_set(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value v = n->a ? lm_tpl_eval(x, n->a) : capture(x, n->body);
    if (!x->status && n->b)
        v = apply(x, n->b, v);
    if (!x->status)
        set_targets(x, n->kids, v);
}

static void exec_if(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    for (const struct lm_tpl_node *branch = n->kids; branch && !x->status; branch = branch->next) {
        if (branch->a && !lm_tpl_truth(lm_tpl_eval(x, branch->a)))
            continue;
        lm_tpl_exec(x, branch->body);
        return;
    }
}

/* The items for which the loop's own condition holds. */
static const struct lm_tpl_list *filter_items(struct lm_tpl_run *x, const struct lm_tpl_node *n,
                                              const struct lm_tpl_list *all) {
    struct lm_tpl_scope scope = {.parent = x->scope}, *outer = x->scope;
    struct lm_tpl_value *items, v = lm_tpl_list(x, all->n, &items);
    size_t kept = 0;
    for (size_t i = 0; i < all->n && !x->status; i++) {
        scope.vars = NULL;
        x->scope = &scope;
        set_targets(x, n->kids, all->items[i]);
        if (!x->status && lm_tpl_truth(lm_tpl_eval(x, n->b)))
            items[kept++] = all->items[i];
        x->scope = outer;
    }
    if (x->status)
        return all;
    ((struct lm_tpl_list *)(uintptr_t)v.list)->n = kept;
    return v.list;
}

static void exec_for(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    static const struct lm_tpl_text loop_name = {"loop", 4};
    struct lm_tpl_scope scope = {.parent = x->scope}, *outer = x->scope;
    const struct lm_tpl_list *list = lm_tpl_items(x, lm_tpl_eval(x, n->a));
    if (n->b && !x->status)
        list = filter_items(x, n, list);
    struct lm_tpl_loop *loop = x->status ? NULL : lm_tpl_new(x, sizeof *loop);
    if (!loop)
        return;
    *loop = (struct lm_tpl_loop){.list = list};
    x->loops++;
    for (; loop->at < list->n && !x->status && x->flow != FLOW_BREAK; loop->at++) {
        scope.vars = NULL;
        x->scope = &scope;
        x->flow = FLOW_ON;
        lm_tpl_charge(x, 1);
        set_in(x, &scope, loop_name, (struct lm_tpl_value){.kind = T_LOOP, .loop = loop});
        if (!x->status)
            set_targets(x, n->kids, list->items[loop->at]);
        lm_tpl_exec(x, n->body);
    }
    x->flow = FLOW_ON;
    x->scope = outer;
    x->loops--;
    if (list->n == 0)
        lm_tpl_exec(x, n->else_body);
}

static void exec_jump(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    if (x->loops == 0)
        lm_tpl_fail(x, SLUICE_INPUT, "there is no loop to leave here");
    x->flow = n->kind == N_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
}

static void exec_one(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    switch (n->kind) {
    case N_TEXT:
        num_buf_add(x->out, n->text.data, n->text.len);
        break;
    case N_PRINT:
        lm_tpl_print(x, lm_tpl_eval(x, n->a), x->out);
        break;
    case N_IF:
        exec_if(x, n);
        break;
    case N_FOR:
        exec_for(x, n);
        break;
    case N_SET:
        exec_set(x, n);
        break;
    case N_MACRO:
        set_in(x, x->scope, n->text, (struct lm_tpl_value){.kind = T_MACRO, .macro = n});
        break;
    case N_FILTERED:
        lm_tpl_print(x, apply(x, n->a, capture(x, n->body)), x->out);
        break;
    case N_BODY:
        lm_tpl_exec(x, n->body);
        break;
    case N_BREAK:
    case N_CONTINUE:
        exec_jump(x, n);
        break;
    default:
        break;
    }
}

void lm_tpl_exec(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    if (x->status)
        return;
    if (x->depth >= LM_TPL_MAX_DEPTH) {
        lm_tpl_fail(x, SLUICE_RESOURCE, "nested more than %d deep", LM_TPL_MAX_DEPTH);
        return;
    }
    x->depth++;
    for (; n && lm_tpl_charge(x, 1) && x->flow == FLOW_ON; n = n->next) {
        x->at = n;
        exec_one(x, n);
        if (x->out->len > x->limits->max_output)
            lm_tpl_fail(x, SLUICE_RESOURCE, "its text is longer than %zu bytes",
                        x->limits->max_output);
    }
    x->depth--;
}

static void set_variables(struct lm_tpl_run *x, const json_t *variables) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)variables, name, value) {
        struct lm_tpl_text text = {name, strlen(name)};
        if (x->status)
            break;
        set_in(x, x->scope, text, lm_tpl_from_json(x, value));
    }
}

int32_t lm_template_render(const struct lm_template *t, const json_t *variables,
                           const struct lm_template_limits *limits, struct num_buf *out,
                           struct num_err *err) {
    num_autobuf text = {0};
    struct num_err spare;
    struct lm_tpl_scope outer = {0}, global = {.parent = &outer};
    struct lm_tpl_run x = {.t = t,
                           .arena = {.limit = limits->max_memory},
                           .scope = &outer,
                           .global = &global,
                           .out = &text,
                           .limits = limits,
                           .err = err ? err : &spare};
    set_variables(&x, variables);
    x.scope = &global;
    lm_tpl_exec(&x, t->body);
    lm_tpl_arena_finish(&x.arena);
    if (!x.status && text.failed)
        x.status = num_fail_memory(x.err, t->name, text.len);
    if (!x.status)
        num_buf_add(out, text.data, text.len);
    if (!x.status && out->failed)
        x.status = num_fail_memory(x.err, t->name, out->len);
    return x.status;
}

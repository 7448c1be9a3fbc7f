/*
 * Expressions of a template, evaluated by walking the tree: names, items and slices, calls. What
 * operators, filters and methods make of values is in files of their own.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "llm/template_node.h"
#include "num/unicode.h"

struct lm_tpl_value lm_tpl_fail(struct lm_tpl_run *x, int32_t status, const char *format, ...) {
    char text[400];
    va_list args;
    if (x->status)
        return LM_TPL_UNDEFINED;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    x->status = num_fail(x->err, status, "%s, line %u, column %u: %s", x->t->name,
                         x->at ? x->at->line : 1, x->at ? x->at->column : 1, text);
    return LM_TPL_UNDEFINED;
}

bool lm_tpl_charge(struct lm_tpl_run *x, uint64_t steps) {
    x->steps += steps;
    if (!x->status && x->steps > x->limits->max_steps)
        lm_tpl_fail(x, SLUICE_RESOURCE, "it takes more than %llu steps",
                    (unsigned long long)x->limits->max_steps);
    return !x->status;
}

void *lm_tpl_new(struct lm_tpl_run *x, size_t size) {
    if (!lm_tpl_charge(x, size / 256))
        return NULL;
    void *data = lm_tpl_alloc(&x->arena, size);
    if (!data)
        lm_tpl_fail(x, SLUICE_RESOURCE, "its values take more than %zu bytes of memory",
                    x->limits->max_memory);
    return data;
}

/* ---- Names ---- */

static struct lm_tpl_value function(struct lm_tpl_run *x, struct lm_tpl_text name) {
    static const char *const names[] = {"namespace", "range", "dict", "raise_exception",
                                        "strftime_now"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!lm_tpl_is(name, names[i]))
            continue;
        struct lm_tpl_bound *bound = lm_tpl_new(x, sizeof *bound);
        if (!bound)
            break;
        bound->name = name;
        return (struct lm_tpl_value){.kind = T_FUNCTION, .method = bound};
    }
    return LM_TPL_UNDEFINED;
}

static struct lm_tpl_value undefined(struct lm_tpl_run *x, struct lm_tpl_text name) {
    struct lm_tpl_text *missing = lm_tpl_new(x, sizeof *missing);
    if (missing)
        *missing = name;
    return (struct lm_tpl_value){.kind = T_UNDEFINED, .missing = missing};
}

static struct lm_tpl_value look_up(struct lm_tpl_run *x, struct lm_tpl_text name) {
    for (const struct lm_tpl_scope *s = x->scope; s; s = s->parent) {
        for (const struct lm_tpl_var *v = s->vars; v; v = v->next) {
            x->steps++;
            if (v->name.len == name.len && memcmp(v->name.data, name.data, name.len) == 0)
                return v->value;
        }
    }
    struct lm_tpl_value v = function(x, name);
    return v.kind == T_UNDEFINED ? undefined(x, name) : v;
}

/* ---- Attributes, items, slices ---- */

static struct lm_tpl_value fail_undefined(struct lm_tpl_run *x, struct lm_tpl_value v,
                                          const char *what) {
    struct lm_tpl_text name = v.missing ? *v.missing : (struct lm_tpl_text){"a value", 7};
    return lm_tpl_fail(x, SLUICE_INPUT, "%.*s is undefined and has no %s",
                       (int)(name.len < 60 ? name.len : 60), name.data, what);
}

static struct lm_tpl_value list_item(struct lm_tpl_run *x, const struct lm_tpl_list *list,
                                     struct lm_tpl_value key) {
    int64_t i = key.kind == T_BOOL ? key.b : key.i, n = (int64_t)list->n;
    (void)x;
    if (i < 0)
        i += n;
    return i >= 0 && i < n ? list->items[i] : LM_TPL_UNDEFINED;
}

static struct lm_tpl_value text_item(struct lm_tpl_run *x, struct lm_tpl_text s, int64_t i) {
    int64_t n = (int64_t)lm_tpl_length(s);
    lm_tpl_charge(x, s.len / 64);
    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return LM_TPL_UNDEFINED;
    size_t at = lm_tpl_offset(s, (size_t)i), step;
    num_char_next(s.data + at, s.len - at, &step);
    return lm_tpl_borrow(x, s.data + at, step);
}

static struct lm_tpl_value eval_attr(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value v = lm_tpl_eval(x, n->a);
    if (x->status)
        return v;
    x->at = n;
    if (v.kind == T_UNDEFINED)
        return fail_undefined(x, v, "attributes");
    struct lm_tpl_value found = lm_tpl_attribute(x, v, n->text);
    if (found.kind != T_UNDEFINED || (v.kind != T_DICT && v.kind != T_NAMESPACE) || x->status)
        return found.kind == T_UNDEFINED ? undefined(x, n->text) : found;
    struct lm_tpl_value key = {.kind = T_STRING, .s = &n->text};
    const struct lm_tpl_value *item = lm_tpl_dict_find(x, v.dict, key);
    return item ? *item : undefined(x, n->text);
}

static struct lm_tpl_value eval_item(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value v = lm_tpl_eval(x, n->a), key = lm_tpl_eval(x, n->b);
    const struct lm_tpl_value *found = NULL;
    if (x->status)
        return v;
    x->at = n;
    if (v.kind == T_UNDEFINED)
        return fail_undefined(x, v, "items");
    bool number = key.kind == T_INT || key.kind == T_BOOL;
    if (v.kind == T_LIST && number)
        return list_item(x, v.list, key);
    if (v.kind == T_STRING && number)
        return text_item(x, *v.s, key.kind == T_INT ? key.i : key.b);
    if (v.kind == T_DICT || v.kind == T_NAMESPACE)
        found = lm_tpl_dict_find(x, v.dict, key);
    if (found || x->status)
        return found ? *found : v;
    return key.kind == T_STRING ? lm_tpl_attribute(x, v, *key.s) : LM_TPL_UNDEFINED;
}

/* One bound of a slice as Python counts it, within [low, high]. */
static int64_t bound(struct lm_tpl_run *x, struct lm_tpl_value v, int64_t otherwise, int64_t n,
                     int64_t low, int64_t high) {
    if (v.kind == T_NONE)
        return otherwise;
    if (v.kind != T_INT) {
        lm_tpl_fail(x, SLUICE_INPUT, "%s cannot be a bound of a slice", lm_tpl_type(v));
        return otherwise;
    }
    int64_t i = v.i < 0 ? (v.i < -n ? low : v.i + n) : v.i;
    return i < low ? low : i > high ? high : i;
}

static struct lm_tpl_value slice_list(struct lm_tpl_run *x, const struct lm_tpl_list *list,
                                      int64_t begin, int64_t end, int64_t step) {
    struct lm_tpl_value *items;
    size_t n = 0;
    for (int64_t i = begin; step > 0 ? i < end : i > end; i += step)
        n++;
    struct lm_tpl_value v = lm_tpl_list(x, n, &items);
    for (size_t i = 0; i < n && !x->status; i++)
        items[i] = list->items[begin + (int64_t)i * step];
    if (!x->status)
        ((struct lm_tpl_list *)(uintptr_t)v.list)->is_tuple = list->is_tuple;
    return v;
}

static struct lm_tpl_value join_items(struct lm_tpl_run *x, const struct lm_tpl_list *list) {
    num_autobuf out = {0};
    for (size_t i = 0; i < list->n; i++)
        num_buf_add(&out, list->items[i].s->data, list->items[i].s->len);
    return lm_tpl_take(x, &out);
}

static struct lm_tpl_value eval_slice(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value v = lm_tpl_eval(x, n->a), bounds[3], sliced;
    const struct lm_tpl_node *kid = n->kids;
    for (int i = 0; i < 3; i++, kid = kid->next)
        bounds[i] = lm_tpl_eval(x, kid);
    if (x->status)
        return v;
    x->at = n;
    if (v.kind != T_LIST && v.kind != T_STRING)
        return lm_tpl_fail(x, SLUICE_INPUT, "%s cannot be sliced", lm_tpl_type(v));
    int64_t step = bounds[2].kind == T_INT ? bounds[2].i : 1;
    if (step == 0 || step > INT32_MAX || step < -INT32_MAX)
        return lm_tpl_fail(x, SLUICE_INPUT, "the step of a slice cannot be %lld", (long long)step);
    if (v.kind == T_STRING && step == 1) { /* the common case, without a list */
        int64_t length = (int64_t)lm_tpl_length(*v.s);
        int64_t begin = bound(x, bounds[0], 0, length, 0, length);
        int64_t end = bound(x, bounds[1], length, length, 0, length);
        lm_tpl_charge(x, v.s->len / 64);
        size_t from = lm_tpl_offset(*v.s, (size_t)begin), to = lm_tpl_offset(*v.s, (size_t)end);
        return lm_tpl_borrow(x, v.s->data + from, to > from ? to - from : 0);
    }
    const struct lm_tpl_list *list = lm_tpl_items(x, v);
    int64_t length = (int64_t)list->n, low = step > 0 ? 0 : -1,
            high = step > 0 ? length : length - 1;
    int64_t begin = bound(x, bounds[0], step > 0 ? 0 : length - 1, length, low, high);
    int64_t end = bound(x, bounds[1], step > 0 ? length : -1, length, low, high);
    if (x->status)
        return v;
    sliced = slice_list(x, list, begin, end, step);
    return v.kind == T_STRING && !x->status ? join_items(x, sliced.list) : sliced;
}

/* ---- Operators ---- */

static struct lm_tpl_value eval_binary(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value a = lm_tpl_eval(x, n->a), b = lm_tpl_eval(x, n->b);
    x->at = n;
    return x->status ? a : lm_tpl_binary(x, n->op, a, b);
}

static struct lm_tpl_value eval_compare(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value left = lm_tpl_eval(x, n->a);
    bool result = true;
    for (const struct lm_tpl_node *kid = n->kids; kid && result && !x->status; kid = kid->next) {
        struct lm_tpl_value right = lm_tpl_eval(x, kid->a);
        x->at = kid;
        result = !x->status && lm_tpl_holds(x, kid->op, left, right);
        left = right;
    }
    return LM_TPL_BOOL(result);
}

static struct lm_tpl_value eval_sign(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value v = lm_tpl_eval(x, n->a);
    x->at = n;
    return x->status ? v : lm_tpl_signed(x, n->op, v);
}

/* ---- Lists, dicts, calls ---- */

static struct lm_tpl_value eval_list(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value *items, v;
    size_t count = 0, i = 0;
    for (const struct lm_tpl_node *kid = n->kids; kid; kid = kid->next)
        count++;
    v = lm_tpl_list(x, count, &items);
    for (const struct lm_tpl_node *kid = n->kids; kid && !x->status; kid = kid->next)
        items[i++] = lm_tpl_eval(x, kid);
    if (!x->status)
        ((struct lm_tpl_list *)(uintptr_t)v.list)->is_tuple = n->kind == N_TUPLE;
    return v;
}

static struct lm_tpl_value eval_dict(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value v = lm_tpl_dict(x);
    for (const struct lm_tpl_node *kid = n->kids; kid && !x->status; kid = kid->next->next) {
        struct lm_tpl_value key = lm_tpl_eval(x, kid), value = lm_tpl_eval(x, kid->next);
        if (!x->status)
            lm_tpl_dict_set(x, v.dict, key, value);
    }
    return v;
}

bool lm_tpl_args_eval(struct lm_tpl_run *x, const struct lm_tpl_node *kids,
                      struct lm_tpl_args *ret) {
    ret->n = ret->n_positional = 0;
    for (; kids && !x->status; kids = kids->next) {
        if (ret->n == LM_TPL_MAX_ARGS) {
            lm_tpl_fail(x, SLUICE_UNSUPPORTED, "more than %d arguments", LM_TPL_MAX_ARGS);
            break;
        }
        ret->items[ret->n] = lm_tpl_eval(x, kids->a);
        ret->names[ret->n++] = kids->text;
        if (kids->text.len == 0)
            ret->n_positional = ret->n;
    }
    return !x->status;
}

struct lm_tpl_value lm_tpl_arg(const struct lm_tpl_args *args, size_t index, const char *name) {
    size_t seen = 0;
    for (size_t i = 0; i < args->n; i++) {
        bool positional = args->names[i].len == 0;
        if (positional ? seen++ == index : name && lm_tpl_is(args->names[i], name))
            return args->items[i];
    }
    return LM_TPL_UNDEFINED;
}

static bool define(struct lm_tpl_run *x, struct lm_tpl_scope *scope, struct lm_tpl_text name,
                   struct lm_tpl_value value) {
    struct lm_tpl_var *v = lm_tpl_new(x, sizeof *v);
    if (!v)
        return false;
    *v = (struct lm_tpl_var){name, value, scope->vars};
    scope->vars = v;
    return true;
}

/* Calls a macro: its parameters are variables of a scope above the template's own. */
static struct lm_tpl_value call_macro(struct lm_tpl_run *x, const struct lm_tpl_node *macro,
                                      const struct lm_tpl_args *args) {
    struct lm_tpl_scope scope = {.parent = x->global}, *outer = x->scope;
    num_autobuf text = {0};
    struct num_buf *out = x->out;
    size_t index = 0;
    for (const struct lm_tpl_node *p = macro->kids; p && !x->status; p = p->next, index++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(p->text.len < 63 ? p->text.len : 63),
                 p->text.data);
        struct lm_tpl_value v = lm_tpl_arg(args, index, name);
        x->scope = &scope;
        if (v.kind == T_UNDEFINED && p->a)
            v = lm_tpl_eval(x, p->a);
        define(x, &scope, p->text, v);
        x->scope = outer;
    }
    if (args->n_positional > index)
        return lm_tpl_fail(x, SLUICE_INPUT, "the macro %.*s takes %zu arguments",
                           (int)(macro->text.len < 60 ? macro->text.len : 60), macro->text.data,
                           index);
    uint32_t loops = x->loops;
    x->scope = &scope;
    x->out = &text;
    x->loops = 0;
    lm_tpl_exec(x, macro->body);
    x->scope = outer;
    x->out = out;
    x->loops = loops;
    return x->status ? LM_TPL_UNDEFINED : lm_tpl_take(x, &text);
}

static struct lm_tpl_value eval_call(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_args args;
    struct lm_tpl_value v = lm_tpl_eval(x, n->a);
    if (x->status || !lm_tpl_args_eval(x, n->kids, &args))
        return LM_TPL_UNDEFINED;
    x->at = n;
    switch (v.kind) {
    case T_MACRO:
        return call_macro(x, v.macro, &args);
    case T_FUNCTION:
        return lm_tpl_call_function(x, v.method, &args);
    case T_METHOD:
        return lm_tpl_call_method(x, v.method, &args);
    case T_UNDEFINED:
        if (v.missing)
            return lm_tpl_fail(x, SLUICE_UNSUPPORTED, "there is no function or method `%.*s`",
                               (int)(v.missing->len < 60 ? v.missing->len : 60), v.missing->data);
        /* fall through */
    default:
        return lm_tpl_fail(x, SLUICE_INPUT, "%s cannot be called", lm_tpl_type(v));
    }
}

/* ---- Filters and tests ---- */

static void name_of(const struct lm_tpl_node *n, char ret[64]) {
    snprintf(ret, 64, "%.*s", (int)(n->text.len < 63 ? n->text.len : 63), n->text.data);
}

static struct lm_tpl_value eval_filter(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_args args;
    char name[64];
    struct lm_tpl_value v = lm_tpl_eval(x, n->a);
    if (x->status || !lm_tpl_args_eval(x, n->kids, &args))
        return LM_TPL_UNDEFINED;
    x->at = n;
    name_of(n, name);
    return lm_tpl_filter(x, name, v, &args);
}

static struct lm_tpl_value eval_test(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_args args;
    char name[64];
    struct lm_tpl_value v = lm_tpl_eval(x, n->a);
    if (x->status || !lm_tpl_args_eval(x, n->kids, &args))
        return LM_TPL_UNDEFINED;
    x->at = n;
    name_of(n, name);
    v = lm_tpl_test(x, name, v, &args);
    return LM_TPL_BOOL(lm_tpl_truth(v) != n->negate);
}

static struct lm_tpl_value eval(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    struct lm_tpl_value v;
    switch (n->kind) {
    case N_LITERAL:
        return n->value;
    case N_NAME:
        return look_up(x, n->text);
    case N_LIST:
    case N_TUPLE:
        return eval_list(x, n);
    case N_DICT:
        return eval_dict(x, n);
    case N_ATTR:
        return eval_attr(x, n);
    case N_ITEM:
        return eval_item(x, n);
    case N_SLICE:
        return eval_slice(x, n);
    case N_CALL:
        return eval_call(x, n);
    case N_FILTER:
        return eval_filter(x, n);
    case N_TEST:
        return eval_test(x, n);
    case N_NOT:
        return LM_TPL_BOOL(!lm_tpl_truth(lm_tpl_eval(x, n->a)));
    case N_SIGN:
        return eval_sign(x, n);
    case N_BINARY:
        return eval_binary(x, n);
    case N_COMPARE:
        return eval_compare(x, n);
    case N_AND:
        v = lm_tpl_eval(x, n->a);
        return lm_tpl_truth(v) ? lm_tpl_eval(x, n->b) : v;
    case N_OR:
        v = lm_tpl_eval(x, n->a);
        return lm_tpl_truth(v) ? v : lm_tpl_eval(x, n->b);
    case N_IF_ELSE:
        v = lm_tpl_eval(x, n->b);
        return lm_tpl_truth(v) ? lm_tpl_eval(x, n->a)
               : n->c          ? lm_tpl_eval(x, n->c)
                               : LM_TPL_UNDEFINED;
    default:
        return LM_TPL_UNDEFINED;
    }
}

struct lm_tpl_value lm_tpl_eval(struct lm_tpl_run *x, const struct lm_tpl_node *n) {
    if (!lm_tpl_charge(x, 1))
        return LM_TPL_UNDEFINED;
    x->at = n;
    if (x->depth >= LM_TPL_MAX_DEPTH)
        return lm_tpl_fail(x, SLUICE_RESOURCE, "nested more than %d deep", LM_TPL_MAX_DEPTH);
    x->depth++;
    struct lm_tpl_value v = eval(x, n);
    x->depth--;
    return v;
}

/*
 * Attributes and methods of values, and the global functions of a template. The methods of strings
 * are in template_string.c.
 */
#include <stdio.h>
#include <time.h>

#include "llm/template_node.h"

typedef struct lm_tpl_value value;

/* ---- Methods of dicts and lists ---- */

static value pair(struct lm_tpl_run *x, value a, value b) {
    value *items, v = lm_tpl_list(x, 2, &items);
    if (x->status)
        return v;
    items[0] = a;
    items[1] = b;
    ((struct lm_tpl_list *)(uintptr_t)v.list)->is_tuple = true;
    return v;
}

static value dict_call(struct lm_tpl_run *x, const struct lm_tpl_dict *d, struct lm_tpl_text name,
                       const struct lm_tpl_args *args) {
    value *items, list;
    if (lm_tpl_is(name, "get")) {
        const value *found = lm_tpl_dict_find(x, d, lm_tpl_arg(args, 0, NULL));
        value otherwise = lm_tpl_arg(args, 1, NULL);
        return found ? *found : otherwise.kind == T_UNDEFINED ? LM_TPL_NONE : otherwise;
    }
    list = lm_tpl_list(x, d->n, &items);
    for (size_t i = 0; i < d->n && !x->status; i++)
        items[i] = lm_tpl_is(name, "keys")     ? d->items[i].key
                   : lm_tpl_is(name, "values") ? d->items[i].value
                                               : pair(x, d->items[i].key, d->items[i].value);
    return list;
}

static value list_call(struct lm_tpl_run *x, const struct lm_tpl_list *list,
                       struct lm_tpl_text name, const struct lm_tpl_args *args) {
    value wanted = lm_tpl_arg(args, 0, NULL);
    int64_t n = 0;
    for (size_t i = 0; i < list->n && lm_tpl_charge(x, 1); i++) {
        bool equal = lm_tpl_equal(x, list->items[i], wanted);
        if (equal && lm_tpl_is(name, "index"))
            return LM_TPL_INT((int64_t)i);
        n += equal;
    }
    if (lm_tpl_is(name, "index"))
        return lm_tpl_fail(x, SLUICE_INPUT, "index(): it is not in the list");
    return LM_TPL_INT(n);
}

static value loop_call(struct lm_tpl_run *x, const struct lm_tpl_loop *loop,
                       const struct lm_tpl_args *args) {
    (void)x;
    return args->n ? args->items[loop->at % args->n] : LM_TPL_UNDEFINED;
}

static bool has_method(value v, struct lm_tpl_text name) {
    static const char *const of_dicts[] = {"get", "items", "keys", "values"};
    static const char *const of_lists[] = {"index", "count"};
    if (v.kind == T_STRING)
        return lm_tpl_has_string_method(name);
    for (size_t i = 0; v.kind == T_DICT && i < sizeof of_dicts / sizeof *of_dicts; i++)
        if (lm_tpl_is(name, of_dicts[i]))
            return true;
    for (size_t i = 0; v.kind == T_LIST && i < sizeof of_lists / sizeof *of_lists; i++)
        if (lm_tpl_is(name, of_lists[i]))
            return true;
    return v.kind == T_LOOP && lm_tpl_is(name, "cycle");
}

static value loop_attribute(const struct lm_tpl_loop *loop, struct lm_tpl_text name) {
    int64_t at = (int64_t)loop->at, n = (int64_t)loop->list->n;
    const struct {
        const char *name;
        value v;
    } attributes[] = {
        {"index", LM_TPL_INT(at + 1)},
        {"index0", LM_TPL_INT(at)},
        {"first", LM_TPL_BOOL(at == 0)},
        {"last", LM_TPL_BOOL(at == n - 1)},
        {"length", LM_TPL_INT(n)},
        {"revindex", LM_TPL_INT(n - at)},
        {"revindex0", LM_TPL_INT(n - at - 1)},
        {"depth", LM_TPL_INT(1)}, /* counts recursive loops, which there are none of */
        {"depth0", LM_TPL_INT(0)},
        {"previtem", at > 0 ? loop->list->items[at - 1] : LM_TPL_UNDEFINED},
        {"nextitem", at + 1 < n ? loop->list->items[at + 1] : LM_TPL_UNDEFINED},
    };
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (lm_tpl_is(name, attributes[i].name))
            return attributes[i].v;
    return LM_TPL_UNDEFINED;
}

value lm_tpl_attribute(struct lm_tpl_run *x, value v, struct lm_tpl_text name) {
    if (v.kind == T_LOOP && !lm_tpl_is(name, "cycle"))
        return loop_attribute(v.loop, name);
    if (!has_method(v, name))
        return LM_TPL_UNDEFINED;
    struct lm_tpl_bound *bound = lm_tpl_new(x, sizeof *bound);
    if (!bound)
        return LM_TPL_UNDEFINED;
    *bound = (struct lm_tpl_bound){v, name};
    return (value){.kind = T_METHOD, .method = bound};
}

value lm_tpl_call_method(struct lm_tpl_run *x, const struct lm_tpl_bound *m,
                         const struct lm_tpl_args *args) {
    if (m->self.kind == T_DICT)
        return dict_call(x, m->self.dict, m->name, args);
    if (m->self.kind == T_LIST)
        return list_call(x, m->self.list, m->name, args);
    if (m->self.kind == T_LOOP)
        return loop_call(x, m->self.loop, args);
    return lm_tpl_call_string_method(x, *m->self.s, m->name, args);
}

/* ---- Functions ---- */

static value make_dict(struct lm_tpl_run *x, const struct lm_tpl_args *args,
                       enum lm_tpl_kind kind) {
    value v = lm_tpl_dict(x), from = lm_tpl_arg(args, 0, NULL);
    for (size_t i = 0; from.kind == T_DICT && i < from.dict->n && !x->status; i++)
        lm_tpl_dict_set(x, v.dict, from.dict->items[i].key, from.dict->items[i].value);
    for (size_t i = 0; i < args->n && !x->status; i++)
        if (args->names[i].len)
            lm_tpl_dict_set(x, v.dict, lm_tpl_borrow(x, args->names[i].data, args->names[i].len),
                            args->items[i]);
    v.kind = x->status ? T_UNDEFINED : kind;
    return v;
}

static value make_range(struct lm_tpl_run *x, const struct lm_tpl_args *args) {
    for (size_t i = 0; i < args->n; i++)
        if (args->items[i].kind != T_INT)
            return lm_tpl_fail(x, SLUICE_INPUT, "range() needs integers, found %s",
                               lm_tpl_type(args->items[i]));
    int64_t first = args->n > 1 ? args->items[0].i : 0, step = args->n > 2 ? args->items[2].i : 1;
    int64_t end = args->n > 1 ? args->items[1].i : args->n ? args->items[0].i : 0;
    const int64_t most = INT64_C(1) << 40;
    if (step == 0 || first < -most || first > most || end < -most || end > most || step < -most ||
        step > most)
        return lm_tpl_fail(x, SLUICE_INPUT, "range(): such numbers are not supported");
    int64_t n = step > 0 ? (end - first + step - 1) / step : (first - end - step - 1) / -step;
    value *items, list = lm_tpl_list(x, n > 0 ? (size_t)n : 0, &items);
    for (int64_t i = 0; i < n && !x->status; i++)
        items[i] = LM_TPL_INT(first + i * step);
    return list;
}

static value raise_exception(struct lm_tpl_run *x, const struct lm_tpl_args *args) {
    value v = lm_tpl_to_string(x, lm_tpl_arg(args, 0, NULL));
    if (x->status)
        return v;
    return lm_tpl_fail(x, SLUICE_INPUT, "the template says: %.*s",
                       (int)(v.s->len < 300 ? v.s->len : 300), v.s->data);
}

static value strftime_now(struct lm_tpl_run *x, const struct lm_tpl_args *args) {
    value v = lm_tpl_arg(args, 0, NULL);
    char format[128], text[256];
    struct tm tm;
    time_t now = (time_t)x->limits->now;
    if (v.kind != T_STRING || v.s->len >= sizeof format)
        return lm_tpl_fail(x, SLUICE_INPUT, "strftime_now() needs a short format");
    snprintf(format, sizeof format, "%.*s", (int)v.s->len, v.s->data);
    if (!localtime_r(&now, &tm))
        return lm_tpl_fail(x, SLUICE_INPUT, "strftime_now(): there is no such time");
    size_t len = strftime(text, sizeof text, format, &tm);
    return lm_tpl_string(x, text, len);
}

value lm_tpl_call_function(struct lm_tpl_run *x, const struct lm_tpl_bound *f,
                           const struct lm_tpl_args *args) {
    if (lm_tpl_is(f->name, "namespace"))
        return make_dict(x, args, T_NAMESPACE);
    if (lm_tpl_is(f->name, "dict"))
        return make_dict(x, args, T_DICT);
    if (lm_tpl_is(f->name, "range"))
        return make_range(x, args);
    if (lm_tpl_is(f->name, "strftime_now"))
        return strftime_now(x, args);
    return raise_exception(x, args);
}

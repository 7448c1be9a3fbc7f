/* Filters and tests of a template, by two tables. Names and results are Jinja's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "llm/template_node.h"
#include "num/unicode.h"

typedef struct lm_tpl_value value;
typedef const struct lm_tpl_args args;

/* A method of strings, used as a filter on the value's text. */
static value by_method(struct lm_tpl_run *x, value v, const char *name, args *a) {
    struct lm_tpl_bound m = {lm_tpl_to_string(x, v), {name, strlen(name)}};
    return x->status ? LM_TPL_UNDEFINED : lm_tpl_call_method(x, &m, a);
}

static value f_trim(struct lm_tpl_run *x, value v, args *a) {
    return by_method(x, v, "strip", a);
}
static value f_upper(struct lm_tpl_run *x, value v, args *a) {
    return by_method(x, v, "upper", a);
}
static value f_lower(struct lm_tpl_run *x, value v, args *a) {
    return by_method(x, v, "lower", a);
}
static value f_title(struct lm_tpl_run *x, value v, args *a) {
    return by_method(x, v, "title", a);
}
static value f_capitalize(struct lm_tpl_run *x, value v, args *a) {
    return by_method(x, v, "capitalize", a);
}
static value f_replace(struct lm_tpl_run *x, value v, args *a) {
    return by_method(x, v, "replace", a);
}

static value f_string(struct lm_tpl_run *x, value v, args *a) {
    (void)a;
    return lm_tpl_to_string(x, v);
}

static value f_same(struct lm_tpl_run *x, value v, args *a) {
    (void)x, (void)a;
    return v;
}

static value f_length(struct lm_tpl_run *x, value v, args *a) {
    (void)a;
    switch (v.kind) {
    case T_STRING:
        lm_tpl_charge(x, v.s->len / 64);
        return LM_TPL_INT((int64_t)lm_tpl_length(*v.s));
    case T_LIST:
        return LM_TPL_INT((int64_t)v.list->n);
    case T_DICT:
        return LM_TPL_INT((int64_t)v.dict->n);
    case T_UNDEFINED:
        return LM_TPL_INT(0);
    default:
        return lm_tpl_fail(x, SLUICE_INPUT, "%s has no length", lm_tpl_type(v));
    }
}

static value f_default(struct lm_tpl_run *x, value v, args *a) {
    (void)x;
    bool falsy = lm_tpl_truth(lm_tpl_arg(a, 1, "boolean")) && !lm_tpl_truth(v);
    value otherwise = lm_tpl_arg(a, 0, "default_value");
    if (v.kind != T_UNDEFINED && !falsy)
        return v;
    return otherwise.kind == T_UNDEFINED ? lm_tpl_borrow(x, "", 0) : otherwise;
}

static value f_int(struct lm_tpl_run *x, value v, args *a) {
    value otherwise = lm_tpl_arg(a, 0, "default");
    if (v.kind == T_STRING) {
        char text[64], *end;
        size_t skip, len = num_text_trim(v.s->data, v.s->len, &skip);
        if (len > 0 && len < sizeof text) {
            memcpy(text, v.s->data + skip, len);
            text[len] = '\0';
            long long i = strtoll(text, &end, 10);
            if (*end == '\0')
                return LM_TPL_INT(i);
            v = LM_TPL_FLOAT(strtod(text, &end));
            if (*end != '\0')
                v = LM_TPL_UNDEFINED;
        } else {
            v = LM_TPL_UNDEFINED;
        }
    }
    if (!lm_tpl_is_number(v) || !(fabs(lm_tpl_number(v)) < 9.2e18))
        return otherwise.kind == T_UNDEFINED ? LM_TPL_INT(0) : otherwise;
    (void)x;
    return v.kind == T_INT ? v : LM_TPL_INT((int64_t)lm_tpl_number(v));
}

static value f_float(struct lm_tpl_run *x, value v, args *a) {
    value otherwise = lm_tpl_arg(a, 0, "default");
    char text[64], *end;
    (void)x;
    if (lm_tpl_is_number(v))
        return LM_TPL_FLOAT(lm_tpl_number(v));
    if (v.kind == T_STRING && v.s->len > 0 && v.s->len < sizeof text) {
        memcpy(text, v.s->data, v.s->len);
        text[v.s->len] = '\0';
        double f = strtod(text, &end);
        if (*end == '\0')
            return LM_TPL_FLOAT(f);
    }
    return otherwise.kind == T_UNDEFINED ? LM_TPL_FLOAT(0) : otherwise;
}

static value f_abs(struct lm_tpl_run *x, value v, args *a) {
    (void)a;
    if (!lm_tpl_is_number(v) || (v.kind == T_INT && v.i == INT64_MIN))
        return lm_tpl_fail(x, SLUICE_INPUT, "abs: %s", lm_tpl_type(v));
    return v.kind == T_FLOAT ? LM_TPL_FLOAT(fabs(v.f))
                             : LM_TPL_INT(llabs(v.kind == T_INT ? v.i : v.b));
}

static value f_tojson(struct lm_tpl_run *x, value v, args *a) {
    num_autobuf out = {0};
    value indent = lm_tpl_arg(a, 0, "indent"), separators = lm_tpl_arg(a, 2, "separators");
    struct lm_tpl_json_style style = {.indent = -1, .item = {", ", 2}, .key = {": ", 2}};
    style.ascii = lm_tpl_truth(lm_tpl_arg(a, 99, "ensure_ascii"));
    style.sort = lm_tpl_truth(lm_tpl_arg(a, 99, "sort_keys"));
    if (indent.kind == T_INT && indent.i >= 0 && indent.i <= 64) {
        style.indent = (int)indent.i;
        style.item.len = 1;
    }
    if (separators.kind == T_LIST && separators.list->n == 2 &&
        separators.list->items[0].kind == T_STRING && separators.list->items[1].kind == T_STRING) {
        style.item = *separators.list->items[0].s;
        style.key = *separators.list->items[1].s;
    }
    lm_tpl_json(x, v, &style, 0, &out);
    return x->status ? LM_TPL_UNDEFINED : lm_tpl_take(x, &out);
}

/* ---- Of lists ---- */

static value f_list(struct lm_tpl_run *x, value v, args *a) {
    (void)a;
    const struct lm_tpl_list *list = lm_tpl_items(x, v);
    value *items, copy = lm_tpl_list(x, list->n, &items);
    if (!x->status && list->n)
        memcpy(items, list->items, list->n * sizeof *items);
    return copy;
}

static value f_first(struct lm_tpl_run *x, value v, args *a) {
    (void)a;
    const struct lm_tpl_list *list = lm_tpl_items(x, v);
    return list->n ? list->items[0] : LM_TPL_UNDEFINED;
}

static value f_last(struct lm_tpl_run *x, value v, args *a) {
    (void)a;
    const struct lm_tpl_list *list = lm_tpl_items(x, v);
    return list->n ? list->items[list->n - 1] : LM_TPL_UNDEFINED;
}

static value f_reverse(struct lm_tpl_run *x, value v, args *a) {
    value copy = f_list(x, v, a);
    num_autobuf out = {0};
    if (x->status)
        return copy;
    value *items = copy.list->items;
    size_t n = copy.list->n;
    for (size_t i = 0; i < n / 2; i++) {
        value other = items[i];
        items[i] = items[n - 1 - i];
        items[n - 1 - i] = other;
    }
    if (v.kind != T_STRING)
        return copy;
    for (size_t i = 0; i < n; i++)
        num_buf_add(&out, items[i].s->data, items[i].s->len);
    return lm_tpl_take(x, &out);
}

/* An attribute or item by name, of what map and the like are asked for. */
static value member(struct lm_tpl_run *x, value of, value name) {
    if (name.kind == T_INT && of.kind == T_LIST)
        return name.i >= 0 && (size_t)name.i < of.list->n ? of.list->items[name.i]
                                                          : LM_TPL_UNDEFINED;
    if (name.kind != T_STRING)
        return LM_TPL_UNDEFINED;
    const value *found =
        of.kind == T_DICT || of.kind == T_NAMESPACE ? lm_tpl_dict_find(x, of.dict, name) : NULL;
    return found ? *found : lm_tpl_attribute(x, of, *name.s);
}

static value f_join(struct lm_tpl_run *x, value v, args *a) {
    const struct lm_tpl_list *list = lm_tpl_items(x, v);
    value between = lm_tpl_to_string(x, lm_tpl_arg(a, 0, "d")),
          attribute = lm_tpl_arg(a, 1, "attribute");
    num_autobuf out = {0};
    for (size_t i = 0; i < list->n && lm_tpl_charge(x, 1); i++) {
        value item =
            attribute.kind == T_UNDEFINED ? list->items[i] : member(x, list->items[i], attribute);
        if (i)
            num_buf_add(&out, between.s->data, between.s->len);
        lm_tpl_print(x, item, &out);
        if (out.len > x->limits->max_memory)
            return lm_tpl_fail(x, SLUICE_RESOURCE, "a text is too long");
    }
    return x->status ? LM_TPL_UNDEFINED : lm_tpl_take(x, &out);
}

/* The arguments behind the first `skip`. */
static struct lm_tpl_args rest(args *a, size_t skip) {
    struct lm_tpl_args r = {0};
    for (size_t i = skip; i < a->n; i++) {
        r.items[r.n] = a->items[i];
        r.names[r.n++] = a->names[i];
    }
    r.n_positional = r.n;
    return r;
}

static bool name_arg(struct lm_tpl_run *x, args *a, size_t i, char ret[64]) {
    value v = lm_tpl_arg(a, i, NULL);
    if (v.kind != T_STRING || v.s->len > 63) {
        lm_tpl_fail(x, SLUICE_INPUT, "the name of a filter or test is missing");
        return false;
    }
    memcpy(ret, v.s->data, v.s->len);
    ret[v.s->len] = '\0';
    return true;
}

static value f_map(struct lm_tpl_run *x, value v, args *a) {
    char name[64];
    value attribute = lm_tpl_arg(a, 99, "attribute"), otherwise = lm_tpl_arg(a, 99, "default");
    const struct lm_tpl_list *list = lm_tpl_items(x, v);
    struct lm_tpl_args more = rest(a, 1);
    value *items, mapped = lm_tpl_list(x, list->n, &items);
    if (x->status || (attribute.kind == T_UNDEFINED && !name_arg(x, a, 0, name)))
        return LM_TPL_UNDEFINED;
    for (size_t i = 0; i < list->n && lm_tpl_charge(x, 1); i++) {
        if (attribute.kind == T_UNDEFINED)
            items[i] = lm_tpl_filter(x, name, list->items[i], &more);
        else
            items[i] = member(x, list->items[i], attribute);
        if (items[i].kind == T_UNDEFINED)
            items[i] = otherwise;
    }
    return mapped;
}

/* select, reject, selectattr, rejectattr: items (or an attribute of each) that pass a test or
 * not. */
static value choose(struct lm_tpl_run *x, value v, args *a, bool by_attribute, bool wanted) {
    char name[64] = "";
    const struct lm_tpl_list *list = lm_tpl_items(x, v);
    size_t test = by_attribute ? 1 : 0;
    struct lm_tpl_args more = rest(a, a->n > test + 1 ? test + 1 : a->n);
    value *items, chosen = lm_tpl_list(x, list->n, &items);
    size_t n = 0;
    if (x->status || (a->n > test && !name_arg(x, a, test, name)))
        return LM_TPL_UNDEFINED;
    for (size_t i = 0; i < list->n && lm_tpl_charge(x, 1); i++) {
        value item =
            by_attribute ? member(x, list->items[i], lm_tpl_arg(a, 0, NULL)) : list->items[i];
        bool passes = lm_tpl_truth(*name ? lm_tpl_test(x, name, item, &more) : item);
        if (passes == wanted)
            items[n++] = list->items[i];
    }
    if (!x->status)
        ((struct lm_tpl_list *)(uintptr_t)chosen.list)->n = n;
    return chosen;
}

static value f_select(struct lm_tpl_run *x, value v, args *a) {
    return choose(x, v, a, false, true);
}
static value f_reject(struct lm_tpl_run *x, value v, args *a) {
    return choose(x, v, a, false, false);
}
static value f_selectattr(struct lm_tpl_run *x, value v, args *a) {
    return choose(x, v, a, true, true);
}
static value f_rejectattr(struct lm_tpl_run *x, value v, args *a) {
    return choose(x, v, a, true, false);
}

static value f_unique(struct lm_tpl_run *x, value v, args *a) {
    const struct lm_tpl_list *list = lm_tpl_items(x, v);
    value *items, kept = lm_tpl_list(x, list->n, &items);
    size_t n = 0;
    (void)a;
    for (size_t i = 0; i < list->n && !x->status; i++) {
        bool seen = false;
        for (size_t j = 0; j < n && !seen && lm_tpl_charge(x, 1); j++)
            seen = lm_tpl_equal(x, items[j], list->items[i]);
        if (!seen)
            items[n++] = list->items[i];
    }
    if (!x->status)
        ((struct lm_tpl_list *)(uintptr_t)kept.list)->n = n;
    return kept;
}

static value f_items(struct lm_tpl_run *x, value v, args *a) {
    struct lm_tpl_bound m = {v, {"items", 5}};
    if (v.kind == T_UNDEFINED)
        return f_list(x, v, a);
    if (v.kind != T_DICT)
        return lm_tpl_fail(x, SLUICE_INPUT, "items: %s is no dict", lm_tpl_type(v));
    return lm_tpl_call_method(x, &m, a);
}

struct order {
    struct lm_tpl_run *x;
    value attribute;
    int sign;
    bool exact; /* case counts */
};

static value sort_key(const struct order *o, value v) {
    struct lm_tpl_args none = {0};
    if (o->attribute.kind != T_UNDEFINED)
        v = member(o->x, v, o->attribute);
    return v.kind == T_STRING && !o->exact ? f_lower(o->x, v, &none) : v;
}

static int by_order(const void *p, const void *q, void *ctx) {
    const struct order *o = ctx;
    if (o->x->status)
        return 0;
    value a = sort_key(o, *(const value *)p), b = sort_key(o, *(const value *)q);
    return o->x->status ? 0 : o->sign * lm_tpl_compare(o->x, a, b);
}

/* Sorts in place by merging, so that equal items keep their order. */
static void merge_sort(struct order *o, value *items, value *spare, size_t n) {
    if (n < 2 || !lm_tpl_charge(o->x, n))
        return;
    size_t half = n / 2, i = 0, j = half, k = 0;
    merge_sort(o, items, spare, half);
    merge_sort(o, items + half, spare, n - half);
    while (i < half && j < n)
        spare[k++] = by_order(&items[j], &items[i], o) < 0 ? items[j++] : items[i++];
    while (i < half)
        spare[k++] = items[i++];
    memcpy(items, spare, k * sizeof *items);
}

static value sort_list(struct lm_tpl_run *x, value v, struct order o) {
    struct lm_tpl_args none = {0};
    value sorted = f_list(x, v, &none);
    value *spare = x->status ? NULL : lm_tpl_new(x, (sorted.list->n + 1) * sizeof *spare);
    if (spare)
        merge_sort(&o, sorted.list->items, spare, sorted.list->n);
    return sorted;
}

static value f_sort(struct lm_tpl_run *x, value v, args *a) {
    return sort_list(x, v,
                     (struct order){x, lm_tpl_arg(a, 2, "attribute"),
                                    lm_tpl_truth(lm_tpl_arg(a, 0, "reverse")) ? -1 : 1,
                                    lm_tpl_truth(lm_tpl_arg(a, 1, "case_sensitive"))});
}

static value f_dictsort(struct lm_tpl_run *x, value v, args *a) {
    value by = lm_tpl_arg(a, 1, "by");
    int64_t column = by.kind == T_STRING && lm_tpl_is(*by.s, "value");
    return sort_list(x, f_items(x, v, a),
                     (struct order){x, LM_TPL_INT(column),
                                    lm_tpl_truth(lm_tpl_arg(a, 2, "reverse")) ? -1 : 1,
                                    lm_tpl_truth(lm_tpl_arg(a, 0, "case_sensitive"))});
}

static value f_indent(struct lm_tpl_run *x, value v, args *a) {
    value width = lm_tpl_arg(a, 0, "width");
    bool first = lm_tpl_truth(lm_tpl_arg(a, 1, "first")),
         blank = lm_tpl_truth(lm_tpl_arg(a, 2, "blank"));
    num_autobuf out = {0};
    v = lm_tpl_to_string(x, v);
    int64_t n = width.kind == T_INT ? width.i : 4;
    if (x->status || n < 0 || n > 1000)
        return lm_tpl_fail(x, SLUICE_INPUT, "indent: the width has to be within 0 and 1000");
    for (size_t i = 0; i < v.s->len && lm_tpl_charge(x, 1); i++) {
        bool begins = i == 0 ? first : v.s->data[i - 1] == '\n';
        for (int64_t k = 0; begins && (blank || v.s->data[i] != '\n') && k < n; k++)
            num_buf_addc(&out, ' ');
        num_buf_addc(&out, v.s->data[i]);
        if (out.len > x->limits->max_memory)
            return lm_tpl_fail(x, SLUICE_RESOURCE, "a text is too long");
    }
    return lm_tpl_take(x, &out);
}

static const struct {
    const char *name;
    value (*apply)(struct lm_tpl_run *x, value v, args *a);
} filters[] = {
    {"trim", f_trim},
    {"tojson", f_tojson},
    {"length", f_length},
    {"count", f_length},
    {"upper", f_upper},
    {"lower", f_lower},
    {"title", f_title},
    {"capitalize", f_capitalize},
    {"replace", f_replace},
    {"string", f_string},
    {"safe", f_same},
    {"default", f_default},
    {"d", f_default},
    {"int", f_int},
    {"float", f_float},
    {"abs", f_abs},
    {"list", f_list},
    {"first", f_first},
    {"last", f_last},
    {"reverse", f_reverse},
    {"join", f_join},
    {"map", f_map},
    {"select", f_select},
    {"reject", f_reject},
    {"selectattr", f_selectattr},
    {"rejectattr", f_rejectattr},
    {"unique", f_unique},
    {"items", f_items},
    {"sort", f_sort},
    {"dictsort", f_dictsort},
    {"indent", f_indent},
};

value lm_tpl_filter(struct lm_tpl_run *x, const char *name, value v, args *a) {
    value result;
    if (x->depth >= LM_TPL_MAX_DEPTH)
        return lm_tpl_fail(x, SLUICE_RESOURCE, "nested too deeply");
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        if (strcmp(name, filters[i].name) != 0)
            continue;
        x->depth++;
        result = filters[i].apply(x, v, a);
        x->depth--;
        return result;
    }
    return lm_tpl_fail(x, SLUICE_UNSUPPORTED, "the filter `%s` is not supported", name);
}

/* ---- Tests ---- */

static bool is_sequence(value v) {
    return v.kind == T_LIST || v.kind == T_STRING || v.kind == T_DICT;
}

static bool divisible(struct lm_tpl_run *x, value v, int64_t by) {
    if (v.kind != T_INT || by == 0) {
        lm_tpl_fail(x, SLUICE_INPUT, "this test needs integers");
        return false;
    }
    return by == -1 || v.i % by == 0;
}

/* Tests of the value alone: 1 holds, 0 does not, -1 there is no such test. */
static int test_alone(struct lm_tpl_run *x, const char *name, value v) {
    const struct {
        const char *name;
        bool holds;
    } tests[] = {
        {"defined", v.kind != T_UNDEFINED},
        {"undefined", v.kind == T_UNDEFINED},
        {"none", v.kind == T_NONE},
        {"string", v.kind == T_STRING},
        {"number", lm_tpl_is_number(v)},
        {"integer", v.kind == T_INT},
        {"float", v.kind == T_FLOAT},
        {"boolean", v.kind == T_BOOL},
        {"true", v.kind == T_BOOL && v.b},
        {"false", v.kind == T_BOOL && !v.b},
        {"mapping", v.kind == T_DICT},
        {"sequence", is_sequence(v) || v.kind == T_UNDEFINED},
        {"iterable", is_sequence(v) || v.kind == T_UNDEFINED},
        {"callable", v.kind == T_MACRO || v.kind == T_FUNCTION || v.kind == T_METHOD},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (strcmp(name, tests[i].name) == 0)
            return tests[i].holds;
    if (strcmp(name, "odd") == 0 || strcmp(name, "even") == 0)
        return divisible(x, v, 2) == (*name == 'e');
    return -1;
}

static int test_with(struct lm_tpl_run *x, const char *name, value v, value with) {
    static const struct {
        const char *names[4];
        enum lm_tpl_op op;
    } comparisons[] = {
        {{"equalto", "eq", "=="}, OP_EQ},
        {{"ne", "!="}, OP_NE},
        {{"lt", "lessthan", "<"}, OP_LT},
        {{"le", "<="}, OP_LE},
        {{"gt", "greaterthan", ">"}, OP_GT},
        {{"ge", ">="}, OP_GE},
        {{"in"}, OP_IN},
    };
    struct lm_tpl_node left = {.kind = N_LITERAL, .value = v},
                       right = {.kind = N_LITERAL, .value = with};
    struct lm_tpl_node arg = {
        .kind = N_ARG, .a = &right, .line = x->at->line, .column = x->at->column};
    struct lm_tpl_node compare = {.kind = N_COMPARE, .a = &left, .kids = &arg};
    const struct lm_tpl_node *at = x->at;
    if (strcmp(name, "divisibleby") == 0)
        return divisible(x, v, with.kind == T_INT ? with.i : 0);
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
        for (int k = 0; k < 4 && comparisons[i].names[k]; k++) {
            if (strcmp(name, comparisons[i].names[k]) != 0)
                continue;
            arg.op = comparisons[i].op;
            value result = lm_tpl_eval(x, &compare);
            x->at = at;
            return lm_tpl_truth(result);
        }
    }
    return -1;
}

value lm_tpl_test(struct lm_tpl_run *x, const char *name, value v, args *a) {
    int holds = a->n == 0 ? test_alone(x, name, v) : test_with(x, name, v, a->items[0]);
    if (holds < 0)
        return lm_tpl_fail(x, SLUICE_UNSUPPORTED, "the test `%s` is not supported", name);
    return LM_TPL_BOOL(holds);
}

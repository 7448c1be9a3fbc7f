/*
 * Operators of a template on values that are there. Python's rules: true division gives floats, //
 * and % round down, strings and lists join with + and repeat with *. Integers have 64 bits; what
 * does not fit is a failure.
 */
#include <math.h>
#include <string.h>

#include "llm/template_node.h"

/* ---- Numbers ---- */

static struct lm_tpl_value integers(struct lm_tpl_run *x, enum lm_tpl_op op, int64_t a, int64_t b) {
    int64_t r = 0;
    bool over = false;
    if ((op == OP_FLOORDIV || op == OP_MOD) && b == 0)
        return lm_tpl_fail(x, SLUICE_INPUT, "division by zero");
    if (op == OP_ADD)
        over = __builtin_add_overflow(a, b, &r);
    else if (op == OP_SUB)
        over = __builtin_sub_overflow(a, b, &r);
    else if (op == OP_MUL)
        over = __builtin_mul_overflow(a, b, &r);
    else if (b == -1)
        over = op == OP_FLOORDIV && __builtin_sub_overflow(0, a, &r);
    else if (op == OP_FLOORDIV)
        r = a / b - (a % b != 0 && (a < 0) != (b < 0));
    else
        r = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0);
    return over ? lm_tpl_fail(x, SLUICE_UNSUPPORTED, "a number is too large") : LM_TPL_INT(r);
}

static struct lm_tpl_value power(struct lm_tpl_run *x, struct lm_tpl_value a,
                                 struct lm_tpl_value b) {
    double r = pow(lm_tpl_number(a), lm_tpl_number(b));
    if (a.kind == T_FLOAT || b.kind == T_FLOAT || lm_tpl_number(b) < 0)
        return LM_TPL_FLOAT(r);
    if (!(fabs(r) < 9007199254740992.0))
        return lm_tpl_fail(x, SLUICE_UNSUPPORTED, "a number is too large");
    return LM_TPL_INT((int64_t)r);
}

static struct lm_tpl_value numbers(struct lm_tpl_run *x, enum lm_tpl_op op, struct lm_tpl_value a,
                                   struct lm_tpl_value b) {
    double p = lm_tpl_number(a), q = lm_tpl_number(b);
    if (op == OP_POW)
        return power(x, a, b);
    if (a.kind != T_FLOAT && b.kind != T_FLOAT && op != OP_DIV)
        return integers(x, op, a.kind == T_INT ? a.i : a.b, b.kind == T_INT ? b.i : b.b);
    if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && q == 0)
        return lm_tpl_fail(x, SLUICE_INPUT, "division by zero");
    switch (op) {
    case OP_ADD:
        return LM_TPL_FLOAT(p + q);
    case OP_SUB:
        return LM_TPL_FLOAT(p - q);
    case OP_MUL:
        return LM_TPL_FLOAT(p * q);
    case OP_DIV:
        return LM_TPL_FLOAT(p / q);
    case OP_FLOORDIV:
        return LM_TPL_FLOAT(floor(p / q));
    default:
        return LM_TPL_FLOAT(p - q * floor(p / q));
    }
}

/* ---- Strings and lists ---- */

static struct lm_tpl_value add_lists(struct lm_tpl_run *x, const struct lm_tpl_list *a,
                                     const struct lm_tpl_list *b) {
    struct lm_tpl_value *items, v = lm_tpl_list(x, a->n + b->n, &items);
    for (size_t i = 0; i < a->n && !x->status; i++)
        items[i] = a->items[i];
    for (size_t i = 0; i < b->n && !x->status; i++)
        items[a->n + i] = b->items[i];
    return v;
}

static struct lm_tpl_value concat(struct lm_tpl_run *x, struct lm_tpl_value a,
                                  struct lm_tpl_value b) {
    a = lm_tpl_to_string(x, a);
    b = lm_tpl_to_string(x, b);
    char *data = x->status ? NULL : lm_tpl_new(x, a.s->len + b.s->len + 1);
    if (!data)
        return LM_TPL_UNDEFINED;
    memcpy(data, a.s->data, a.s->len);
    memcpy(data + a.s->len, b.s->data, b.s->len);
    return lm_tpl_borrow(x, data, a.s->len + b.s->len);
}

static struct lm_tpl_value repeat(struct lm_tpl_run *x, struct lm_tpl_value v, int64_t times) {
    uint64_t size = v.kind == T_STRING ? v.s->len : v.list->n * sizeof *v.list->items;
    struct lm_tpl_value *items;
    if (times <= 0 || size == 0)
        times = 0;
    if (times > 0 && (uint64_t)times > x->limits->max_memory / size)
        return lm_tpl_fail(x, SLUICE_RESOURCE, "a repeated value is too long");
    if (v.kind == T_LIST) {
        size_t n = v.list->n;
        struct lm_tpl_value list = lm_tpl_list(x, n * (size_t)times, &items);
        for (size_t i = 0; i < n * (size_t)times && !x->status; i++)
            items[i] = v.list->items[i % n];
        return list;
    }
    char *data = lm_tpl_new(x, (size_t)times * v.s->len + 1);
    for (size_t i = 0; i < (size_t)times && data; i++)
        memcpy(data + i * v.s->len, v.s->data, v.s->len);
    return data ? lm_tpl_borrow(x, data, (size_t)times * v.s->len) : LM_TPL_UNDEFINED;
}

/* ---- By operator ---- */

struct lm_tpl_value lm_tpl_binary(struct lm_tpl_run *x, enum lm_tpl_op op, struct lm_tpl_value a,
                                  struct lm_tpl_value b) {
    if (op == OP_CONCAT)
        return concat(x, a, b);
    if (lm_tpl_is_number(a) && lm_tpl_is_number(b))
        return numbers(x, op, a, b);
    if (op == OP_ADD && a.kind == T_STRING && b.kind == T_STRING)
        return concat(x, a, b);
    if (op == OP_ADD && a.kind == T_LIST && b.kind == T_LIST)
        return add_lists(x, a.list, b.list);
    if (op == OP_MUL && (a.kind == T_STRING || a.kind == T_LIST) && b.kind == T_INT)
        return repeat(x, a, b.i);
    if (op == OP_MUL && (b.kind == T_STRING || b.kind == T_LIST) && a.kind == T_INT)
        return repeat(x, b, a.i);
    if (op == OP_MOD && a.kind == T_STRING)
        return lm_tpl_fail(x, SLUICE_UNSUPPORTED, "formatting a string with %% is not supported");
    struct lm_tpl_value bad = a.kind == T_UNDEFINED ? a : b;
    if (bad.kind == T_UNDEFINED && bad.missing)
        return lm_tpl_fail(x, SLUICE_INPUT, "`%.*s` is undefined",
                           (int)(bad.missing->len < 60 ? bad.missing->len : 60), bad.missing->data);
    return lm_tpl_fail(x, SLUICE_INPUT, "this operation is not defined for %s and %s",
                       lm_tpl_type(a), lm_tpl_type(b));
}

static bool contains(struct lm_tpl_run *x, struct lm_tpl_value in, struct lm_tpl_value v) {
    if (in.kind == T_STRING && v.kind == T_STRING) {
        lm_tpl_charge(x, in.s->len / 64);
        return v.s->len == 0 || memmem(in.s->data, in.s->len, v.s->data, v.s->len);
    }
    if (in.kind == T_STRING) {
        lm_tpl_fail(x, SLUICE_INPUT, "%s cannot be in a string", lm_tpl_type(v));
        return false;
    }
    if (in.kind == T_DICT || in.kind == T_NAMESPACE)
        return lm_tpl_dict_find(x, in.dict, v) != NULL;
    const struct lm_tpl_list *list = lm_tpl_items(x, in);
    for (size_t i = 0; i < list->n && lm_tpl_charge(x, 1); i++)
        if (lm_tpl_equal(x, list->items[i], v))
            return true;
    return false;
}

bool lm_tpl_holds(struct lm_tpl_run *x, enum lm_tpl_op op, struct lm_tpl_value a,
                  struct lm_tpl_value b) {
    switch (op) {
    case OP_EQ:
        return lm_tpl_equal(x, a, b);
    case OP_NE:
        return !lm_tpl_equal(x, a, b);
    case OP_LT:
        return lm_tpl_compare(x, a, b) < 0;
    case OP_LE:
        return lm_tpl_compare(x, a, b) <= 0;
    case OP_GT:
        return lm_tpl_compare(x, a, b) > 0;
    case OP_GE:
        return lm_tpl_compare(x, a, b) >= 0;
    case OP_IN:
        return contains(x, b, a);
    default:
        return !contains(x, b, a);
    }
}

struct lm_tpl_value lm_tpl_signed(struct lm_tpl_run *x, enum lm_tpl_op op, struct lm_tpl_value v) {
    if (!lm_tpl_is_number(v))
        return lm_tpl_fail(x, SLUICE_INPUT, "%s has no sign", lm_tpl_type(v));
    if (v.kind == T_FLOAT)
        return LM_TPL_FLOAT(op == OP_SUB ? -v.f : v.f);
    return integers(x, op, 0, v.kind == T_INT ? v.i : v.b);
}

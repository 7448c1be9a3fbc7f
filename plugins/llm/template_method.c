/*
 * Attributes and methods of values, and the global functions of a template. Strings have Python's
 * methods by the table below; their case mapping is one character for one.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "llm/template_node.h"
#include "llm/unicode.h"

typedef struct lm_tpl_value value;

/* ---- Methods of strings ---- */

static bool text_arg(struct lm_tpl_run *x, const struct lm_tpl_args *args, size_t i,
                     struct lm_tpl_text *ret) {
    value v = lm_tpl_arg(args, i, NULL);
    if (v.kind != T_STRING) {
        lm_tpl_fail(x, SLUICE_INPUT, "argument %zu has to be a string, not %s", i + 1,
                    lm_tpl_type(v));
        return false;
    }
    *ret = *v.s;
    return true;
}

static int64_t int_arg(const struct lm_tpl_args *args, size_t i, const char *name,
                       int64_t otherwise) {
    value v = lm_tpl_arg(args, i, name);
    return v.kind == T_INT ? v.i : otherwise;
}

static bool in_set(uint32_t c, const struct lm_tpl_text *set) {
    size_t step;
    if (!set)
        return lm_char_is_space(c);
    for (size_t at = 0; at < set->len; at += step)
        if (lm_char_next(set->data + at, set->len - at, &step) == c)
            return true;
    return false;
}

/* Strips characters of the first argument (white space without one) on the sides asked for. */
static value strip(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *args,
                   bool left, bool right) {
    struct lm_tpl_text given;
    const struct lm_tpl_text *set = NULL;
    value v = lm_tpl_arg(args, 0, NULL);
    size_t begin = 0, end = s.len, step, last = 0;
    if (v.kind != T_UNDEFINED && v.kind != T_NONE) {
        if (!text_arg(x, args, 0, &given))
            return LM_TPL_UNDEFINED;
        set = &given;
    }
    lm_tpl_charge(x, s.len / 64 * (1 + (set ? set->len : 0)));
    for (size_t at = 0; at < s.len && !x->status; at += step) {
        bool keep = !in_set(lm_char_next(s.data + at, s.len - at, &step), set);
        if (keep)
            last = at + step;
        if (keep && left) {
            begin = at;
            left = false;
        }
    }
    if (left) /* nothing but what goes */
        begin = s.len;
    if (right)
        end = last;
    return lm_tpl_borrow(x, s.data + begin, end > begin ? end - begin : 0);
}

static value str_strip(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    return strip(x, s, a, true, true);
}
static value str_lstrip(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    return strip(x, s, a, true, false);
}
static value str_rstrip(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    return strip(x, s, a, false, true);
}

enum mapping { UPPER, LOWER, TITLE, CAPITALIZE };

static value map_case(struct lm_tpl_run *x, struct lm_tpl_text s, enum mapping how) {
    lm_autobuf out = {0};
    bool inside = false;
    size_t step;
    for (size_t at = 0; at < s.len; at += step) {
        uint32_t c = lm_char_next(s.data + at, s.len - at, &step);
        enum lm_char kind = lm_char_kind(c);
        bool first = how == CAPITALIZE ? at == 0 : !inside;
        bool up = how == UPPER || (how != LOWER && first);
        lm_buf_add_char(&out, up ? lm_char_upper(c) : lm_char_lower(c));
        inside = kind == LM_LETTER || kind == LM_IDEOGRAPH;
    }
    return lm_tpl_take(x, &out);
}

static value str_upper(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    (void)a;
    return map_case(x, s, UPPER);
}
static value str_lower(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    (void)a;
    return map_case(x, s, LOWER);
}
static value str_title(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    (void)a;
    return map_case(x, s, TITLE);
}
static value str_capitalize(struct lm_tpl_run *x, struct lm_tpl_text s,
                            const struct lm_tpl_args *a) {
    (void)a;
    return map_case(x, s, CAPITALIZE);
}

/* startswith, endswith: a string or a tuple of them. */
static value has_end(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *args,
                     bool front) {
    value v = lm_tpl_arg(args, 0, NULL);
    size_t n = v.kind == T_LIST ? v.list->n : 1;
    for (size_t i = 0; i < n; i++) {
        value one = v.kind == T_LIST ? v.list->items[i] : v;
        if (one.kind != T_STRING)
            return lm_tpl_fail(x, SLUICE_INPUT, "expected a string, found %s", lm_tpl_type(one));
        size_t len = one.s->len;
        if (len <= s.len && memcmp(front ? s.data : s.data + s.len - len, one.s->data, len) == 0)
            return LM_TPL_BOOL(true);
    }
    return LM_TPL_BOOL(false);
}

static value str_startswith(struct lm_tpl_run *x, struct lm_tpl_text s,
                            const struct lm_tpl_args *a) {
    return has_end(x, s, a, true);
}
static value str_endswith(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    return has_end(x, s, a, false);
}

static value str_removeprefix(struct lm_tpl_run *x, struct lm_tpl_text s,
                              const struct lm_tpl_args *a) {
    struct lm_tpl_text p;
    if (!text_arg(x, a, 0, &p))
        return LM_TPL_UNDEFINED;
    bool has = p.len <= s.len && memcmp(s.data, p.data, p.len) == 0;
    return lm_tpl_borrow(x, s.data + (has ? p.len : 0), s.len - (has ? p.len : 0));
}
static value str_removesuffix(struct lm_tpl_run *x, struct lm_tpl_text s,
                              const struct lm_tpl_args *a) {
    struct lm_tpl_text p;
    if (!text_arg(x, a, 0, &p))
        return LM_TPL_UNDEFINED;
    bool has = p.len <= s.len && memcmp(s.data + s.len - p.len, p.data, p.len) == 0;
    return lm_tpl_borrow(x, s.data, s.len - (has ? p.len : 0));
}

static value str_replace(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    struct lm_tpl_text from, to;
    lm_autobuf out = {0};
    int64_t most = int_arg(a, 2, "count", -1);
    size_t at = 0;
    if (!text_arg(x, a, 0, &from) || !text_arg(x, a, 1, &to))
        return LM_TPL_UNDEFINED;
    if (from.len == 0)
        return lm_tpl_fail(x, SLUICE_UNSUPPORTED, "replacing the empty string is not supported");
    while (most != 0 && lm_tpl_charge(x, 1)) {
        const char *found = memmem(s.data + at, s.len - at, from.data, from.len);
        if (!found)
            break;
        lm_buf_add(&out, s.data + at, (size_t)(found - s.data) - at);
        lm_buf_add(&out, to.data, to.len);
        at = (size_t)(found - s.data) + from.len;
        most -= most > 0;
        if (out.len > x->limits->max_memory)
            return lm_tpl_fail(x, SLUICE_RESOURCE, "a text is too long");
    }
    lm_buf_add(&out, s.data + at, s.len - at);
    return lm_tpl_take(x, &out);
}

static const char *find_last(struct lm_tpl_text s, struct lm_tpl_text part) {
    for (size_t at = s.len + 1; part.len <= s.len && at-- > 0;)
        if (at + part.len <= s.len && memcmp(s.data + at, part.data, part.len) == 0)
            return s.data + at;
    return NULL;
}

static value found_at(struct lm_tpl_text s, const char *found) {
    struct lm_tpl_text before = {s.data, found ? (size_t)(found - s.data) : 0};
    return LM_TPL_INT(found ? (int64_t)lm_tpl_length(before) : -1);
}

static value str_find(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    struct lm_tpl_text p;
    if (!text_arg(x, a, 0, &p))
        return LM_TPL_UNDEFINED;
    lm_tpl_charge(x, s.len / 64);
    return found_at(s, p.len ? memmem(s.data, s.len, p.data, p.len) : s.data);
}
static value str_rfind(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    struct lm_tpl_text p;
    if (!text_arg(x, a, 0, &p) || !lm_tpl_charge(x, s.len / 16))
        return LM_TPL_UNDEFINED;
    return found_at(s, find_last(s, p));
}

static value str_count(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    struct lm_tpl_text p;
    int64_t n = 0;
    if (!text_arg(x, a, 0, &p))
        return LM_TPL_UNDEFINED;
    if (p.len == 0)
        return LM_TPL_INT((int64_t)lm_tpl_length(s) + 1);
    lm_tpl_charge(x, s.len / 64);
    for (const char *at = s.data; (at = memmem(at, (size_t)(s.data + s.len - at), p.data, p.len));
         at += p.len)
        n++;
    return LM_TPL_INT(n);
}

/* ---- split ---- */

/* Collects parts, first counted and then stored. */
struct parts {
    value *items; /* NULL while counting */
    size_t n;
};

static void add_part(struct lm_tpl_run *x, struct parts *p, const char *data, size_t len) {
    if (p->items)
        p->items[p->n] = lm_tpl_borrow(x, data, len);
    p->n++;
}

static void split_by(struct lm_tpl_run *x, struct lm_tpl_text s, struct lm_tpl_text by,
                     int64_t most, struct parts *parts) {
    size_t at = 0;
    while (most != 0 && lm_tpl_charge(x, 1)) {
        const char *found = memmem(s.data + at, s.len - at, by.data, by.len);
        if (!found)
            break;
        add_part(x, parts, s.data + at, (size_t)(found - s.data) - at);
        at = (size_t)(found - s.data) + by.len;
        most -= most > 0;
    }
    add_part(x, parts, s.data + at, s.len - at);
}

/* From the right: counts the parts that go beyond `most`, then splits the rest. */
static void split_by_last(struct lm_tpl_run *x, struct lm_tpl_text s, struct lm_tpl_text by,
                          int64_t most, struct parts *parts) {
    struct lm_tpl_text rest = s;
    const char *found;
    while (most > 0 && lm_tpl_charge(x, 1 + rest.len / 16) && (found = find_last(rest, by))) {
        rest.len = (size_t)(found - s.data);
        most--;
    }
    add_part(x, parts, s.data, rest.len);
    if (rest.len < s.len) {
        struct lm_tpl_text behind = {s.data + rest.len + by.len, s.len - rest.len - by.len};
        split_by(x, behind, by, -1, parts);
    }
}

static void split_space(struct lm_tpl_run *x, struct lm_tpl_text s, int64_t most,
                        struct parts *parts) {
    size_t at = 0, step, skip;
    while (at < s.len && lm_tpl_charge(x, 1)) {
        size_t len = lm_text_trim(s.data + at, s.len - at, &skip), begin = at + skip;
        if (len == 0)
            break;
        if (most == 0) {
            add_part(x, parts, s.data + begin, s.len - begin);
            break;
        }
        lm_tpl_charge(x, len / 64);
        for (at = begin; at < s.len; at += step)
            if (lm_char_is_space(lm_char_next(s.data + at, s.len - at, &step)))
                break;
        add_part(x, parts, s.data + begin, at - begin);
        most -= most > 0;
    }
}

static value split(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a,
                   bool last) {
    struct lm_tpl_text by = {0};
    value separator = lm_tpl_arg(a, 0, "sep"), list = LM_TPL_UNDEFINED;
    int64_t most = int_arg(a, 1, "maxsplit", -1);
    bool by_space = separator.kind == T_UNDEFINED || separator.kind == T_NONE;
    struct parts parts = {0};
    if (!by_space && separator.kind != T_STRING)
        return lm_tpl_fail(x, SLUICE_INPUT, "the separator has to be a string");
    by = by_space ? by : *separator.s;
    if (!by_space && by.len == 0)
        return lm_tpl_fail(x, SLUICE_INPUT, "the separator is empty");
    if (by_space && last && most >= 0)
        return lm_tpl_fail(x, SLUICE_UNSUPPORTED, "rsplit needs a separator");
    for (int round = 0; round < 2 && !x->status; round++) {
        if (round == 1)
            list = lm_tpl_list(x, parts.n, &parts.items);
        parts.n = 0;
        if (x->status)
            break;
        if (by_space)
            split_space(x, s, most, &parts);
        else if (last && most >= 0)
            split_by_last(x, s, by, most, &parts);
        else
            split_by(x, s, by, most, &parts);
    }
    return list;
}

static value str_split(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    return split(x, s, a, false);
}
static value str_rsplit(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    return split(x, s, a, true);
}

static value str_splitlines(struct lm_tpl_run *x, struct lm_tpl_text s,
                            const struct lm_tpl_args *a) {
    struct lm_tpl_text body = s, newline = {"\n", 1};
    struct parts parts = {0};
    value list = LM_TPL_UNDEFINED;
    (void)a;
    body.len -= s.len > 0 && s.data[s.len - 1] == '\n';
    for (int round = 0; round < 2 && !x->status; round++) {
        if (round == 1)
            list = lm_tpl_list(x, parts.n, &parts.items);
        parts.n = 0;
        if (!x->status && s.len)
            split_by(x, body, newline, -1, &parts);
    }
    return list;
}

static value str_join(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    const struct lm_tpl_list *list = lm_tpl_items(x, lm_tpl_arg(a, 0, NULL));
    lm_autobuf out = {0};
    for (size_t i = 0; i < list->n && lm_tpl_charge(x, 1 + s.len / 256); i++) {
        lm_buf_add(&out, s.data, i ? s.len : 0);
        if (list->items[i].kind != T_STRING)
            return lm_tpl_fail(x, SLUICE_INPUT, "join() needs strings, found %s",
                               lm_tpl_type(list->items[i]));
        lm_buf_add(&out, list->items[i].s->data, list->items[i].s->len);
        if (out.len > x->limits->max_memory)
            return lm_tpl_fail(x, SLUICE_RESOURCE, "a text is too long");
    }
    return lm_tpl_take(x, &out);
}

/* All characters of a kind, and at least one. */
static value all_of(struct lm_tpl_run *x, struct lm_tpl_text s, bool letters, bool digits,
                    bool spaces) {
    size_t step;
    lm_tpl_charge(x, s.len / 16);
    for (size_t at = 0; at < s.len; at += step) {
        enum lm_char kind = lm_char_kind(lm_char_next(s.data + at, s.len - at, &step));
        bool letter = kind == LM_LETTER || kind == LM_IDEOGRAPH;
        if (!((letter && letters) || (kind == LM_NUMBER && digits) || (kind == LM_SPACE && spaces)))
            return LM_TPL_BOOL(false);
    }
    return LM_TPL_BOOL(s.len > 0);
}

static value str_isdigit(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    (void)a;
    return all_of(x, s, false, true, false);
}
static value str_isalpha(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    (void)a;
    return all_of(x, s, true, false, false);
}
static value str_isalnum(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    (void)a;
    return all_of(x, s, true, true, false);
}
static value str_isspace(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    (void)a;
    return all_of(x, s, false, false, true);
}

static const struct {
    const char *name;
    value (*call)(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *args);
} string_methods[] = {
    {"strip", str_strip},
    {"lstrip", str_lstrip},
    {"rstrip", str_rstrip},
    {"upper", str_upper},
    {"lower", str_lower},
    {"title", str_title},
    {"capitalize", str_capitalize},
    {"startswith", str_startswith},
    {"endswith", str_endswith},
    {"removeprefix", str_removeprefix},
    {"removesuffix", str_removesuffix},
    {"replace", str_replace},
    {"find", str_find},
    {"rfind", str_rfind},
    {"count", str_count},
    {"split", str_split},
    {"rsplit", str_rsplit},
    {"splitlines", str_splitlines},
    {"join", str_join},
    {"isdigit", str_isdigit},
    {"isalpha", str_isalpha},
    {"isalnum", str_isalnum},
    {"isspace", str_isspace},
};

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
    for (size_t i = 0; v.kind == T_STRING && i < sizeof string_methods / sizeof *string_methods;
         i++)
        if (lm_tpl_is(name, string_methods[i].name))
            return true;
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
    for (size_t i = 0; i < sizeof string_methods / sizeof *string_methods; i++)
        if (lm_tpl_is(m->name, string_methods[i].name))
            return string_methods[i].call(x, *m->self.s, args);
    return LM_TPL_UNDEFINED;
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

/*
 * Methods of strings in a template: Python's, by the table at the end. Their case mapping is one
 * character for one.
 */
#include <string.h>

#include "llm/template_node.h"
#include "llm/unicode.h"

typedef struct lm_tpl_value value;

/* ---- Arguments ---- */

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

/* ---- Ends and case ---- */

static bool in_set(uint32_t c, const struct lm_tpl_text *set) {
    size_t step;
    if (!set)
        return num_char_is_white(c);
    for (size_t at = 0; at < set->len; at += step)
        if (num_char_next(set->data + at, set->len - at, &step) == c)
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
        bool keep = !in_set(num_char_next(s.data + at, s.len - at, &step), set);
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
    num_autobuf out = {0};
    bool inside = false;
    size_t step;
    for (size_t at = 0; at < s.len; at += step) {
        uint32_t c = num_char_next(s.data + at, s.len - at, &step);
        enum lm_char kind = lm_char_kind(c);
        bool first = how == CAPITALIZE ? at == 0 : !inside;
        bool up = how == UPPER || (how != LOWER && first);
        num_buf_add_char(&out, up ? lm_char_upper(c) : lm_char_lower(c));
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

/* ---- Parts ---- */

static value str_replace(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *a) {
    struct lm_tpl_text from, to;
    num_autobuf out = {0};
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
        num_buf_add(&out, s.data + at, (size_t)(found - s.data) - at);
        num_buf_add(&out, to.data, to.len);
        at = (size_t)(found - s.data) + from.len;
        most -= most > 0;
        if (out.len > x->limits->max_memory)
            return lm_tpl_fail(x, SLUICE_RESOURCE, "a text is too long");
    }
    num_buf_add(&out, s.data + at, s.len - at);
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

/* ---- Lists ---- */

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
        size_t len = num_text_trim(s.data + at, s.len - at, &skip), begin = at + skip;
        if (len == 0)
            break;
        if (most == 0) {
            add_part(x, parts, s.data + begin, s.len - begin);
            break;
        }
        lm_tpl_charge(x, len / 64);
        for (at = begin; at < s.len; at += step)
            if (num_char_is_white(num_char_next(s.data + at, s.len - at, &step)))
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
    num_autobuf out = {0};
    for (size_t i = 0; i < list->n && lm_tpl_charge(x, 1 + s.len / 256); i++) {
        num_buf_add(&out, s.data, i ? s.len : 0);
        if (list->items[i].kind != T_STRING)
            return lm_tpl_fail(x, SLUICE_INPUT, "join() needs strings, found %s",
                               lm_tpl_type(list->items[i]));
        num_buf_add(&out, list->items[i].s->data, list->items[i].s->len);
        if (out.len > x->limits->max_memory)
            return lm_tpl_fail(x, SLUICE_RESOURCE, "a text is too long");
    }
    return lm_tpl_take(x, &out);
}

/* ---- Kinds ---- */

/* All characters of a kind, and at least one. */
static value all_of(struct lm_tpl_run *x, struct lm_tpl_text s, bool letters, bool digits,
                    bool spaces) {
    size_t step;
    lm_tpl_charge(x, s.len / 16);
    for (size_t at = 0; at < s.len; at += step) {
        enum lm_char kind = lm_char_kind(num_char_next(s.data + at, s.len - at, &step));
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

/* ---- By name ---- */

static const struct {
    const char *name;
    value (*call)(struct lm_tpl_run *x, struct lm_tpl_text s, const struct lm_tpl_args *args);
} methods[] = {
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

bool lm_tpl_has_string_method(struct lm_tpl_text name) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (lm_tpl_is(name, methods[i].name))
            return true;
    return false;
}

value lm_tpl_call_string_method(struct lm_tpl_run *x, struct lm_tpl_text self,
                                struct lm_tpl_text name, const struct lm_tpl_args *args) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (lm_tpl_is(name, methods[i].name))
            return methods[i].call(x, self, args);
    return LM_TPL_UNDEFINED;
}

/*
 * Values of a template: making, comparing and printing them as Python does. Equality and order
 * follow Python's rules for its types; anything else has no order, which is a failure.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/template_node.h"
#include "num/unicode.h"

/* ---- Arena ---- */

#define CHUNK_BYTES (32u << 10)

struct lm_tpl_chunk {
    struct lm_tpl_chunk *next;
    size_t used, size;
    _Alignas(16) char data[];
};

static struct lm_tpl_chunk *chunk_add(struct lm_tpl_arena *a, size_t size) {
    size_t room = size > CHUNK_BYTES / 4 ? size : CHUNK_BYTES;
    struct lm_tpl_chunk *chunk = calloc(1, sizeof *chunk + room);
    if (!chunk)
        return NULL;
    chunk->size = room;
    if (a->chunks && room == size) { /* its own chunk, behind the one that is being filled */
        chunk->next = a->chunks->next;
        a->chunks->next = chunk;
    } else {
        chunk->next = a->chunks;
        a->chunks = chunk;
    }
    return chunk;
}

void *lm_tpl_alloc(struct lm_tpl_arena *a, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (size > a->limit || a->used > a->limit - size)
        return NULL;
    struct lm_tpl_chunk *chunk = a->chunks;
    if (!chunk || chunk->size - chunk->used < size)
        chunk = chunk_add(a, size);
    if (!chunk)
        return NULL;
    void *data = chunk->data + chunk->used;
    chunk->used += size;
    a->used += size;
    return data;
}

void lm_tpl_arena_finish(struct lm_tpl_arena *a) {
    while (a->chunks) {
        struct lm_tpl_chunk *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
}

/* ---- Making ---- */

bool lm_tpl_is(struct lm_tpl_text text, const char *word) {
    return strlen(word) == text.len && memcmp(text.data, word, text.len) == 0;
}

struct lm_tpl_value lm_tpl_borrow(struct lm_tpl_run *x, const char *data, size_t len) {
    struct lm_tpl_text *text = lm_tpl_new(x, sizeof *text);
    if (!text)
        return LM_TPL_UNDEFINED;
    *text = (struct lm_tpl_text){data, len};
    return (struct lm_tpl_value){.kind = T_STRING, .s = text};
}

struct lm_tpl_value lm_tpl_string(struct lm_tpl_run *x, const char *data, size_t len) {
    char *copy = lm_tpl_new(x, len + 1);
    if (!copy)
        return LM_TPL_UNDEFINED;
    if (len)
        memcpy(copy, data, len);
    return lm_tpl_borrow(x, copy, len);
}

struct lm_tpl_value lm_tpl_take(struct lm_tpl_run *x, struct num_buf *buf) {
    struct lm_tpl_value v = buf->failed ? lm_tpl_fail(x, SLUICE_RESOURCE, "out of memory")
                                        : lm_tpl_string(x, num_buf_text(buf), buf->len);
    num_buf_finish(buf);
    return v;
}

struct lm_tpl_value lm_tpl_list(struct lm_tpl_run *x, size_t n, struct lm_tpl_value **ret_items) {
    struct lm_tpl_list *list = lm_tpl_new(x, sizeof *list);
    struct lm_tpl_value *items =
        n > SIZE_MAX / 64 ? NULL : lm_tpl_new(x, (n ? n : 1) * sizeof *items);
    if (!list || !items)
        return x->status ? LM_TPL_UNDEFINED : lm_tpl_fail(x, SLUICE_RESOURCE, "a list is too long");
    *list = (struct lm_tpl_list){.items = items, .n = n};
    *ret_items = items;
    return (struct lm_tpl_value){.kind = T_LIST, .list = list};
}

struct lm_tpl_value lm_tpl_dict(struct lm_tpl_run *x) {
    struct lm_tpl_dict *dict = lm_tpl_new(x, sizeof *dict);
    return dict ? (struct lm_tpl_value){.kind = T_DICT, .dict = dict} : LM_TPL_UNDEFINED;
}

struct lm_tpl_value *lm_tpl_dict_find(struct lm_tpl_run *x, const struct lm_tpl_dict *d,
                                      struct lm_tpl_value key) {
    if (!lm_tpl_charge(x, d->n))
        return NULL;
    for (size_t i = 0; i < d->n; i++)
        if (lm_tpl_equal(x, d->items[i].key, key))
            return &d->items[i].value;
    return NULL;
}

void lm_tpl_dict_set(struct lm_tpl_run *x, struct lm_tpl_dict *d, struct lm_tpl_value key,
                     struct lm_tpl_value value) {
    if (key.kind == T_LIST || key.kind == T_DICT) {
        lm_tpl_fail(x, SLUICE_INPUT, "%s cannot be a key", lm_tpl_type(key));
        return;
    }
    struct lm_tpl_value *found = lm_tpl_dict_find(x, d, key);
    if (found) {
        *found = value;
        return;
    }
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 4;
        struct lm_tpl_entry *items = lm_tpl_new(x, cap * sizeof *items);
        if (!items)
            return;
        if (d->n)
            memcpy(items, d->items, d->n * sizeof *items);
        d->items = items;
        d->cap = cap;
    }
    d->items[d->n++] = (struct lm_tpl_entry){key, value};
}

static struct lm_tpl_value from_array(struct lm_tpl_run *x, const json_t *json) {
    struct lm_tpl_value *items, v = lm_tpl_list(x, json_array_size(json), &items);
    for (size_t i = 0; i < json_array_size(json) && !x->status; i++)
        items[i] = lm_tpl_from_json(x, json_array_get(json, i));
    return v;
}

static struct lm_tpl_value from_object(struct lm_tpl_run *x, const json_t *json) {
    struct lm_tpl_value v = lm_tpl_dict(x);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) {
        if (x->status)
            break;
        lm_tpl_dict_set(x, v.dict, lm_tpl_string(x, key, strlen(key)), lm_tpl_from_json(x, value));
    }
    return v;
}

/* jansson reads at most 2048 levels, which bounds the recursion. */
struct lm_tpl_value lm_tpl_from_json(struct lm_tpl_run *x, const json_t *json) {
    switch (json ? json_typeof(json) : JSON_NULL) {
    case JSON_OBJECT:
        return from_object(x, json);
    case JSON_ARRAY:
        return from_array(x, json);
    case JSON_STRING: /* outlives the rendering */
        return lm_tpl_borrow(x, json_string_value(json), json_string_length(json));
    case JSON_INTEGER:
        return LM_TPL_INT(json_integer_value(json));
    case JSON_REAL:
        return LM_TPL_FLOAT(json_real_value(json));
    case JSON_TRUE:
        return LM_TPL_BOOL(true);
    case JSON_FALSE:
        return LM_TPL_BOOL(false);
    case JSON_NULL:
        break;
    }
    return LM_TPL_NONE;
}

/* ---- Asking ---- */

const char *lm_tpl_type(struct lm_tpl_value v) {
    static const char *const names[] = {[T_UNDEFINED] = "an undefined value",
                                        [T_NONE] = "none",
                                        [T_BOOL] = "a boolean",
                                        [T_INT] = "an integer",
                                        [T_FLOAT] = "a number",
                                        [T_STRING] = "a string",
                                        [T_LIST] = "a list",
                                        [T_DICT] = "a dict",
                                        [T_NAMESPACE] = "a namespace",
                                        [T_MACRO] = "a macro",
                                        [T_FUNCTION] = "a function",
                                        [T_METHOD] = "a method",
                                        [T_LOOP] = "a loop"};
    return names[v.kind];
}

bool lm_tpl_truth(struct lm_tpl_value v) {
    switch (v.kind) {
    case T_UNDEFINED:
    case T_NONE:
        return false;
    case T_BOOL:
        return v.b;
    case T_INT:
        return v.i != 0;
    case T_FLOAT:
        return v.f != 0;
    case T_STRING:
        return v.s->len > 0;
    case T_LIST:
        return v.list->n > 0;
    case T_DICT:
        return v.dict->n > 0;
    default:
        return true;
    }
}

bool lm_tpl_is_number(struct lm_tpl_value v) {
    return v.kind == T_BOOL || v.kind == T_INT || v.kind == T_FLOAT;
}

double lm_tpl_number(struct lm_tpl_value v) {
    return v.kind == T_FLOAT ? v.f : v.kind == T_INT ? (double)v.i : v.kind == T_BOOL ? v.b : 0;
}

static bool equal_lists(struct lm_tpl_run *x, const struct lm_tpl_list *a,
                        const struct lm_tpl_list *b) {
    if (a->n != b->n || a->is_tuple != b->is_tuple)
        return false;
    for (size_t i = 0; i < a->n && !x->status; i++)
        if (!lm_tpl_equal(x, a->items[i], b->items[i]))
            return false;
    return true;
}

static bool equal_dicts(struct lm_tpl_run *x, const struct lm_tpl_dict *a,
                        const struct lm_tpl_dict *b) {
    for (size_t i = 0; i < a->n && a->n == b->n && !x->status; i++) {
        const struct lm_tpl_value *other = lm_tpl_dict_find(x, b, a->items[i].key);
        if (!other || !lm_tpl_equal(x, a->items[i].value, *other))
            return false;
    }
    return a->n == b->n;
}

/* One level deeper into nested values; the caller goes back with x->depth--. */
static bool enter(struct lm_tpl_run *x) {
    if (x->status)
        return false;
    if (x->depth >= LM_TPL_MAX_DEPTH) {
        lm_tpl_fail(x, SLUICE_RESOURCE, "values are nested too deeply");
        return false;
    }
    x->depth++;
    return true;
}

bool lm_tpl_equal(struct lm_tpl_run *x, struct lm_tpl_value a, struct lm_tpl_value b) {
    bool equal = false;
    if (lm_tpl_is_number(a) && lm_tpl_is_number(b))
        return a.kind != T_FLOAT && b.kind != T_FLOAT
                   ? (a.kind == T_INT ? a.i : a.b) == (b.kind == T_INT ? b.i : b.b)
                   : lm_tpl_number(a) == lm_tpl_number(b);
    if (a.kind != b.kind)
        return false;
    switch (a.kind) {
    case T_UNDEFINED:
    case T_NONE:
        return true;
    case T_STRING:
        lm_tpl_charge(x, a.s->len / 256);
        return a.s->len == b.s->len && memcmp(a.s->data, b.s->data, a.s->len) == 0;
    case T_LIST:
    case T_DICT:
        if (!lm_tpl_charge(x, 1) || !enter(x))
            return false;
        equal = a.kind == T_LIST ? equal_lists(x, a.list, b.list) : equal_dicts(x, a.dict, b.dict);
        x->depth--;
        return equal;
    case T_METHOD:
    case T_FUNCTION:
        return a.method == b.method;
    default:
        return a.dict == b.dict;
    }
}

static int compare_lists(struct lm_tpl_run *x, const struct lm_tpl_list *a,
                         const struct lm_tpl_list *b) {
    for (size_t i = 0; i < a->n && i < b->n && !x->status; i++)
        if (!lm_tpl_equal(x, a->items[i], b->items[i]))
            return lm_tpl_compare(x, a->items[i], b->items[i]);
    return (a->n > b->n) - (a->n < b->n);
}

int lm_tpl_compare(struct lm_tpl_run *x, struct lm_tpl_value a, struct lm_tpl_value b) {
    int order = 0;
    if (a.kind == T_INT && b.kind == T_INT)
        return (a.i > b.i) - (a.i < b.i);
    if (lm_tpl_is_number(a) && lm_tpl_is_number(b))
        return (lm_tpl_number(a) > lm_tpl_number(b)) - (lm_tpl_number(a) < lm_tpl_number(b));
    if (a.kind == T_STRING && b.kind == T_STRING) { /* UTF-8 sorts as its characters do */
        size_t n = a.s->len < b.s->len ? a.s->len : b.s->len;
        lm_tpl_charge(x, n / 256);
        order = memcmp(a.s->data, b.s->data, n);
        return order ? order : (a.s->len > b.s->len) - (a.s->len < b.s->len);
    }
    if (a.kind != T_LIST || b.kind != T_LIST) {
        lm_tpl_fail(x, SLUICE_INPUT, "%s and %s have no order", lm_tpl_type(a), lm_tpl_type(b));
        return 0;
    }
    if (!lm_tpl_charge(x, 1) || !enter(x))
        return 0;
    order = compare_lists(x, a.list, b.list);
    x->depth--;
    return order;
}

/* ---- Texts ---- */

size_t lm_tpl_length(struct lm_tpl_text text) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += ((uint8_t)text.data[i] & 0xc0) != 0x80;
    return n;
}

size_t lm_tpl_offset(struct lm_tpl_text text, size_t index) {
    size_t at = 0;
    for (; at < text.len; at++)
        if (((uint8_t)text.data[at] & 0xc0) != 0x80 && index-- == 0)
            break;
    return at;
}

const struct lm_tpl_list *lm_tpl_items(struct lm_tpl_run *x, struct lm_tpl_value v) {
    static const struct lm_tpl_list empty = {0};
    struct lm_tpl_value list = LM_TPL_UNDEFINED, *items;
    size_t n = 0, step;
    switch (v.kind) {
    case T_LIST:
        return v.list;
    case T_UNDEFINED:
        return &empty;
    case T_DICT:
        list = lm_tpl_list(x, v.dict->n, &items);
        for (size_t i = 0; i < v.dict->n && !x->status; i++)
            items[i] = v.dict->items[i].key;
        break;
    case T_STRING:
        list = lm_tpl_list(x, lm_tpl_length(*v.s), &items);
        for (size_t at = 0; at < v.s->len && !x->status; at += step) {
            num_char_next(v.s->data + at, v.s->len - at, &step);
            items[n++] = lm_tpl_borrow(x, v.s->data + at, step);
        }
        break;
    default:
        lm_tpl_fail(x, SLUICE_INPUT, "%s cannot be iterated", lm_tpl_type(v));
    }
    return x->status ? &empty : list.list;
}

/* ---- Printing ---- */

static void print_float(double f, struct num_buf *out) {
    char text[40];
    if (!isfinite(f)) {
        num_buf_adds(out, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    bool plain = f == 0 || (fabs(f) >= 1e-4 && fabs(f) < 1e16);
    for (int digits = 1; digits <= 17; digits++) { /* the shortest that reads back the same */
        snprintf(text, sizeof text, "%.*e", digits - 1, f);
        if (strtod(text, NULL) != f)
            continue;
        int exponent = atoi(strchr(text, 'e') + 1), places = digits - 1 - exponent;
        if (plain)
            snprintf(text, sizeof text, "%.*f", places > 0 ? places : 1, f);
        break;
    }
    num_buf_adds(out, text);
}

static void repr_string(struct lm_tpl_text s, struct num_buf *out) {
    bool twice = memchr(s.data, '\'', s.len) && !memchr(s.data, '"', s.len);
    char quote = twice ? '"' : '\'';
    num_buf_addc(out, quote);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == quote || c == '\\')
            num_buf_addf(out, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            num_buf_adds(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if ((uint8_t)c < 0x20 || c == 0x7f)
            num_buf_addf(out, "\\x%02x", (unsigned)(uint8_t)c);
        else
            num_buf_addc(out, c);
    }
    num_buf_addc(out, quote);
}

static void repr_list(struct lm_tpl_run *x, const struct lm_tpl_list *list, struct num_buf *out) {
    num_buf_addc(out, list->is_tuple ? '(' : '[');
    for (size_t i = 0; i < list->n && !x->status; i++) {
        num_buf_adds(out, i ? ", " : "");
        lm_tpl_repr(x, list->items[i], out);
    }
    num_buf_adds(out, !list->is_tuple ? "]" : list->n == 1 ? ",)" : ")");
}

static void repr_dict(struct lm_tpl_run *x, const struct lm_tpl_dict *dict, struct num_buf *out) {
    num_buf_addc(out, '{');
    for (size_t i = 0; i < dict->n && !x->status; i++) {
        num_buf_adds(out, i ? ", " : "");
        lm_tpl_repr(x, dict->items[i].key, out);
        num_buf_adds(out, ": ");
        lm_tpl_repr(x, dict->items[i].value, out);
    }
    num_buf_addc(out, '}');
}

void lm_tpl_repr(struct lm_tpl_run *x, struct lm_tpl_value v, struct num_buf *out) {
    if (!lm_tpl_charge(x, 1))
        return;
    if (out->len > x->limits->max_memory) {
        lm_tpl_fail(x, SLUICE_RESOURCE, "a text is too long");
    } else if (v.kind == T_STRING) {
        repr_string(*v.s, out);
    } else if ((v.kind == T_LIST || v.kind == T_DICT) && enter(x)) {
        if (v.kind == T_LIST)
            repr_list(x, v.list, out);
        else
            repr_dict(x, v.dict, out);
        x->depth--;
    } else if (v.kind == T_UNDEFINED) {
        num_buf_adds(out, "Undefined");
    } else {
        lm_tpl_print(x, v, out);
    }
}

void lm_tpl_print(struct lm_tpl_run *x, struct lm_tpl_value v, struct num_buf *out) {
    switch (v.kind) {
    case T_UNDEFINED:
        break;
    case T_NONE:
        num_buf_adds(out, "None");
        break;
    case T_BOOL:
        num_buf_adds(out, v.b ? "True" : "False");
        break;
    case T_INT:
        num_buf_addf(out, "%lld", (long long)v.i);
        break;
    case T_FLOAT:
        print_float(v.f, out);
        break;
    case T_STRING:
        lm_tpl_charge(x, v.s->len / 256);
        num_buf_add(out, v.s->data, v.s->len);
        break;
    case T_LIST:
    case T_DICT:
        lm_tpl_repr(x, v, out);
        break;
    default:
        lm_tpl_fail(x, SLUICE_INPUT, "%s has no text", lm_tpl_type(v));
    }
}

struct lm_tpl_value lm_tpl_to_string(struct lm_tpl_run *x, struct lm_tpl_value v) {
    num_autobuf out = {0};
    if (v.kind == T_STRING)
        return v;
    lm_tpl_print(x, v, &out);
    return lm_tpl_take(x, &out);
}

/* The filter tojson: a value as Python's json.dumps() prints it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "llm/template_node.h"
#include "num/unicode.h"

static void put_string(struct lm_tpl_text s, bool ascii, struct num_buf *out) {
    size_t step;
    num_buf_addc(out, '"');
    for (size_t at = 0; at < s.len; at += step) {
        uint32_t c = num_char_next(s.data + at, s.len - at, &step);
        const char *named = c && c < 128 ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", (char)c) : NULL;
        bool is_named = named && strchr("\"\\\b\f\n\r\t", (char)c);
        if (is_named)
            num_buf_addf(out, "\\%c", named[1]);
        else if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000))
            num_buf_addf(out, "\\u%04x", c);
        else if (ascii && c >= 0x10000)
            num_buf_addf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                         0xdc00 + ((c - 0x10000) & 0x3ff));
        else
            num_buf_add(out, s.data + at, step);
    }
    num_buf_addc(out, '"');
}

static void put_newline(const struct lm_tpl_json_style *style, int level, struct num_buf *out) {
    if (style->indent < 0)
        return;
    num_buf_addc(out, '\n');
    for (int i = 0; i < level * style->indent; i++)
        num_buf_addc(out, ' ');
}

static void put_list(struct lm_tpl_run *x, const struct lm_tpl_list *list,
                     const struct lm_tpl_json_style *style, int level, struct num_buf *out) {
    num_buf_addc(out, '[');
    for (size_t i = 0; i < list->n && !x->status; i++) {
        if (i)
            num_buf_add(out, style->item.data, style->item.len);
        put_newline(style, level + 1, out);
        lm_tpl_json(x, list->items[i], style, level + 1, out);
    }
    if (list->n)
        put_newline(style, level, out);
    num_buf_addc(out, ']');
}

/* A key that is no string becomes one: 1, true, null. */
static void put_key(struct lm_tpl_run *x, struct lm_tpl_value key,
                    const struct lm_tpl_json_style *style, struct num_buf *out) {
    if (key.kind != T_STRING)
        num_buf_addc(out, '"');
    lm_tpl_json(x, key, style, 0, out);
    if (key.kind != T_STRING)
        num_buf_addc(out, '"');
}

static int by_key(const void *a, const void *b, void *ctx) {
    return lm_tpl_compare(ctx, ((const struct lm_tpl_entry *)a)->key,
                          ((const struct lm_tpl_entry *)b)->key);
}

static void put_dict(struct lm_tpl_run *x, const struct lm_tpl_dict *dict,
                     const struct lm_tpl_json_style *style, int level, struct num_buf *out) {
    const struct lm_tpl_entry *items = dict->items;
    if (style->sort && dict->n > 1) {
        struct lm_tpl_entry *sorted = lm_tpl_new(x, dict->n * sizeof *sorted);
        if (!sorted)
            return;
        memcpy(sorted, dict->items, dict->n * sizeof *sorted);
        qsort_r(sorted, dict->n, sizeof *sorted, by_key, x);
        items = sorted;
    }
    num_buf_addc(out, '{');
    for (size_t i = 0; i < dict->n && !x->status; i++) {
        if (i)
            num_buf_add(out, style->item.data, style->item.len);
        put_newline(style, level + 1, out);
        put_key(x, items[i].key, style, out);
        num_buf_add(out, style->key.data, style->key.len);
        lm_tpl_json(x, items[i].value, style, level + 1, out);
    }
    if (dict->n)
        put_newline(style, level, out);
    num_buf_addc(out, '}');
}

void lm_tpl_json(struct lm_tpl_run *x, struct lm_tpl_value v, const struct lm_tpl_json_style *style,
                 int level, struct num_buf *out) {
    if (!lm_tpl_charge(x, 1))
        return;
    if (level > 100 || out->len > x->limits->max_memory) {
        lm_tpl_fail(x, SLUICE_RESOURCE, "the value is too deep or too long for tojson");
        return;
    }
    switch (v.kind) {
    case T_NONE:
        num_buf_adds(out, "null");
        break;
    case T_BOOL:
        num_buf_adds(out, v.b ? "true" : "false");
        break;
    case T_STRING:
        put_string(*v.s, style->ascii, out);
        break;
    case T_LIST:
        put_list(x, v.list, style, level, out);
        break;
    case T_DICT:
        put_dict(x, v.dict, style, level, out);
        break;
    case T_FLOAT:
        if (!isfinite(v.f)) {
            num_buf_adds(out, isnan(v.f) ? "NaN" : v.f > 0 ? "Infinity" : "-Infinity");
            break;
        }
        /* fall through */
    case T_INT:
        lm_tpl_print(x, v, out);
        break;
    default:
        lm_tpl_fail(x, SLUICE_INPUT, "%s has no JSON", lm_tpl_type(v));
    }
}

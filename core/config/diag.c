/*
 * Diagnostics, see diag.h. Kept in the order they were found and sorted when printed; the same
 * mistake found twice (a block that several stages share through an alias) is printed once. After
 * SL_DIAG_MAX texts further errors are only counted, so that a hostile file cannot fill the memory
 * with complaints about itself.
 */
#include "config/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SL_DIAG_MAX 1000

static void add(struct sl_diags *d, struct sl_pos pos, bool warning, const char *fmt,
                va_list args) {
    d->n_errors += !warning;
    if (d->n >= SL_DIAG_MAX)
        return;
    sl_autostr struct sl_str text = {0};
    sl_str_vaddf(&text, fmt, args);
    SL_PUSH_ROOM(d->items, d->n, d->cap);
    d->items[d->n++] =
        (struct sl_diag){.pos = pos,
                         .text = sl_make_printable(sl_arena_strdup(&d->arena, sl_str_text(&text))),
                         .warning = warning};
}

void sl_diag_error(struct sl_diags *d, struct sl_pos pos, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    add(d, pos, false, fmt, args);
    va_end(args);
}

void sl_diag_warn(struct sl_diags *d, struct sl_pos pos, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    add(d, pos, true, fmt, args);
    va_end(args);
}

/* By position, then in the order found (the items lie in one array). */
static int compare(const void *a, const void *b) {
    const struct sl_diag *x = *(const struct sl_diag *const *)a,
                         *y = *(const struct sl_diag *const *)b;
    if (x->pos.line != y->pos.line)
        return x->pos.line < y->pos.line ? -1 : 1;
    if (x->pos.column != y->pos.column)
        return x->pos.column < y->pos.column ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool same_place(const struct sl_diag *a, const struct sl_diag *b) {
    return a->pos.line == b->pos.line && a->pos.column == b->pos.column;
}

static bool printed_before(const struct sl_diag **order, int i) {
    for (int j = i - 1; j >= 0 && same_place(order[j], order[i]); j--)
        if (order[j]->warning == order[i]->warning && strcmp(order[j]->text, order[i]->text) == 0)
            return true;
    return false;
}

static void print_one(const struct sl_diags *d, const struct sl_diag *item, struct sl_str *out) {
    sl_str_add(out, d->file ? d->file : "pipeline");
    if (item->pos.line > 0)
        sl_str_addf(out, ":%d:%d", item->pos.line, item->pos.column);
    sl_str_addf(out, ": %s: %s\n", item->warning ? "warning" : "error", item->text);
}

void sl_diags_print(struct sl_diags *d, struct sl_str *out) {
    sl_autofree const struct sl_diag **order = sl_xcalloc((size_t)d->n, sizeof *order);
    int printed = 0;
    for (int i = 0; i < d->n; i++)
        order[i] = &d->items[i];
    qsort(order, (size_t)d->n, sizeof *order, compare);
    for (int i = 0; i < d->n; i++)
        if (!printed_before(order, i)) {
            print_one(d, order[i], out);
            printed++;
        }
    if (d->n >= SL_DIAG_MAX)
        sl_str_addf(out, "%s: error: too many mistakes; the first %d are shown\n",
                    d->file ? d->file : "pipeline", printed);
}

void sl_diags_finish(struct sl_diags *d) {
    sl_arena_finish(&d->arena);
    free(d->items);
    *d = (struct sl_diags){.file = d->file};
}

/* Names of items, see items.h. A hash-free sort keeps a batch of many thousand files quick. */
#include "run/items.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/str.h"

/* Bytes. With a number behind it ("-2147483647"), a dot and the name of an output (at most 100,
 * config/pipeline.c) it is still no more than the 255 of a file name. */
#define MAX_NAME    143
#define HASH_DIGITS 9  /* "~" and eight */
#define MAX_PARENT  60 /* bytes of the folder's name before it */

/* The bytes of at most `max` that end no character in its middle. */
static int cut(const char *name, size_t max) {
    size_t len = strlen(name);
    if (len <= max)
        return (int)len;
    while (max > 0 && ((unsigned char)name[max] & 0xc0) == 0x80)
        max--;
    return (int)max;
}

/* A longer one is cut and ends in a hash of its file's path, so that different files keep different
 * names. */
static const char *shorten(struct sl_arena *arena, const char *name, const char *file) {
    if (strlen(name) <= MAX_NAME)
        return name;
    return sl_arena_printf(arena, "%.*s~%08x", cut(name, MAX_NAME - HASH_DIGITS), name,
                           (unsigned)XXH3_64bits(file, strlen(file)));
}

/* Control characters and what is not UTF-8 become "_": names stand in the journal and on
 * terminals. */
static void clean(char *name, size_t len) {
    for (size_t bad; (bad = sl_utf8_valid(name, len)) < len;)
        name[bad] = '_';
    for (char *c = name; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '_';
}

static const char *stem_of(struct sl_arena *arena, const char *path) {
    const char *base = sl_path_base(path);
    const char *dot = strrchr(base, '.');
    size_t len = dot && dot != base ? (size_t)(dot - base) : strlen(base);
    char *name = sl_arena_strndup(arena, base, len);
    clean(name, len);
    bool usable = *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    return usable ? shorten(arena, name, path) : "item";
}

static const char *parent_of(struct sl_arena *arena, const char *path) {
    char *copy = sl_arena_strdup(arena, path);
    char *slash = strrchr(copy, '/');
    if (!slash || slash == copy)
        return "";
    *slash = 0;
    return stem_of(arena, copy);
}

static int by_name(const void *a, const void *b) {
    const struct sl_item *x = *(struct sl_item *const *)a, *y = *(struct sl_item *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : x < y ? -1 : x > y;
}

/* Renames groups of equally named items; `rename` gets the item and its number in the group, from
 * 1. False: there was none. */
static bool rename_equal(struct sl_arena *arena, struct sl_item **sorted, int n,
                         void (*rename)(struct sl_arena *arena, struct sl_item *item, int number)) {
    bool any = false;
    if (n > 0)
        qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    for (int i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && strcmp(sorted[end]->name, sorted[i]->name) == 0;)
            end++;
        any |= end - i > 1;
        for (int k = i; end - i > 1 && k < end; k++)
            rename(arena, sorted[k], k - i + 1);
    }
    return any;
}

static void prefix_parent(struct sl_arena *arena, struct sl_item *item, int number) {
    const char *parent = parent_of(arena, item->file);
    (void)number;
    if (*parent)
        item->name = shorten(
            arena, sl_arena_printf(arena, "%.*s-%s", cut(parent, MAX_PARENT), parent, item->name),
            item->file);
}

static void suffix_number(struct sl_arena *arena, struct sl_item *item, int number) {
    if (number > 1)
        item->name = sl_arena_printf(arena, "%s-%d", item->name, number);
}

struct sl_item *sl_items_from_files(struct sl_arena *arena, const char *const *files, int n) {
    struct sl_item *items = sl_arena_alloc(arena, (size_t)(n ? n : 1) * sizeof *items);
    struct sl_item **sorted = sl_arena_alloc(arena, (size_t)(n ? n : 1) * sizeof *sorted);
    for (int i = 0; i < n; i++) {
        sl_autofree char *absolute = sl_path_absolute(files[i]);
        items[i].file = sl_arena_strdup(arena, absolute);
        items[i].name = stem_of(arena, absolute);
        sorted[i] = &items[i];
    }
    rename_equal(arena, sorted, n, prefix_parent);
    while (rename_equal(arena, sorted, n, suffix_number))
        ; /* a name with a number may be another's: each round makes names longer */
    return items;
}

const char *sl_item_name(struct sl_arena *arena, json_t *taken, const char *file) {
    struct sl_item item = {.file = file, .name = stem_of(arena, file)};
    const char *stem = item.name;
    if (json_object_get(taken, item.name)) {
        prefix_parent(arena, &item, 0);
        stem = item.name;
    }
    for (int number = 2; json_object_get(taken, item.name); number++)
        item.name = sl_arena_printf(arena, "%s-%d", stem, number);
    json_object_set_new_nocheck(taken, item.name, json_true());
    return item.name;
}

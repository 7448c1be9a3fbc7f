/*
 * All kept results: listing and pruning, see results.h. An entry is as old as its last use (the
 * time of its file); its size is that of its outputs, also where a run folder still shares them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "run/results.h"

#define STRAY_S 3600.0 /* a file without an entry may be of one that is being written */

/* Calls `each` with the path and name of what is in ROOT/xx for two hex digits xx, or in
 * ROOT/last/xx. */
static void walk(const char *root, const char *sub,
                 void (*each)(void *ctx, int folder, const char *name, const char *path),
                 void *ctx) {
    for (int i = 0; i < 256; i++) {
        sl_autofree char *path = sl_xasprintf("%s/%s%02x", root, sub, i);
        DIR *dir = opendir(path);
        for (struct dirent *e; dir && (e = readdir(dir));)
            if (e->d_name[0] != '.')
                each(ctx, dirfd(dir), e->d_name, path);
        if (dir)
            closedir(dir);
    }
}

static bool is_entry_name(const char *name) {
    return strspn(name, "0123456789abcdef") == SL_RESULT_KEY_SIZE - 1 &&
           !name[SL_RESULT_KEY_SIZE - 1];
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct sl_result_info *)a)->key, ((const struct sl_result_info *)b)->key);
}

static int by_use(const void *a, const void *b) {
    const struct sl_result_info *x = a, *y = b;
    return x->used_s != y->used_s ? (x->used_s < y->used_s) - (x->used_s > y->used_s)
                                  : by_key(a, b);
}

/* ---- Listing --------------------------------------------------------------------------------- */

struct listing {
    struct sl_result_list *list;
    int64_t stray_before_s;
    bool remove_strays;
};

static void list_entry(void *ctx, int folder, const char *name, const char *path) {
    struct sl_result_list *list = ((struct listing *)ctx)->list;
    struct stat st;
    (void)path;
    if (!is_entry_name(name) || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    SL_PUSH_ROOM(list->items, list->n, list->cap);
    struct sl_result_info *info = &list->items[list->n++];
    *info = (struct sl_result_info){.bytes = (uint64_t)st.st_size, .used_s = st.st_mtim.tv_sec};
    memcpy(info->key, name, SL_RESULT_KEY_SIZE);
}

/* Adds the size of an output to its entry; what has none is left from one that was never finished,
 * or half removed. */
static void add_output(void *ctx, int folder, const char *name, const char *path) {
    const struct listing *l = ctx;
    struct stat st;
    (void)path;
    if (is_entry_name(name) || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    struct sl_result_info key = {{0}, 0, 0};
    snprintf(key.key, sizeof key.key, "%.32s", name);
    struct sl_result_info *info =
        l->list->n ? bsearch(&key, l->list->items, (size_t)l->list->n, sizeof key, by_key) : NULL;
    if (info && !strstr(name, ".tmp-"))
        info->bytes += (uint64_t)st.st_size;
    else if (l->remove_strays && st.st_ctim.tv_sec < l->stray_before_s)
        unlinkat(folder, name, 0);
}

static struct sl_result_list list_all(const char *root, bool remove_strays) {
    struct sl_result_list list = {0};
    struct listing l = {&list, (int64_t)(sl_wall_s() - STRAY_S), remove_strays};
    walk(root, "", list_entry, &l);
    if (list.n)
        qsort(list.items, (size_t)list.n, sizeof *list.items, by_key);
    walk(root, "", add_output, &l);
    for (int i = 0; i < list.n; i++)
        list.bytes += list.items[i].bytes;
    if (list.n)
        qsort(list.items, (size_t)list.n, sizeof *list.items, by_use);
    return list;
}

struct sl_result_list sl_results_list(const char *root) {
    return list_all(root, false);
}

void sl_result_list_finish(struct sl_result_list *list) {
    free(list->items);
    *list = (struct sl_result_list){0};
}

/* ---- Pruning --------------------------------------------------------------------------------- */

static void drop_dead_link(void *ctx, int folder, const char *name, const char *path) {
    const char *root = ctx;
    char key[SL_RESULT_KEY_SIZE] = "";
    (void)path;
    if (readlinkat(folder, name, key, sizeof key - 1) != SL_RESULT_KEY_SIZE - 1)
        return;
    sl_autofree char *entry = sl_xasprintf("%s/%.2s/%s", root, key, key);
    if (!sl_path_exists(entry))
        unlinkat(folder, name, 0);
}

struct sl_result_pruned sl_results_prune(const char *root, uint64_t max_bytes, double max_age_s) {
    struct sl_result_list list = list_all(root, true);
    struct sl_result_pruned p = {.n_left = list.n, .bytes_left = list.bytes};
    double now = sl_wall_s();
    for (int i = list.n - 1; i >= 0; i--) {
        const struct sl_result_info *e = &list.items[i];
        bool old = max_age_s >= 0 && now - (double)e->used_s > max_age_s;
        if (!old && p.bytes_left <= max_bytes)
            break;
        sl_result_remove(root, e->key);
        p.n++;
        p.n_left--;
        p.bytes += e->bytes;
        p.bytes_left -= e->bytes;
    }
    walk(root, "last/", drop_dead_link, (void *)root);
    sl_result_list_finish(&list);
    return p;
}

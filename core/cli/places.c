/*
 * The places of output files, see places.h. Most pipelines and batches are through without a look
 * at single names: only an output whose name ends in another's can meet it, and only items that lie
 * in the output folder can be written over.
 */
#include "cli/places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"

struct places {
    const struct sl_plan *plan;
    const struct sl_item *items;
    int n_items;
    const char *out_dir;
};

/* ---- Two items, one file --------------------------------------------------------------------- */

static json_t *output_names(const struct sl_plan *plan) {
    json_t *names = json_object();
    for (int s = 0; s < plan->n_stages; s++)
        if (plan->stages[s].is_output)
            json_object_set_new(names, plan->stages[s].name, json_true());
    return names;
}

static json_t *item_names(const struct places *p) {
    json_t *names = json_object();
    for (int i = 0; i < p->n_items; i++)
        json_object_set_new_nocheck(names, p->items[i].name, json_true());
    return names;
}

/* "talk" and "en.srt", where there are an item "talk.en" and an output "srt": `between` is
 * ".en". */
static int find_meeting(const struct places *p, const char *output, const char *between, size_t len,
                        json_t *names, struct sl_err *err) {
    for (int i = 0; i < p->n_items; i++) {
        const char *name = p->items[i].name;
        sl_autofree char *other = sl_xasprintf("%s%.*s", name, (int)len, between);
        if (json_object_get(names, other))
            return sl_err_set(err, SL_USAGE,
                              "%s and %s would both write %s.%s; rename one of the files, or the "
                              "output",
                              name, other, name, output);
    }
    return 0;
}

static int check_meetings(const struct places *p, struct sl_err *err) {
    sl_autojson json_t *outputs = output_names(p->plan), *names = NULL;
    int rc = 0;
    for (int s = 0; rc == 0 && s < p->plan->n_stages; s++) {
        const char *output = p->plan->stages[s].name;
        if (!p->plan->stages[s].is_output)
            continue;
        for (const char *dot = output; rc == 0 && (dot = strchr(dot, '.')); dot++) {
            if (!json_object_get(outputs, dot + 1))
                continue;
            if (!names)
                names = item_names(p);
            sl_autofree char *between = sl_xasprintf(".%.*s", (int)(dot - output), output);
            rc = find_meeting(p, output, between, strlen(between), names, err);
        }
    }
    return rc;
}

/* ---- Over a file of the run ------------------------------------------------------------------ */

/* Whether the file lies in the folder. */
static bool lies_in(const char *file, const struct stat *folder) {
    struct stat st;
    sl_autofree char *path = sl_xstrndup(file, (size_t)(sl_path_base(file) - file));
    return stat(*path ? path : ".", &st) == 0 && st.st_dev == folder->st_dev &&
           st.st_ino == folder->st_ino;
}

static bool same_folder(const char *a, const char *b) {
    size_t n = (size_t)(sl_path_base(a) - a), m = (size_t)(sl_path_base(b) - b);
    return n == m && memcmp(a, b, n) == 0;
}

/* Names of the items' files in the output folder; NULL: none is there. */
static json_t *files_in_output(const struct places *p) {
    struct stat folder;
    json_t *names = NULL;
    bool in = false;
    if (stat(p->out_dir, &folder) < 0)
        return NULL;
    for (int i = 0; i < p->n_items; i++) {
        const char *file = p->items[i].file;
        if (i == 0 || !same_folder(file, p->items[i - 1].file))
            in = lies_in(file, &folder);
        if (!in)
            continue;
        if (!names)
            names = json_object();
        json_object_set_new_nocheck(names, sl_path_base(file), json_true());
    }
    return names;
}

static int check_overwriting(const struct places *p, struct sl_err *err) {
    sl_autojson json_t *files = files_in_output(p);
    for (int i = 0; files && i < p->n_items; i++)
        for (int s = 0; s < p->plan->n_stages; s++) {
            if (!p->plan->stages[s].is_output)
                continue;
            sl_autofree char *name =
                sl_xasprintf("%s.%s", p->items[i].name, p->plan->stages[s].name);
            if (json_object_get(files, name))
                return sl_err_set(err, SL_USAGE,
                                  "output \"%s\" would be written over %s, which is an input of "
                                  "this run; choose another folder with -o",
                                  p->plan->stages[s].name, name);
        }
    return 0;
}

/* ---- The folder ------------------------------------------------------------------------------ */

static void cut_slashes(char *path) {
    for (size_t len = strlen(path); len > 1 && path[len - 1] == '/';)
        path[--len] = 0;
}

/* Cuts the last name off an absolute path; false where there is none. */
static bool go_up(char *path) {
    cut_slashes(path);
    char *name = strrchr(path, '/') + 1;
    bool any = *name != 0;
    *name = 0;
    cut_slashes(path);
    return any;
}

int sl_places_check_folder(const char *out_dir, struct sl_err *err) {
    sl_autofree char *path = sl_xstrdup(out_dir);
    struct stat st;
    if (*path != '/')
        return sl_err_set(err, SL_USAGE, "-o %s: the working folder is gone; give an absolute path",
                          out_dir);
    while (stat(path, &st) < 0) {
        if ((errno != ENOENT && errno != ENOTDIR) || !go_up(path))
            return sl_err_sys(err, SL_USAGE, errno, "outputs cannot be written to %s", out_dir);
    }
    if (!S_ISDIR(st.st_mode))
        return sl_err_set(err, SL_USAGE, "outputs cannot be written to %s: %s is not a folder",
                          out_dir, path);
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) < 0)
        return sl_err_sys(err, SL_USAGE, errno, "outputs cannot be written to %s", path);
    return 0;
}

int sl_places_check(const struct sl_plan *plan, const struct sl_item *items, int n_items,
                    const char *out_dir, struct sl_err *err) {
    const struct places p = {plan, items, n_items, out_dir};
    int rc = check_meetings(&p, err);
    return rc < 0 ? rc : check_overwriting(&p, err);
}

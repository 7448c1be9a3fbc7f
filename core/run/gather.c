/* Folders and patterns, see gather.h. */
#include "run/gather.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "run/artifact.h"

#define MAX_DEPTH 64

/* Endings of files with sound, as ffmpeg reads them. */
static const char *const media[] = {
    "3gp", "aac",  "ac3", "aif", "aiff", "amr",  "ape",  "asf", "au",   "avi", "caf",
    "dts", "flac", "flv", "m4a", "m4b",  "m4v",  "mka",  "mkv", "mov",  "mp2", "mp3",
    "mp4", "mpeg", "mpg", "mts", "mxf",  "oga",  "ogg",  "ogv", "opus", "ra",  "rm",
    "spx", "ts",   "tta", "vob", "wav",  "weba", "webm", "wma", "wmv",  "wv",
};

bool sl_gather_wants(const char *name, const char *type) {
    const char *base = sl_path_base(name), *dot = strrchr(base, '.');
    if (!dot || dot == base || *base == '.')
        return false;
    if (strcmp(type, SLUICE_TYPE_FILE) != 0)
        return strcasecmp(dot, sl_type_extension(type)) == 0;
    for (size_t i = 0; i < sizeof media / sizeof *media; i++)
        if (strcasecmp(dot + 1, media[i]) == 0)
            return true;
    return false;
}

static int push(struct sl_gather *g, const char *path, struct sl_err *err) {
    if (g->n == SL_GATHER_MAX_FILES)
        return sl_err_set(err, SL_USAGE, "more than %d files", SL_GATHER_MAX_FILES);
    SL_PUSH_ROOM(g->files, g->n, g->cap);
    g->files[g->n++] = path;
    return 0;
}

/* ---- Folders --------------------------------------------------------------------------------- */

static int no_dots(const struct dirent *e) {
    return e->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* DT_REG for a file, also behind a link; DT_DIR for a folder, but not behind one. */
static int kind_of(const char *path, int d_type) {
    struct stat st;
    if (d_type == DT_DIR || d_type == DT_REG)
        return d_type;
    if (d_type == DT_UNKNOWN && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return DT_DIR;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? DT_REG : DT_UNKNOWN;
}

static int walk(struct sl_gather *g, const char *folder, const char *type, int depth,
                struct sl_err *err) {
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, no_dots, by_bytes), rc = 0;
    if (n < 0)
        return sl_err_sys(err, SL_USAGE, errno, "%s: the folder cannot be read", folder);
    for (int i = 0; i < n; i++) {
        sl_autofree char *path = sl_path_join(folder, entries[i]->d_name);
        int kind = rc == 0 ? kind_of(path, entries[i]->d_type) : DT_UNKNOWN;
        if (kind == DT_DIR && depth < MAX_DEPTH)
            rc = walk(g, path, type, depth + 1, err);
        else if (kind == DT_REG && sl_gather_wants(path, type))
            rc = push(g, sl_arena_strdup(&g->arena, path), err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int add_folder(struct sl_gather *g, const char *folder, const char *type,
                      struct sl_err *err) {
    int before = g->n, rc = walk(g, folder, type, 0, err);
    if (rc < 0 || g->n > before)
        return rc;
    if (strcmp(type, SLUICE_TYPE_FILE) == 0)
        return sl_err_set(
            err, SL_USAGE,
            "%s: the folder has no audio or video file, by their names (.wav, .mp3, .mp4 and "
            "so on); name files of other names yourself",
            folder);
    return sl_err_set(err, SL_USAGE, "%s: the folder has no file that ends in %s", folder,
                      sl_type_extension(type));
}

/* ---- Patterns -------------------------------------------------------------------------------- */

static int add_matches(struct sl_gather *g, const char *pattern, const char *type,
                       struct sl_err *err) {
    glob_t found = {0};
    int rc = glob(pattern, 0, NULL, &found);
    if (rc == GLOB_NOMATCH)
        rc = sl_err_set(err, SL_USAGE, "%s: no file matches", pattern);
    else if (rc != 0)
        rc = sl_err_set(err, SL_USAGE, "%s: the pattern cannot be followed", pattern);
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        struct stat st;
        if (!sl_gather_wants(path, type) && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            continue;
        rc = push(g, sl_arena_strdup(&g->arena, path), err);
    }
    globfree(&found);
    return rc;
}

int sl_gather_add(struct sl_gather *g, const char *word, const char *type, struct sl_err *err) {
    struct stat st;
    bool pattern = strpbrk(word, "*?[") != NULL;
    if (!pattern && sl_gather_wants(word, type))
        return push(g, word, err);
    if (stat(word, &st) == 0)
        return S_ISDIR(st.st_mode) ? add_folder(g, word, type, err) : push(g, word, err);
    return pattern ? add_matches(g, word, type, err) : push(g, word, err);
}

void sl_gather_finish(struct sl_gather *g) {
    sl_arena_finish(&g->arena);
    free(g->files);
    *g = (struct sl_gather){0};
}

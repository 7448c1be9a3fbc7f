/*
 * The registry, see registry.h: scan folders, look into the cache, probe the rest, fill the
 * catalog, write the cache.
 *
 * What is cached: descriptions, and failures whose cause lies in the file itself (it declares
 * something wrong); for an hour that a plugin took too long, which would cost that time again. One
 * that does not load or crashes is probed each time: the cause may be a library that is installed
 * tomorrow.
 */
#include "proc/registry.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "base/str.h"
#include "proc/buildid.h"
#include "proc/cache.h"
#include "proc/probe.h"

#define CACHE_LIMIT  (64u << 20)
#define HOW_TO_RETRY " (not tried again for an hour; `sluice plugins --refresh` does)"

/* A plugin file that was found. */
struct found {
    char *path, *build;
    int64_t size, mtime_ns;
};

struct scan {
    struct found *files;
    int n, cap;
};

/* ---- Finding files --------------------------------------------------------------------------- */

static bool has_name(const struct scan *s, const char *name) {
    for (int i = 0; i < s->n; i++)
        if (strcmp(sl_path_base(s->files[i].path), name) == 0)
            return true;
    return false;
}

static int64_t mtime_ns(const struct stat *st) {
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Takes the path; false (and freed) where it is not a file. */
static bool add_file(struct scan *s, char *path) {
    struct stat st;
    char build[SL_BUILD_ID_SIZE];
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
        free(path);
        return false;
    }
    SL_PUSH_ROOM(s->files, s->n, s->cap);
    s->files[s->n++] =
        (struct found){path, sl_xstrdup(sl_build_id_of(path, build)), st.st_size, mtime_ns(&st)};
    return true;
}

static int scan_folder(struct scan *s, const char *folder, bool must_exist, struct sl_err *err) {
    DIR *dir = opendir(folder);
    if (!dir && !must_exist)
        return 0;
    if (!dir)
        return sl_err_sys(err, SL_USAGE, errno, "%s: cannot be read as a folder of plugins",
                          folder);
    sl_autofree char *absolute = sl_path_absolute(folder);
    struct scan here = {0};
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.' && sl_ends_with(e->d_name, ".so") && !has_name(s, e->d_name))
            add_file(&here, sl_path_join(absolute, e->d_name));
    closedir(dir);
    for (int i = 0; i < here.n; i++) {
        SL_PUSH_ROOM(s->files, s->n, s->cap);
        s->files[s->n++] = here.files[i];
    }
    free(here.files);
    return 0;
}

static void scan_path_variable(struct scan *s) {
    const char *list = getenv("SLUICE_PLUGIN_PATH");
    if (!list)
        return;
    sl_autofree char *copy = sl_xstrdup(list);
    char *rest = copy;
    for (char *folder; (folder = strsep(&rest, ":"));)
        if (*folder)
            scan_folder(s, folder, false, NULL);
}

static int by_name(const void *a, const void *b) {
    const struct found *x = a, *y = b;
    return strcmp(sl_path_base(x->path), sl_path_base(y->path));
}

static int scan_all(const struct sl_registry_options *o, struct scan *s, struct sl_err *err) {
    for (int i = 0; i < o->n_folders; i++) {
        int rc = scan_folder(s, o->folders[i], true, err);
        if (rc < 0)
            return rc;
    }
    scan_path_variable(s);
    sl_autofree char *prefix = sl_install_prefix();
    sl_autofree char *installed = sl_path_join(prefix, "lib/sluice/plugins");
    scan_folder(s, installed, false, NULL);
    /* Names are unique, so the order is too. */
    qsort(s->files, (size_t)s->n, sizeof *s->files, by_name);
    return 0;
}

static void scan_finish(struct scan *s) {
    for (int i = 0; i < s->n; i++) {
        free(s->files[i].path);
        free(s->files[i].build);
    }
    free(s->files);
}

/* ---- The cache's file ------------------------------------------------------------------------ */

/* Owned; NULL where there is no place for it. */
static char *cache_path(void) {
    sl_autofree char *folder = sl_cache_folder();
    return folder ? sl_path_join(folder, "plugins.json") : NULL;
}

/* The worker that describes is part of what was described: another one may judge differently.
 * Owned. */
static char *worker_identity(const char *worker) {
    struct stat st = {0};
    stat(worker, &st);
    return sl_xasprintf("%s %lld %lld " SLUICE_VERSION, worker, (long long)st.st_size,
                        (long long)mtime_ns(&st));
}

static void cache_open(const char *path, const char *worker, struct sl_cache *ret) {
    sl_autofree char *text = NULL;
    size_t len = 0;
    if (path && sl_read_file(path, CACHE_LIMIT, &text, &len, NULL) < 0)
        len = 0;
    sl_cache_parse(text ? text : "", len, worker, (int64_t)sl_wall_s(), ret);
}

/* A cache that cannot be written is done without. */
static void cache_save(struct sl_cache *c, const char *path, const char *worker) {
    if (!path || !c->changed)
        return;
    sl_cache_prune(c);
    sl_autofree char *folder = sl_xstrndup(path, (size_t)(sl_path_base(path) - path) - 1);
    sl_autofree char *text = sl_cache_text(c, worker);
    if (sl_make_dirs(folder, NULL) == 0)
        sl_write_file(path, text, strlen(text), NULL);
}

/* ---- Filling the catalog --------------------------------------------------------------------- */

static struct sl_cache_key key_of(const struct found *f) {
    return (struct sl_cache_key){f->path, f->size, f->mtime_ns, f->build};
}

/* A description that the catalog refuses makes a broken plugin; returns the reason (owned), or
 * NULL. */
static char *add_description(struct sl_catalog *catalog, const struct found *f, const char *json,
                             size_t len) {
    struct sl_err err;
    if (sl_catalog_add(catalog, f->path, f->build, json, len, &err) == 0)
        return NULL;
    sl_catalog_add_broken(catalog, f->path, err.msg);
    return sl_xstrdup(err.msg);
}

static void add_cached(struct sl_catalog *catalog, const struct found *f, const json_t *entry) {
    const char *broken = sl_json_str(entry, "broken", NULL);
    if (broken) {
        sl_catalog_add_broken(catalog, f->path, broken);
        return;
    }
    sl_autofree char *json = sl_json_line(json_object_get(entry, "description"));
    free(add_description(catalog, f, json, strlen(json)));
}

static void add_probed(struct sl_catalog *catalog, const struct found *f, const struct sl_probe *p,
                       struct sl_cache *cache) {
    struct sl_cache_key key = key_of(f);
    if (!p->json) {
        sl_autofree char *reason =
            sl_xasprintf("%s%s", p->reason, p->timed_out ? HOW_TO_RETRY : "");
        sl_catalog_add_broken(catalog, f->path, reason);
        if (p->lasting || p->timed_out)
            sl_cache_put(cache, &key, NULL, reason,
                         p->timed_out ? (int64_t)sl_wall_s() + SL_CACHE_PASSING_S : 0);
        return;
    }
    sl_autojson json_t *description = NULL;
    sl_autofree char *reason = add_description(catalog, f, p->json, p->len);
    if (reason)
        sl_cache_put(cache, &key, NULL, reason, 0);
    else if (sl_json_parse(p->json, p->len, &description, NULL) == 0)
        sl_cache_put(cache, &key, description, NULL, 0);
}

/* Stable, so that of two plugins with one name the one of the earlier file stays in front. */
static void sort_by_name(struct sl_catalog *c) {
    for (int i = 1; i < c->n_plugins; i++) {
        struct sl_plugin_desc *p = c->plugins[i];
        int at = i;
        for (; at > 0 && strcmp(c->plugins[at - 1]->name, p->name) > 0; at--)
            c->plugins[at] = c->plugins[at - 1];
        c->plugins[at] = p;
    }
}

/* Describes what the cache does not know. */
static int fill(const struct scan *s, const struct sl_registry_options *o, const char *worker,
                struct sl_cache *cache, struct sl_catalog *catalog, struct sl_err *err) {
    sl_autofree struct sl_probe *probes = sl_xcalloc((size_t)s->n, sizeof *probes);
    sl_autofree int *which = sl_xcalloc((size_t)s->n, sizeof *which);
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        struct sl_cache_key key = key_of(&s->files[i]);
        const json_t *entry = o->refresh ? NULL : sl_cache_find(cache, &key);
        if (entry) {
            add_cached(catalog, &s->files[i], entry);
        } else {
            which[n] = i;
            probes[n++].path = s->files[i].path;
        }
    }
    int rc = sl_probe_run(worker, probes, n, o->limit_ms ? o->limit_ms : SL_PROBE_LIMIT_MS, err);
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            add_probed(catalog, &s->files[which[i]], &probes[i], cache);
        sl_probe_finish(&probes[i]);
    }
    sort_by_name(catalog);
    return rc;
}

static char *worker_path(const struct sl_registry_options *o) {
    if (o->worker)
        return sl_xstrdup(o->worker);
    sl_autofree char *prefix = sl_install_prefix();
    return sl_path_join(prefix, "libexec/sluice/sluice-worker");
}

int sl_registry_load(const struct sl_registry_options *options, struct sl_catalog *catalog,
                     struct sl_err *err) {
    struct scan scan = {0};
    struct sl_cache cache;
    sl_autofree char *worker = worker_path(options);
    sl_autofree char *identity = worker_identity(worker);
    sl_autofree char *path = options->no_cache ? NULL : cache_path();
    int rc = scan_all(options, &scan, err);
    cache_open(path, identity, &cache);
    if (rc == 0)
        rc = fill(&scan, options, worker, &cache, catalog, err);
    if (rc == 0)
        cache_save(&cache, path, identity);
    sl_cache_finish(&cache);
    scan_finish(&scan);
    return rc;
}

int sl_registry_probe(const struct sl_registry_options *options, const char *path,
                      struct sl_catalog *catalog, struct sl_err *err) {
    struct scan scan = {0};
    struct sl_cache none;
    sl_autofree char *worker = worker_path(options);
    if (!add_file(&scan, sl_path_absolute(path)))
        return sl_err_set(err, SLUICE_INPUT, "%s: no such file", path);
    cache_open(NULL, "", &none);
    int rc = fill(&scan, options, worker, &none, catalog, err);
    sl_cache_finish(&none);
    scan_finish(&scan);
    return rc;
}

/*
 * Downloads a model, and checks one that was: see get.h for the layout on disk.
 *
 * One listing gives the commit, sizes and digests; files are then asked for by that commit, so that
 * a repository that changes meanwhile cannot mix two models. What fails for a passing reason is
 * tried again, from where it stopped, until five tries in a row brought nothing.
 */
#include "fetch/get.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/units.h"
#include "fetch/digest.h"
#include "fetch/models.h"
#include "fetch/progress.h"
#include "fetch/repo.h"

#define MAX_LISTING_BYTES (16u << 20)
#define MAX_FRUITLESS     5
#define FIRST_WAIT_MS     500
#define COMMIT_FILE       "commit"

struct job {
    const struct sl_get *get;
    struct sl_http *http;
    struct sl_repo repo;
    struct sl_progress progress;
    char *final, *part, *lock_path; /* DIR/NAME, DIR/.NAME.part, DIR/.NAME.lock */
    int lock_fd;
};

/* "DIR/.NAME<suffix>", beside where DIR/NAME will be. */
static char *hidden_path(const char *final, const char *suffix) {
    const char *base = sl_path_base(final);
    return sl_xasprintf("%.*s.%s%s", (int)(base - final), final, base, suffix);
}

static bool interrupted(void *http) {
    return sl_http_interrupted(http, 0);
}

/* ---- Tries ----------------------------------------------------------------------------------- */

/* Whether another try may help; waits before it says so, longer each time. */
static bool worth_a_try(struct job *j, int *fruitless, bool brought, struct sl_err *err) {
    char line[SL_ERR_SIZE + 64];
    if (err->cls != SLUICE_TRANSIENT)
        return false;
    *fruitless = brought ? 1 : *fruitless + 1;
    if (*fruitless >= MAX_FRUITLESS)
        return false;
    snprintf(line, sizeof line, "%s; trying again", err->msg);
    sl_progress_note(&j->progress, line);
    if (!sl_http_interrupted(j->http, FIRST_WAIT_MS << (*fruitless - 1)))
        return true;
    sl_err_set(err, SLUICE_CANCELLED, "interrupted");
    return false;
}

static int list_files(struct job *j, struct sl_err *err) {
    const struct sl_get *g = j->get;
    sl_autostr struct sl_str text = {0}, path = {0};
    int fruitless = 0, rc;
    sl_str_addf(&path, "/api/models/%s/revision/", g->repo);
    for (const char *c = g->revision; *c; c++)
        *c == '/' ? sl_str_add(&path, "%2F") : sl_str_addn(&path, c, 1);
    sl_str_add(&path, "?blobs=true");
    do {
        sl_str_clear(&text);
        rc = sl_http_text(j->http, sl_str_text(&path), g->repo, MAX_LISTING_BYTES, &text, err);
    } while (rc < 0 && worth_a_try(j, &fruitless, false, err));
    return rc < 0 ? rc
                  : sl_repo_parse(sl_str_text(&text), text.len, g->repo, g->file, &j->repo, err);
}

/* ---- One file -------------------------------------------------------------------------------- */

static int fetch_bytes(struct job *j, struct sl_repo_file *f, const char *path,
                       struct sl_err *err) {
    sl_autofree char *url =
        sl_xasprintf("/%s/resolve/%s/%s", j->get->repo, j->repo.commit, f->name);
    sl_autoclose int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct stat info;
    int fruitless = 0, rc;
    uint64_t before;
    if (fd < 0 || fstat(fd, &info) < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s", path);
    struct sl_http_file file = {.fd = fd,
                                .size = f->size,
                                .have = (uint64_t)info.st_size,
                                .progress = sl_progress_have,
                                .ctx = &j->progress};
    sl_progress_file(&j->progress, f->name, f->size, file.have);
    do {
        before = file.have;
        rc = sl_http_download(j->http, url, f->name, &file, err);
    } while (rc < 0 && worth_a_try(j, &fruitless, file.have > before, err));
    if (rc == 0 && fsync(fd) < 0)
        rc = sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s", path);
    if (rc == 0 && !f->sha256[0] && file.sha256[0])
        memcpy(f->sha256, file.sha256, sizeof f->sha256);
    f->size = rc == 0 ? file.have : f->size;
    return rc;
}

/* Compares the file with its published digest, and leaves its SHA-256 in `f`. */
static int check_bytes(struct job *j, struct sl_repo_file *f, const char *path,
                       struct sl_err *err) {
    struct sl_digests d;
    char line[256];
    int rc = sl_digest_file(path, interrupted, j->http, &d, err);
    if (rc < 0)
        return rc;
    const char *published = f->sha256[0] ? f->sha256 : f->git_sha1,
               *found = f->sha256[0] ? d.sha256 : d.git_sha1;
    if (*published && strcasecmp(published, found) != 0)
        return sl_err_set(
            err, SLUICE_INPUT,
            "%s: its checksum is %s where %s is published; what was received is deleted, "
            "so the same command begins this file anew",
            f->name, found, published);
    if (!*published) {
        snprintf(line, sizeof line, "%.100s: no checksum is published; only its size was checked",
                 f->name);
        sl_progress_note(&j->progress, line);
    }
    memcpy(f->sha256, d.sha256, sizeof f->sha256);
    return 0;
}

static int get_file(struct job *j, struct sl_repo_file *f, struct sl_err *err) {
    sl_autofree char *path = sl_path_join(j->part, f->name),
                     *partial = sl_xasprintf("%s.part", path);
    struct stat info;
    bool there =
        stat(path, &info) == 0 && (f->size == UINT64_MAX || (uint64_t)info.st_size == f->size);
    int rc = there ? rename(path, partial) : fetch_bytes(j, f, partial, err);
    if (there && rc < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s", path);
    if (there) {
        f->size = (uint64_t)info.st_size;
        sl_progress_file(&j->progress, f->name, f->size, f->size);
    }
    if (rc == 0)
        rc = check_bytes(j, f, partial, err);
    if (rc == SLUICE_INPUT)
        unlink(partial);
    if (rc == 0 && rename(partial, path) < 0)
        rc = sl_err_sys(err, SLUICE_INTERNAL, errno, "%s", path);
    if (rc == 0)
        sl_progress_done(&j->progress, f->size);
    return rc;
}

/* ---- The folder ------------------------------------------------------------------------------ */

static int take_lock(struct job *j, struct sl_err *err) {
    struct stat held, named;
    for (;;) {
        j->lock_fd = open(j->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (j->lock_fd < 0)
            return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s", j->lock_path);
        if (flock(j->lock_fd, LOCK_EX | LOCK_NB) < 0)
            return sl_err_set(err, SLUICE_RESOURCE, "another `sluice models get` is downloading %s",
                              j->get->name);
        if (fstat(j->lock_fd, &held) == 0 && stat(j->lock_path, &named) == 0 &&
            held.st_ino == named.st_ino)
            return 0;
        sl_close(&j->lock_fd); /* its owner has just removed it */
    }
}

/* An empty folder for this commit, or the one that an earlier try left. */
static int open_part(struct job *j, struct sl_err *err) {
    sl_autofree char *note = sl_path_join(j->part, COMMIT_FILE), *found = NULL;
    sl_autofree char *wanted = sl_xasprintf("%s %s\n", j->get->repo, j->repo.commit);
    size_t len = 0;
    if (sl_read_file(note, 4096, &found, &len, NULL) == 0 && strcmp(found, wanted) == 0)
        return 0;
    int rc = sl_remove_tree(j->part, err);
    if (rc == 0)
        rc = sl_make_dirs(j->part, err);
    return rc < 0 ? rc : sl_write_file(note, wanted, strlen(wanted), err);
}

static int check_room(const struct job *j, struct sl_err *err) {
    struct statvfs disk;
    struct stat info;
    uint64_t wanted = 0, free_bytes;
    char need[32], have[32];
    for (int i = 0; i < j->repo.n_files; i++) {
        const struct sl_repo_file *f = &j->repo.files[i];
        sl_autofree char *path = sl_path_join(j->part, f->name),
                         *partial = sl_xasprintf("%s.part", path);
        uint64_t there =
            stat(path, &info) == 0 || stat(partial, &info) == 0 ? (uint64_t)info.st_size : 0;
        if (f->size != UINT64_MAX && f->size > there &&
            !sl_add_ok(wanted, f->size - there, &wanted))
            wanted = UINT64_MAX;
    }
    if (statvfs(j->part, &disk) < 0 || !sl_mul_ok(disk.f_bavail, disk.f_frsize, &free_bytes) ||
        wanted <= free_bytes)
        return 0;
    return sl_err_set(err, SLUICE_RESOURCE, "%s needs %s more on the disk of %s, which has %s free",
                      j->get->name, sl_format_size(wanted, need, sizeof need), j->get->folder,
                      sl_format_size(free_bytes, have, sizeof have));
}

static int write_manifest(const struct job *j, struct sl_err *err) {
    sl_autofree char *path = sl_path_join(j->part, SL_MODEL_MANIFEST), *text = NULL;
    sl_autojson json_t *files = json_array(), *manifest = NULL;
    for (int i = 0; i < j->repo.n_files; i++) {
        const struct sl_repo_file *f = &j->repo.files[i];
        json_array_append_new(files, json_pack("{s:s, s:I, s:s}", "name", f->name, "size",
                                               (json_int_t)f->size, "sha256", f->sha256));
    }
    manifest = json_pack("{s:i, s:s, s:s, s:s, s:s, s:O}", "format", 1, "repo", j->get->repo,
                         "revision", j->get->revision, "commit", j->repo.commit, "endpoint",
                         j->get->http.endpoint, "files", files);
    text = json_dumps(manifest, JSON_INDENT(2));
    return text ? sl_write_file(path, text, strlen(text), err)
                : sl_err_set(err, SLUICE_INTERNAL, "%s cannot be written", SL_MODEL_MANIFEST);
}

/* Puts the finished folder into its place; an older one there is replaced. */
static int install(struct job *j, struct sl_err *err) {
    sl_autofree char *note = sl_path_join(j->part, COMMIT_FILE),
                     *old = hidden_path(j->final, ".old");
    int rc = write_manifest(j, err);
    if (rc < 0 || (rc = sl_remove_tree(old, err)) < 0)
        return rc;
    unlink(note);
    if (rename(j->final, old) < 0 && errno != ENOENT)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s", j->final);
    if (rename(j->part, j->final) < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s", j->final);
    return sl_remove_tree(old, err);
}

/* 1: this commit is installed; 0: it is not; else an error. */
static int is_installed(const struct job *j, struct sl_err *err) {
    sl_autojson json_t *manifest = NULL;
    struct sl_err why;
    if (!sl_path_exists(j->final))
        return 0;
    if (sl_model_manifest(j->final, &manifest, &why) < 0)
        return sl_err_set(
            err, SLUICE_INPUT,
            "%s is there and was not downloaded by Sluice: move it away or give another "
            "--name",
            j->final);
    return strcmp(sl_json_str(manifest, "commit", ""), j->repo.commit) == 0 &&
           strcmp(sl_json_str(manifest, "repo", ""), j->get->repo) == 0;
}

static int download(struct job *j, struct sl_err *err) {
    uint64_t total = 0;
    int rc = open_part(j, err);
    if (rc == 0)
        rc = check_room(j, err);
    for (int i = 0; i < j->repo.n_files; i++)
        total += j->repo.files[i].size == UINT64_MAX ? 0 : j->repo.files[i].size;
    sl_progress_init(&j->progress, total);
    for (int i = 0; rc == 0 && i < j->repo.n_files; i++)
        rc = get_file(j, &j->repo.files[i], err);
    sl_progress_clear(&j->progress);
    return rc < 0 ? rc : install(j, err);
}

static int get_locked(struct job *j, struct sl_err *err) {
    int rc = list_files(j, err);
    if (rc == 0)
        rc = is_installed(j, err);
    if (rc == 1)
        fprintf(stderr, "%s is installed already, at commit %.12s\n", j->get->name, j->repo.commit);
    else if (rc == 0)
        rc = download(j, err);
    if (rc >= 0)
        puts(j->final);
    return rc < 0 ? rc : 0;
}

int sl_get_model(const struct sl_get *get, struct sl_err *err) {
    struct job j = {.get = get, .lock_fd = -1, .final = sl_path_join(get->folder, get->name)};
    sl_autofree char *parent = sl_xstrndup(j.final, (size_t)(sl_path_base(j.final) - j.final));
    j.part = hidden_path(j.final, ".part");
    j.lock_path = hidden_path(j.final, ".lock");
    j.http = sl_http_create(&get->http);
    int rc = j.http ? 0 : sl_err_set(err, SLUICE_INTERNAL, "libcurl cannot be started");
    sl_progress_init(&j.progress, 0);
    if (rc == 0)
        rc = sl_make_dirs(parent, err);
    if (rc == 0)
        rc = take_lock(&j, err);
    if (rc == 0) {
        rc = get_locked(&j, err);
        unlink(j.lock_path);
    }
    sl_close(&j.lock_fd);
    sl_http_destroy(j.http);
    sl_repo_finish(&j.repo);
    free(j.final);
    free(j.part);
    free(j.lock_path);
    return rc;
}

/* ---- verify ---------------------------------------------------------------------------------- */

static bool signalled(void *fd) {
    struct pollfd p = {.fd = *(int *)fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* One file of the manifest; prints its line. 0: as it should be, 1: it differs, else an error. */
static int verify_file(const char *folder, const json_t *entry, int signals, struct sl_err *err) {
    const char *name = sl_json_str(entry, "name", ""), *sha256 = sl_json_str(entry, "sha256", "");
    sl_autofree char *path = sl_path_join(folder, name);
    struct sl_digests d;
    struct sl_err why;
    if (*name == '\0' || strchr(name, '/') || strlen(sha256) != 64)
        return sl_err_set(err, SLUICE_INPUT, "%s/%s: it has an entry that is not a file", folder,
                          SL_MODEL_MANIFEST);
    int rc = sl_digest_file(path, signalled, &signals, &d, &why);
    if (rc == SLUICE_CANCELLED)
        return sl_err_set(err, rc, "interrupted");
    const char *word = rc < 0 ? (sl_path_exists(path) ? "unreadable" : "missing")
                       : strcasecmp(d.sha256, sha256) == 0 ? "ok"
                                                           : "differs";
    printf("%-10s %s\n", word, name);
    return strcmp(word, "ok") != 0;
}

int sl_verify_model(const char *folder, int signals, struct sl_err *err) {
    sl_autojson json_t *manifest = NULL;
    json_t *entry;
    size_t i;
    int bad = 0, rc = sl_model_manifest(folder, &manifest, err);
    if (rc < 0)
        return rc;
    json_array_foreach(json_object_get(manifest, "files"), i, entry) {
        rc = verify_file(folder, entry, signals, err);
        if (rc < 0)
            return rc;
        bad += rc;
    }
    if (bad == 0)
        return 0;
    return sl_err_set(
        err, SLUICE_INPUT,
        "%s: %d of %zu files are not what was downloaded; remove the folder and get the "
        "model again",
        folder, bad, json_array_size(json_object_get(manifest, "files")));
}

/* Files read and written whole, folders, paths. See io.h. */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

static int read_open(int fd, const char *path, size_t limit, char **ret_data, size_t *ret_len,
                     struct sl_err *err) {
    struct sl_str all = {0};
    char chunk[65536];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        if (all.len + (size_t)n > limit) {
            sl_str_finish(&all);
            return sl_err_set(err, SLUICE_INPUT, "%s: larger than the limit of %zu bytes", path,
                              limit);
        }
        sl_str_addn(&all, chunk, (size_t)n);
    }
    if (n < 0) {
        int cls = errno == EISDIR ? SLUICE_INPUT : sl_err_class_of_errno(errno);
        sl_err_sys(err, cls, errno, "%s: cannot be read", path);
        sl_str_finish(&all);
        return cls;
    }
    sl_str_addn(&all, "", 0);
    *ret_data = all.data;
    *ret_len = all.len;
    return 0;
}

int sl_read_file(const char *path, size_t limit, char **ret_data, size_t *ret_len,
                 struct sl_err *err) {
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return sl_err_sys(err, SLUICE_INPUT, errno, "%s: cannot be opened", path);
    return read_open(fd, path, limit, ret_data, ret_len, err);
}

int sl_write_all(int fd, const void *data, size_t len, struct sl_err *err) {
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "write failed");
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Opens a temporary file beside `path`; *ret_name is owned. */
static int open_beside(const char *path, char **ret_name, struct sl_err *err) {
    char *name = sl_xasprintf("%s.tmp-XXXXXX", path);
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0) {
        int cls =
            sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be written", path);
        free(name);
        return cls;
    }
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask);
    *ret_name = name;
    return fd;
}

void sl_sync_folder_of(const char *path) {
    sl_autofree char *dir = sl_xstrdup(path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    sl_autoclose int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        fsync(fd);
}

static int finish_beside(int fd, const char *name, const char *path, int rc, struct sl_err *err) {
    if (rc == 0 && fsync(fd) < 0)
        rc = sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be written", path);
    if (rc == 0 && rename(name, path) < 0)
        rc = sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be written", path);
    if (rc < 0)
        unlink(name);
    else
        sl_sync_folder_of(path);
    return rc;
}

int sl_write_file(const char *path, const void *data, size_t len, struct sl_err *err) {
    sl_autofree char *name = NULL;
    sl_autoclose int fd = open_beside(path, &name, err);
    if (fd < 0)
        return fd;
    int rc = sl_write_all(fd, data, len, err);
    if (rc < 0)
        sl_err_wrap(err, "%s", path);
    return finish_beside(fd, name, path, rc, err);
}

int sl_make_dirs(const char *path, struct sl_err *err) {
    struct stat st;
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return 0; /* the usual cases: only the last folder is missing, or none is */
    sl_autofree char *part = sl_xstrdup(path);
    for (char *at = part + 1;; at++) {
        char was = *at;
        if (was && was != '/')
            continue;
        *at = 0;
        if (mkdir(part, 0777) < 0 && errno != EEXIST)
            return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: folder cannot be made",
                              part);
        *at = was;
        if (!was)
            break;
    }
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return sl_err_set(err, SLUICE_INPUT, "%s: is not a folder", path);
    return 0;
}

/* ---- Removing a tree ---- */

/*
 * Whoever filled the tree may be hostile: it may be deeper than there are descriptors or stack, its
 * folders may refuse their owner, and a process may go on making files in it. So nothing recurses:
 * what is found in a folder below the top is moved up beside it, and met again in the next round;
 * two descriptors are open at a time.
 */
struct removal {
    int top; /* the folder that is emptied */
    int64_t end_ms;
    unsigned n_moved; /* numbers the names of folders that were moved up */
    int error;        /* errno of the first failure */
    char failed[NAME_MAX + 1];
};

static void removal_failed(struct removal *r, const char *name) {
    if (r->error)
        return;
    r->error = errno;
    snprintf(r->failed, sizeof r->failed, "%s", name);
}

/* Opens a folder, never through a link, giving its owner the right to empty it. */
static DIR *open_folder(int at, const char *name) {
    char self[64];
    sl_autoclose int found = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (found < 0 || fstat(found, &st) < 0)
        return NULL;
    snprintf(self, sizeof self, "/proc/self/fd/%d", found);
    if ((st.st_mode & 0700) != 0700)
        chmod(self, 0700);
    int fd = open(self, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

/* The next entry that is not "." or ".."; NULL: no more, or too late. */
static struct dirent *next_entry(const struct removal *r, DIR *dir) {
    struct dirent *e;
    while (sl_now_ms() < r->end_ms && (e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            return e;
    return NULL;
}

static bool removed(int at, const char *name) {
    return unlinkat(at, name, 0) == 0 || errno == ENOENT || unlinkat(at, name, AT_REMOVEDIR) == 0;
}

static void move_up(struct removal *r, int from, const char *name) {
    char unique[32];
    do
        snprintf(unique, sizeof unique, ".removed-%u", r->n_moved++);
    while (faccessat(r->top, unique, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    /* A folder that is not writable cannot change its parent. */
    if (renameat(from, name, r->top, unique) < 0 &&
        (errno != EACCES || fchmodat(from, name, 0700, AT_SYMLINK_NOFOLLOW) < 0 ||
         renameat(from, name, r->top, unique) < 0))
        removal_failed(r, name);
}

/* One folder of the top: its files go, its folders are moved up. */
static void empty_folder(struct removal *r, const char *name) {
    DIR *dir = open_folder(r->top, name);
    if (!dir) {
        removal_failed(r, name);
        return;
    }
    for (struct dirent *e; (e = next_entry(r, dir));)
        if (!removed(dirfd(dir), e->d_name))
            move_up(r, dirfd(dir), e->d_name);
    closedir(dir);
}

/* One round over the top; false where nothing is left to do, or nothing can be done. */
static bool removal_round(struct removal *r, DIR *top) {
    bool more = false;
    rewinddir(top);
    for (struct dirent *e; !r->error && (e = next_entry(r, top));) {
        if (removed(r->top, e->d_name))
            continue;
        empty_folder(r, e->d_name);
        more = true;
    }
    return more && !r->error && sl_now_ms() < r->end_ms;
}

int sl_remove_tree(const char *path, struct sl_err *err) {
    if (removed(AT_FDCWD, path))
        return 0;
    struct removal r = {.end_ms = sl_now_ms() + SL_REMOVE_LIMIT_MS};
    DIR *top = open_folder(AT_FDCWD, path);
    if (!top)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be removed", path);
    r.top = dirfd(top);
    while (removal_round(&r, top))
        ;
    closedir(top);
    if (r.error)
        return sl_err_sys(err, sl_err_class_of_errno(r.error), r.error, "%s: %s cannot be removed",
                          path, r.failed);
    if (!removed(AT_FDCWD, path))
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be removed", path);
    return 0;
}

char *sl_path_join(const char *dir, const char *name) {
    if (*name == '/')
        return sl_xstrdup(name);
    size_t len = strlen(dir);
    return sl_xasprintf("%s%s%s", dir, len && dir[len - 1] == '/' ? "" : "/", name);
}

const char *sl_path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *sl_path_absolute(const char *path) {
    char here[PATH_MAX];
    if (*path == '/' || !getcwd(here, sizeof here))
        return sl_xstrdup(path);
    if (strcmp(path, ".") == 0 || strcmp(path, "./") == 0)
        return sl_xstrdup(here);
    return sl_path_join(here, sl_starts_with(path, "./") ? path + 2 : path);
}

bool sl_path_exists(const char *path) {
    return access(path, F_OK) == 0;
}

char *sl_cache_folder(void) {
    const char *own = getenv("SLUICE_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (own && *own)
        return sl_path_absolute(own);
    if (xdg && *xdg == '/')
        return sl_path_join(xdg, "sluice");
    return home && *home == '/' ? sl_path_join(home, ".cache/sluice") : NULL;
}

char *sl_install_prefix(void) {
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return sl_xstrdup("/usr");
    exe[n] = 0;
    char *slash = strrchr(exe, '/');
    *slash = 0;
    if (sl_ends_with(exe, "/libexec/sluice"))
        exe[strlen(exe) - strlen("/libexec/sluice")] = 0;
    else if (sl_ends_with(exe, "/bin"))
        exe[strlen(exe) - strlen("/bin")] = 0;
    return sl_xstrdup(*exe ? exe : "/");
}

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

#include "base/mem.h"

static int read_open(int fd, const char *path, size_t limit, char **ret_data, size_t *ret_len, struct sl_err *err) {
    struct sl_str all = {0};
    char chunk[65536];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        if (all.len + (size_t)n > limit) {
            sl_str_finish(&all);
            return sl_err_set(err, SLUICE_INPUT, "%s: larger than the limit of %zu bytes", path, limit);
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

int sl_read_file(const char *path, size_t limit, char **ret_data, size_t *ret_len, struct sl_err *err) {
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
        int cls = sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be written", path);
        free(name);
        return cls;
    }
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask);
    *ret_name = name;
    return fd;
}

/* Makes the rename durable where the file system allows it. */
static void sync_folder_of(const char *path) {
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
        sync_folder_of(path);
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

static int copy_content(int from, int to, struct sl_err *err) {
    char chunk[65536];
    off_t at = 0;
    for (;;) {
        ssize_t n = pread(from, chunk, sizeof chunk, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "read failed");
        if (n == 0)
            return 0;
        int rc = sl_write_all(to, chunk, (size_t)n, err);
        if (rc < 0)
            return rc;
        at += n;
    }
}

int sl_write_file_from(const char *path, int from, struct sl_err *err) {
    sl_autofree char *name = NULL;
    sl_autoclose int fd = open_beside(path, &name, err);
    if (fd < 0)
        return fd;
    int rc = copy_content(from, fd, err);
    if (rc < 0)
        sl_err_wrap(err, "%s", path);
    return finish_beside(fd, name, path, rc, err);
}

int sl_make_dirs(const char *path, struct sl_err *err) {
    sl_autofree char *part = sl_xstrdup(path);
    for (char *at = part + 1;; at++) {
        char was = *at;
        if (was && was != '/')
            continue;
        *at = 0;
        if (mkdir(part, 0777) < 0 && errno != EEXIST)
            return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: folder cannot be made", part);
        *at = was;
        if (!was)
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return sl_err_set(err, SLUICE_INPUT, "%s: is not a folder", path);
    return 0;
}

static int remove_at(int dirfd, const char *name, const char *path, struct sl_err *err);

static int remove_content(int fd, const char *path, struct sl_err *err) {
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s: cannot be listed", path);
    }
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = remove_at(dirfd(dir), e->d_name, path, err);
    closedir(dir);
    return rc;
}

static int remove_at(int dirfd, const char *name, const char *path, struct sl_err *err) {
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: %s cannot be removed", path, name);
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: %s cannot be removed", path, name);
    int rc = remove_content(fd, path, err);
    if (rc == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
        rc = sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: %s cannot be removed", path, name);
    return rc;
}

int sl_remove_tree(const char *path, struct sl_err *err) {
    return remove_at(AT_FDCWD, path, path, err);
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
    return sl_path_join(here, sl_starts_with(path, "./") ? path + 2 : path);
}

bool sl_path_exists(const char *path) {
    return access(path, F_OK) == 0;
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

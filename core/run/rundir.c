/* The run folder, see rundir.h. The lock is a flock() on the file `lock`, which holds the process
 * id of the core: the kernel drops it with the core. Those who only look take it shared, for a
 * moment. */
#include "run/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"

char *sl_runs_root(void) {
    const char *state = getenv("SLUICE_STATE"), *xdg = getenv("XDG_STATE_HOME"),
               *home = getenv("HOME");
    sl_autofree char *base = NULL;
    if (state && *state)
        base = sl_path_absolute(state);
    else if (xdg && *xdg == '/')
        base = sl_path_join(xdg, "sluice");
    else
        base = sl_path_join(home && *home ? home : "/", ".local/state/sluice");
    return sl_path_join(base, "runs");
}

/* The last part is the fraction of the second, so that ids sort by time; two cores that meet in it
 * try again. */
static void make_id(char id[SL_RUN_ID_SIZE]) {
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t len = strftime(id, SL_RUN_ID_SIZE, "%Y%m%d-%H%M%S", &tm);
    snprintf(id + len, SL_RUN_ID_SIZE - len, "-%04x",
             (unsigned)(now.tv_nsec * 65536ll / 1000000000));
}

#define LOOKERS_MS                                                                                 \
    500 /* somebody who looks whether the run lives holds the lock for microseconds */

static bool lock_waiting(int fd) {
    int64_t end = sl_now_ms() + LOOKERS_MS;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK || sl_now_ms() > end)
            return false;
        poll(NULL, 0, 5);
    }
    return true;
}

static long locked_by(int fd) {
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 ? strtol(text, NULL, 10) : 0;
}

int sl_rundir_lock(struct sl_rundir *rd, struct sl_err *err) {
    sl_autofree char *path = sl_path_join(rd->path, "lock");
    sl_autoclose int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0 && lock_waiting(fd)) {
        char text[32];
        int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
            return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be written",
                              path);
        rd->lock_fd = sl_steal_fd(&fd);
        return 0;
    }
    if (fd < 0 || errno != EWOULDBLOCK)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s: cannot be locked", path);
    return sl_err_set(err, SLUICE_RESOURCE,
                      "run %s is under way in process %ld; wait for its end, or stop it first",
                      rd->id, locked_by(fd));
}

int sl_rundir_make_folders(const struct sl_rundir *rd, struct sl_err *err) {
    static const char *const folders[] = {"items", "logs", "scratch"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        sl_autofree char *path = sl_path_join(rd->path, folders[i]);
        int rc = sl_make_dirs(path, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int sl_rundir_create(struct sl_rundir *ret, struct sl_err *err) {
    sl_autofree char *root = sl_runs_root();
    bool is_new = !sl_path_exists(root);
    int rc = sl_make_dirs(root, err);
    if (rc == 0 && is_new) {
        sl_autofree char *state = sl_xstrndup(root, strlen(root) - strlen("/runs"));
        sl_sync_folder_of(root);
        sl_sync_folder_of(state);
    }
    if (rc < 0)
        return sl_err_wrap(err, "the folder of runs (set SLUICE_STATE to choose another)");
    struct sl_rundir rd = {.lock_fd = -1};
    for (int tries = 0;; tries++) {
        make_id(rd.id);
        rd.path = sl_path_join(root, rd.id);
        if (mkdir(rd.path, 0777) == 0)
            break;
        rc = sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: folder cannot be made",
                        rd.path);
        sl_rundir_finish(&rd);
        if (err->sys_errno != EEXIST || tries == 100)
            return rc;
    }
    rc = sl_rundir_make_folders(&rd, err);
    if (rc == 0)
        rc = sl_rundir_lock(&rd, err);
    if (rc < 0) {
        sl_remove_tree(rd.path, NULL);
        sl_rundir_finish(&rd);
        return rc;
    }
    *ret = rd;
    return 0;
}

void sl_rundir_finish(struct sl_rundir *rd) {
    sl_close(&rd->lock_fd);
    free(rd->path);
    rd->path = NULL;
}

bool sl_rundir_is_live(const char *path) {
    sl_autofree char *lock = sl_path_join(path, "lock");
    sl_autoclose int fd = open(lock, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    return flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static int newest_first(const void *a, const void *b) {
    return strcmp(*(char *const *)b, *(char *const *)a);
}

int sl_rundir_list(char ***ret_ids, int *ret_n, struct sl_err *err) {
    sl_autofree char *root = sl_runs_root();
    char **ids = NULL;
    int n = 0, cap = 0;
    DIR *dir = opendir(root);
    if (!dir && errno != ENOENT)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "%s: cannot be listed", root);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (e->d_name[0] < '0' || e->d_name[0] > '9' || strlen(e->d_name) >= SL_RUN_ID_SIZE)
            continue;
        SL_PUSH_ROOM(ids, n, cap);
        ids[n++] = sl_xstrdup(e->d_name);
    }
    if (dir)
        closedir(dir);
    if (n > 0)
        qsort(ids, (size_t)n, sizeof *ids, newest_first);
    *ret_ids = ids;
    *ret_n = n;
    return 0;
}

void sl_rundir_list_free(char **ids, int n) {
    for (int i = 0; i < n; i++)
        free(ids[i]);
    free(ids);
}

/* Index of the run meant by `id`; -1 none, -2 several. */
static int find_run(const char *id, char **ids, int n) {
    int found = -1;
    if (strcmp(id, "last") == 0)
        return n ? 0 : -1;
    for (int i = 0; i < n; i++) {
        if (strcmp(ids[i], id) == 0)
            return i;
        if (*id && sl_starts_with(ids[i], id))
            found = found == -1 ? i : -2;
    }
    return found;
}

int sl_rundir_open(const char *id, struct sl_rundir *ret, struct sl_err *err) {
    char **ids;
    int n, rc = sl_rundir_list(&ids, &n, err);
    if (rc < 0)
        return rc;
    int at = find_run(id, ids, n);
    if (at == -2)
        rc = sl_err_set(err, SLUICE_INPUT, "run \"%s\": several runs begin so; give more of the id",
                        id);
    else if (at == -1)
        rc = sl_err_set(err, SLUICE_INPUT,
                        "run \"%s\": there is no such run; `sluice runs` lists them", id);
    if (rc == 0) {
        sl_autofree char *root = sl_runs_root();
        *ret = (struct sl_rundir){.lock_fd = -1, .path = sl_path_join(root, ids[at])};
        snprintf(ret->id, sizeof ret->id, "%s", ids[at]);
    }
    sl_rundir_list_free(ids, n);
    return rc;
}

/*
 * Control groups, see cgroup.h. Everything goes through descriptors of folders, so a group is not
 * mistaken for another of the same name. Files are opened with O_CREAT, which a cgroup file system
 * ignores for files it has and refuses for others (a controller that is missing), while a fake tree
 * of plain files just gets them.
 */
#include "proc/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "proc/proctext.h"
#include "proc/spawn.h"

#define TEXT_SIZE     65536
#define PATH_SIZE     4096
#define CPU_PERIOD_US 100000
#define GONE_LIMIT_MS 2000
#define GONE_PAUSE_MS 2
#define CONTROLLERS   "+memory +pids +cpu"

struct sl_cgroup_tree {
    char *path; /* owned, absolute */
    int folder_fd;
    bool real;    /* a cgroup2 file system */
    bool own;     /* we are in it */
    bool moved;   /* into `sluice-PID-core` */
    int last;     /* number of the last group */
    char **dying; /* names of groups that could not be removed yet; owned */
    int n_dying, cap_dying;
};

/* ---- Files ----------------------------------------------------------------------------------- */

static int put(int folder_fd, const char *name, const char *text) {
    sl_autoclose int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, strlen(text));
    return n == (ssize_t)strlen(text) ? 0 : n < 0 ? -errno : -EIO;
}

/* Bytes read; 0 where there is no such file. */
static size_t get(int folder_fd, const char *name, char *text, size_t size) {
    sl_autoclose int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = fd < 0 ? 0 : 1;
    while (n > 0 && len < size) {
        n = read(fd, text + len, size - len);
        len += n > 0 ? (size_t)n : 0;
    }
    return len;
}

static size_t get_path(const char *path, char *text, size_t size) {
    return get(AT_FDCWD, path, text, size);
}

/* ---- Removing -------------------------------------------------------------------------------- */

static void remove_plain_files(int parent_fd, const char *name) {
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; dir && (e = readdir(dir));)
        unlinkat(fd, e->d_name, 0);
    if (dir)
        closedir(dir);
}

/* True once it is gone. */
static bool remove_group(struct sl_cgroup_tree *tree, const char *name) {
    if (unlinkat(tree->folder_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return true;
    if (tree->real || (errno != ENOTEMPTY && errno != EEXIST))
        return false;
    remove_plain_files(tree->folder_fd, name);
    return unlinkat(tree->folder_fd, name, AT_REMOVEDIR) == 0;
}

static void remove_dying(struct sl_cgroup_tree *tree) {
    int kept = 0;
    for (int i = 0; i < tree->n_dying; i++) {
        if (remove_group(tree, tree->dying[i]))
            free(tree->dying[i]);
        else
            tree->dying[kept++] = tree->dying[i];
    }
    tree->n_dying = kept;
}

/* Groups that a core which was killed left behind. Only empty ones can be removed, so living ones
 * are safe. */
static void remove_stale(struct sl_cgroup_tree *tree) {
    int fd = openat(tree->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = !tree->real || fd < 0 ? NULL : fdopendir(fd);
    long pid;
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (sscanf(e->d_name, "sluice-%ld-", &pid) == 1 && pid > 0 && kill((pid_t)pid, 0) < 0 &&
            errno == ESRCH)
            unlinkat(tree->folder_fd, e->d_name, AT_REMOVEDIR);
    if (dir)
        closedir(dir);
    else
        sl_close(&fd);
}

/* ---- Finding the subtree --------------------------------------------------------------------- */

/* The group we are in, as a folder; false: not on a cgroup2 mount that is visible here. */
static bool find_own(char ret[PATH_SIZE]) {
    sl_autofree char *text = sl_xmalloc(TEXT_SIZE);
    char path[PATH_SIZE], root[PATH_SIZE], point[PATH_SIZE];
    size_t len = get_path("/proc/self/cgroup", text, TEXT_SIZE);
    if (!sl_proc_cgroup_path(text, len, path, sizeof path))
        return false;
    len = get_path("/proc/self/mountinfo", text, TEXT_SIZE);
    if (!sl_proc_cgroup_mount(text, len, root, point, sizeof root))
        return false;
    size_t under = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(path, root, under) != 0 || (path[under] != '/' && path[under] != 0))
        return false;
    const char *rest = strcmp(path + under, "/") == 0 ? "" : path + under;
    return snprintf(ret, PATH_SIZE, "%s%s", point, rest) < PATH_SIZE;
}

static int find_root(struct sl_cgroup_tree *tree, struct sl_err *err) {
    const char *given = getenv("SLUICE_CGROUP_ROOT");
    char own[PATH_SIZE] = "";
    struct stat a, b;
    bool has_own = find_own(own);
    if (given && *given)
        tree->path = sl_path_absolute(given);
    else if (has_own)
        tree->path = sl_xstrdup(own);
    else
        return sl_err_set(err, SLUICE_UNSUPPORTED, "no cgroup v2 is mounted");
    tree->folder_fd = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tree->folder_fd < 0)
        return sl_err_sys(err, SLUICE_UNSUPPORTED, errno, "%s: cannot be opened", tree->path);
    tree->own = has_own && stat(own, &a) == 0 && fstat(tree->folder_fd, &b) == 0 &&
                a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    struct statfs fs;
    tree->real = fstatfs(tree->folder_fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
    return 0;
}

static int check_controllers(const struct sl_cgroup_tree *tree, struct sl_err *err) {
    static const char *const needed[] = {"memory", "pids", "cpu"};
    char text[1024];
    size_t len = get(tree->folder_fd, "cgroup.controllers", text, sizeof text);
    for (int i = 0; i < 3; i++)
        if (!sl_proc_has_word(text, len, needed[i]))
            return sl_err_set(err, SLUICE_UNSUPPORTED, "%s: the controller \"%s\" is not delegated",
                              tree->path, needed[i]);
    return 0;
}

/* ---- Handing out controllers ----------------------------------------------------------------- */

static void core_name(char buf[64]) {
    snprintf(buf, 64, "sluice-%ld-core", (long)getpid());
}

/* Moves the core into a leaf of its own, or back. */
static int move_core(struct sl_cgroup_tree *tree, bool out) {
    char name[64], procs[96], pid[32];
    core_name(name);
    snprintf(procs, sizeof procs, "%s/cgroup.procs", name);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (out && mkdirat(tree->folder_fd, name, 0755) < 0)
        return -errno;
    int rc = put(tree->folder_fd, out ? procs : "cgroup.procs", pid);
    tree->moved = out ? rc == 0 : tree->moved && rc < 0;
    if (!tree->moved)
        remove_group(tree, name);
    return rc;
}

static bool is_handed_out(const struct sl_cgroup_tree *tree) {
    char text[1024];
    size_t len = get(tree->folder_fd, "cgroup.subtree_control", text, sizeof text);
    return sl_proc_has_word(text, len, "memory") && sl_proc_has_word(text, len, "pids") &&
           sl_proc_has_word(text, len, "cpu");
}

static int hand_out(struct sl_cgroup_tree *tree, struct sl_err *err) {
    if (is_handed_out(tree))
        return 0;
    int rc = put(tree->folder_fd, "cgroup.subtree_control", CONTROLLERS);
    if (rc == -EBUSY && tree->own && move_core(tree, true) == 0)
        rc = put(tree->folder_fd, "cgroup.subtree_control", CONTROLLERS);
    if (rc == 0)
        return 0;
    if (tree->moved)
        move_core(tree, false);
    return sl_err_sys(err, SLUICE_UNSUPPORTED, -rc, "%s: its controllers cannot be handed out%s",
                      tree->path, rc == -EBUSY ? " while it holds processes" : "");
}

/* True if there are other groups than the one of the core. */
static bool has_others(const struct sl_cgroup_tree *tree) {
    char name[64];
    struct stat st;
    bool found = false;
    int fd = openat(tree->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    core_name(name);
    for (struct dirent *e; dir && (e = readdir(dir));)
        found |= e->d_name[0] != '.' && strcmp(e->d_name, name) != 0 &&
                 fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    if (dir)
        closedir(dir);
    return found;
}

/* Back to where we were, which may not hand out controllers then. If others use them by now, we
 * stay where we are. */
static void take_back(struct sl_cgroup_tree *tree) {
    if (!tree->moved || has_others(tree))
        return;
    put(tree->folder_fd, "cgroup.subtree_control", "-memory -pids -cpu");
    move_core(tree, false);
}

/* Whether a new process may join: needs rights on what lies between the group and us, so it is
 * simply tried. */
static int try_join(struct sl_cgroup_tree *tree, struct sl_err *err) {
    struct sl_cgroup *g;
    int rc = sl_cgroup_create(tree, &(struct sl_cgroup_limits){0}, &g, err);
    if (rc < 0)
        return rc;
    rc = sl_spawn_try_join(g->procs_fd);
    sl_cgroup_destroy(g);
    return rc < 0 ? sl_err_sys(err, SLUICE_UNSUPPORTED, -rc, "%s: processes cannot be moved there",
                               tree->path)
                  : 0;
}

int sl_cgroup_tree_open(struct sl_cgroup_tree **ret, struct sl_err *err) {
    struct sl_cgroup_tree *tree = sl_xcalloc(1, sizeof *tree);
    tree->folder_fd = -1;
    int rc = find_root(tree, err);
    if (rc == 0)
        rc = check_controllers(tree, err);
    if (rc == 0)
        rc = hand_out(tree, err);
    if (rc == 0) {
        remove_stale(tree);
        rc = try_join(tree, err);
    }
    if (rc < 0)
        sl_cgroup_tree_close(tree);
    else
        *ret = tree;
    return rc;
}

void sl_cgroup_tree_close(struct sl_cgroup_tree *tree) {
    if (!tree)
        return;
    int64_t end = sl_now_ms() + GONE_LIMIT_MS;
    remove_dying(tree);
    while (tree->n_dying > 0 && sl_now_ms() < end) {
        poll(NULL, 0, GONE_PAUSE_MS);
        remove_dying(tree);
    }
    for (int i = 0; i < tree->n_dying; i++)
        free(tree->dying[i]);
    take_back(tree);
    sl_close(&tree->folder_fd);
    free(tree->dying);
    free(tree->path);
    free(tree);
}

const char *sl_cgroup_tree_path(const struct sl_cgroup_tree *tree) {
    return tree->path;
}

bool sl_cgroup_tree_is_real(const struct sl_cgroup_tree *tree) {
    return tree->real;
}

/* ---- A group --------------------------------------------------------------------------------- */

static int write_limits(int fd, const struct sl_cgroup_limits *l) {
    char text[64];
    int rc = 0;
    if (l->memory) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)l->memory);
        rc = put(fd, "memory.max", text);
        put(fd, "memory.swap.max", "0"); /* absent where the kernel has no swap */
        put(fd, "memory.oom.group", "1");
    }
    if (rc == 0 && l->tasks) {
        snprintf(text, sizeof text, "%d", l->tasks);
        rc = put(fd, "pids.max", text);
    }
    if (rc == 0 && l->cpus > 0) {
        snprintf(text, sizeof text, "%.0f %d", l->cpus * CPU_PERIOD_US, CPU_PERIOD_US);
        rc = put(fd, "cpu.max", text);
    }
    return rc;
}

int sl_cgroup_create(struct sl_cgroup_tree *tree, const struct sl_cgroup_limits *limits,
                     struct sl_cgroup **ret, struct sl_err *err) {
    remove_dying(tree);
    struct sl_cgroup *g = sl_xcalloc(1, sizeof *g);
    *g = (struct sl_cgroup){.tree = tree, .folder_fd = -1, .procs_fd = -1};
    g->name = sl_xasprintf("sluice-%ld-%d", (long)getpid(), ++tree->last);
    int rc = mkdirat(tree->folder_fd, g->name, 0755) < 0 ? -errno : 0;
    if (rc == 0) {
        g->folder_fd = openat(tree->folder_fd, g->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = g->folder_fd < 0 ? -errno : write_limits(g->folder_fd, limits);
    }
    if (rc == 0) {
        g->procs_fd = openat(g->folder_fd, "cgroup.procs", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        rc = g->procs_fd < 0 ? -errno : 0;
    }
    if (rc < 0) {
        sl_err_sys(err, sl_err_class_of_errno(-rc), -rc, "%s/%s: the group cannot be made",
                   tree->path, g->name);
        sl_cgroup_destroy(g);
        return err ? err->cls : sl_err_class_of_errno(-rc);
    }
    *ret = g;
    return 0;
}

bool sl_cgroup_kill(struct sl_cgroup *g) {
    return put(g->folder_fd, "cgroup.kill", "1") == 0;
}

static uint64_t number(const struct sl_cgroup *g, const char *file, const char *key) {
    char text[4096];
    uint64_t value = 0;
    size_t len = get(g->folder_fd, file, text, sizeof text);
    if (!sl_proc_key(text, len, key, &value))
        return 0;
    return value;
}

/* A file that holds one number. */
static uint64_t single(const struct sl_cgroup *g, const char *file) {
    char text[64 + 2] = "= ";
    uint64_t value = 0;
    size_t len = get(g->folder_fd, file, text + 2, 64);
    return sl_proc_key(text, len + 2, "=", &value) ? value : 0;
}

void sl_cgroup_account(const struct sl_cgroup *g, struct sl_cgroup_account *ret) {
    *ret = (struct sl_cgroup_account){
        .oom = number(g, "memory.events", "oom"),
        .oom_kills = number(g, "memory.events", "oom_kill"),
        .task_limit = number(g, "pids.events", "max"),
        .peak_memory = single(g, "memory.peak"),
        .cpu_s = (double)number(g, "cpu.stat", "usage_usec") * 1e-6,
    };
}

void sl_cgroup_destroy(struct sl_cgroup *g) {
    if (!g)
        return;
    struct sl_cgroup_tree *tree = g->tree;
    if (g->folder_fd >= 0)
        sl_cgroup_kill(g);
    sl_close(&g->procs_fd);
    sl_close(&g->folder_fd);
    if (remove_group(tree, g->name)) {
        free(g->name);
    } else {
        SL_PUSH_ROOM(tree->dying, tree->n_dying, tree->cap_dying);
        tree->dying[tree->n_dying++] = g->name;
    }
    free(g);
}

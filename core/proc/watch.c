/*
 * Watching a tree, see watch.h. The walk goes from the init by the kernel's lists of children, one
 * a thread; as the worker's init adopts orphans, the walk meets all. A process that ends while it
 * is looked at counts as nothing.
 *
 * /proc/PID/status is read for memory and threads, /proc/PID/stat for CPU time: some 20 us a
 * process and sample.
 */
#include "proc/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "proc/proctext.h"

#define TEXT_SIZE    16384
#define MAX_CHILDREN 2048 /* of one thread, in one sample */
#define MAX_DEPTH    32   /* of folders */

/* Reads a file of /proc into `text`; -1 where it cannot be read. */
__attribute__((format(printf, 2, 3))) static ssize_t read_text(char *text, const char *fmt, ...) {
    char path[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(path, sizeof path, fmt, args);
    va_end(args);
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = 0, n = fd < 0 ? -1 : 1;
    while (n > 0 && len < TEXT_SIZE) {
        n = read(fd, text + len, (size_t)(TEXT_SIZE - len));
        len += n > 0 ? n : 0;
    }
    return n < 0 ? -1 : len;
}

/* ---- The walk -------------------------------------------------------------------------------- */

struct walk {
    pid_t *pids; /* found; those before `at` were looked at */
    int n, cap, at;
    char text[TEXT_SIZE];
};

static void add_pid(struct walk *w, pid_t pid) {
    if (w->n == SL_USAGE_MAX_PROCESSES)
        return;
    SL_PUSH_ROOM(w->pids, w->n, w->cap);
    w->pids[w->n++] = pid;
}

static void add_children_of_task(struct walk *w, pid_t pid, long task) {
    pid_t found[MAX_CHILDREN];
    ssize_t len = read_text(w->text, "/proc/%ld/task/%ld/children", (long)pid, task);
    while (len == TEXT_SIZE || (len > 0 && w->text[len - 1] != ' '))
        len--; /* a list longer than that: not half a number */
    int n = len > 0 ? sl_proc_pids(w->text, (size_t)len, found, MAX_CHILDREN) : 0;
    for (int i = 0; i < n; i++)
        add_pid(w, found[i]);
}

static void add_children(struct walk *w, pid_t pid, uint64_t threads) {
    char path[64];
    if (threads <= 1) {
        add_children_of_task(w, pid, pid);
        return;
    }
    snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            add_children_of_task(w, pid, atol(e->d_name));
    if (dir)
        closedir(dir);
}

static uint64_t exact_memory(struct walk *w, pid_t pid, uint64_t otherwise) {
    uint64_t anon, shmem;
    ssize_t len = read_text(w->text, "/proc/%ld/smaps_rollup", (long)pid);
    if (len <= 0 || !sl_proc_key(w->text, (size_t)len, "Pss_Anon:", &anon) ||
        !sl_proc_key(w->text, (size_t)len, "Pss_Shmem:", &shmem))
        return otherwise;
    return anon + shmem;
}

/* Newer kernels give the number as the size of the folder. */
static int open_files(pid_t pid) {
    char path[64];
    struct stat st;
    int n = 0;
    snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    if (stat(path, &st) == 0 && st.st_size > 0)
        return (int)st.st_size;
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        n += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

static bool add_process(struct walk *w, pid_t pid, unsigned what, struct sl_usage *u) {
    struct sl_proc_stat stat;
    uint64_t anon = 0, shmem = 0, threads = 1;
    ssize_t len = read_text(w->text, "/proc/%ld/stat", (long)pid);
    if (len <= 0 || !sl_proc_stat_parse(w->text, (size_t)len, &stat))
        return false;
    u->cpu_s += (double)stat.ticks / (double)sysconf(_SC_CLK_TCK);
    u->processes++;
    if (stat.state == 'Z' || stat.state == 'X')
        return true;
    len = read_text(w->text, "/proc/%ld/status", (long)pid);
    if (len > 0) {
        sl_proc_key(w->text, (size_t)len, "RssAnon:", &anon);
        sl_proc_key(w->text, (size_t)len, "RssShmem:", &shmem);
        sl_proc_key(w->text, (size_t)len, "Threads:", &threads);
    }
    u->memory += what & SL_USAGE_EXACT ? exact_memory(w, pid, anon + shmem) : anon + shmem;
    u->tasks += w->at > 1 ? (int)threads : 0;
    int files = what & SL_USAGE_FILES ? open_files(pid) : 0;
    u->open_files = files > u->open_files ? files : u->open_files;
    add_children(w, pid, threads);
    return true;
}

bool sl_usage_sample(pid_t init, unsigned what, struct sl_usage *ret) {
    sl_autofree struct walk *w = sl_xcalloc(1, sizeof *w);
    struct sl_usage u = {0};
    bool found = false;
    add_pid(w, init);
    while (w->at < w->n) {
        pid_t pid = w->pids[w->at++];
        bool alive = add_process(w, pid, what, &u);
        found |= alive && pid == init;
    }
    free(w->pids);
    if (found)
        *ret = u;
    return found;
}

void sl_usage_raise(struct sl_usage *peak, const struct sl_usage *now) {
#define RAISE(member)                                                                              \
    if (now->member > peak->member)                                                                \
    peak->member = now->member
    RAISE(memory);
    RAISE(cpu_s);
    RAISE(processes);
    RAISE(tasks);
    RAISE(open_files);
#undef RAISE
}

/* The pidfd is opened before the parent is checked, so a number used anew is not hit. */
static bool kill_child(struct walk *w, pid_t pid, pid_t parent) {
    struct sl_proc_stat stat;
    sl_autoclose int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    ssize_t len = fd < 0 ? -1 : read_text(w->text, "/proc/%ld/stat", (long)pid);
    return len > 0 && sl_proc_stat_parse(w->text, (size_t)len, &stat) && stat.parent == parent &&
           stat.state != 'Z' && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;
}

int sl_usage_kill_below(pid_t init) {
    sl_autofree struct walk *w = sl_xcalloc(1, sizeof *w);
    int n = 0;
    add_children(w, init, 1);
    for (int i = 0; i < w->n; i++)
        n += kill_child(w, w->pids[i], init);
    free(w->pids);
    return n;
}

/* ---- Folders --------------------------------------------------------------------------------- */

struct sum {
    uint64_t bytes;
    int left; /* entries that may still be looked at */
};

/* Takes `fd`. */
static bool add_folder(struct sum *s, int fd, int depth) {
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        sl_close(&fd);
        return errno == ENOENT;
    }
    bool all = true;
    for (struct dirent *e; all && (e = readdir(dir));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (s->left-- <= 0)
            all = false;
        else if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        else if (S_ISDIR(st.st_mode))
            all = depth < MAX_DEPTH &&
                  add_folder(s,
                             openat(dirfd(dir), e->d_name,
                                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                             depth + 1);
        else
            s->bytes += (uint64_t)st.st_blocks * 512u;
    }
    closedir(dir);
    return all;
}

bool sl_folder_size(const char *path, int max_entries, uint64_t *ret_bytes) {
    struct sum s = {.left = max_entries};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool all = fd >= 0 && add_folder(&s, fd, 0);
    *ret_bytes = s.bytes;
    return all;
}

/* ---- The machine ----------------------------------------------------------------------------- */

uint64_t sl_machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
}

uint64_t sl_machine_oom_kills(void) {
    char text[TEXT_SIZE];
    uint64_t n = 0;
    ssize_t len = read_text(text, "/proc/vmstat");
    if (len > 0)
        sl_proc_key(text, (size_t)len, "oom_kill", &n);
    return n;
}

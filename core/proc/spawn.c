/*
 * Spawning, see spawn.h: clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD [| CLONE_NEWPID [|
 * CLONE_NEWUSER]]) and exec.
 *
 * Everything that allocates (environment, log and null descriptors, the stack) happens before the
 * clone, in the parent. The child shares the parent's memory while the parent sleeps, so it uses
 * raw system calls only, on a stack of its own, with all signals blocked until their handlers are
 * back at the default; what went wrong it writes into struct child. It is kept away from the
 * sanitizers, which would take its stack for the parent's.
 *
 * CLONE_NEWPID is tried first as we are (root), then inside a new user namespace that maps our own
 * user and group to themselves. Nothing here waits for a worker or kills one: the caller has a
 * pidfd for that.
 */
#include "proc/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define STACK_SIZE         65536
#define GUARD_SIZE         65536 /* a multiple of every page size in use */
#define SIGNALS            64
#define KERNEL_SIGSET_SIZE 8
#define CHANNEL_FD         3
#define FREE_FDS_FROM      10 /* descriptors are moved out of the way of 0..3 to here */
#define CLOSE_AT_MOST      65536
#define EXIT_NOT_STARTED   127

#define IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined"), noinline))

enum step { STEP_NONE, STEP_GROUP, STEP_USER, STEP_PARENT, STEP_FDS, STEP_LIMIT, STEP_EXEC };

/* Shared between the parent, which sleeps, and the child. */
struct child {
    const struct sl_spawn *spec; /* NULL: only try the namespaces, then exit */
    char **envp;
    int stdin_fd;
    int group_fd; /* cgroup.procs to join; <= 0: none */
    pid_t parent;
    bool new_pid, new_user;
    char uid_map[64], gid_map[64];
    volatile int step, error; /* enum step and errno of what failed */
};

/* ---- In the child ---------------------------------------------------------------------------- */

IN_CHILD static void child_fail(struct child *c, int step) {
    c->error = errno;
    c->step = step;
    syscall(SYS_exit_group, EXIT_NOT_STARTED);
    __builtin_unreachable();
}

/* The kernel's struct sigaction, all zero: SIG_DFL. The one of libc would go through a wrapper that
 * keeps state. */
IN_CHILD static void child_default_signals(void) {
    char action[64];
    for (size_t i = 0; i < sizeof action; i++)
        ((volatile char *)action)[i] = 0;
    for (int sig = 1; sig <= SIGNALS; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            syscall(SYS_rt_sigaction, sig, action, NULL, KERNEL_SIGSET_SIZE);
}

IN_CHILD static void child_write(struct child *c, const char *path, const char *text) {
    size_t len = 0;
    while (text[len])
        len++;
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0 || syscall(SYS_write, fd, text, len) != (long)len)
        child_fail(c, STEP_USER);
    syscall(SYS_close, fd);
}

IN_CHILD static void child_map_user(struct child *c) {
    child_write(c, "/proc/self/setgroups", "deny");
    child_write(c, "/proc/self/uid_map", c->uid_map);
    child_write(c, "/proc/self/gid_map", c->gid_map);
}

/* PDEATHSIG counts from now on; a parent that died before shows as another parent, or, in a new PID
 * namespace where the parent is always 0, by the closed channel that the worker's init looks at
 * first. */
IN_CHILD static void child_die_with_parent(struct child *c) {
    if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        child_fail(c, STEP_PARENT);
    if (!c->new_pid && syscall(SYS_getppid) != c->parent)
        syscall(SYS_exit_group, EXIT_NOT_STARTED);
}

/* "0" is whoever writes it. */
IN_CHILD static void child_join_group(struct child *c) {
    if (c->group_fd > 0 && syscall(SYS_write, c->group_fd, "0", 1) != 1)
        child_fail(c, STEP_GROUP);
}

/* A core dump is for who debugs by hand. */
IN_CHILD static void child_set_limits(struct child *c) {
    const struct sl_spawn_rlimit *all = c->spec->rlimits;
    uint64_t none[2] = {0, 0};
    if (c->spec->stdin_fd < 0)
        syscall(SYS_prlimit64, 0, RLIMIT_CORE, none, NULL);
    for (int i = 0; i < c->spec->n_rlimits; i++) {
        uint64_t pair[2] = {all[i].soft, all[i].hard};
        if (syscall(SYS_prlimit64, 0, all[i].resource, pair, NULL) < 0)
            child_fail(c, STEP_LIMIT);
    }
}

IN_CHILD static long child_move_up(struct child *c, int fd) {
    if (fd < 0)
        return -1;
    long up = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FREE_FDS_FROM);
    if (up < 0)
        child_fail(c, STEP_FDS);
    return up;
}

IN_CHILD static void child_place(struct child *c, long from, int to) {
    if (syscall(SYS_dup3, from, to, 0) < 0)
        child_fail(c, STEP_FDS);
}

/* Not left to close-on-exec: exec wakes the parent first, which would then still find its own files
 * open here. */
IN_CHILD static void child_close_from(unsigned first) {
    if (syscall(SYS_close_range, first, ~0u, 0) == 0)
        return;
    for (unsigned fd = first; fd < CLOSE_AT_MOST; fd++)
        syscall(SYS_close, fd);
}

IN_CHILD static void child_arrange_fds(struct child *c) {
    long in = child_move_up(c, c->stdin_fd);
    long log = child_move_up(c, c->spec->log_fd);
    long channel = child_move_up(c, c->spec->channel_fd);
    child_place(c, in, STDIN_FILENO);
    child_place(c, log, STDOUT_FILENO);
    child_place(c, log, STDERR_FILENO);
    if (channel >= 0)
        child_place(c, channel, CHANNEL_FD);
    child_close_from(channel >= 0 ? CHANNEL_FD + 1 : CHANNEL_FD);
}

IN_CHILD static int child_main(void *arg) {
    struct child *c = arg;
    child_default_signals();
    child_join_group(c);
    if (c->new_user)
        child_map_user(c);
    child_die_with_parent(c);
    if (!c->spec)
        syscall(SYS_exit_group, 0);
    /* A Ctrl-C at the terminal reaches the core alone, which stops its workers in order. */
    if (c->spec->stdin_fd < 0)
        syscall(SYS_setsid);
    child_arrange_fds(c);
    child_set_limits(c);
    unsigned char none[KERNEL_SIGSET_SIZE];
    for (size_t i = 0; i < sizeof none; i++)
        ((volatile unsigned char *)none)[i] = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, KERNEL_SIGSET_SIZE);
    syscall(SYS_execve, c->spec->program, c->spec->argv, c->envp);
    child_fail(c, STEP_EXEC);
    return 0;
}

/* ---- In the parent --------------------------------------------------------------------------- */

static int clone_child(struct child *c, int flags, pid_t *ret_pid, int *ret_pidfd) {
    char *stack = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -errno;
    if (mprotect(stack + GUARD_SIZE, STACK_SIZE, PROT_READ | PROT_WRITE) < 0) {
        int error = errno;
        munmap(stack, GUARD_SIZE + STACK_SIZE);
        return -error;
    }
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int pidfd = -1;
    pid_t pid = clone(child_main, stack + GUARD_SIZE + STACK_SIZE,
                      flags | CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, c, &pidfd);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    munmap(stack, GUARD_SIZE + STACK_SIZE);
    if (pid < 0)
        return -error;
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

static void reap(pid_t pid) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Starts the child with these namespaces; 0, or the errno of the clone or of a step in the child,
 * negative. */
static int start_child(struct child *c, bool new_pid, bool new_user, pid_t *ret_pid,
                       int *ret_pidfd) {
    c->new_pid = new_pid;
    c->new_user = new_user;
    c->step = STEP_NONE;
    c->error = 0;
    pid_t pid = -1;
    int pidfd = -1;
    int flags = (new_pid ? CLONE_NEWPID : 0) | (new_user ? CLONE_NEWUSER : 0);
    int rc = clone_child(c, flags, &pid, &pidfd);
    if (rc < 0)
        return rc;
    if (c->step != STEP_NONE) {
        reap(pid);
        close(pidfd);
        return c->error ? -c->error : -EIO;
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

/* A PID namespace as we are, else inside a user namespace. Only a refusal of the namespace itself
 * leads on. */
static int start_in_pidns(struct child *c, pid_t *ret_pid, int *ret_pidfd) {
    int rc = start_child(c, true, false, ret_pid, ret_pidfd);
    if (rc != -EPERM || c->step != STEP_NONE)
        return rc;
    snprintf(c->uid_map, sizeof c->uid_map, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(c->gid_map, sizeof c->gid_map, "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
    return start_child(c, true, true, ret_pid, ret_pidfd);
}

enum sl_containment sl_containment_detect(void) {
    const char *forced = getenv("SLUICE_CONTAINMENT");
    if (forced && strcmp(forced, "pidns") == 0)
        return SL_CONTAIN_PIDNS;
    if (forced && strcmp(forced, "keeper") == 0)
        return SL_CONTAIN_KEEPER;
    struct child c = {.parent = getpid()};
    pid_t pid;
    int pidfd;
    if (start_in_pidns(&c, &pid, &pidfd) < 0)
        return SL_CONTAIN_KEEPER;
    close(pidfd);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? SL_CONTAIN_PIDNS : SL_CONTAIN_KEEPER;
}

int sl_spawn_try_join(int cgroup_procs_fd) {
    struct child c = {.parent = getpid(), .group_fd = cgroup_procs_fd};
    pid_t pid;
    int pidfd, rc = start_child(&c, false, false, &pid, &pidfd);
    if (rc < 0)
        return rc;
    close(pidfd);
    reap(pid);
    return 0;
}

const char *sl_containment_name(enum sl_containment c) {
    return c == SL_CONTAIN_PIDNS ? "pidns" : "keeper";
}

/* ---- Environment ----------------------------------------------------------------------------- */

/* A copy of the environment in which some variables are replaced. */
struct environment {
    char **vars; /* NULL-terminated; entries are borrowed from environ and `added` */
    size_t n;
    char *added[3]; /* owned */
    int n_added;
};

static void env_set(struct environment *e, const char *name, const char *value) {
    e->added[e->n_added++] = sl_xasprintf("%s=%s", name, value);
}

static bool env_replaces(const struct environment *e, const char *var) {
    for (int i = 0; i < e->n_added; i++)
        if (strncmp(var, e->added[i], (size_t)(strchr(e->added[i], '=') - e->added[i]) + 1) == 0)
            return true;
    return false;
}

static void env_make(const struct sl_spawn *spec, struct environment *e) {
    char cpus[16];
    snprintf(cpus, sizeof cpus, "%d", spec->cpus);
    if (spec->visible_cards)
        env_set(e, "CUDA_VISIBLE_DEVICES", spec->visible_cards);
    if (spec->cpus > 0) {
        env_set(e, "OMP_NUM_THREADS", cpus);
        env_set(e, "OPENBLAS_NUM_THREADS", cpus);
    }
    size_t n = 0;
    while (environ && environ[n])
        n++;
    e->vars = sl_xcalloc(n + (size_t)e->n_added + 1, sizeof *e->vars);
    for (size_t i = 0; i < n; i++)
        if (!env_replaces(e, environ[i]))
            e->vars[e->n++] = environ[i];
    for (int i = 0; i < e->n_added; i++)
        e->vars[e->n++] = e->added[i];
}

static void env_finish(struct environment *e) {
    for (int i = 0; i < e->n_added; i++)
        free(e->added[i]);
    free(e->vars);
}

/* ---- The interface --------------------------------------------------------------------------- */

static int start_error(const struct sl_spawn *spec, const struct child *c, int error,
                       struct sl_err *err) {
    int cls = sl_err_class_of_errno(error);
    switch (c->step) {
    case STEP_EXEC:
        return sl_err_sys(err, cls, error, "%s: cannot be run", spec->program);
    case STEP_GROUP:
        return sl_err_sys(err, cls, error, "%s: cannot join its control group", spec->program);
    case STEP_LIMIT:
        return sl_err_sys(err, cls, error, "%s: its limits cannot be set", spec->program);
    case STEP_USER:
        return sl_err_sys(err, cls, error,
                          "%s: no user namespace (SLUICE_CONTAINMENT=keeper does without)",
                          spec->program);
    case STEP_NONE:
        if (error == EPERM || error == ENOSYS)
            return sl_err_sys(err, cls, error,
                              "%s: no PID namespace (SLUICE_CONTAINMENT=keeper does without)",
                              spec->program);
        return sl_err_sys(err, cls, error, "%s: no new process", spec->program);
    default:
        return sl_err_sys(err, cls, error, "%s: the new process could not be set up",
                          spec->program);
    }
}

int sl_spawn_start(const struct sl_spawn *spec, pid_t *ret_pid, int *ret_pidfd,
                   struct sl_err *err) {
    sl_autoclose int null_fd = -1;
    if (syscall(SYS_gettid) != getpid())
        return sl_err_set(err, SLUICE_INTERNAL, "%s: is to be started by the main thread",
                          spec->program);
    if (spec->stdin_fd < 0 && (null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "/dev/null: cannot be opened");
    struct environment env = {0};
    env_make(spec, &env);
    struct child c = {.spec = spec,
                      .envp = env.vars,
                      .stdin_fd = spec->stdin_fd < 0 ? null_fd : spec->stdin_fd,
                      .group_fd = spec->cgroup_procs_fd,
                      .parent = getpid()};
    pid_t pid = -1;
    int pidfd = -1;
    int rc = spec->containment == SL_CONTAIN_PIDNS ? start_in_pidns(&c, &pid, &pidfd)
                                                   : start_child(&c, false, false, &pid, &pidfd);
    env_finish(&env);
    if (rc < 0)
        return start_error(spec, &c, -rc, err);
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

/*
 * The fork server, see forkserver.h: one loop of receive, clone, answer.
 *
 * The clone is the plain system call with CLONE_PARENT, which libc's fork() does not offer: the new
 * process is our sibling, a child of the core. With CLONE_NEWPID it is PID 1 of a namespace, as an
 * ordinary user inside a user namespace that maps the user to itself. libc does not learn of it and
 * goes on to believe in our thread id; the new process only prepares itself and then calls fork(),
 * which puts that right, for the plugin's process (init.c).
 *
 * What the new process does first mirrors child_main() of proc/spawn.c, in the same order. There is
 * no exec behind it, so descriptors are closed, not marked.
 */
#include "worker/forkserver.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/exit.h"
#include "base/io.h"
#include "base/mem.h"
#include "ipc/channel.h"
#include "worker/host.h"
#include "worker/loader.h"

/* What ps and top call them, so that one is not taken for the other. */
#define SERVER_NAME "sluice-fork"
#define WORKER_NAME "sluice-worker"

#define CHANNEL_FD    3
#define CLOSE_AT_MOST 65536

/* The fields and descriptors of SL_FRAME_FORK. */
enum { FIELD_PID_NAMESPACE, FIELD_CARDS, FIELD_CPUS, FIELD_IN_GROUP, FIELD_N_LIMITS, FIELD_LIMITS };
enum { FD_LOG, FD_CHANNEL, FD_GROUP };

struct server {
    int socket;
    pid_t core;
    uid_t uid; /* effective, as the core's */
    gid_t gid;
};

/* ---- In the new process ---------------------------------------------------------------------- */

/* Tells the core through the new worker's channel. */
static _Noreturn void refuse(int channel, const char *what) {
    int error = errno;
    struct sl_err err;
    sl_err_sys(&err, sl_err_class_of_errno(error), error, "sluice-worker: %s", what);
    struct sl_frame_out f;
    sl_frame_init(&f, SL_FRAME_REFUSED, 0);
    sl_frame_add_u64(&f, (uint64_t)(int64_t)err.cls);
    sl_frame_add_text(&f, err.msg);
    if (sl_frame_finish(&f, NULL) == 0)
        sl_channel_send(channel, &f, NULL, 0, NULL);
    sl_exit(SL_HOST_EXIT_REFUSED);
}

static int write_file(const char *path, const char *text) {
    sl_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -1 : sl_write_all(fd, text, strlen(text), NULL);
}

static int map_user(const struct server *s) {
    char uids[64], gids[64];
    snprintf(uids, sizeof uids, "%u %u 1", (unsigned)s->uid, (unsigned)s->uid);
    snprintf(gids, sizeof gids, "%u %u 1", (unsigned)s->gid, (unsigned)s->gid);
    if (write_file("/proc/self/setgroups", "deny") < 0 ||
        write_file("/proc/self/uid_map", uids) < 0)
        return -1;
    return write_file("/proc/self/gid_map", gids);
}

static void close_from(unsigned first) {
    if (syscall(SYS_close_range, first, ~0u, 0) == 0)
        return;
    for (unsigned fd = first; fd < CLOSE_AT_MOST; fd++)
        close((int)fd);
}

/* The channel goes where the server's socket was, which is closed by that. */
static int arrange_fds(const int *fds) {
    if (dup2(fds[FD_LOG], STDOUT_FILENO) < 0 || dup2(fds[FD_LOG], STDERR_FILENO) < 0 ||
        dup2(fds[FD_CHANNEL], CHANNEL_FD) < 0)
        return -1;
    close_from(CHANNEL_FD + 1);
    return 0;
}

static int set_limits(const struct sl_frame *f) {
    for (int i = 0; i < (int)sl_frame_u64(f, FIELD_N_LIMITS); i++) {
        int at = FIELD_LIMITS + 3 * i;
        struct rlimit pair = {sl_frame_u64(f, at + 1), sl_frame_u64(f, at + 2)};
        if (setrlimit((int)sl_frame_u64(f, at), &pair) < 0)
            return -1;
    }
    return 0;
}

static void set_number(const char *name, long value) {
    char text[32];
    snprintf(text, sizeof text, "%ld", value);
    setenv(name, text, 1);
}

static void set_variables(const struct sl_frame *f) {
    char cards[128];
    long cpus = (long)sl_frame_u64(f, FIELD_CPUS);
    if (*sl_frame_text(f, FIELD_CARDS, cards, sizeof cards))
        setenv("CUDA_VISIBLE_DEVICES", cards + 1, 1);
    if (cpus > 0) {
        set_number("OMP_NUM_THREADS", cpus);
        set_number("OPENBLAS_NUM_THREADS", cpus);
    }
}

/* PDEATHSIG counts from here on; in a new PID namespace, where the parent is always 0, a core that
 * died before shows by the closed channel that init looks at first. */
static void die_with_core(const struct server *s, bool new_pid) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || (!new_pid && getppid() != s->core))
        sl_exit(SL_HOST_EXIT_CORE_GONE);
}

/* Returns the channel. */
static int become_worker(const struct server *s, const struct sl_frame *f, const int *fds,
                         int namespaces) {
    if (sl_frame_u64(f, FIELD_IN_GROUP) && write(fds[FD_GROUP], "0", 1) != 1)
        refuse(fds[FD_CHANNEL], "its control group cannot be joined");
    if (namespaces & CLONE_NEWUSER && map_user(s) < 0)
        refuse(fds[FD_CHANNEL], "its user namespace cannot be set up");
    die_with_core(s, namespaces & CLONE_NEWPID);
    prctl(PR_SET_NAME, WORKER_NAME);
    setsid();
    if (arrange_fds(fds) < 0)
        refuse(fds[FD_CHANNEL], "its descriptors cannot be arranged");
    if (set_limits(f) < 0)
        refuse(CHANNEL_FD, "its limits cannot be set");
    set_variables(f);
    return CHANNEL_FD;
}

/* ---- In the server --------------------------------------------------------------------------- */

static pid_t clone_sibling(int namespaces) {
    return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD | namespaces, NULL, NULL, NULL, NULL);
}

/* Returns 0 in the new process. */
static pid_t clone_worker(bool pid_namespace, int *ret_namespaces) {
    *ret_namespaces = pid_namespace ? CLONE_NEWPID : 0;
    pid_t pid = clone_sibling(*ret_namespaces);
    if (pid >= 0 || errno != EPERM || !pid_namespace)
        return pid;
    *ret_namespaces |= CLONE_NEWUSER;
    return clone_sibling(*ret_namespaces);
}

static void answer(const struct server *s, pid_t pid) {
    struct sl_frame_out f;
    sl_frame_init(&f, SL_FRAME_FORKED, 0);
    sl_frame_add_u64(&f, pid > 0 ? (uint64_t)pid : 0);
    if (sl_frame_finish(&f, NULL) == 0)
        sl_channel_send(s->socket, &f, NULL, 0, NULL);
}

/* The next request; without a core, or with one that says something else, there is nothing left to
 * do. */
static void receive(const struct server *s, void *buf, struct sl_frame *f, int *fds, int *n_fds) {
    int rc = sl_channel_recv(s->socket, buf, f, fds, n_fds, NULL);
    if (rc != 1 || f->type != SL_FRAME_FORK ||
        *n_fds != (sl_frame_u64(f, FIELD_IN_GROUP) ? FD_GROUP : FD_CHANNEL) + 1)
        sl_exit(SL_HOST_EXIT_CORE_GONE);
}

/* What every worker does first is done here once: random bytes are read, calls between libraries
 * are bound. */
static void warm_up(void) {
    json_object_seed(0);
    json_decref(json_loads("{\"a\": [1]}", 0, NULL));
    sl_loader_init();
}

int sl_forkserver_serve(int socket) {
    struct server s = {.socket = socket, .core = getppid(), .uid = geteuid(), .gid = getegid()};
    char buf[SL_FRAME_MAX_SIZE];
    struct sl_frame frame;
    prctl(PR_SET_NAME, SERVER_NAME);
    warm_up();
    for (;;) {
        int fds[SL_FRAME_MAX_FDS], n_fds, namespaces;
        receive(&s, buf, &frame, fds, &n_fds);
        pid_t pid = clone_worker(sl_frame_u64(&frame, FIELD_PID_NAMESPACE), &namespaces);
        if (pid == 0)
            return become_worker(&s, &frame, fds, namespaces);
        answer(&s, pid);
        for (int i = 0; i < n_fds; i++)
            close(fds[i]);
    }
}

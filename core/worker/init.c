/*
 * Init, see init.h: one thread that polls a signalfd, the socket (for its hang-up only) and the
 * core's pidfd.
 *
 * The plugin's process is a child of its own, because a PID 1 that runs plugin code could not reap
 * orphans without stealing the plugin's children, and abort() in a PID 1 shows as SIGSEGV. The fork
 * happens before anything is loaded, when the process is as small as it will ever be.
 */
#include "worker/init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/exit.h"
#include "base/mem.h"
#include "ipc/channel.h"

#define KILL_PAUSE_MS 5
#define SEND_LIMIT_S  5

struct init {
    int socket, signals;
    int core; /* pidfd of the core; -1 as PID 1, where the kernel watches */
    bool pid_1;
    pid_t host; /* the plugin's process */
    bool host_ended;
    int host_status;
};

/* ---- Ending the tree ------------------------------------------------------------------------- */

/* Reaps all that ended; false where no child is left. */
static bool reap_ended(struct init *in) {
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid <= 0)
            return pid == 0;
        if (pid == in->host) {
            in->host_ended = true;
            in->host_status = status;
        }
    }
}

/* SIGKILL to each child by the kernel's list; orphans of those become our children and are met in
 * the next round. */
static void kill_children(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
    FILE *list = fopen(path, "re");
    if (!list)
        return;
    for (long pid; fscanf(list, "%ld", &pid) == 1;)
        kill((pid_t)pid, SIGKILL);
    fclose(list);
}

static void kill_tree(struct init *in) {
    int64_t end = sl_now_ms() + SL_INIT_KILL_LIMIT_MS;
    while (reap_ended(in) && sl_now_ms() < end) {
        if (in->pid_1)
            kill(-1, SIGKILL);
        else
            kill_children();
        poll(NULL, 0, KILL_PAUSE_MS);
    }
}

/* ---- The end of the plugin's process --------------------------------------------------------- */

static uint64_t microseconds(struct timeval t) {
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_usec;
}

static void report_exit(const struct init *in) {
    struct rusage used = {0};
    getrusage(RUSAGE_CHILDREN, &used);
    struct sl_frame_out *f = sl_xmalloc(sizeof *f);
    sl_frame_init(f, SL_FRAME_EXIT, 0);
    sl_frame_add_u64(f, (uint64_t)in->host_status);
    sl_frame_add_u64(f, microseconds(used.ru_utime));
    sl_frame_add_u64(f, microseconds(used.ru_stime));
    sl_frame_add_u64(f, (uint64_t)used.ru_maxrss * 1024u);
    struct timeval limit = {.tv_sec = SEND_LIMIT_S};
    setsockopt(in->socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (sl_frame_finish(f, NULL) == 0)
        sl_channel_send(in->socket, f, NULL, 0, NULL);
    free(f);
}

static void end_with_host(struct init *in) {
    kill_tree(in);
    report_exit(in);
    sl_exit(WIFEXITED(in->host_status) && WEXITSTATUS(in->host_status) == 0 ? 0 : 1);
}

static void end_without_core(struct init *in) {
    kill(in->host, SIGKILL);
    kill_tree(in);
    sl_exit(1);
}

/* ---- Watching -------------------------------------------------------------------------------- */

static void on_signal(struct init *in) {
    struct signalfd_siginfo info;
    while (read(in->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == SIGTERM)
            kill(in->host, SIGTERM);
    reap_ended(in);
}

static void watch(struct init *in) {
    struct pollfd fds[] = {{in->signals, POLLIN, 0}, {in->socket, 0, 0}, {in->core, POLLIN, 0}};
    while (!in->host_ended) {
        if (poll(fds, 3, -1) < 0)
            continue;
        if (fds[0].revents)
            on_signal(in);
        if (!in->host_ended && ((fds[1].revents & (POLLHUP | POLLERR)) || fds[2].revents))
            end_without_core(in);
    }
    end_with_host(in);
}

/* As a keeper: subreaper, and a pidfd of the core in place of PDEATHSIG, which would leave us no
 * time to clean up. */
static int become_keeper(struct init *in) {
    pid_t core = getppid();
    in->core = (int)syscall(SYS_pidfd_open, core, 0);
    if (in->core < 0 || getppid() != core)
        return -1;
    fcntl(in->core, F_SETFD, FD_CLOEXEC);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return -1;
    return prctl(PR_SET_PDEATHSIG, 0);
}

static int become_host(const struct init *in, pid_t parent, const sigset_t *was) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        sl_exit(1);
    close(in->signals);
    if (in->core >= 0)
        close(in->core);
    sigprocmask(SIG_SETMASK, was, NULL);
    return 0;
}

int sl_init_fork(int socket) {
    struct init in = {.socket = socket, .core = -1, .pid_1 = getpid() == 1};
    sigset_t mine, was;
    sigemptyset(&mine);
    sigaddset(&mine, SIGCHLD);
    sigaddset(&mine, SIGTERM);
    sigaddset(&mine, SIGINT);
    sigaddset(&mine, SIGHUP);
    sigprocmask(SIG_BLOCK, &mine, &was);
    in.signals = signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
    if (in.signals < 0 || (!in.pid_1 && become_keeper(&in) < 0))
        return -1;
    pid_t parent = getpid();
    in.host = fork();
    if (in.host == 0)
        return become_host(&in, parent, &was);
    if (in.host < 0)
        return -1;
    watch(&in);
    return -1;
}

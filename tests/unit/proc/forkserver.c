/*
 * The fork server: what a forked worker begins with, that it is a child of ours, and what happens
 * when the server is killed, stopped, or cannot be had. That the tree of a forked worker dies whole
 * is in unit/worker/tree.c.
 */
#include "unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/io.h"
#include "ipc/channel.h"
#include "proc/forkserver.h"

#define FIXTURE PLUGINS "/fixture.so"
#define WAIT_MS 20000

struct worker {
    pid_t pid;
    int pidfd, fd, log_fd;
    struct sl_frame frame; /* the last one that came */
    char buf[SL_FRAME_MAX_SIZE];
};

static struct worker worker;
static int server_log = -1;

static struct sl_forkserver *start_server(const char *program) {
    static struct sl_log log;
    server_log = memfd_create("server log", MFD_CLOEXEC);
    log = (struct sl_log){.fd = server_log};
    struct sl_forkserver *s = sl_forkserver_create(program, &log);
    if (!s)
        SKIP("no fork server under the thread sanitizer");
    return s;
}

static const char *text_of(int fd) {
    static char text[65536];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return text;
}

/* ---- One worker ------------------------------------------------------------------------------ */

static struct sl_spawn worker_spec(enum sl_containment containment) {
    static const char *const argv[] = {WORKER, "--socket", "3", NULL};
    return (struct sl_spawn){
        .program = WORKER, .argv = argv, .stdin_fd = -1, .containment = containment};
}

static void spawn(struct sl_forkserver *s, struct sl_spawn spec) {
    struct sl_err err = {0};
    int theirs;
    CHECK_INT(sl_channel_pair(&worker.fd, &theirs, &err), 0);
    worker.log_fd = spec.log_fd = memfd_create("log", MFD_CLOEXEC);
    spec.channel_fd = theirs;
    if (sl_forkserver_spawn(s, &spec, &worker.pid, &worker.pidfd, &err) < 0)
        TEST_FAIL("%s", err.msg);
    close(theirs);
    CHECK(fcntl(worker.pidfd, F_GETFD) & FD_CLOEXEC);
}

/* The next frame's type; 0: the worker is gone. */
static int next_frame(void) {
    int fds[SL_FRAME_MAX_FDS], n_fds;
    struct pollfd p = {worker.fd, POLLIN, 0};
    CHECK_INT(poll(&p, 1, WAIT_MS), 1);
    return sl_channel_recv(worker.fd, worker.buf, &worker.frame, fds, &n_fds, NULL) == 1
               ? worker.frame.type
               : 0;
}

static void send_frame(enum sl_frame_type type) {
    static struct sl_frame_out f;
    sl_frame_init(&f, type, 0);
    if (type == SL_FRAME_START) {
        const char *texts[] = {FIXTURE, "fixture/hello", "{}", "/"};
        for (int i = 0; i < 4; i++)
            sl_frame_add_text(&f, texts[i]);
        for (int i = 0; i < 5; i++)
            sl_frame_add_u64(&f, i == 2);
    }
    CHECK_INT(sl_frame_finish(&f, NULL), 0);
    CHECK_INT(sl_channel_send(worker.fd, &f, NULL, 0, NULL), 0);
}

/* From START to the end: it works, and is reaped by us. */
static void run_to_the_end(void) {
    int status = -1;
    send_frame(SL_FRAME_START);
    CHECK_INT(next_frame(), SL_FRAME_READY);
    send_frame(SL_FRAME_STOP);
    CHECK_INT(next_frame(), SL_FRAME_EXIT);
    CHECK_INT(sl_frame_u64(&worker.frame, 0), 0);
    CHECK_INT(waitpid(worker.pid, &status, 0), worker.pid);
    CHECK_INT(status, 0);
    close(worker.fd);
    close(worker.pidfd);
    close(worker.log_fd);
}

static const char *proc_text(pid_t pid, const char *name) {
    static char text[65536];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    for (ssize_t i = 0; i < n; i++)
        text[i] = text[i] ? text[i] : ' ';
    return text;
}

static bool was_forked(pid_t pid) {
    return strstr(proc_text(pid, "cmdline"), "--fork-server") != NULL;
}

static pid_t session_of(pid_t pid) {
    pid_t session = -1;
    sscanf(strrchr(proc_text(pid, "stat"), ')'), ") %*c %*d %*d %d", &session);
    return session;
}

static int count_fds(pid_t pid) {
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        n += *e->d_name != '.';
    closedir(dir);
    return n;
}

/* ---- Cases ----------------------------------------------------------------------------------- */

TEST(a_forked_worker_is_as_an_execd_one) {
    struct sl_forkserver *s = start_server(WORKER);
    /* Its words are there a moment after execve() let its parent go on. */
    for (int i = 0; i < 1000 && !*proc_text(sl_forkserver_pid(s), "cmdline"); i++)
        usleep(10000);
    CHECK_HAS(proc_text(sl_forkserver_pid(s), "cmdline"), "--fork-server");
    for (int mode = 0; mode < 2; mode++) {
        struct sl_spawn spec = worker_spec(mode ? SL_CONTAIN_KEEPER : sl_containment_detect());
        char parent[64];
        spec.rlimits[spec.n_rlimits++] = (struct sl_spawn_rlimit){RLIMIT_NOFILE, 321, 321};
        spawn(s, spec);
        CHECK(was_forked(worker.pid));
        snprintf(parent, sizeof parent, "\nPPid:\t%d\n", (int)getpid());
        CHECK_HAS(proc_text(worker.pid, "status"), parent);
        send_frame(SL_FRAME_START);
        CHECK_INT(next_frame(), SL_FRAME_READY);
        CHECK_STR(proc_text(worker.pid, "comm"), "sluice-worker\n");
        CHECK_INT(session_of(worker.pid), worker.pid);
        CHECK_HAS(proc_text(worker.pid, "limits"),
                  "Max open files            321                  321 ");
        /* 0..3 and the signalfd; a keeper has a pidfd of us besides */
        CHECK_INT(count_fds(worker.pid), spec.containment == SL_CONTAIN_PIDNS ? 5 : 6);
        send_frame(SL_FRAME_STOP);
        CHECK_INT(next_frame(), SL_FRAME_EXIT);
        CHECK_INT(waitpid(worker.pid, NULL, 0), worker.pid);
    }
    CHECK_STR(text_of(server_log), "");
    sl_forkserver_destroy(s);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_INT(errno, ECHILD);
}

TEST(what_fails_after_the_fork_is_told_by_the_worker) {
    struct sl_forkserver *s = start_server(WORKER);
    struct sl_spawn spec = worker_spec(sl_containment_detect());
    spec.cgroup_procs_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    spawn(s, spec);
    CHECK_INT(next_frame(), SL_FRAME_REFUSED);
    CHECK_INT((int64_t)sl_frame_u64(&worker.frame, 0), SLUICE_RESOURCE);
    CHECK(memmem(worker.frame.fields[1].data, worker.frame.fields[1].len,
                 "control group cannot be joined", 30));
    CHECK_INT(waitpid(worker.pid, NULL, 0), worker.pid);
    spec = worker_spec(SL_CONTAIN_KEEPER);
    spec.rlimits[spec.n_rlimits++] = (struct sl_spawn_rlimit){999, 1, 1};
    spawn(s, spec);
    CHECK_INT(next_frame(), SL_FRAME_REFUSED);
    CHECK(memmem(worker.frame.fields[1].data, worker.frame.fields[1].len, "limits cannot be set",
                 20));
    CHECK_INT(waitpid(worker.pid, NULL, 0), worker.pid);
    sl_forkserver_destroy(s);
}

/* The worker that finds it dead is exec'd, the next is forked by another one. */
TEST(a_killed_server_is_replaced) {
    struct sl_forkserver *s = start_server(WORKER);
    pid_t first = sl_forkserver_pid(s);
    spawn(s, worker_spec(sl_containment_detect()));
    CHECK_INT(kill(first, SIGKILL), 0);
    siginfo_t info;
    CHECK_INT(waitid(P_PID, (id_t)first, &info, WEXITED | WNOWAIT), 0);
    run_to_the_end(); /* the worker of a dead server */
    spawn(s, worker_spec(sl_containment_detect()));
    CHECK(!was_forked(worker.pid));
    run_to_the_end();
    CHECK_HAS(text_of(server_log),
              "the fork server is lost (the other side is gone); another one is started");
    spawn(s, worker_spec(sl_containment_detect()));
    CHECK(was_forked(worker.pid));
    CHECK(sl_forkserver_pid(s) != first);
    run_to_the_end();
    sl_forkserver_destroy(s);
}

TEST(a_stopped_server_does_not_hold_the_core_up) {
    struct sl_forkserver *s = start_server(WORKER);
    CHECK_INT(kill(sl_forkserver_pid(s), SIGSTOP), 0);
    spawn(s, worker_spec(sl_containment_detect()));
    CHECK(!was_forked(worker.pid));
    run_to_the_end();
    CHECK_HAS(text_of(server_log), "no answer in");
    CHECK_INT(sl_forkserver_pid(s), -1);
    sl_forkserver_destroy(s);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
}

TEST(without_a_server_workers_are_execd) {
    struct sl_forkserver *s = start_server("/nowhere/sluice-worker");
    CHECK_INT(sl_forkserver_pid(s), -1);
    for (int i = 0; i < SL_FORKSERVER_MAX_LOST + 2; i++) {
        spawn(s, worker_spec(sl_containment_detect()));
        CHECK(!was_forked(worker.pid));
        run_to_the_end();
    }
    const char *log = text_of(server_log);
    int lines = 0;
    for (const char *at = log; *at; at++)
        lines += *at == '\n';
    CHECK_INT(lines, SL_FORKSERVER_MAX_LOST);
    CHECK_HAS(
        log,
        "cannot be run: No such file or directory); workers are started without one from here on");
    sl_forkserver_destroy(s);
    spawn(NULL, worker_spec(sl_containment_detect()));
    run_to_the_end();
}

/* A program that ends, or that says something else. */
TEST(a_server_that_is_none_is_given_up) {
    struct sl_forkserver *s = start_server("/bin/true");
    spawn(s, worker_spec(sl_containment_detect()));
    CHECK(!was_forked(worker.pid));
    run_to_the_end();
    CHECK_HAS(text_of(server_log), "the fork server is lost");
    sl_forkserver_destroy(s);
}

/* As an ordinary user: a PID namespace inside a user namespace, where the system permits it. */
TEST(an_ordinary_user_is_served_too) {
    if (geteuid() != 0)
        SKIP("needs root to become somebody else");
    if (setgid(65534) < 0 || setuid(65534) < 0)
        SKIP("cannot become nobody");
    if (access(WORKER, X_OK) < 0 || access(FIXTURE, R_OK) < 0)
        SKIP("an ordinary user cannot reach the build folder");
    prctl(PR_SET_DUMPABLE, 1);
    unsetenv("SLUICE_CONTAINMENT");
    struct sl_forkserver *s = start_server(WORKER);
    enum sl_containment containment = sl_containment_detect();
    printf("  an ordinary user gets %s here\n", sl_containment_name(containment));
    spawn(s, worker_spec(containment));
    CHECK(was_forked(worker.pid));
    run_to_the_end();
    sl_forkserver_destroy(s);
}

TEST(nothing_leaks) {
    struct sl_forkserver *s = start_server(WORKER);
    int first = 0, fds = 0;
    for (int i = 0; i < 50; i++) {
        spawn(s, worker_spec(i % 2 ? SL_CONTAIN_KEEPER : sl_containment_detect()));
        run_to_the_end();
        int next = dup(2);
        close(next);
        first = i ? first : next;
        fds = i ? fds : count_fds(sl_forkserver_pid(s));
        CHECK_INT(next, first);
    }
    CHECK_INT(count_fds(sl_forkserver_pid(s)), fds);
    CHECK_STR(text_of(server_log), "");
    sl_forkserver_destroy(s);
}

TEST_MAIN()

/*
 * Spawning: what a child begins with, what a failed exec reports, what containment kills. The
 * children are this binary itself, started again with the name of a role as its first argument.
 */
#include "unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "ipc/channel.h"
#include "proc/spawn.h"

/* ---- Roles of the child ---------------------------------------------------------------------- */

/* Open descriptors, signal state and environment, as text. */
static void role_report(void) {
    DIR *dir = opendir("/proc/self/fd");
    printf("fds:");
    for (int fd = 0; fd < 1000; fd++)
        if (fd != dirfd(dir) && fcntl(fd, F_GETFD) >= 0)
            printf(" %d", fd);
    closedir(dir);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    int blocked = 0, death = 0;
    for (int sig = 1; sig < NSIG; sig++)
        blocked += sigismember(&mask, sig) == 1;
    struct sigaction action;
    sigaction(SIGPIPE, NULL, &action);
    prctl(PR_GET_PDEATHSIG, &death);
    printf("\nblocked: %d pipe default: %d pdeathsig: %d leader: %d\n", blocked,
           action.sa_handler == SIG_DFL, death, getsid(0) == getpid());
    const char *cuda = getenv("CUDA_VISIBLE_DEVICES"), *omp = getenv("OMP_NUM_THREADS");
    printf("cuda: %s omp: %s kept: %s\n", cuda ? cuda : "unset", omp ? omp : "unset",
           getenv("KEPT_VARIABLE"));
    char byte = 0;
    printf("stdin: %d\n", (int)read(0, &byte, 1));
}

static void role_sleep(void) {
    (void)!write(3, "up", 2);
    for (;;)
        pause();
}

static int run_role(const char *role) {
    if (strcmp(role, "report") == 0)
        role_report();
    else if (strcmp(role, "sleep") == 0)
        role_sleep();
    else
        return 9;
    return 0;
}

/* ---- Starting them --------------------------------------------------------------------------- */

static char self_path[4096];

static struct sl_spawn self_spec(const char *const *argv, int log_fd, int channel_fd) {
    ssize_t n = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    self_path[n > 0 ? n : 0] = 0;
    return (struct sl_spawn){.program = self_path,
                             .argv = argv,
                             .log_fd = log_fd,
                             .channel_fd = channel_fd,
                             .stdin_fd = -1,
                             .containment = SL_CONTAIN_KEEPER};
}

static int wait_end(pid_t pid) {
    int status = -1;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    return status;
}

static const char *read_log(int fd) {
    static char text[65536];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return text;
}

/* What a reporting child says, started with this specification's variable parts. */
static const char *report(enum sl_containment containment, int channel_fd, const char *cards,
                          int cpus) {
    const char *argv[] = {"self", "role:report", NULL};
    int log_fd = memfd_create("log", MFD_CLOEXEC), pidfd;
    struct sl_spawn spec = self_spec(argv, log_fd, channel_fd);
    struct sl_err err = {0};
    pid_t pid;
    spec.containment = containment;
    spec.visible_cards = cards;
    spec.cpus = cpus;
    if (sl_spawn_start(&spec, &pid, &pidfd, &err) < 0)
        TEST_FAIL("%s", err.msg);
    CHECK(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);
    CHECK_INT(wait_end(pid), 0);
    return read_log(log_fd);
}

/* ---- Cases ----------------------------------------------------------------------------------- */

TEST(the_child_begins_clean_in_both_modes) {
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    setenv("KEPT_VARIABLE", "yes", 1);
    setenv("OMP_NUM_THREADS", "99", 1);
    int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, on purpose */
    CHECK(leak >= 0);
    int core_fd, worker_fd;
    CHECK_INT(sl_channel_pair(&core_fd, &worker_fd, NULL), 0);
    for (int mode = 0; mode < 2; mode++) {
        enum sl_containment containment = mode ? SL_CONTAIN_KEEPER : sl_containment_detect();
        const char *text = report(containment, worker_fd, NULL, 0);
        CHECK_HAS(text, "fds: 0 1 2 3\n");
        CHECK_HAS(text, "blocked: 0 pipe default: 1 pdeathsig: 9 leader: 1\n");
        CHECK_HAS(text, "cuda: unset omp: 99 kept: yes\n");
        CHECK_HAS(text, "stdin: 0\n");
    }
    const char *text = report(SL_CONTAIN_KEEPER, -1, "GPU-2", 3);
    CHECK_HAS(text, "fds: 0 1 2\n");
    CHECK_HAS(text, "cuda: GPU-2 omp: 3 kept: yes\n");
    CHECK_HAS(report(SL_CONTAIN_KEEPER, -1, "", 3), "cuda:  omp: 3");
}

/* The caller's descriptors may lie on 0..3 themselves. */
TEST(descriptors_that_collide_with_the_standard_ones) {
    int log_fd = memfd_create("log", MFD_CLOEXEC), core_fd, worker_fd, pidfd;
    const char *argv[] = {"self", "role:report", NULL};
    CHECK_INT(sl_channel_pair(&core_fd, &worker_fd, NULL), 0);
    struct sl_spawn spec = self_spec(argv, 3, 1);
    int kept_out = dup(1);
    CHECK_INT(dup2(log_fd, 3), 3); /* the log is 3, the channel is 1, and stdin is 0 */
    CHECK_INT(dup2(worker_fd, 1), 1);
    pid_t pid;
    struct sl_err err;
    int rc = sl_spawn_start(&spec, &pid, &pidfd, &err);
    CHECK_INT(dup2(kept_out, 1), 1);
    CHECK_INT(rc, 0);
    CHECK_INT(wait_end(pid), 0);
    CHECK_HAS(read_log(3), "fds: 0 1 2 3\n");
}

/* exec wakes the parent before it closes what is close-on-exec: on one processor the parent then
 * mostly runs first. A read lease is refused while anybody has the file open for writing. */
TEST(the_child_keeps_no_file_of_the_parent_open) {
    const char *argv[] = {"true", NULL};
    int log_fd = memfd_create("log", MFD_CLOEXEC);
    struct sl_spawn spec = self_spec(argv, log_fd, -1);
    char folder[TEST_PATH];
    cpu_set_t one;
    make_test_folder(folder);
    sl_autofree char *path = sl_path_join(folder, "file");
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    spec.program = "/bin/true";
    for (int i = 0; i < 200; i++) {
        int written = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), pidfd;
        struct sl_err err = {0};
        pid_t pid;
        CHECK_INT(sl_spawn_start(&spec, &pid, &pidfd, &err), 0);
        close(written);
        sl_autoclose int read_only = open(path, O_RDONLY | O_CLOEXEC);
        CHECK_INT(fcntl(read_only, F_SETLEASE, F_RDLCK), 0);
        CHECK_INT(wait_end(pid), 0);
        close(pidfd);
    }
    CHECK_INT(sl_remove_tree(folder, NULL), 0);
}

TEST(a_failed_exec_reports_its_errno_at_once) {
    const char *argv[] = {"x", NULL};
    struct sl_spawn spec = self_spec(argv, 2, -1);
    struct sl_err err = {0};
    pid_t pid = -7;
    int pidfd = -7;
    for (int mode = 0; mode < 2; mode++) {
        spec.containment = mode ? SL_CONTAIN_KEEPER : sl_containment_detect();
        spec.program = "/nowhere/sluice-worker";
        CHECK_INT(sl_spawn_start(&spec, &pid, &pidfd, &err), SLUICE_INTERNAL);
        CHECK_INT(err.sys_errno, ENOENT);
        CHECK_STR(err.msg, "/nowhere/sluice-worker: cannot be run: No such file or directory");
        spec.program = "/etc/passwd";
        CHECK(sl_spawn_start(&spec, &pid, &pidfd, &err) < 0);
        CHECK_INT(err.sys_errno, EACCES);
    }
    CHECK_INT(pid, -7);
    CHECK_INT(pidfd, -7);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_INT(errno, ECHILD);
}

TEST(too_many_descriptors_is_a_lack_of_resources) {
    const char *argv[] = {"self", "role:report", NULL};
    struct sl_spawn spec = self_spec(argv, 2, -1);
    struct sl_err err = {0};
    pid_t pid;
    int pidfd;
    struct rlimit was, limit;
    getrlimit(RLIMIT_NOFILE, &was);
    limit = (struct rlimit){3, was.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int rc = sl_spawn_start(&spec, &pid, &pidfd, &err);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &was), 0);
    CHECK_INT(rc, SLUICE_RESOURCE);
    CHECK_HAS(err.msg, "Too many open files");
}

/* A middle process spawns a sleeper, tells its pipe, and is killed; the sleeper must go with it. */
static void sleeper_dies_with_parent(enum sl_containment containment) {
    int ends[2];
    CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
    pid_t middle = fork();
    if (middle == 0) {
        const char *argv[] = {"self", "role:sleep", NULL};
        struct sl_spawn spec = self_spec(argv, 2, ends[1]);
        spec.containment = containment;
        pid_t pid;
        int pidfd;
        if (sl_spawn_start(&spec, &pid, &pidfd, NULL) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    close(ends[1]);
    char text[2];
    CHECK_INT(read(ends[0], text, 2), 2); /* it runs, and holds the only write end */
    CHECK_INT(kill(middle, SIGKILL), 0);
    struct pollfd p = {ends[0], POLLIN, 0};
    CHECK_INT(poll(&p, 1, 5000), 1);
    CHECK(p.revents & POLLHUP);
    wait_end(middle);
}

TEST(the_child_dies_with_its_parent) {
    sleeper_dies_with_parent(SL_CONTAIN_KEEPER);
    if (sl_containment_detect() == SL_CONTAIN_PIDNS)
        sleeper_dies_with_parent(SL_CONTAIN_PIDNS);
}

static void *start_in_thread(void *arg) {
    const char *const argv[] = {"/bin/true", NULL};
    struct sl_spawn spec = {.program = "/bin/true",
                            .argv = argv,
                            .log_fd = STDERR_FILENO,
                            .channel_fd = -1,
                            .stdin_fd = -1,
                            .containment = SL_CONTAIN_KEEPER};
    struct sl_err err = {0};
    pid_t pid;
    int pidfd;
    *(int *)arg = sl_spawn_start(&spec, &pid, &pidfd, &err);
    CHECK_HAS(err.msg, "by the main thread");
    return NULL;
}

/* A thread's end would kill what it started. */
TEST(only_the_main_thread_starts_children) {
    pthread_t thread;
    int rc = 0;
    CHECK_INT(pthread_create(&thread, NULL, start_in_thread, &rc), 0);
    pthread_join(thread, NULL);
    CHECK_INT(rc, SLUICE_INTERNAL);
}

/* An ordinary user gets a PID namespace inside a user namespace, where the system permits it. */
TEST(an_ordinary_user_is_contained_too) {
    if (geteuid() != 0)
        SKIP("needs root to become somebody else");
    if (setgid(65534) < 0 || setuid(65534) < 0)
        SKIP("cannot become nobody");
    if (access(self_spec(NULL, -1, -1).program, X_OK) < 0)
        SKIP("an ordinary user cannot reach the build folder");
    prctl(PR_SET_DUMPABLE, 1);
    unsetenv("SLUICE_CONTAINMENT");
    enum sl_containment containment = sl_containment_detect();
    printf("  an ordinary user gets %s here\n", sl_containment_name(containment));
    setenv("KEPT_VARIABLE", "yes", 1);
    const char *text = report(containment, -1, NULL, 0);
    CHECK_HAS(text, "fds: 0 1 2\n");
    CHECK_HAS(text, "pdeathsig: 9");
}

TEST(containment_can_be_forced) {
    setenv("SLUICE_CONTAINMENT", "keeper", 1);
    CHECK_INT(sl_containment_detect(), SL_CONTAIN_KEEPER);
    setenv("SLUICE_CONTAINMENT", "pidns", 1);
    CHECK_INT(sl_containment_detect(), SL_CONTAIN_PIDNS);
    CHECK_STR(sl_containment_name(SL_CONTAIN_PIDNS), "pidns");
    CHECK_STR(sl_containment_name(SL_CONTAIN_KEEPER), "keeper");
}

/* Hundreds of spawns leave no process and no descriptor behind. */
TEST(nothing_leaks) {
    const char *argv[] = {"true", NULL};
    struct sl_spawn spec = self_spec(argv, 2, -1);
    spec.program = "/bin/true";
    spec.containment = sl_containment_detect();
    int first = dup(2), last;
    for (int i = 0; i < 300; i++) {
        pid_t pid;
        int pidfd;
        CHECK_INT(sl_spawn_start(&spec, &pid, &pidfd, NULL), 0);
        CHECK_INT(wait_end(pid), 0);
        close(pidfd);
    }
    last = dup(2);
    CHECK_INT(last, first + 1);
}

int main(int argc, char **argv) {
    if (argc == 2 && strncmp(argv[1], "role:", 5) == 0)
        return run_role(argv[1] + 5);
    return test_main(argc, argv);
}

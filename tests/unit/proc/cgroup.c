/*
 * Control groups against a fake tree, a folder of plain files, and against a real one where this
 * process may use one: there the kernel is the judge.
 */
#include "unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/mem.h"
#include "proc/cgroup.h"
#include "proc/limits.h"
#include "proc/spawn.h"

#define MIB (1u << 20)

static char root[TEST_PATH];

static void put(const char *name, const char *text) {
    sl_autofree char *path = sl_path_join(root, name);
    CHECK_INT(sl_write_file(path, text, strlen(text), NULL), 0);
}

static const char *get(const char *name) {
    static char text[256];
    sl_autofree char *path = sl_path_join(root, name);
    sl_autoclose int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    return n < 0 ? NULL : text;
}

static const char *get_of(const struct sl_cgroup *g, const char *name) {
    sl_autofree char *path = sl_path_join(g->name, name);
    return get(path);
}

static void put_of(const struct sl_cgroup *g, const char *name, const char *text) {
    sl_autofree char *path = sl_path_join(g->name, name);
    put(path, text);
}

static void fake_tree(const char *controllers) {
    make_test_folder(root);
    setenv("SLUICE_CGROUP_ROOT", root, 1);
    put("cgroup.controllers", controllers);
    put("cgroup.subtree_control", "");
    put("cgroup.procs", "");
}

static struct sl_cgroup_tree *open_fake(void) {
    struct sl_cgroup_tree *tree;
    struct sl_err err = {0};
    fake_tree("cpuset cpu io memory pids\n");
    if (sl_cgroup_tree_open(&tree, &err) < 0)
        TEST_FAIL("%s", err.msg);
    return tree;
}

static int entries(void) {
    sl_autofree char *command = sl_xasprintf("ls %s | wc -l", root);
    FILE *f = popen(command, "r");
    int n = -1;
    CHECK_INT(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

static int open_fds(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

TEST(controllers_are_handed_out) {
    int fds = open_fds();
    struct sl_cgroup_tree *tree = open_fake();
    CHECK_STR(sl_cgroup_tree_path(tree), root);
    CHECK(!sl_cgroup_tree_is_real(tree));
    CHECK_STR(get("cgroup.subtree_control"), "+memory +pids +cpu");
    sl_cgroup_tree_close(tree);
    CHECK_INT(entries(), 3); /* nothing of ours is left */
    CHECK_INT(open_fds(), fds);
    sl_remove_tree(root, NULL);
}

TEST(a_group_has_the_limits_it_was_given) {
    struct sl_cgroup_tree *tree = open_fake();
    struct sl_cgroup *g, *free_one;
    struct sl_cgroup_limits limits = {.memory = 512 * (uint64_t)MIB, .tasks = 20, .cpus = 1.5};
    CHECK_INT(sl_cgroup_create(tree, &limits, &g, NULL), 0);
    CHECK_STR(get_of(g, "memory.max"), "536870912");
    CHECK_STR(get_of(g, "memory.swap.max"), "0");
    CHECK_STR(get_of(g, "memory.oom.group"), "1");
    CHECK_STR(get_of(g, "pids.max"), "20");
    CHECK_STR(get_of(g, "cpu.max"), "150000 100000");
    CHECK_INT(sl_cgroup_create(tree, &(struct sl_cgroup_limits){0}, &free_one, NULL), 0);
    CHECK(strcmp(g->name, free_one->name) != 0);
    CHECK(!get_of(free_one, "memory.max"));
    CHECK(!get_of(free_one, "pids.max"));
    CHECK(!get_of(free_one, "cpu.max"));
    CHECK(sl_cgroup_kill(g));
    CHECK_STR(get_of(g, "cgroup.kill"), "1");
    CHECK(!get_of(free_one, "cgroup.kill"));
    sl_cgroup_destroy(g);
    sl_cgroup_destroy(free_one);
    CHECK_INT(entries(), 3);
    sl_cgroup_tree_close(tree);
    sl_remove_tree(root, NULL);
}

TEST(a_child_joins_before_it_becomes_a_program) {
    struct sl_cgroup_tree *tree = open_fake();
    struct sl_cgroup *g;
    pid_t pid;
    int pidfd, status;
    CHECK_INT(sl_cgroup_create(tree, &(struct sl_cgroup_limits){0}, &g, NULL), 0);
    const char *argv[] = {"true", NULL};
    for (int mode = 0; mode < 2; mode++) {
        struct sl_spawn spec = {.program = "/bin/true",
                                .argv = argv,
                                .log_fd = 2,
                                .channel_fd = -1,
                                .stdin_fd = -1,
                                .cgroup_procs_fd = g->procs_fd,
                                .containment = mode ? sl_containment_detect() : SL_CONTAIN_KEEPER};
        CHECK_INT(ftruncate(g->procs_fd, 0), 0);
        CHECK_INT(lseek(g->procs_fd, 0, SEEK_SET), 0);
        CHECK_INT(sl_spawn_start(&spec, &pid, &pidfd, NULL), 0);
        CHECK_STR(get_of(g, "cgroup.procs"), "0");
        CHECK_INT(waitpid(pid, &status, 0), pid);
        CHECK_INT(status, 0);
        close(pidfd);
    }
    sl_cgroup_destroy(g);
    sl_cgroup_tree_close(tree);
    sl_remove_tree(root, NULL);
}

TEST(a_group_that_cannot_be_joined_is_an_error_of_the_start) {
    int read_only = open("/dev/null", O_RDONLY);
    const char *argv[] = {"true", NULL};
    struct sl_spawn spec = {.program = "/bin/true",
                            .argv = argv,
                            .log_fd = 2,
                            .channel_fd = -1,
                            .stdin_fd = -1,
                            .cgroup_procs_fd = read_only,
                            .containment = SL_CONTAIN_KEEPER};
    struct sl_err err;
    pid_t pid;
    int pidfd;
    CHECK(sl_spawn_start(&spec, &pid, &pidfd, &err) < 0);
    CHECK_STR(err.msg, "/bin/true: cannot join its control group: Bad file descriptor");
    CHECK_INT(sl_spawn_try_join(read_only), -EBADF);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

TEST(what_the_kernel_noted_is_read) {
    struct sl_cgroup_tree *tree = open_fake();
    struct sl_cgroup *g;
    struct sl_cgroup_account a;
    CHECK_INT(sl_cgroup_create(tree, &(struct sl_cgroup_limits){0}, &g, NULL), 0);
    sl_cgroup_account(g, &a);
    CHECK_INT(a.oom_kills + a.oom + a.peak_memory + a.task_limit, 0);
    put_of(g, "memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 1\n");
    put_of(g, "pids.events", "max 4\n");
    put_of(g, "memory.peak", "123456789\n");
    put_of(g, "cpu.stat", "usage_usec 2500000\nuser_usec 2000000\n");
    sl_cgroup_account(g, &a);
    CHECK_INT(a.oom, 1);
    CHECK_INT(a.oom_kills, 3);
    CHECK_INT(a.task_limit, 4);
    CHECK_INT(a.peak_memory, 123456789);
    CHECK_NEAR(a.cpu_s, 2.5, 1e-9);
    sl_cgroup_destroy(g);
    sl_cgroup_tree_close(tree);
    sl_remove_tree(root, NULL);
}

static void check_refused(const char *words) {
    struct sl_cgroup_tree *tree;
    struct sl_err err;
    CHECK_INT(sl_cgroup_tree_open(&tree, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.msg, words);
}

TEST(trees_that_will_not_do_are_refused_with_the_reason) {
    int fds = open_fds();
    fake_tree("cpu memory hugetlb\n");
    check_refused("the controller \"pids\" is not delegated");
    put("cgroup.controllers", "");
    check_refused("the controller \"memory\" is not delegated");
    put("cgroup.controllers", "cpu memory pids");
    sl_autofree char *control = sl_path_join(root, "cgroup.subtree_control");
    unlink(control);
    CHECK_INT(mkdir(control, 0755), 0);
    check_refused("its controllers cannot be handed out: Is a directory");
    sl_remove_tree(root, NULL);
    check_refused("cannot be opened: No such file or directory");
    CHECK_INT(open_fds(), fds);
}

TEST(the_mechanism_is_described) {
    struct sl_limiter l;
    fake_tree("cpu memory pids");
    sl_limiter_init(&l);
    CHECK_HAS(l.text, "cgroup v2 at " P_tmpdir "/sluice-test-");
    CHECK_HAS(l.text, "(a fake tree for tests: limits nothing)");
    sl_limiter_finish(&l);
    put("cgroup.controllers", "");
    sl_limiter_init(&l);
    CHECK_HAS(l.text, "rlimits and watched memory (SLUICE_CGROUP_ROOT is not usable: /tmp/");
    sl_limiter_finish(&l);
    sl_remove_tree(root, NULL);
}

/* ---- A real tree ----------------------------------------------------------------------------- */

static struct sl_cgroup_tree *open_real(void) {
    struct sl_cgroup_tree *tree;
    struct sl_err err = {0};
    if (sl_cgroup_tree_open(&tree, &err) < 0)
        SKIP("no delegated cgroup v2: %s", err.msg);
    snprintf(root, sizeof root, "%s", sl_cgroup_tree_path(tree));
    return tree;
}

/* A child in a group of its own; it runs `play` and ends with what that returns. */
static struct sl_cgroup *start_real(struct sl_cgroup_tree *tree, struct sl_cgroup_limits limits,
                                    int (*play)(void), pid_t *ret_pid) {
    struct sl_cgroup *g;
    struct sl_err err = {0};
    if (sl_cgroup_create(tree, &limits, &g, &err) < 0)
        TEST_FAIL("%s", err.msg);
    *ret_pid = fork();
    if (*ret_pid == 0) {
        if (write(g->procs_fd, "0", 1) != 1)
            _exit(99);
        _exit(play());
    }
    return g;
}

static int eat_100_mib(void) {
    char *p = mmap(NULL, 100 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; p != MAP_FAILED && i < 100 * MIB; i += 4096)
        p[i] = 1;
    return 0;
}

TEST(real_memory_limit_kills_and_leaves_proof) {
    struct sl_cgroup_tree *tree = open_real();
    struct sl_cgroup_account a;
    pid_t pid;
    int status;
    struct sl_cgroup *g =
        start_real(tree, (struct sl_cgroup_limits){.memory = 32 * MIB}, eat_100_mib, &pid);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    sl_cgroup_account(g, &a);
    CHECK(a.oom >= 1 && a.oom_kills >= 1);
    CHECK(a.peak_memory == 0 || (a.peak_memory > 24 * MIB && a.peak_memory <= 33 * MIB));
    sl_cgroup_destroy(g);
    sl_cgroup_tree_close(tree);
}

static int fork_ten(void) {
    int failed = 0;
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        failed += pid < 0;
        if (pid == 0)
            for (;;)
                pause();
    }
    return failed;
}

TEST(real_process_limit_and_kill_of_the_rest) {
    struct sl_cgroup_tree *tree = open_real();
    struct sl_cgroup_account a;
    pid_t pid;
    int status;
    struct sl_cgroup *g = start_real(tree, (struct sl_cgroup_limits){.tasks = 5}, fork_ten, &pid);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(WEXITSTATUS(status), 6);
    sl_cgroup_account(g, &a);
    CHECK_INT(a.task_limit, 6);
    CHECK(sl_cgroup_kill(g)); /* four children sleep in it */
    sl_autofree char *name = sl_xstrdup(g->name), *path = sl_path_join(root, name);
    sl_cgroup_destroy(g);
    sl_cgroup_tree_close(tree);
    CHECK(!sl_path_exists(path));
}

TEST_MAIN()

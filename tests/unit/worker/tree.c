/*
 * The tree that dies whole, in both modes of containment, exec'd or forked by a fork server: a
 * grandchild that ignores signals and called setsid is gone after the plugin ended, after the
 * worker was killed, and after the core was killed. It holds a file lock, so that its life shows in
 * every PID namespace.
 */
#include "unit/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "mini_core.h"

#define FIXTURE PLUGINS "/fixture.so"
#define SOON_MS 5000

static struct mini_core core;
static char lock_path[TEST_PATH];

static void make_lock(void) {
    close(make_test_file(lock_path));
}

/* Starts fixture/grandchild and waits until the grandchild lives. */
static void leave_one_behind(enum sl_containment containment, const char *then) {
    struct mini_job job = {.outputs = {{"text", "text/1"}}};
    char params[256];
    core.containment = containment;
    snprintf(params, sizeof params, "{\"lock\": \"%s\", \"then\": \"%s\"}", lock_path, then);
    mini_ready(&core, FIXTURE, "fixture/grandchild", params);
    mini_job(&core, 1, &job);
    mini_expect(&core, SL_FRAME_PROGRESS, 1);
}

static void expect_gone(void) {
    CHECK(mini_unlocked_within(lock_path, SOON_MS));
    unlink(lock_path);
}

static void after_the_end(enum sl_containment containment) {
    int code;
    make_lock();
    leave_one_behind(containment, "exit");
    CHECK_INT(mini_done(&core, 1), 0);
    CHECK(mini_locked(lock_path)); /* lives on while the worker does */
    mini_stop(&core);
    mini_expect(&core, SL_FRAME_EXIT, 0);
    CHECK(!mini_locked(lock_path)); /* EXIT is sent when nothing is left */
    CHECK_INT(waitpid(core.pid, &code, 0), core.pid);
    CHECK_INT(code, 0);
    unlink(lock_path);
}

static void after_a_crash(enum sl_containment containment) {
    int code;
    make_lock();
    leave_one_behind(containment, "crash");
    CHECK_INT(WTERMSIG(mini_exit(&core, &code)), SIGABRT);
    CHECK(!mini_locked(lock_path));
    unlink(lock_path);
}

/* A core in a child of this test, which kills it. */
static void after_the_core(enum sl_containment containment) {
    int ends[2];
    make_lock();
    CHECK_INT(pipe(ends), 0);
    pid_t parent = fork();
    if (parent == 0) {
        core.server = NULL; /* it would be a child of another process */
        leave_one_behind(containment, "wait");
        (void)!write(ends[1], "x", 1);
        for (;;)
            pause();
    }
    char byte;
    close(ends[1]);
    CHECK_INT(read(ends[0], &byte, 1), 1);
    CHECK(mini_locked(lock_path));
    CHECK_INT(kill(parent, SIGKILL), 0);
    CHECK_INT(waitpid(parent, NULL, 0), parent);
    expect_gone();
}

static void in_all_ways(void (*check)(enum sl_containment)) {
    for (int forked = 0; forked < 2; forked++) {
        core.forked = forked;
        check(SL_CONTAIN_KEEPER);
        if (sl_containment_detect() == SL_CONTAIN_PIDNS)
            check(SL_CONTAIN_PIDNS);
    }
}

TEST(after_the_plugin_ended) {
    in_all_ways(after_the_end);
}

TEST(after_the_plugin_crashed) {
    in_all_ways(after_a_crash);
}

TEST(after_the_core_was_killed) {
    in_all_ways(after_the_core);
}

TEST(after_the_worker_was_killed_as_pid_1) {
    if (sl_containment_detect() != SL_CONTAIN_PIDNS)
        SKIP("no PID namespaces here");
    for (int forked = 0; forked < 2; forked++) {
        core.forked = forked;
        make_lock();
        leave_one_behind(SL_CONTAIN_PIDNS, "wait");
        mini_kill(&core);
        expect_gone();
    }
}

/* Killing the keeper itself takes the plugin's process; what that left behind comes to the core as
 * its subreaper. */
TEST(after_the_keeper_was_killed_the_plugin_is_gone) {
    struct mini_job job = {.outputs = {{"text", "text/1"}}};
    core.containment = SL_CONTAIN_KEEPER;
    mini_ready(&core, FIXTURE, "fixture/sleepy",
               "{\"duration\": 60, \"starting\": 0, \"deaf\": true}");
    mini_job(&core, 1, &job);
    mini_expect(&core, SL_FRAME_PROGRESS, 1);
    CHECK_INT(kill(core.pid, SIGKILL), 0);
    while (mini_next(&core))
        CHECK(core.in.type == SL_FRAME_PROGRESS); /* until both ends of the worker are closed */
}

static void after_the_socket_closed(enum sl_containment containment) {
    int status;
    make_lock();
    leave_one_behind(containment, "wait");
    close(core.fd);
    CHECK_INT(waitpid(core.pid, &status, 0), core.pid);
    CHECK_INT(WEXITSTATUS(status), 1);
    expect_gone();
}

TEST(the_core_closes_its_socket) {
    in_all_ways(after_the_socket_closed);
}

static void after_sigterm(enum sl_containment containment) {
    struct mini_job job = {.outputs = {{"text", "text/1"}}};
    int code;
    core.containment = containment;
    mini_ready(&core, FIXTURE, "fixture/silent", "{\"duration\": 60}");
    mini_job(&core, 1, &job);
    CHECK_INT(kill(core.pid, SIGTERM), 0);
    CHECK_INT(WTERMSIG(mini_exit(&core, &code)), SIGTERM);
    CHECK_INT(code, 1);
}

TEST(sigterm_reaches_the_plugin) {
    in_all_ways(after_sigterm);
}

/* The last rung of the ladder: deaf to cancel and SIGTERM. */
TEST(sigkill_ends_the_deaf) {
    struct mini_job job = {.outputs = {{"text", "text/1"}}};
    core.containment = sl_containment_detect();
    mini_ready(&core, FIXTURE, "fixture/sleepy",
               "{\"duration\": 60, \"starting\": 0, \"deaf\": true}");
    mini_job(&core, 1, &job);
    mini_expect(&core, SL_FRAME_PROGRESS, 1);
    mini_cancel(&core, 1);
    kill(core.pid, SIGTERM);
    poll(NULL, 0, 200);
    struct pollfd p = {core.pidfd, POLLIN, 0};
    CHECK_INT(poll(&p, 1, 0), 0); /* it still lives */
    mini_kill(&core);
}

TEST_MAIN()

/* Limits: what a process is started with, what is over, what was behind an end, and the sentences.
 */
#include "unit/test.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "proc/limits.h"

#define MIB ((uint64_t)1 << 20)

static const struct sl_resources all = {.memory = 512 * MIB,
                                        .cpus = 0.5,
                                        .cpu_time_s = 10.2,
                                        .open_files = 64,
                                        .processes = 20,
                                        .file_size = 8 * MIB,
                                        .scratch = 100 * MIB};
static const struct sl_resources none;

static const struct sl_spawn_rlimit *find(const struct sl_spawn *s, int resource) {
    for (int i = 0; i < s->n_rlimits; i++)
        if (s->rlimits[i].resource == resource)
            return &s->rlimits[i];
    return NULL;
}

TEST(rlimits_are_those_that_do_not_lie) {
    struct sl_spawn s = {0};
    sl_limits_spawn(&all, true, &s);
    CHECK_INT(s.n_rlimits, 3);
    CHECK_INT(find(&s, RLIMIT_CPU)->soft, 12);
    CHECK(find(&s, RLIMIT_CPU)->hard > 12);
    CHECK_INT(find(&s, RLIMIT_NOFILE)->soft, 64);
    CHECK_INT(find(&s, RLIMIT_NOFILE)->hard, 64);
    CHECK_INT(find(&s, RLIMIT_FSIZE)->soft, 8 * MIB);
    sl_limits_spawn(&all, false, &s); /* for several jobs, whose number is not known */
    CHECK(!find(&s, RLIMIT_CPU));
    sl_limits_spawn(&none, true, &s);
    CHECK_INT(s.n_rlimits, 0);
}

TEST(rlimits_stay_within_our_own) {
    struct sl_spawn s = {0};
    struct rlimit own = {40, 40};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &own), 0);
    sl_limits_spawn(&all, true, &s);
    CHECK_INT(find(&s, RLIMIT_NOFILE)->soft, 40);
    CHECK_INT(find(&s, RLIMIT_NOFILE)->hard, 40);
}

static int status_of(const char *command) {
    const char *argv[] = {"sh", "-c", command, NULL};
    struct sl_spawn s = {.program = "/bin/sh",
                         .argv = argv,
                         .log_fd = 2,
                         .channel_fd = -1,
                         .stdin_fd = -1,
                         .containment = SL_CONTAIN_KEEPER};
    pid_t pid;
    int pidfd, status = -1;
    sl_limits_spawn(&all, true, &s);
    CHECK_INT(sl_spawn_start(&s, &pid, &pidfd, NULL), 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    close(pidfd);
    return status;
}

TEST(a_process_begins_with_its_rlimits) {
    CHECK_INT(
        status_of("test $(ulimit -n) = 64 && test $(ulimit -t) = 12 && test $(ulimit -c) = 0"), 0);
}

TEST(a_group_counts_the_init_too) {
    struct sl_cgroup_limits g = sl_limits_cgroup(&all);
    CHECK_INT(g.memory, 512 * MIB);
    CHECK_INT(g.tasks, 21);
    CHECK_NEAR(g.cpus, 0.5, 0);
    g = sl_limits_cgroup(&none);
    CHECK_INT(g.tasks, 0);
}

TEST(only_what_nobody_else_keeps_is_watched) {
    unsigned what;
    CHECK(!sl_limits_need_watch(&none, false, &what));
    CHECK_INT(what, 0);
    CHECK(sl_limits_need_watch(&all, true, &what));
    CHECK_INT(what, SL_USAGE_FILES);
    struct sl_resources memory = {.memory = 1, .gpu_memory = 1, .cpus = 1, .file_size = 1};
    CHECK(sl_limits_need_watch(&memory, false, &what));
    CHECK(!sl_limits_need_watch(&memory, true, &what));
}

static enum sl_limit over(struct sl_usage u, int n_jobs, bool in_group) {
    return sl_limits_over(&all, &u, n_jobs, in_group);
}

TEST(a_sample_is_judged) {
    CHECK_INT(
        over((struct sl_usage){.memory = 512 * MIB, .cpu_s = 10.2, .tasks = 20, .open_files = 99},
             1, false),
        SL_LIMIT_NONE);
    CHECK_INT(over((struct sl_usage){.memory = 512 * MIB + 1}, 1, false), SL_LIMIT_MEMORY);
    CHECK_INT(over((struct sl_usage){.memory = 512 * MIB + 1, .tasks = 30}, 1, true),
              SL_LIMIT_NONE);
    CHECK_INT(over((struct sl_usage){.tasks = 21}, 1, false), SL_LIMIT_PROCESSES);
    CHECK_INT(over((struct sl_usage){.cpu_s = 10.3}, 0, true), SL_LIMIT_CPU_TIME);
    /* 20.4 for two jobs. */
    CHECK_INT(over((struct sl_usage){.cpu_s = 20.3}, 2, true), SL_LIMIT_NONE);
    CHECK_INT(sl_limits_over(&none, &(struct sl_usage){1ull << 60, 1e9, 99, 99, 99}, 1, false),
              SL_LIMIT_NONE);
}

static int interval(uint64_t before_mib, uint64_t now_mib, int dt_ms) {
    return sl_limits_interval_ms(&all, &(struct sl_usage){.memory = before_mib * MIB},
                                 &(struct sl_usage){.memory = now_mib * MIB}, dt_ms);
}

TEST(samples_come_closer_as_the_limit_does) {
    CHECK_INT(interval(100, 100, 250), 250);
    CHECK_INT(interval(300, 100, 250), 250); /* shrinks */
    CHECK_INT(interval(10, 110, 100), 201);  /* 402 MiB to go at 1 MiB/ms */
    CHECK_INT(interval(400, 500, 100), 50);
    CHECK_INT(interval(0, 512, 0), 50);
    CHECK_INT(interval(0, 600, 1), 50); /* over already */
    CHECK_INT(sl_limits_interval_ms(&none, &(struct sl_usage){0},
                                    &(struct sl_usage){.memory = 1ull << 50}, 1),
              250);
    CHECK_NEAR(sl_limits_interval_ms(&all, &(struct sl_usage){.cpu_s = 9.9},
                                     &(struct sl_usage){.cpu_s = 10}, 100),
               100, 1);
}

static const int killed = SIGKILL, xcpu = SIGXCPU, xfsz = SIGXFSZ, segv = SIGSEGV, exited = 3 << 8;

static enum sl_limit behind(const struct sl_resources *r, int status, double cpu_s, bool oom,
                            bool ours, const struct sl_cgroup_account *group) {
    struct sl_usage peak = {.cpu_s = cpu_s};
    return sl_limits_of_end(r, &(struct sl_limits_end){.wait_status = status,
                                                       .killed_by_us = ours,
                                                       .machine_oom = oom,
                                                       .peak = &peak,
                                                       .group = group});
}

TEST(signals_tell_of_limits) {
    CHECK_INT(behind(&all, xcpu, 0, false, false, NULL), SL_LIMIT_CPU_TIME);
    CHECK_INT(behind(&all, xfsz, 0, false, false, NULL), SL_LIMIT_FILE_SIZE);
    /* Deaf to SIGXCPU. */
    CHECK_INT(behind(&all, killed, 10.2, false, false, NULL), SL_LIMIT_CPU_TIME);
    CHECK_INT(behind(&all, killed, 3, false, false, NULL), SL_LIMIT_NONE);
    CHECK_INT(behind(&all, killed, 3, true, false, NULL), SL_LIMIT_MACHINE);
    CHECK_INT(behind(&all, killed, 3, true, true, NULL), SL_LIMIT_NONE);
    CHECK_INT(behind(&none, killed, 3, true, false, NULL), SL_LIMIT_MACHINE);
    /* Somebody else's limit. */
    CHECK_INT(behind(&none, xcpu, 3, false, false, NULL), SL_LIMIT_NONE);
    CHECK_INT(behind(&none, xfsz, 3, false, false, NULL), SL_LIMIT_NONE);
    CHECK_INT(behind(&all, segv, 99, true, false, NULL), SL_LIMIT_NONE);
    CHECK_INT(behind(&all, exited, 99, true, false, NULL), SL_LIMIT_NONE);
}

TEST(the_kernels_account_is_proof) {
    struct sl_cgroup_account own = {.oom = 1, .oom_kills = 2}, host = {.oom_kills = 1},
                             nothing = {0};
    CHECK_INT(behind(&all, killed, 0, false, false, &own), SL_LIMIT_MEMORY);
    /* A child was killed, it gave up. */
    CHECK_INT(behind(&all, exited, 0, false, false, &own), SL_LIMIT_MEMORY);
    CHECK_INT(behind(&all, killed, 0, false, false, &host), SL_LIMIT_MACHINE);
    CHECK_INT(behind(&none, killed, 0, false, false, &own), SL_LIMIT_MACHINE);
    CHECK_INT(behind(&all, killed, 0, false, false, &nothing), SL_LIMIT_NONE);
}

static void check_text(struct sl_limit_case c, const char *want) {
    sl_autofree char *text = sl_limit_text(&c);
    CHECK_STR(text, want);
}

TEST(each_limit_has_its_sentence) {
    check_text((struct sl_limit_case){SL_LIMIT_MEMORY, 612.3 * MIB, 512.0 * MIB, false, 0},
               "it used 612.3 MiB of memory, over its limit of 512.0 MiB (resources.memory); raise "
               "it, or let it grow "
               "with retry.grow.memory");
    check_text(
        (struct sl_limit_case){SL_LIMIT_MEMORY, 1100.0 * MIB, 1024.0 * MIB, false, 512 * MIB},
        "it used 1.1 GiB of memory, over its limit of 1.0 GiB (resources.memory: 512.0 MiB, "
        "grown); raise it, or "
        "let it grow with retry.grow.memory");
    check_text((struct sl_limit_case){SL_LIMIT_MEMORY, 512.0 * MIB, 512.0 * MIB, true, 0},
               "the kernel killed it at 512.0 MiB of memory, at its limit of 512.0 MiB "
               "(resources.memory); raise it, or "
               "let it grow with retry.grow.memory");
    check_text((struct sl_limit_case){SL_LIMIT_CPU_TIME, 10.27, 10, false, 0},
               "it used 10.27 s of CPU time, over its limit of 10.0 s (resources.cpu_time); raise "
               "it if the stage is "
               "slow but sound");
    check_text((struct sl_limit_case){SL_LIMIT_CPU_TIME, 0, 3600, true, 0},
               "it used 3600.00 s of CPU time, over its limit of 1h 00m (resources.cpu_time); "
               "raise it if the stage is "
               "slow but sound");
    check_text((struct sl_limit_case){SL_LIMIT_OPEN_FILES, 62, 64, true, 0},
               "it had 62 files open, of 64 that it may (resources.open_files); raise it");
    check_text((struct sl_limit_case){SL_LIMIT_PROCESSES, 31, 20, false, 0},
               "it ran 31 processes and threads, over its limit of 20 (resources.processes); raise "
               "it, or give it fewer "
               "threads with resources.cpus");
    check_text((struct sl_limit_case){SL_LIMIT_PROCESSES, 0, 20, true, 0},
               "it had reached its limit of 20 processes and threads (resources.processes); raise "
               "it, or give it fewer "
               "threads with resources.cpus");
    check_text(
        (struct sl_limit_case){SL_LIMIT_FILE_SIZE, 0, 8.0 * MIB, true, 0},
        "it wrote to a file beyond its limit of 8.0 MiB a file (resources.file_size); raise it");
    check_text((struct sl_limit_case){SL_LIMIT_SCRATCH, 120.0 * MIB, 100.0 * MIB, false, 0},
               "its scratch folder held 120.0 MiB, over its limit of 100.0 MiB "
               "(resources.scratch); raise it");
    check_text(
        (struct sl_limit_case){SL_LIMIT_MACHINE, 2048.0 * MIB, 0, true, 0},
        "the kernel killed it for want of memory (it used 2.0 GiB): this machine, or the "
        "container that sluice runs in, had none left; run fewer stages at a time (--jobs), or "
        "give it more");
}

TEST(limits_out_of_our_sight_are_listed) {
    sl_autofree char *text = sl_limits_silent(&all);
    CHECK_STR(text, "open_files 64, file_size 8.0 MiB");
    CHECK(!sl_limits_silent(&none));
}

TEST(memory_grows_up_to_the_machine) {
    CHECK_INT(sl_limits_grow(100, 2, 1000), 200);
    CHECK_INT(sl_limits_grow(600, 2, 1000), 1000);
    CHECK_INT(sl_limits_grow(1000, 2, 1000), 1000);
    CHECK_INT(sl_limits_grow(1500, 2, 1000), 1500);
    CHECK_INT(sl_limits_grow(100, 1, 1000), 100);
    CHECK_INT(sl_limits_grow(0, 2, 1000), 0);
    CHECK_INT(sl_limits_grow(UINT64_MAX / 2, 100, UINT64_MAX) > UINT64_MAX / 2, 1);
}

TEST_MAIN()

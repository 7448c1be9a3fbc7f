/* Parsers of /proc and cgroup text: what the kernel writes, and what it never would. */
#include "unit/test.h"

#include "proc/proctext.h"

static bool stat_of(const char *text, struct sl_proc_stat *ret) {
    return sl_proc_stat_parse(text, strlen(text), ret);
}

TEST(stat_gives_state_parent_and_time) {
    struct sl_proc_stat s;
    CHECK(stat_of("42 (sluice-worker) S 7 42 42 0 -1 4194560 300 0 0 0 11 5 2 1 20 0 3 0 99 1 1\n",
                  &s));
    CHECK_INT(s.state, 'S');
    CHECK_INT(s.parent, 7);
    CHECK_INT(s.ticks, 11 + 5 + 2 + 1);
}

TEST(stat_survives_names_made_to_confuse) {
    struct sl_proc_stat s;
    CHECK(stat_of("1 (a) R 9 (b)) Z 3 1 1 0 -1 0 0 0 0 0 1 2 3 4", &s));
    CHECK_INT(s.state, 'Z');
    CHECK_INT(s.parent, 3);
    CHECK_INT(s.ticks, 10);
    CHECK(stat_of("1 (\n) R 3 1 1 0 -1 0 0 0 0 0 1 2 3 4", &s));
}

TEST(stat_refuses_what_is_cut_or_absurd) {
    struct sl_proc_stat s;
    CHECK(!stat_of("", &s));
    CHECK(!stat_of("42 (x", &s));
    CHECK(!stat_of("42 (x) S 7 42 42 0 -1 4194560 300 0 0 0 11", &s));
    CHECK(!stat_of("1 (x) RR 3 1 1 0 -1 0 0 0 0 0 1 2 3 4", &s));
    CHECK(!stat_of("1 (x) R 99999999999 1 1 0 -1 0 0 0 0 0 1 2 3 4", &s));
    CHECK(!stat_of("1 (x) R 3 1 1 0 -1 0 0 0 0 0 18446744073709551615 2 3 4", &s));
}

static uint64_t key_of(const char *text, const char *key) {
    uint64_t value;
    return sl_proc_key(text, strlen(text), key, &value) ? value : 4444;
}

TEST(keys_of_events_and_status) {
    const char *events = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n";
    CHECK_INT(key_of(events, "oom"), 2);
    CHECK_INT(key_of(events, "oom_kill"), 1);
    CHECK_INT(key_of(events, "oom_kil"), 4444);
    CHECK_INT(key_of("Name:\tRssAnon:\nRssAnon:\t     120 kB\nThreads:\t3\n", "RssAnon:"), 122880);
    CHECK_INT(key_of("Name:\tRssAnon:\nRssAnon:\t     120 kB\nThreads:\t3", "Threads:"), 3);
    CHECK_INT(key_of("", "oom"), 4444);
    CHECK_INT(key_of("oom\n", "oom"), 4444);
    CHECK_INT(key_of("oom -1\n", "oom"), 4444);
    CHECK_INT(key_of("oom 99999999999999999999\n", "oom"), 4444);
    CHECK_INT(key_of("oom 18446744073709551615 kB\n", "oom"), 4444);
    CHECK_INT(key_of("oom max\n", "oom"), 4444);
}

TEST(pids_and_words) {
    pid_t pids[3];
    CHECK_INT(sl_proc_pids("12 13 ", 6, pids, 3), 2);
    CHECK_INT(pids[1], 13);
    CHECK_INT(sl_proc_pids("1 2 3 4 5", 9, pids, 3), 3);
    CHECK_INT(sl_proc_pids("x -1 0 99999999999 7", 20, pids, 3), 1);
    CHECK_INT(pids[0], 7);
    CHECK_INT(sl_proc_pids("", 0, pids, 3), 0);
    CHECK(sl_proc_has_word("cpuset cpu memory\n", 18, "cpu"));
    CHECK(!sl_proc_has_word("cpuset memory\n", 14, "cpu"));
    CHECK(!sl_proc_has_word("", 0, "cpu"));
}

TEST(the_group_we_are_in) {
    char path[32];
    const char *hybrid = "9:name=systemd:/\n8:pids:/\n0::/user.slice/a b\n";
    CHECK(sl_proc_cgroup_path(hybrid, strlen(hybrid), path, sizeof path));
    CHECK_STR(path, "/user.slice/a b");
    CHECK(!sl_proc_cgroup_path("8:pids:/\n", 9, path, sizeof path));
    CHECK(!sl_proc_cgroup_path("0::\n", 4, path, sizeof path));
    CHECK(!sl_proc_cgroup_path(hybrid, strlen(hybrid), path, 8));
}

TEST(where_groups_are_mounted) {
    char root[64], point[64];
    const char *text =
        "22 1 0:20 / /sys/fs/cgroup rw,nosuid shared:9 - tmpfs tmpfs ro\n"
        "23 1 0:21 / /proc rw - proc proc rw\n"
        "30 22 0:27 /deep /mnt/my\\040groups rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw\n";
    CHECK(sl_proc_cgroup_mount(text, strlen(text), root, point, sizeof root));
    CHECK_STR(root, "/deep");
    CHECK_STR(point, "/mnt/my groups");
    const char *none =
        "22 1 0:20 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n30 22 0:27 / /x rw\n";
    CHECK(!sl_proc_cgroup_mount(none, strlen(none), root, point, sizeof root));
}

TEST_MAIN()

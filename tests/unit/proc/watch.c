/* Watching: a tree of real processes, its memory, time, threads and files; folders; the kill below
 * an init. */
#include "unit/test.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "proc/watch.h"

#define MIB (1024.0 * 1024)
#ifdef __SANITIZE_THREAD__
#define OWN_THREADS 1 /* of ThreadSanitizer, in each process */
#else
#define OWN_THREADS 0
#endif

static void eat(size_t bytes, int flags) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 1, bytes);
}

/* Tells the test that this process has what it is to be seen with, and stays. */
static void stay(int ready) {
    (void)!write(ready, "x", 1);
    for (;;)
        pause();
}

static void *thread(void *arg) {
    (void)arg;
    for (;;)
        pause();
    return NULL;
}

/* A process with three threads, whose child has 40 MiB of its own and shares 30 MiB. */
static void play_init(int ready) {
    eat((size_t)(30 * MIB), MAP_PRIVATE);
    if (fork() == 0) {
        pthread_t t;
        eat((size_t)(40 * MIB), MAP_PRIVATE);
        pthread_create(&t, NULL, thread, NULL);
        pthread_create(&t, NULL, thread, NULL);
        for (int i = 0; i < 20; i++)
            CHECK(open("/dev/null", O_RDONLY) >= 0);
        stay(ready);
    }
    for (;;)
        pause();
}

static pid_t start(void (*play)(int ready)) {
    int ready[2];
    char byte;
    CHECK_INT(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        play(ready[1]);
    }
    CHECK_INT(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void stop(pid_t init) {
    while (sl_usage_kill_below(init) > 0)
        usleep(1000);
    kill(init, SIGKILL);
    CHECK_INT(waitpid(init, NULL, 0), init);
}

TEST(a_tree_is_summed_up) {
    struct sl_usage u, exact;
    pid_t init = start(play_init);
    CHECK(sl_usage_sample(init, SL_USAGE_FILES, &u));
    CHECK(sl_usage_sample(init, SL_USAGE_EXACT, &exact));
    stop(init);
    CHECK_INT(u.processes, 2);
    CHECK_INT(u.tasks, 3 + 2 * OWN_THREADS); /* without the init */
    CHECK(u.open_files >= 23 && u.open_files < 40);
    CHECK_INT(exact.open_files, 0); /* not asked for */
    CHECK(u.memory > 100 * MIB);    /* what is shared counts twice */
    CHECK(exact.memory > 70 * MIB && exact.memory + 25 * MIB < u.memory); /* or once */
}

static void play_sharing(int ready) {
    eat((size_t)(30 * MIB), MAP_SHARED);
    if (fork() == 0)
        stay(ready);
    for (;;)
        pause();
}

TEST(file_pages_are_not_memory_but_shared_memory_is) {
    struct sl_usage u;
    pid_t init = start(play_sharing);
    CHECK(sl_usage_sample(init, 0, &u));
    stop(init);
    CHECK(u.memory > 30 * MIB);
}

static void play_file(int ready) {
    char path[TEST_PATH];
    int fd = make_test_file(path);
    static char block[1 << 20];
    memset(block, 1, sizeof block);
    for (int i = 0; i < 64; i++)
        CHECK_INT(write(fd, block, sizeof block), sizeof block);
    volatile char *p = mmap(NULL, 64 << 20, PROT_READ, MAP_SHARED, fd, 0);
    unlink(path);
    for (int i = 0; i < 64 << 20; i += 4096)
        (void)p[i];
    stay(ready);
}

TEST(mapped_files_do_not_count) {
    struct statfs fs;
    struct sl_usage u;
    if (statfs("/tmp", &fs) < 0 || fs.f_type == TMPFS_MAGIC)
        SKIP("/tmp is in memory");
    if (OWN_THREADS)
        SKIP("ThreadSanitizer has memory of its own");
    pid_t init = start(play_file);
    CHECK(sl_usage_sample(init, 0, &u));
    stop(init);
    CHECK(u.memory < 48 * MIB);
}

static void spin(double seconds) {
    struct timespec t;
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    while ((double)t.tv_sec + (double)t.tv_nsec * 1e-9 < seconds);
}

/* Spends time in a child that ended and in one that lives. */
static void play_spinner(int ready) {
    pid_t pid = fork();
    if (pid == 0) {
        spin(0.2);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    if (fork() == 0) {
        spin(0.2);
        stay(ready);
    }
    for (;;)
        pause();
}

TEST(cpu_time_of_the_dead_counts) {
    struct sl_usage u;
    pid_t init = start(play_spinner);
    CHECK(sl_usage_sample(init, 0, &u));
    stop(init);
    CHECK(u.cpu_s > 0.37 && u.cpu_s < 1);
}

TEST(who_is_gone_has_no_usage) {
    struct sl_usage u = {.tasks = 77};
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    CHECK(!sl_usage_sample(pid, 0, &u));
    CHECK_INT(u.tasks, 77);
    CHECK_INT(sl_usage_kill_below(pid), 0);
}

TEST(peaks_only_rise) {
    struct sl_usage peak = {.memory = 5, .cpu_s = 1, .tasks = 9};
    sl_usage_raise(&peak, &(struct sl_usage){.memory = 7, .cpu_s = 0.5, .open_files = 3});
    CHECK_INT(peak.memory, 7);
    CHECK_NEAR(peak.cpu_s, 1, 0);
    CHECK_INT(peak.tasks, 9);
    CHECK_INT(peak.open_files, 3);
}

/* ---- Folders --------------------------------------------------------------------------------- */

static void write_block(const char *path, size_t size) {
    sl_autofree char *data = sl_xcalloc(1, size);
    memset(data, 1, size);
    CHECK_INT(sl_write_file(path, data, size, NULL), 0);
}

TEST(folders_are_summed_up_within_bounds) {
    char dir[TEST_PATH], path[128];
    uint64_t bytes;
    make_test_folder(dir);
    snprintf(path, sizeof path, "%s/deep/deeper", dir);
    CHECK_INT(sl_make_dirs(path, NULL), 0);
    snprintf(path, sizeof path, "%s/one", dir);
    write_block(path, 1 << 20);
    snprintf(path, sizeof path, "%s/deep/deeper/two", dir);
    write_block(path, 1 << 20);
    snprintf(path, sizeof path, "%s/deep/loop", dir);
    CHECK_INT(symlink("..", path), 0);
    CHECK(sl_folder_size(dir, 100, &bytes));
    CHECK(bytes >= 2 << 20 && bytes < 3 << 20);
    CHECK(!sl_folder_size(dir, 2, &bytes));
    CHECK_INT(sl_remove_tree(dir, NULL), 0);
    CHECK(!sl_folder_size(dir, 100, &bytes));
    CHECK_INT(bytes, 0);
}

TEST(the_machine_has_memory) {
    CHECK(sl_machine_memory() > 64 * MIB);
    sl_machine_oom_kills();
}

TEST_MAIN()

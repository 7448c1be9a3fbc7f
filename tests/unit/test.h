/*
 * A small test runner. One source file with TEST() cases and TEST_MAIN() makes one binary; every
 * case runs in a forked process with a time limit, so a crash or a hang fails that case alone.
 *
 *     TEST(adds) { CHECK_INT(1 + 1, 2); }
 *     TEST_MAIN()
 *
 * A failed CHECK ends its case. `binary` runs all cases, `binary NAME...` the named ones, `binary
 * --here NAME` runs one in this process, for a debugger. Exit: 0 passed, 1 failed, 77 all skipped.
 */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_LIMIT_S 240
#else
#define TEST_LIMIT_S 60
#endif
#define TEST_SKIPPED 77

struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
};

static struct test_case *test_cases;

#define TEST(case_name)                                                                            \
    static void test_##case_name(void);                                                            \
    static struct test_case test_case_##case_name = {#case_name, test_##case_name, NULL};          \
    __attribute__((constructor)) static void test_add_##case_name(void) {                          \
        struct test_case **at = &test_cases;                                                       \
        while (*at)                                                                                \
            at = &(*at)->next;                                                                     \
        *at = &test_case_##case_name;                                                              \
    }                                                                                              \
    static void test_##case_name(void)

#define TEST_FAIL(...)                                                                             \
    do {                                                                                           \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                            \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        exit(1);                                                                                   \
    } while (0)

#define SKIP(...)                                                                                  \
    do {                                                                                           \
        printf("  skipped: ");                                                                     \
        printf(__VA_ARGS__);                                                                       \
        putchar('\n');                                                                             \
        exit(TEST_SKIPPED);                                                                        \
    } while (0)

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            TEST_FAIL("not true: %s", #cond);                                                      \
    } while (0)

#define CHECK_INT(got, want)                                                                       \
    do {                                                                                           \
        int64_t got_ = (int64_t)(got), want_ = (int64_t)(want);                                    \
        if (got_ != want_)                                                                         \
            TEST_FAIL("%s is %" PRId64 ", not %" PRId64, #got, got_, want_);                       \
    } while (0)

#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        const char *got_ = (got), *want_ = (want);                                                 \
        if (!got_ || strcmp(got_, want_) != 0)                                                     \
            TEST_FAIL("%s is \"%s\", not \"%s\"", #got, got_ ? got_ : "(null)", want_);            \
    } while (0)

#define CHECK_HAS(text, part)                                                                      \
    do {                                                                                           \
        const char *text_ = (text), *part_ = (part);                                               \
        if (!text_ || !strstr(text_, part_))                                                       \
            TEST_FAIL("%s does not hold \"%s\": \"%s\"", #text, part_, text_ ? text_ : "(null)");  \
    } while (0)

#define CHECK_NEAR(got, want, tolerance)                                                           \
    do {                                                                                           \
        double got_ = (got), want_ = (want);                                                       \
        if (!(fabs(got_ - want_) <= (tolerance)))                                                  \
            TEST_FAIL("%s is %.9g, not %.9g +- %g", #got, got_, want_, (double)(tolerance));       \
    } while (0)

/* ---- Files of a test ------------------------------------------------------------------------- */

#define TEST_PATH     32 /* bytes of the path of a temporary file */
#define TEST_TEMPLATE P_tmpdir "/sluice-test-XXXXXX"

/* A new folder, for remove_test_files(). */
static inline void make_test_folder(char ret[TEST_PATH]) {
    snprintf(ret, TEST_PATH, TEST_TEMPLATE);
    if (!mkdtemp(ret))
        TEST_FAIL("no temporary folder: %s", strerror(errno));
}

/* A new file, returned open for reading and writing. */
static inline int make_test_file(char ret[TEST_PATH]) {
    snprintf(ret, TEST_PATH, TEST_TEMPLATE);
    int fd = mkstemp(ret);
    if (fd < 0)
        TEST_FAIL("no temporary file: %s", strerror(errno));
    return fd;
}

/* Removes a folder with all that is in it, or a file. */
static inline void remove_test_files(const char *path) {
    char command[TEST_PATH + 32];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    CHECK_INT(system(command), 0);
}

/* ---- The runner ------------------------------------------------------------------------------ */

static int test_run_one(struct test_case *c) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(TEST_LIMIT_S);
        c->run();
        exit(0);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("test runner");
        return 1;
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    const char *word = code == 0 ? "ok" : code == TEST_SKIPPED ? "skip" : "FAIL";
    printf("%-5s %s", word, c->name);
    if (WIFSIGNALED(status))
        printf(" (%s)",
               WTERMSIG(status) == SIGALRM ? "over its time limit" : strsignal(WTERMSIG(status)));
    putchar('\n');
    return code;
}

static int test_wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return 1;
    return argc < 2;
}

static int test_main(int argc, char **argv) {
    int passed = 0, failed = 0, skipped = 0;
    int here = argc == 3 && strcmp(argv[1], "--here") == 0;
    for (struct test_case *c = test_cases; c; c = c->next) {
        if (here && strcmp(argv[2], c->name) == 0) {
            c->run();
            return 0;
        }
        if (here || !test_wanted(c->name, argc, argv))
            continue;
        int code = test_run_one(c);
        *(code == 0 ? &passed : code == TEST_SKIPPED ? &skipped : &failed) += 1;
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed || passed + skipped == 0 ? 1 : passed == 0 ? TEST_SKIPPED : 0;
}

#define TEST_MAIN()                                                                                \
    int main(int argc, char **argv) {                                                              \
        return test_main(argc, argv);                                                              \
    }

#endif

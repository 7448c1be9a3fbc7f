/* Files written whole, trees removed, paths. */
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/mem.h"
#include "unit/test.h"

static int count_entries(const char *path) {
    sl_autofree char *command = sl_xasprintf("exit $(ls -A '%s' | wc -l)", path);
    return WEXITSTATUS(system(command));
}

TEST(file_is_written_whole_and_read_back) {
    char dir[TEST_PATH], *data = NULL;
    make_test_folder(dir);
    size_t len;
    struct sl_err err = {0};
    sl_autofree char *path = sl_path_join(dir, "a");
    CHECK_INT(sl_write_file(path, "one", 3, &err), 0);
    CHECK_INT(sl_write_file(path, "two!", 4, &err), 0);
    CHECK_INT(sl_read_file(path, 100, &data, &len, &err), 0);
    CHECK_INT(len, 4);
    CHECK_STR(data, "two!");
    CHECK_INT(count_entries(dir), 1);
    free(data);
    CHECK_INT(sl_remove_tree(dir, &err), 0);
}

TEST(reading_has_a_limit_and_clear_errors) {
    char dir[TEST_PATH], *data = NULL;
    make_test_folder(dir);
    size_t len;
    struct sl_err err = {0};
    sl_autofree char *path = sl_path_join(dir, "a");
    CHECK_INT(sl_write_file(path, "12345", 5, &err), 0);
    CHECK_INT(sl_read_file(path, 4, &data, &len, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "limit of 4 bytes");
    CHECK_INT(sl_read_file(dir, 4, &data, &len, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "Is a directory");
    CHECK_INT(sl_read_file("/nonexistent/x", 4, &data, &len, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "/nonexistent/x");
    CHECK_INT(sl_remove_tree(dir, &err), 0);
}

TEST(failed_write_leaves_nothing) {
    char dir[TEST_PATH];
    make_test_folder(dir);
    struct sl_err err = {0};
    sl_autofree char *target = sl_path_join(dir, "folder");
    CHECK_INT(mkdir(target, 0700), 0);
    CHECK(sl_write_file(target, "x", 1, &err) < 0); /* a folder cannot be replaced by a file */
    CHECK_INT(count_entries(dir), 1);
    CHECK(sl_write_file("/nonexistent/x", "x", 1, &err) < 0);
    CHECK_INT(sl_remove_tree(dir, &err), 0);
}

TEST(trees_are_made_and_removed_without_following_links) {
    char dir[TEST_PATH];
    make_test_folder(dir);
    struct sl_err err = {0};
    sl_autofree char *deep = sl_path_join(dir, "a/b/c"), *link_path = sl_path_join(dir, "a/out"),
                     *outside = sl_xasprintf("%s-outside", dir);
    CHECK_INT(sl_make_dirs(deep, &err), 0);
    CHECK_INT(sl_make_dirs(deep, &err), 0);
    CHECK_INT(sl_make_dirs(outside, &err), 0);
    CHECK_INT(symlink(outside, link_path), 0);
    CHECK_INT(sl_remove_tree(dir, &err), 0);
    CHECK(!sl_path_exists(dir));
    CHECK(sl_path_exists(outside));
    CHECK_INT(sl_remove_tree(outside, &err), 0);
    CHECK_INT(sl_remove_tree(outside, &err), 0); /* what is missing counts as removed */
}

/* Deeper than descriptors or a path reach, as a stage can leave its scratch folder. */
TEST(very_deep_trees_are_removed) {
    char dir[TEST_PATH];
    make_test_folder(dir);
    int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64}), 0);
    for (int i = 0; i < PATH_MAX / 2 + 100; i++) {
        CHECK_INT(mkdirat(at, "d", 0700), 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(next >= 0);
        close(openat(next, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        close(at);
        at = next;
    }
    close(at);
    CHECK_INT(sl_remove_tree(dir, NULL), 0);
    CHECK(!sl_path_exists(dir));
}

/* As another user than root, whom folders can refuse. */
TEST(folders_that_refuse_their_owner_are_removed) {
    char dir[TEST_PATH];
    make_test_folder(dir);
    CHECK_INT(chmod(dir, 0777), 0);
    if (geteuid() == 0)
        CHECK_INT(setuid(65534), 0);
    sl_autofree char *top = sl_path_join(dir, "top"), *deep = sl_path_join(dir, "top/a/b/c"),
                     *a = sl_path_join(dir, "top/a"), *b = sl_path_join(dir, "top/a/b");
    struct sl_err err = {0};
    CHECK_INT(sl_make_dirs(deep, &err), 0);
    CHECK_INT(chmod(deep, 0), 0);
    CHECK_INT(chmod(b, 0), 0);
    CHECK_INT(chmod(a, 0500), 0);
    CHECK_INT(sl_remove_tree(top, &err), 0);
    CHECK(!sl_path_exists(top));
    rmdir(dir);
}

TEST(folder_over_a_file_is_refused) {
    char dir[TEST_PATH];
    make_test_folder(dir);
    struct sl_err err = {0};
    sl_autofree char *path = sl_path_join(dir, "f"), *below = sl_path_join(dir, "f/g");
    CHECK_INT(sl_write_file(path, "", 0, &err), 0);
    CHECK(sl_make_dirs(path, &err) < 0);
    CHECK(sl_make_dirs(below, &err) < 0);
    CHECK_INT(sl_remove_tree(dir, &err), 0);
}

TEST(paths_are_joined) {
    sl_autofree char *a = sl_path_join("/x", "y"), *b = sl_path_join("/x/", "y"),
                     *c = sl_path_join("/x", "/y");
    CHECK_STR(a, "/x/y");
    CHECK_STR(b, "/x/y");
    CHECK_STR(c, "/y");
    CHECK_STR(sl_path_base("/a/b.wav"), "b.wav");
    CHECK_STR(sl_path_base("b.wav"), "b.wav");
}

TEST_MAIN()

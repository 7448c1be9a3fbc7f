/* Run folders, names of items, artifacts. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/io.h"
#include "run/artifact.h"
#include "run/items.h"
#include "run/publish.h"
#include "run/rundir.h"
#include "unit/test.h"

static void use_state_folder(void) {
    static char path[TEST_PATH];
    make_test_folder(path);
    setenv("SLUICE_STATE", path, 1);
}

static void drop_state_folder(void) {
    struct sl_err err;
    CHECK_INT(sl_remove_tree(getenv("SLUICE_STATE"), &err), 0);
}

TEST(run_is_made_found_and_locked) {
    struct sl_rundir rd, found = {.lock_fd = -1};
    struct sl_err err = {0};
    use_state_folder();
    CHECK_INT(sl_rundir_create(&rd, &err), 0);
    CHECK_INT(strlen(rd.id), strlen("20260131-081542-1f3a"));
    CHECK(sl_rundir_is_live(rd.path));
    CHECK_INT(sl_rundir_open("last", &found, &err), 0);
    CHECK_STR(found.id, rd.id);
    sl_rundir_finish(&found);
    char start[9] = {0};
    memcpy(start, rd.id, 8);
    CHECK_INT(sl_rundir_open(start, &found, &err), 0);
    sl_rundir_finish(&found);
    sl_close(&rd.lock_fd);
    CHECK(!sl_rundir_is_live(rd.path));
    sl_rundir_finish(&rd);
    drop_state_folder();
}

TEST(runs_are_listed_newest_first) {
    char **ids;
    int n;
    struct sl_err err = {0};
    use_state_folder();
    CHECK_INT(sl_rundir_list(&ids, &n, &err), 0);
    CHECK_INT(n, 0);
    sl_autofree char *a = sl_path_join(getenv("SLUICE_STATE"), "runs/20260101-000000-aaaa"),
                     *b = sl_path_join(getenv("SLUICE_STATE"), "runs/20260102-000000-aaaa");
    CHECK_INT(sl_make_dirs(a, &err), 0);
    CHECK_INT(sl_make_dirs(b, &err), 0);
    sl_rundir_list_free(ids, n);
    CHECK_INT(sl_rundir_list(&ids, &n, &err), 0);
    CHECK_INT(n, 2);
    CHECK_STR(ids[0], "20260102-000000-aaaa");
    sl_rundir_list_free(ids, n);
    struct sl_rundir rd;
    CHECK_INT(sl_rundir_open("2026", &rd, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "several");
    CHECK_INT(sl_rundir_open("1999", &rd, &err), SLUICE_INPUT);
    CHECK_HAS(err.msg, "no such run");
    drop_state_folder();
}

TEST(items_are_named_after_their_files) {
    struct sl_arena arena = {0};
    const char *files[] = {"/d/monday/talk.wav", "/d/tuesday/talk.mp3", "/d/intro.tar.gz",
                           "/d/.hidden", "/d/intro.tar.gz"};
    struct sl_item *items = sl_items_from_files(&arena, files, 5);
    CHECK_STR(items[0].name, "monday-talk");
    CHECK_STR(items[1].name, "tuesday-talk");
    CHECK_STR(items[2].name, "d-intro.tar");
    CHECK_STR(items[3].name, ".hidden");
    CHECK_STR(items[4].name, "d-intro.tar-2");
    CHECK_STR(items[0].file, "/d/monday/talk.wav");
    sl_arena_finish(&arena);
}

TEST(names_of_items_are_unique_and_safe) {
    struct sl_arena arena = {0};
    const char *files[] = {"/a/x.wav", "/b/x.wav", "/c/a-x.wav", "/d/e\n/..", "/", "/d/x\001y.wav"};
    struct sl_item *items = sl_items_from_files(&arena, files, 6);
    for (int i = 0; i < 6; i++) {
        CHECK(*items[i].name && !strpbrk(items[i].name, "/\n\001") &&
              strcmp(items[i].name, "..") != 0);
        for (int k = 0; k < i; k++)
            CHECK(strcmp(items[i].name, items[k].name) != 0);
    }
    sl_arena_finish(&arena);
}

/* 100 is the longest name of an output. */
TEST(long_names_leave_room_for_outputs_and_stay_apart) {
    struct sl_arena arena = {0};
    char a[400], b[400], c[400], wide[400] = "/z/";
    snprintf(a, sizeof a, "/x/%0*d.wav", 240, 1);
    snprintf(b, sizeof b, "/y/%0*d.wav", 240, 1);
    snprintf(c, sizeof c, "/y/%0*d.wav", 240, 2);
    for (int i = 0; i < 80; i++)
        strcat(wide, "\xe2\x82\xac");
    const char *files[] = {a, b, c, a, wide};
    struct sl_item *items = sl_items_from_files(&arena, files, 5);
    for (int i = 0; i < 5; i++) {
        CHECK(strlen(items[i].name) + 1 + 100 <= 255);
        CHECK_INT(sl_utf8_valid(items[i].name, strlen(items[i].name)), strlen(items[i].name));
        for (int k = 0; k < i; k++)
            CHECK(strcmp(items[i].name, items[k].name) != 0);
    }
    sl_arena_finish(&arena);
}

TEST(draft_becomes_an_artifact) {
    struct sl_draft d = SL_DRAFT_NONE;
    struct sl_err err = {0};
    uint64_t hash;
    bool held;
    int fd;
    char dir[TEST_PATH];
    make_test_folder(dir);
    sl_autofree char *path = sl_path_join(dir, "a.json");
    for (int round = 0; round < 2; round++) { /* the second replaces the first */
        CHECK_INT(sl_draft_create(dir, &d, &err), 0);
        CHECK_INT(write(d.fd, "hello", 5), 5);
        CHECK_INT(sl_draft_commit(&d, path, 5, &fd, &held, &err), 0);
        struct sl_hasher *h = sl_hasher_create(fd, 5);
        CHECK_INT(sl_hasher_step(h, 2, &hash, &err), 0);
        CHECK_INT(sl_hasher_step(h, 2, &hash, &err), 0);
        CHECK_INT(sl_hasher_step(h, 2, &hash, &err), 1);
        sl_hasher_destroy(h);
        CHECK_INT(d.fd, -1);
        CHECK(!held);
    }
    CHECK_INT(sl_artifact_open(path, 5, hash, 1, &fd, &err), 0);
    CHECK(write(fd, "x", 1) < 0); /* read-only */
    close(fd);
    CHECK_INT(sl_write_file(path, "hellO", 5, &err), 0);
    CHECK_INT(sl_artifact_open(path, 5, hash, 1, &fd, &err), SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "changed after it was committed");
    CHECK_INT(sl_artifact_open(path, 6, hash, 0, &fd, &err), SLUICE_INTERNAL);
    CHECK_INT(sl_remove_tree(dir, &err), 0);
}

TEST(hash_in_steps_is_that_of_the_whole) {
    struct sl_err err = {0};
    char dir[TEST_PATH];
    static char data[300001];
    uint64_t hash;
    make_test_folder(dir);
    sl_autofree char *path = sl_path_join(dir, "a.bin");
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 + i / 251);
    CHECK_INT(sl_write_file(path, data, sizeof data, &err), 0);
    for (uint64_t step = 1000; step <= 1000000; step *= 10) {
        struct sl_hasher *h = sl_hasher_create(open(path, O_RDONLY | O_CLOEXEC), sizeof data);
        uint64_t steps = 1;
        while (sl_hasher_step(h, step, &hash, &err) == 0)
            steps++;
        CHECK_INT(steps, (sizeof data + step - 1) / step);
        CHECK_INT(hash == (uint64_t)XXH3_64bits(data, sizeof data), 1);
        sl_hasher_destroy(h);
    }
    struct sl_hasher *h = sl_hasher_create(open(path, O_RDONLY | O_CLOEXEC), sizeof data + 1);
    CHECK_INT(sl_hasher_step(h, UINT64_MAX, &hash, &err), SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "cannot be read to its end");
    sl_hasher_destroy(h);
    CHECK_INT(sl_remove_tree(dir, &err), 0);
}

TEST(draft_of_another_size_is_refused_and_leaves_no_temporary) {
    struct sl_draft d = SL_DRAFT_NONE;
    struct sl_err err = {0};
    int fd;
    bool held;
    char dir[TEST_PATH];
    make_test_folder(dir);
    sl_autofree char *path = sl_path_join(dir, "a.json");
    CHECK_INT(sl_draft_create(dir, &d, &err), 0);
    CHECK_INT(write(d.fd, "hello", 5), 5);
    CHECK_INT(sl_draft_commit(&d, path, 4, &fd, &held, &err), SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "5 bytes long, not 4");
    CHECK_INT(sl_draft_create(dir, &d, &err), 0);
    sl_draft_discard(&d);
    CHECK_INT(rmdir(dir), 0);
}

TEST(artifact_that_someone_can_still_change_is_held) {
    struct sl_draft d = SL_DRAFT_NONE;
    struct sl_err err = {0};
    char dir[TEST_PATH];
    make_test_folder(dir);
    sl_autofree char *path = sl_path_join(dir, "a.json");
    for (int mapped = 0; mapped < 2; mapped++) {
        bool held = false;
        int other, fd;
        void *map = NULL;
        CHECK_INT(sl_draft_create(dir, &d, &err), 0);
        CHECK_INT(write(d.fd, "hello", 5), 5);
        if (mapped)
            CHECK((map = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, d.fd, 0)) != MAP_FAILED);
        else
            CHECK((other = dup(d.fd)) >= 0);
        CHECK_INT(sl_draft_commit(&d, path, 5, &fd, &held, &err), 0);
        close(fd);
        CHECK(held);
        mapped ? munmap(map, 5) : close(other);
    }
    CHECK_INT(sl_remove_tree(dir, &err), 0);
}

/* A file of `size` bytes, its descriptor and hash. */
static int make_source(const char *dir, size_t size, uint64_t *ret_hash) {
    struct sl_err err = {0};
    sl_autofree char *path = sl_path_join(dir, "source"), *data = sl_xcalloc(size + 1, 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 31 + i / 977);
    CHECK_INT(sl_write_file(path, data, size, &err), 0);
    *ret_hash = XXH3_64bits(data, size);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int count_files(const char *dir) {
    int n = -2; /* "." and ".." */
    DIR *d = opendir(dir);
    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

TEST(output_appears_whole_and_replaces_an_older_one) {
    struct sl_err err = {0};
    char dir[TEST_PATH];
    uint64_t hash;
    make_test_folder(dir);
    sl_autofree char *path = sl_path_join(dir, "out.txt"), *data = NULL;
    for (int round = 0; round < 2; round++) {
        struct sl_publish *p;
        size_t len;
        int rc, steps = 0, fd = make_source(dir, 300000, &hash);
        CHECK_INT(sl_publish_begin(path, "run", true, fd, 300000, hash, &p, &err), 0);
        while ((rc = sl_publish_step(p, 100000, &err)) == 0) {
            steps++;
            CHECK_INT(sl_path_exists(path), round);
        }
        CHECK_INT(rc, 1);
        CHECK_INT(steps, 2);
        CHECK_INT(sl_path_exists(path), round);
        CHECK_INT(fsync(sl_publish_fd(p)), 0);
        CHECK_INT(sl_publish_name(p, &err), 0);
        sl_publish_destroy(p);
        CHECK_INT(sl_read_file(path, 1 << 20, &data, &len, &err), 0);
        CHECK_INT(XXH3_64bits(data, len) == hash, 1);
        free(sl_steal(&data));
        CHECK_INT(count_files(dir), 2);
    }
    CHECK_INT(sl_remove_tree(dir, &err), 0);
}

TEST(output_that_is_not_what_was_committed_leaves_nothing) {
    struct sl_err err = {0};
    char dir[TEST_PATH];
    uint64_t hash;
    struct sl_publish *p;
    make_test_folder(dir);
    sl_autofree char *path = sl_path_join(dir, "out.txt");
    for (uint64_t more = 0; more < 2; more++) { /* another hash; longer than it is */
        int fd = make_source(dir, 1000, &hash);
        CHECK_INT(sl_publish_begin(path, "run", true, fd, 1000 + more, hash + 1, &p, &err), 0);
        CHECK_INT(sl_publish_step(p, 1 << 20, &err), SLUICE_INTERNAL);
        CHECK_HAS(err.msg, more ? "to its end" : "was changed");
        sl_publish_destroy(p);
        CHECK_INT(count_files(dir), 1);
    }
    CHECK(sl_publish_begin("/nonexistent/x", "run", true, -1, 0, 0, &p, &err) < 0);
    CHECK_INT(sl_remove_tree(dir, &err), 0);
}

TEST(second_core_is_refused_and_told_of_the_first) {
    struct sl_rundir first, second = {.lock_fd = -1};
    struct sl_err err = {0};
    char pid[32];
    use_state_folder();
    CHECK_INT(sl_rundir_create(&first, &err), 0);
    CHECK_INT(sl_rundir_open("last", &second, &err), 0);
    CHECK_INT(sl_rundir_lock(&second, &err), SLUICE_RESOURCE);
    snprintf(pid, sizeof pid, "process %ld;", (long)getpid());
    CHECK_HAS(err.msg, pid);
    sl_close(&first.lock_fd);
    CHECK_INT(sl_rundir_lock(&second, &err), 0);
    sl_rundir_finish(&first);
    sl_rundir_finish(&second);
    drop_state_folder();
}

TEST_MAIN()

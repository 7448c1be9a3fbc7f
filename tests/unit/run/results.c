/* The store of results: put, found again, evicted by size and by age, damage noticed, two cores at
 * once. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "run/results.h"
#include "unit/test.h"

#define OUTPUT_BYTES 10000

static char root[TEST_PATH];

static json_t *recipe_of(int n) {
    return json_pack("{s:s,s:{s:i}}", "use", "test/stage", "params", "n", n);
}

/* Puts the result of recipe n, whose output is OUTPUT_BYTES long. */
static void put(int n, char key[SL_RESULT_KEY_SIZE]) {
    struct sl_err err = {0};
    sl_autojson json_t *entry =
        json_pack("{s:o,s:s,s:[{s:s,s:i,s:s}]}", "recipe", recipe_of(n), "run", "r", "outputs",
                  "port", "text", "size", OUTPUT_BYTES, "xxh3", "0123456789abcdef");
    static const char bytes[OUTPUT_BYTES];
    sl_results_key(json_object_get(entry, "recipe"), key);
    CHECK_INT(sl_result_make_place(root, key, &err), 0);
    sl_autofree char *path = sl_result_path(root, key, "text");
    CHECK_INT(sl_write_file(path, bytes, sizeof bytes, &err), 0);
    CHECK_INT(sl_result_write(root, key, entry, &err), 0);
}

/* As if it was used `age_s` ago. */
static void make_older(const char *key, int age_s) {
    sl_autofree char *path = sl_xasprintf("%s/%.2s/%s", root, key, key);
    time_t then = (time_t)sl_wall_s() - age_s;
    const struct timespec times[2] = {{.tv_sec = then}, {.tv_sec = then}};
    CHECK_INT(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool is_there(const char *key) {
    sl_autojson json_t *entry = sl_result_find(root, key);
    sl_autofree char *path = sl_result_path(root, key, "text");
    CHECK_INT(entry != NULL, sl_path_exists(path)); /* both, or neither */
    return entry;
}

TEST(what_was_put_is_found_by_its_recipe) {
    char key[SL_RESULT_KEY_SIZE], other[SL_RESULT_KEY_SIZE];
    make_test_folder(root);
    put(1, key);
    sl_autojson json_t *entry = sl_result_find(root, key), *recipe = recipe_of(1),
                       *two = recipe_of(2);
    CHECK(entry && json_equal(json_object_get(entry, "recipe"), recipe));
    sl_results_key(two, other);
    CHECK(strcmp(key, other) != 0);
    CHECK(!is_there(other));
    sl_result_set_last(root, "stage of a file", key);
    CHECK(sl_result_last(root, "stage of a file", other));
    CHECK_STR(other, key);
    CHECK(!sl_result_last(root, "another", other));
    struct stat st;
    CHECK_INT(stat(root, &st), 0);
    CHECK_INT(st.st_mode & 077, 0);
    remove_test_files(root);
}

TEST(the_least_recently_used_go_first) {
    char keys[5][SL_RESULT_KEY_SIZE];
    make_test_folder(root);
    for (int n = 0; n < 5; n++) {
        put(n, keys[n]);
        make_older(keys[n], 500 - 100 * n);
    }
    sl_result_use(root, keys[0]); /* the oldest is the youngest now */
    struct sl_result_pruned p = sl_results_prune(root, 3 * (OUTPUT_BYTES + 500), -1);
    CHECK_INT(p.n, 2);
    CHECK_INT(p.n_left, 3);
    CHECK(p.bytes_left <= 3 * (OUTPUT_BYTES + 500));
    CHECK(is_there(keys[0]) && is_there(keys[3]) && is_there(keys[4]));
    CHECK(!is_there(keys[1]) && !is_there(keys[2]));
    remove_test_files(root);
}

TEST(what_is_too_old_goes_whatever_the_size) {
    char keys[3][SL_RESULT_KEY_SIZE];
    make_test_folder(root);
    for (int n = 0; n < 3; n++) {
        put(n, keys[n]);
        make_older(keys[n], 1000 * n);
    }
    sl_result_set_last(root, "trail", keys[2]);
    CHECK_INT(sl_results_prune(root, UINT64_MAX, 1500).n, 1);
    CHECK(is_there(keys[0]) && is_there(keys[1]) && !is_there(keys[2]));
    CHECK(!sl_result_last(root, "trail", keys[2])); /* its link leads nowhere, and is gone */
    CHECK_INT(sl_results_prune(root, 0, -1).n_left, 0);
    remove_test_files(root);
}

TEST(a_damaged_entry_is_none) {
    char key[SL_RESULT_KEY_SIZE];
    make_test_folder(root);
    put(1, key);
    sl_autofree char *path = sl_xasprintf("%s/%.2s/%s", root, key, key), *text = NULL;
    size_t len;
    CHECK_INT(sl_read_file(path, 1 << 20, &text, &len, NULL), 0);
    for (size_t at = 0; at < len; at++) {
        text[at] ^= 1;
        CHECK_INT(sl_write_file(path, text, len, NULL), 0);
        sl_autojson json_t *entry = sl_result_find(root, key);
        CHECK(!entry);
        text[at] ^= 1;
    }
    for (size_t cut = 0; cut < len; cut += 7) {
        CHECK_INT(sl_write_file(path, text, cut, NULL), 0);
        sl_autojson json_t *entry = sl_result_find(root, key);
        CHECK(!entry);
    }
    CHECK_INT(sl_write_file(path, text, len, NULL), 0);
    CHECK(is_there(key));
    remove_test_files(root);
}

/* Puts, uses and prunes the same entries as others do. */
static void work_beside_others(unsigned seed) {
    char key[SL_RESULT_KEY_SIZE];
    for (int i = 0; i < 150; i++) {
        int n = rand_r(&seed) % 6;
        put(n, key);
        sl_result_set_last(root, "trail", key);
        sl_autojson json_t *entry = sl_result_find(root, key), *recipe = recipe_of(n);
        CHECK(!entry || json_equal(json_object_get(entry, "recipe"), recipe));
        if (i % 10 == 0)
            sl_results_prune(root, 3 * OUTPUT_BYTES, -1);
    }
}

TEST(two_cores_at_once) {
    pid_t cores[3];
    int status;
    make_test_folder(root);
    for (unsigned i = 0; i < 3; i++) {
        cores[i] = fork();
        if (cores[i] == 0) {
            work_beside_others(i);
            exit(0);
        }
    }
    for (int i = 0; i < 3; i++)
        CHECK(waitpid(cores[i], &status, 0) == cores[i] && status == 0);
    struct sl_result_list list = sl_results_list(root);
    for (int i = 0; i < list.n; i++) {
        sl_autojson json_t *entry = sl_result_find(root, list.items[i].key);
        CHECK(entry); /* whole, although another may have removed its output */
    }
    sl_result_list_finish(&list);
    CHECK_INT(sl_results_prune(root, 0, -1).n_left, 0);
    remove_test_files(root);
}

TEST_MAIN()

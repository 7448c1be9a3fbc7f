/* Long journals: what is read over does not change what is learned, and the time is linear. */
#include "run/replay.h"

#include <time.h>

#include "base/io.h"
#include "base/mem.h"
#include "unit/run/made_journal.h"
#include "unit/test.h"

/* Writes it into a folder of its own; returns the folder. */
static const char *write_journal(int n_items, int n_stages, char **ret_text) {
    static char folder[TEST_PATH];
    struct sl_journal j = {.fd = -1};
    struct sl_err err;
    make_test_folder(folder);
    sl_autofree char *path = sl_path_join(folder, "journal");
    made_journal(&j, n_items, n_stages);
    CHECK_INT(sl_write_file(path, j.pending.data, j.pending.len, &err), 0);
    *ret_text = j.pending.data;
    return folder;
}

TEST(the_file_says_what_its_bytes_say) {
    sl_autofree char *text = NULL;
    const char *folder = write_journal(20, 3, &text);
    struct sl_replay read, built;
    struct sl_err err;
    CHECK_INT(sl_replay_read(folder, &read, &err), 0);
    CHECK_INT(sl_replay_build(text, strlen(text), &built, &err), 0);
    remove_test_files(folder);
    CHECK_INT(read.n_items, 20);
    CHECK_INT(sl_replay_open_items(&read), 1);
    CHECK_INT(read.last_worker, 60);
    CHECK_INT(read.last_worker, built.last_worker);
    CHECK_INT(read.good, built.good);
    CHECK(memcmp(read.items, built.items, 20) == 0);
    for (int s = 0; s < 3; s++) {
        const struct sl_replay_task *a = sl_replay_task(&read, 19, s),
                                    *b = sl_replay_task(&built, 19, s);
        CHECK_INT(a->state, SL_REPLAY_DONE);
        CHECK_INT(a->attempts, b->attempts);
        CHECK(json_equal(a->artifacts, b->artifacts));
    }
    sl_replay_finish(&read);
    sl_replay_finish(&built);
}

/* Seconds of processor time, the best of three. */
static double seconds(int n_items) {
    sl_autofree char *text = NULL;
    const char *folder = write_journal(n_items, 4, &text);
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        struct sl_replay r;
        clock_t began = clock();
        CHECK_INT(sl_replay_read(folder, &r, NULL), 0);
        double took = (double)(clock() - began) / CLOCKS_PER_SEC;
        best = took < best ? took : best;
        sl_replay_finish(&r);
    }
    remove_test_files(folder);
    return best;
}

TEST(the_time_is_linear) {
    double small = seconds(500), large = seconds(5000);
    printf("    replayed: 500 items of 4 stages in %.1f ms, 5000 in %.1f ms\n", small * 1e3,
           large * 1e3);
    CHECK(large < 20 * small + 0.1);
}

TEST_MAIN()

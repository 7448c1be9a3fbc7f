/* A watched folder: more files than the kernel's queue of events holds, and files that are looked
 * at twice. */
#include "sched/inbox.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "unit/test.h"

#define BURST 9000 /* three events each; the queue holds 16384 where nobody changed it */

struct told {
    int n, n_lost, batches;
    char greatest[64]; /* name; several batches need not come in order */
};

static void on_settled(void *ctx, const char *const *paths, int n) {
    struct told *told = ctx;
    for (int i = 1; i < n; i++)
        CHECK(strcmp(paths[i - 1], paths[i]) < 0);
    told->n += n;
    told->batches++;
    const char *last = sl_path_base(paths[n - 1]);
    if (strcmp(last, told->greatest) > 0)
        snprintf(told->greatest, sizeof told->greatest, "%s", last);
}

static void on_lost(void *ctx, const char *why) {
    struct told *told = ctx;
    CHECK(*why);
    told->n_lost++;
}

struct box {
    char folder[TEST_PATH];
    struct sl_loop *loop;
    struct sl_inbox *inbox;
    struct told told;
    struct sl_log log;
};

static void open_box(struct box *b) {
    struct sl_err err;
    *b = (struct box){.log = {.fd = -1}};
    make_test_folder(b->folder);
    CHECK_INT(sl_loop_create(&b->loop, &err), 0);
    struct sl_inbox_spec spec = {.folder = b->folder,
                                 .type = SLUICE_TYPE_FILE,
                                 .loop = b->loop,
                                 .log = &b->log,
                                 .settled = on_settled,
                                 .lost = on_lost,
                                 .ctx = &b->told};
    CHECK_INT(sl_inbox_create(&spec, &b->inbox, &err), 0);
}

static void close_box(struct box *b) {
    sl_inbox_destroy(b->inbox);
    sl_loop_destroy(b->loop);
    sl_remove_tree(b->folder, NULL);
}

static void put(const struct box *b, const char *name) {
    sl_autofree char *path = sl_path_join(b->folder, name);
    sl_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK_INT(write(fd, "x", 1), 1);
}

/* Turns the loop until `n` files were told, or the time is over. */
static void turn(struct box *b, int n, double seconds) {
    int64_t end = sl_now_ms() + (int64_t)(1000 * seconds);
    while (b->told.n < n && sl_now_ms() < end)
        CHECK(sl_loop_turn(b->loop, 50, NULL) >= 0);
}

TEST(a_burst_beyond_the_queue_is_found) {
    struct box b;
    open_box(&b);
    for (int i = 0; i < BURST; i++) {
        char name[32];
        snprintf(name, sizeof name, "c%05d.wav", i);
        put(&b, name);
    }
    turn(&b, BURST, 40);
    CHECK_INT(b.told.n, BURST);
    CHECK_STR(b.told.greatest, "c08999.wav");
    turn(&b, BURST + 1, 0.5);
    CHECK_INT(b.told.n, BURST);
    close_box(&b);
}

TEST(each_name_is_told_once) {
    struct box b;
    open_box(&b);
    put(&b, "a.wav");
    put(&b, "a.txt");
    put(&b, ".b.wav");
    turn(&b, 1, 20);
    put(&b, "a.wav");
    sl_inbox_event(b.inbox, IN_CLOSE_WRITE, "a.wav");
    sl_inbox_event(b.inbox, IN_CLOSE_WRITE, "never-there.wav");
    sl_inbox_event(b.inbox, IN_Q_OVERFLOW, "");
    put(&b, "z.wav");
    turn(&b, 2, 20);
    turn(&b, 3, 1);
    CHECK_INT(b.told.n, 2);
    CHECK_STR(b.told.greatest, "z.wav");
    close_box(&b);
}

TEST(its_end) {
    struct box b;
    open_box(&b);
    sl_inbox_event(b.inbox, IN_MOVE_SELF, "");
    CHECK(!sl_inbox_is_open(b.inbox));
    sl_inbox_event(b.inbox, IN_DELETE_SELF, "");
    CHECK_INT(b.told.n_lost, 1);
    close_box(&b);
}

TEST_MAIN()

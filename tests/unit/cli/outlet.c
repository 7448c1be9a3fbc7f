/* Outlets: nothing that a reader does, or does not do, makes the writer wait. */
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <termios.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/outlet.h"
#include "unit/test.h"

/* Numbered lines of 100 bytes. */
static bool put_line(struct sl_outlet *o, int i) {
    char line[101];
    snprintf(line, sizeof line, "%099d\n", i);
    return sl_outlet_put(o, line, 100);
}

static void put_lines(struct sl_outlet *o, int n) {
    int64_t began = sl_now_ms();
    for (int i = 0; i < n; i++)
        put_line(o, i);
    CHECK(sl_now_ms() - began < 2000);
}

/* A process that reads `fd` to its end, but only from go_reader() on. */
struct reader {
    pid_t pid;
    int go;
};

/* It exits with 0 where exactly `n` numbered lines came (-1: it does not look). Before the outlet
 * is made, so that it does not hold the outlet's descriptor. */
static struct reader make_reader(int fd, int other, int n) {
    int ends[2], i = 0;
    char line[200] = "";
    CHECK_INT(pipe(ends), 0);
    pid_t pid = fork();
    if (pid) {
        close(ends[0]);
        close(fd);
        return (struct reader){pid, ends[1]};
    }
    close(other);
    FILE *f = fdopen(fd, "r");
    if (read(ends[0], line, 1) == 1)
        while (fgets(line, sizeof line, f) && (n < 0 || (atoi(line) == i && strlen(line) == 100)))
            i++;
    _exit(n < 0 || (i == n && feof(f)) ? 0 : 1);
}

static void go_reader(struct reader r) {
    CHECK_INT(write(r.go, "x", 1), 1);
}

static void check_reader(struct reader r) {
    int status;
    CHECK_INT(waitpid(r.pid, &status, 0), r.pid);
    CHECK_INT(status, 0);
}

static void check_all_arrives(int read_fd, int write_fd) {
    signal(SIGPIPE, SIG_IGN);
    int flags = fcntl(write_fd, F_GETFL);
    struct reader reader = make_reader(read_fd, write_fd, 20000);
    struct sl_outlet *o = sl_outlet_create(write_fd, SL_OUTLET_EXACT, 20, NULL);
    put_lines(o, 20000);
    CHECK(sl_outlet_is_behind(o));
    CHECK(sl_outlet_is_full(o));
    CHECK_INT(fcntl(write_fd, F_GETFL), flags);
    go_reader(reader);
    CHECK_INT(sl_outlet_finish(o), 0);
    close(write_fd);
    check_reader(reader);
}

TEST(pipe_whose_reader_waits) {
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    check_all_arrives(ends[0], ends[1]);
}

TEST(socket_whose_reader_waits) {
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    check_all_arrives(ends[0], ends[1]);
}

TEST(pipe_that_cannot_be_reopened) {
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    if (geteuid() != 0)
        SKIP("needs to be root, to become somebody else");
    CHECK_INT(setuid(65534), 0);
    CHECK(open("/proc/self/fd/1", O_WRONLY) < 0);
    check_all_arrives(ends[0], ends[1]);
}

TEST(file) {
    char path[TEST_PATH];
    struct sl_err err;
    sl_autofree char *text = NULL;
    size_t len;
    int fd = make_test_file(path);
    CHECK_INT(write(fd, "before\n", 7), 7);
    struct sl_outlet *o = sl_outlet_create(fd, SL_OUTLET_EXACT, 20, NULL);
    put_lines(o, 1000);
    CHECK(!sl_outlet_is_behind(o));
    CHECK_INT(sl_outlet_finish(o), 0);
    CHECK_INT(sl_read_file(path, 1 << 20, &text, &len, &err), 0);
    CHECK_INT(len, 7 + 100000);
    CHECK(sl_starts_with(text, "before\n0000"));
    unlink(path);
}

TEST(reader_that_never_reads_is_given_up) {
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    struct sl_outlet *o = sl_outlet_create(ends[1], SL_OUTLET_EXACT, 0.3, NULL);
    put_lines(o, 10000);
    int64_t began = sl_now_ms();
    int n_lost = sl_outlet_finish(o);
    CHECK(sl_now_ms() - began >= 200 && sl_now_ms() - began < 5000);
    CHECK(n_lost > 9000 && n_lost < 10000);
}

TEST(reader_that_was_idle_for_long_may_begin_at_the_end) {
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    struct reader reader = make_reader(ends[0], ends[1], 10000);
    struct sl_outlet *o = sl_outlet_create(ends[1], SL_OUTLET_EXACT, 2, NULL);
    put_lines(o, 10000);
    usleep(2200000);
    go_reader(reader);
    CHECK_INT(sl_outlet_finish(o), 0);
    close(ends[1]);
    check_reader(reader);
}

TEST(reader_that_is_gone) {
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    for (int before = 0; before < 2; before++) {
        CHECK_INT(pipe(ends), 0);
        if (before)
            close(ends[0]);
        struct sl_outlet *o = sl_outlet_create(ends[1], SL_OUTLET_EXACT, 20, NULL);
        put_lines(o, 10000);
        CHECK_INT(sl_outlet_is_behind(o), !before);
        if (!before)
            close(ends[0]);
        CHECK_INT(sl_outlet_finish(o), 0);
        close(ends[1]);
    }
}

/* Goes away at some moment while the rest is written, also between two writes. */
TEST(reader_that_goes_away_in_the_middle) {
    signal(SIGPIPE, SIG_IGN);
    for (int round = 0; round < 200; round++) {
        int ends[2];
        char chunk[4096];
        CHECK_INT(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(ends[1]);
            for (int i = 0; i < round; i++)
                (void)!read(ends[0], chunk, sizeof chunk);
            _exit(0);
        }
        close(ends[0]);
        struct sl_outlet *o = sl_outlet_create(ends[1], SL_OUTLET_EXACT, 20, NULL);
        put_lines(o, 10000);
        CHECK_INT(sl_outlet_finish(o), 0);
        close(ends[1]);
        CHECK_INT(waitpid(pid, NULL, 0), pid);
    }
}

TEST(no_more_than_a_bound_is_kept) {
    int out[2], complaints[2];
    char text[512] = "";
    CHECK_INT(pipe(out) | pipe(complaints), 0);
    struct sl_outlet *to = sl_outlet_create(complaints[1], SL_OUTLET_LOSSY, 1, NULL);
    struct sl_outlet *o = sl_outlet_create(out[1], SL_OUTLET_EXACT, 20, to);
    int i = 0;
    while (i < 1000000 && put_line(o, i))
        i++;
    CHECK(i > (int)SL_OUTLET_MOST / 100 && i < (int)SL_OUTLET_MOST / 100 + 2000);
    CHECK(!sl_outlet_is_behind(o));
    CHECK(sl_outlet_finish(o) > i - 2000);
    CHECK_INT(sl_outlet_finish(to), 0);
    CHECK(read(complaints[0], text, sizeof text - 1) > 0);
    CHECK_HAS(text, "sluice: standard output: it is read too slowly; nothing more");
}

TEST(lossy_one_leaves_lines_out_and_goes_on) {
    int ends[2], i = 0;
    char chunk[65536];
    CHECK_INT(pipe(ends), 0);
    struct sl_outlet *o = sl_outlet_create(ends[1], SL_OUTLET_LOSSY, 0.2, NULL);
    while (i < 100000 && put_line(o, i))
        i++;
    CHECK(i > (int)SL_OUTLET_FULL / 100 && i < (int)SL_OUTLET_FULL / 100 + 2000);
    CHECK(!put_line(o, i));
    struct sl_loop *loop;
    struct sl_err err;
    CHECK_INT(sl_loop_create(&loop, &err), 0);
    sl_outlet_attach(o, loop, NULL);
    while (sl_outlet_is_behind(o)) { /* the loop writes when there is room */
        CHECK(read(ends[0], chunk, sizeof chunk) > 0);
        CHECK_INT(sl_loop_turn(loop, 1000, &err), 1);
    }
    CHECK_INT(sl_loop_turn(loop, 0, &err), 0);
    CHECK(put_line(o, i));
    sl_outlet_attach(o, NULL, NULL);
    CHECK_INT(sl_outlet_finish(o), 2);
    sl_loop_destroy(loop);
}

TEST(full_one_in_a_loop_is_given_up_when_nothing_is_read) {
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    struct sl_loop *loop;
    struct sl_err err;
    CHECK_INT(sl_loop_create(&loop, &err), 0);
    struct sl_outlet *o = sl_outlet_create(ends[1], SL_OUTLET_EXACT, 0.3, NULL);
    sl_outlet_attach(o, loop, NULL);
    put_lines(o, 5000); /* not full: it may take its time */
    CHECK_INT(sl_loop_turn(loop, 600, &err), 0);
    CHECK(sl_outlet_is_behind(o));
    put_lines(o, 10000);
    CHECK(sl_outlet_is_full(o));
    for (int64_t began = sl_now_ms(); sl_outlet_is_behind(o);) {
        CHECK(sl_now_ms() - began < 5000);
        CHECK_INT(sl_loop_turn(loop, 1000, &err), 0);
    }
    CHECK(!put_line(o, 0));
    sl_outlet_attach(o, NULL, NULL);
    CHECK(sl_outlet_finish(o) > 10000);
    sl_loop_destroy(loop);
}

TEST(stopped_terminal) {
    int master, slave;
    if (openpty(&master, &slave, NULL, NULL, NULL) < 0)
        SKIP("no terminals here");
    CHECK_INT(tcflow(slave, TCOOFF), 0);
    int flags = fcntl(slave, F_GETFL);
    struct reader reader = make_reader(master, slave, -1);
    struct sl_outlet *o = sl_outlet_create(slave, SL_OUTLET_LOSSY, 0.5, NULL);
    put_lines(o, 20000);
    CHECK(sl_outlet_is_full(o));
    CHECK_INT(fcntl(slave, F_GETFL), flags);
    CHECK_INT(tcflow(slave, TCOON), 0);
    go_reader(reader);
    CHECK(sl_outlet_finish(o) > 0); /* those that were left out */
    close(slave);
    check_reader(reader);
}

TEST_MAIN()

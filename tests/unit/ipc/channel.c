/* The channel: frames with descriptors, a peer that does not read, a peer that is gone, and packets
 * that are no frames. */
#include "unit/test.h"

#include <fcntl.h>
#include <dirent.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "ipc/channel.h"

static struct sl_frame_out out;
static struct sl_frame in;
static unsigned char buf[SL_FRAME_MAX_SIZE];
static int core_fd, worker_fd, fds[SL_FRAME_MAX_FDS], n_fds;
static struct sl_err err;

static void open_pair(void) {
    CHECK_INT(sl_channel_pair(&core_fd, &worker_fd, &err), 0);
}

static void make_metric(const char *name) {
    sl_frame_init(&out, SL_FRAME_METRIC, 1);
    sl_frame_add_text(&out, name);
    sl_frame_add_f64(&out, 1);
    CHECK_INT(sl_frame_finish(&out, &err), 0);
}

static int count_open(void) {
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

TEST(frames_arrive_whole_and_in_order) {
    char text[16];
    open_pair();
    make_metric("one");
    CHECK_INT(sl_channel_send(worker_fd, &out, NULL, 0, &err), 0);
    make_metric("two");
    CHECK_INT(sl_channel_send(worker_fd, &out, NULL, 0, &err), 0);
    CHECK_INT(sl_channel_recv(core_fd, buf, &in, fds, &n_fds, &err), 1);
    CHECK_STR(sl_frame_text(&in, 0, text, sizeof text), "one");
    CHECK_INT(sl_channel_recv(core_fd, buf, &in, fds, &n_fds, &err), 1);
    CHECK_STR(sl_frame_text(&in, 0, text, sizeof text), "two");
    CHECK_INT(sl_channel_recv(core_fd, buf, &in, fds, &n_fds, &err), 0);
}

TEST(descriptors_ride_along_and_close_on_exec) {
    int pipe_ends[2], many[SL_FRAME_MAX_FDS + 1];
    char byte = 0;
    open_pair();
    CHECK_INT(pipe(pipe_ends), 0);
    for (int i = 0; i <= SL_FRAME_MAX_FDS; i++)
        many[i] = pipe_ends[1];
    make_metric("x");
    CHECK_INT(sl_channel_send(core_fd, &out, many, SL_FRAME_MAX_FDS, &err), 0);
    CHECK_INT(sl_channel_recv(worker_fd, buf, &in, fds, &n_fds, &err), 1);
    CHECK_INT(n_fds, SL_FRAME_MAX_FDS);
    CHECK(fcntl(fds[n_fds - 1], F_GETFD) & FD_CLOEXEC);
    CHECK_INT(write(fds[0], "y", 1), 1);
    CHECK_INT(read(pipe_ends[0], &byte, 1), 1);
    CHECK_INT(sl_channel_send(core_fd, &out, many, SL_FRAME_MAX_FDS + 1, &err), SLUICE_RESOURCE);
}

TEST(a_peer_that_does_not_read_is_transient) {
    open_pair();
    make_metric("x");
    int rc = 0, sent = 0;
    while ((rc = sl_channel_send(core_fd, &out, NULL, 0, &err)) == 0 && sent < 100000)
        sent++;
    CHECK_INT(rc, SLUICE_TRANSIENT);
    CHECK(sent > 10);
}

TEST(a_peer_that_is_gone_is_a_crash) {
    open_pair();
    make_metric("x");
    close(worker_fd);
    CHECK_INT(sl_channel_recv(core_fd, buf, &in, fds, &n_fds, &err), SL_CRASH);
    CHECK_INT(sl_channel_send(core_fd, &out, NULL, 0, &err), SL_CRASH);
}

/* The worker dies with an unread frame in its queue: what it sent before must still be read. */
TEST(the_last_words_of_a_peer_are_read) {
    open_pair();
    make_metric("x");
    CHECK_INT(sl_channel_send(core_fd, &out, NULL, 0, &err), 0);
    CHECK_INT(sl_channel_send(worker_fd, &out, NULL, 0, &err), 0);
    close(worker_fd);
    CHECK_INT(sl_channel_recv(core_fd, buf, &in, fds, &n_fds, &err), 1);
    CHECK_INT(sl_channel_recv(core_fd, buf, &in, fds, &n_fds, &err), SL_CRASH);
}

/* Sends raw bytes with one descriptor. */
static void send_raw(const void *data, size_t len) {
    struct iovec iov = {(void *)data, len};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } space = {{0}};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = space.bytes,
                         .msg_controllen = sizeof space.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &(int){1}, sizeof(int));
    CHECK_INT(sendmsg(worker_fd, &msg, 0), (int64_t)len);
}

TEST(descriptors_of_what_is_no_frame_are_closed) {
    static char large[SL_FRAME_MAX_SIZE + 1];
    open_pair();
    int before = count_open();
    send_raw("garbage", 7);
    CHECK_INT(sl_channel_recv(core_fd, buf, &in, fds, &n_fds, &err), SLUICE_INTERNAL);
    send_raw(large, sizeof large);
    CHECK_INT(sl_channel_recv(core_fd, buf, &in, fds, &n_fds, &err), SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "longer than 65536 bytes");
    CHECK_INT(n_fds, 0);
    CHECK_INT(count_open(), before);
}

TEST(a_full_table_of_descriptors_is_an_error) {
    int many[20];
    open_pair();
    for (int i = 0; i < 20; i++)
        many[i] = 1;
    make_metric("x");
    CHECK_INT(sl_channel_send(core_fd, &out, many, 20, &err), 0);
    struct rlimit limit = {(rlim_t)worker_fd + 5, 1024};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_INT(sl_channel_recv(worker_fd, buf, &in, fds, &n_fds, &err), SLUICE_INTERNAL);
    CHECK_HAS(err.msg, "ulimit -n");
    CHECK_INT(n_fds, 0);
}

TEST_MAIN()

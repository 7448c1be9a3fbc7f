/*
 * Channel: frames and descriptors over a SOCK_SEQPACKET pair, see channel.h.
 *
 * A packet is a frame, so there is no partial read and no buffering here. Descriptors that arrive
 * with something that is not a frame are closed before the error is returned: a confused or hostile
 * peer cannot fill the table.
 */
#include "ipc/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int sl_channel_pair(int *ret_core_fd, int *ret_worker_fd, struct sl_err *err) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "no socket pair for a worker");
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0) {
        int cls = sl_err_sys(err, SLUICE_INTERNAL, errno,
                             "the socket of a worker cannot be made non-blocking");
        close(fds[0]);
        close(fds[1]);
        return cls;
    }
    *ret_core_fd = fds[0];
    *ret_worker_fd = fds[1];
    return 0;
}

/* Room for the descriptors of one frame, aligned for the kernel's header. */
union fd_space {
    char bytes[CMSG_SPACE(SL_FRAME_MAX_FDS * sizeof(int))];
    struct cmsghdr align;
};

static int send_error(int code, struct sl_err *err) {
    if (code == EAGAIN || code == ENOBUFS)
        return sl_err_set(err, SLUICE_TRANSIENT, "the other side does not read its messages");
    if (code == EPIPE || code == ECONNRESET || code == ENOTCONN)
        return sl_err_set(err, SL_CRASH, "the other side is gone");
    return sl_err_sys(err, sl_err_class_of_errno(code), code, "a message could not be sent");
}

int sl_channel_send(int fd, const struct sl_frame_out *frame, const int *fds, int n_fds,
                    struct sl_err *err) {
    if (n_fds > SL_FRAME_MAX_FDS)
        return sl_err_set(err, SLUICE_RESOURCE, "a message with %d descriptors; at most %d fit",
                          n_fds, SL_FRAME_MAX_FDS);
    struct iovec iov = {(void *)frame->data, frame->size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    union fd_space space;
    if (n_fds > 0) {
        memset(&space, 0, sizeof space);
        msg.msg_control = space.bytes;
        msg.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)n_fds * sizeof(int));
    }
    while (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return send_error(errno, err);
    return 0;
}

static int take_fds(struct msghdr *msg, int *ret_fds) {
    int n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        int more = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(ret_fds + n, CMSG_DATA(c), (size_t)more * sizeof(int));
        n += more;
    }
    return n;
}

static int drop_fds(const int *fds, int *n_fds, int cls) {
    for (int i = 0; i < *n_fds; i++)
        close(fds[i]);
    *n_fds = 0;
    return cls;
}

/* ECONNRESET says once, before what is still queued, that the peer closed without reading
 * everything: go on reading. */
static ssize_t receive(int fd, struct msghdr *msg) {
    for (int resets = 0;;) {
        ssize_t n = recvmsg(fd, msg, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == ECONNRESET && resets++ == 0)
            continue;
        if (n >= 0 || errno != EINTR)
            return n;
    }
}

int sl_channel_recv(int fd, void *buf, struct sl_frame *ret_frame, int *ret_fds, int *ret_n_fds,
                    struct sl_err *err) {
    struct iovec iov = {buf, SL_FRAME_MAX_SIZE};
    union fd_space space;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = space.bytes,
                         .msg_controllen = sizeof space.bytes};
    *ret_n_fds = 0;
    ssize_t n = receive(fd, &msg);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return sl_err_set(err, SL_CRASH, "the other side is gone");
    if (n < 0)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "a message could not be received");
    *ret_n_fds = take_fds(&msg, ret_fds);
    if (msg.msg_flags & MSG_TRUNC)
        return drop_fds(ret_fds, ret_n_fds,
                        sl_err_set(err, SLUICE_INTERNAL, "a message is longer than %u bytes",
                                   SL_FRAME_MAX_SIZE));
    if (msg.msg_flags & MSG_CTRUNC)
        return drop_fds(ret_fds, ret_n_fds,
                        sl_err_set(err, SLUICE_INTERNAL,
                                   "a message arrived cut off (is the limit of open files "
                                   "reached? `ulimit -n` shows it)"));
    int rc = sl_frame_decode(buf, (size_t)n, ret_frame, err);
    return rc < 0 ? drop_fds(ret_fds, ret_n_fds, rc) : 1;
}

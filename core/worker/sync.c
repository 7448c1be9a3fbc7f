/*
 * Batches of small files come first: the core waits for their answer before it sends the next, and
 * a power cut costs what no answer came for. Large files are written between batches, a piece at a
 * time, in the order in which they were named. It ends with the core, without finishing anything.
 */
#include "worker/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/mem.h"

#define PROCESS_NAME "sluice-sync"
#define N_THREADS    8 /* they only wait */

struct large {
    char *name; /* owned */
    uint64_t at;
};

struct syncer {
    int socket, folder;
    struct sl_durable_answer answer;
    struct large *large;
    int n_large, cap_large;
};

static void add_large(void *ctx, const char *name) {
    struct syncer *s = ctx;
    SL_PUSH_ROOM(s->large, s->n_large, s->cap_large);
    s->large[s->n_large++] = (struct large){.name = sl_xstrdup(name)};
}

static bool answer(struct syncer *s, int rc, const struct sl_err *err) {
    if (rc < 0)
        memcpy(s->answer.error, err->msg, sizeof s->answer.error);
    s->answer.n_large = (uint32_t)s->n_large;
    return send(s->socket, &s->answer, sizeof s->answer, MSG_NOSIGNAL) == sizeof s->answer;
}

/* The piece that is next; false: the core is gone. */
static bool write_piece(struct syncer *s) {
    struct sl_err err = {0};
    int rc = sl_durable_sync_piece(s->folder, s->large[0].name, &s->large[0].at, &err);
    if (rc == 0)
        return true;
    free(s->large[0].name);
    memmove(&s->large[0], &s->large[1], (size_t)--s->n_large * sizeof *s->large);
    return answer(s, rc, &err);
}

/* A message: open files and text. */
struct message {
    int fds[SL_DURABLE_MAX_FDS]; /* owned */
    int n_fds;
    size_t len;
    char text[SL_DURABLE_MAX_BYTES + 1]; /* ended by a NUL */
};

static bool remove_batch(struct syncer *s, const struct message *m) {
    sl_durable_remove(s->folder, m->text + 1, m->len - 1, N_THREADS);
    s->answer.n_batches++;
    s->answer.failed = 0;
    return answer(s, 0, NULL);
}

static bool sync_batch(struct syncer *s, const struct message *m) {
    struct sl_err err = {0}, why = {0};
    const struct sl_durable_batch batch = {.fds = m->fds,
                                           .n_fds = m->n_fds,
                                           .folder = s->folder,
                                           .names = m->text + 1,
                                           .len = m->len - 1,
                                           .n_threads = N_THREADS,
                                           .most = SL_DURABLE_PIECE,
                                           .each_large = add_large,
                                           .ctx = s};
    int rc = sl_durable_sync(&batch, &s->answer.failed, &why, &err);
    memcpy(s->answer.why, why.msg, sizeof s->answer.why);
    for (int i = 0; i < m->n_fds; i++)
        close(m->fds[i]);
    s->answer.n_batches++;
    return answer(s, rc, &err);
}

static void take_fds(struct msghdr *msg, struct message *m) {
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    m->n_fds = 0;
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return;
    m->n_fds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof *m->fds);
    memcpy(m->fds, CMSG_DATA(c), (size_t)m->n_fds * sizeof *m->fds);
}

/* 1: a message; 0: none is there, and there is something else to do; -1: the core is gone. */
static int receive(struct syncer *s, struct message *m) {
    struct pollfd p = {s->socket, POLLIN, 0};
    union {
        char bytes[CMSG_SPACE(SL_DURABLE_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } space;
    struct iovec iov = {m->text, sizeof m->text - 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = space.bytes,
                         .msg_controllen = sizeof space.bytes};
    if (poll(&p, 1, s->n_large ? 0 : -1) <= 0)
        return 0;
    ssize_t n = recvmsg(s->socket, &msg, MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return n < 0 && errno == EINTR ? 0 : -1;
    take_fds(&msg, m);
    m->len = (size_t)n;
    m->text[n] = 0;
    return 1;
}

static void serve(struct syncer *s, struct message *m) {
    for (;;) {
        int rc = receive(s, m);
        bool removes = rc > 0 && *m->text == SL_DURABLE_REMOVE;
        if (rc < 0 || (rc > 0 && !(removes ? remove_batch : sync_batch)(s, m)))
            return;
        if (s->n_large > 0 && !write_piece(s))
            return;
    }
}

int sl_sync_serve(int socket) {
    struct syncer s = {.socket = socket, .folder = -1};
    sl_autofree struct message *m = sl_xcalloc(1, sizeof *m);
    prctl(PR_SET_NAME, PROCESS_NAME);
    int rc;
    do
        rc = receive(&s, m);
    while (rc == 0);
    if (rc > 0)
        s.folder = open(m->text, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (s.folder >= 0)
        serve(&s, m);
    for (int i = 0; i < s.n_large; i++)
        free(s.large[i].name);
    free(s.large);
    sl_close(&s.folder);
    return 0;
}

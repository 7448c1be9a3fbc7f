/*
 * What a power cut may cost: records and artifacts are on the disk within moments of being made,
 * and the loop never waits for that. A process of its own, `sluice-sync`, gets batches of names:
 *
 *     files of the user's that are about to get their names, artifacts whose records were written
 *     since the last batch, the folders that got new names, and last the journal
 *
 * It also removes the artifacts of items that are ok, as to free blocks can mean to wait for the
 * disk as well.
 *
 * One batch is under way at a time; the next has what came meanwhile, so a slow disk gets larger
 * batches, not a longer queue. Artifacts of items that are ok are left out: nobody needs them any
 * more.
 *
 * A record may come to the disk before its artifact does. Whoever goes on looks at every artifact
 * that is still needed (resume.c), so that costs what the lost record would have cost.
 *
 * The process is started with the first batch of a run that goes on. Where it cannot be started, or
 * was lost, the core syncs by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/io.h"
#include "ipc/channel.h"
#include "proc/spawn.h"
#include "sched/run_internal.h"

/* Each may bring the folder of its item along; the rest is for folders above, and the journal. */
#define MAX_OUTPUTS    (SL_DURABLE_MAX_NAMES / 2 - 8)
#define MAX_NAME_BYTES 2048
#define MAX_PASSED     10 /* batches that go before one of names to be removed */

struct output_of {
    int item, stage, port;
};

struct sl_durable {
    int folder;              /* of the run */
    struct output_of *fresh; /* artifacts in the journal that were in no batch yet */
    int n_fresh, cap_fresh;
    bool *known;        /* for each item: the name of its folder was in a batch */
    uint32_t n_batches; /* sent */
    bool busy;          /* the last one is under way */
    uint32_t n_large;   /* files that the process still writes */
    bool alone;         /* there is no process, and there will be none */
    bool news;          /* the core itself has synced: those who waited for it do not know yet */
    pid_t pid;          /* -1: none */
    int pidfd;
    struct sl_watch watch; /* its socket, owned */
    /* open: in no batch yet, and before them those of the batch that is under way */
    struct sl_sync_ask **asks;
    int n_asks, cap_asks, n_sent;
    char why[SL_ERR_SIZE];
    struct sl_str remove; /* names of what is to be removed, each ended by a NUL */
    size_t removed;       /* bytes of these that were in a batch */
    int n_passed;         /* batches since these last had their turn */
    struct sl_err error;  /* of what could not be brought to the disk; cls 0: nothing */
};

/* ---- Open files ------------------------------------------------------------------------------ */

static int place_of(const int *fds, int n, int fd) {
    int i = 0;
    while (i < n && fds[i] != fd)
        i++;
    return i;
}

/* The descriptors of the first asks, each once; as many as fit. Sets n_sent. */
static int take_fds(struct sl_durable *d, int fds[SL_DURABLE_MAX_FDS]) {
    int n = 0;
    for (d->n_sent = 0; d->n_sent < d->n_asks; d->n_sent++) {
        int i = place_of(fds, n, d->asks[d->n_sent]->fd);
        if (i == SL_DURABLE_MAX_FDS)
            break;
        fds[i] = d->asks[d->n_sent]->fd;
        n += i == n;
    }
    return n;
}

/* Of the batch that is done; `failed` has a bit for each descriptor, in the order of take_fds(). */
static void settle_asks(struct sl_durable *d, uint64_t failed) {
    int fds[SL_DURABLE_MAX_FDS], n = 0, n_sent = d->n_sent;
    for (int k = 0; k < n_sent; k++) {
        int i = place_of(fds, n, d->asks[k]->fd);
        fds[i] = d->asks[k]->fd;
        n += i == n;
        d->asks[k]->state = failed >> i & 1 ? SL_ASK_FAILED : SL_ASK_DONE;
    }
    d->n_asks -= n_sent;
    d->n_sent = 0;
    if (d->n_asks > 0) /* else there may be no list */
        memmove(d->asks, d->asks + n_sent, (size_t)d->n_asks * sizeof *d->asks);
}

/* ---- The process ----------------------------------------------------------------------------- */

static void end_process(struct run *run) {
    struct sl_durable *d = run->durable;
    int socket = d->watch.fd;
    if (d->pid < 0)
        return;
    sl_watch_stop(run->loop, &d->watch);
    sl_close(&socket);
    syscall(SYS_pidfd_send_signal, d->pidfd, SIGKILL, NULL, 0);
    while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    sl_close(&d->pidfd);
    d->pid = -1;
}

/* What was under way may not be on the disk: all of its file system is brought there, once. */
static void lose_process(struct run *run, const char *why) {
    struct sl_durable *d = run->durable;
    sl_log(&run->log, SLUICE_LOG_WARN,
           "the process that brings files to the disk is lost (%s); the core does it from here on",
           why);
    end_process(run);
    d->alone = true;
    d->busy = false;
    d->n_sent = 0;
    d->n_large = 0;
    if (syncfs(run->journal.fd) == 0)
        run->n_done_safe = run->n_done_sent;
    else if (d->error.cls == 0)
        sl_err_sys(&d->error, sl_err_class_of_errno(errno), errno,
                   "%s: its file system cannot be brought to the disk", run->dir->path);
}

static void note_answer(struct run *run, const struct sl_durable_answer *answer) {
    struct sl_durable *d = run->durable;
    d->n_large = answer->n_large;
    if (*answer->error && d->error.cls == 0)
        sl_err_set(&d->error, SLUICE_TRANSIENT, "%s: %s", run->dir->path, answer->error);
    if (!d->busy || answer->n_batches != d->n_batches)
        return;
    d->busy = false;
    memcpy(d->why, answer->why, sizeof d->why);
    settle_asks(d, answer->failed);
    run->n_done_safe = run->n_done_sent;
}

static void on_answer(struct sl_watch *w) {
    struct run *run = w->ctx;
    struct sl_durable_answer answer;
    ssize_t n = recv(w->fd, &answer, sizeof answer, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != sizeof answer) {
        lose_process(run, n == 0 ? "it ended" : "its answer is none");
        return;
    }
    answer.error[sizeof answer.error - 1] = answer.why[sizeof answer.why - 1] = 0;
    note_answer(run, &answer);
}

static int spawn(struct run *run, int *ret_socket, struct sl_err *err) {
    struct sl_durable *d = run->durable;
    const char *program = run->spec->worker_program;
    const char *const argv[] = {program, "--sync", "3", NULL};
    sl_autoclose int ours = -1, theirs = -1, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int rc = sl_channel_pair(&ours, &theirs, err);
    if (rc < 0)
        return rc;
    struct sl_spawn spawn = {.program = program,
                             .argv = argv,
                             .log_fd = null,
                             .channel_fd = theirs,
                             .stdin_fd = -1,
                             .containment = SL_CONTAIN_KEEPER}; /* no init of ours */
    rc = sl_spawn_start(&spawn, &d->pid, &d->pidfd, err);
    if (rc == 0)
        *ret_socket = sl_steal_fd(&ours);
    return rc;
}

static void start_process(struct run *run) {
    struct sl_durable *d = run->durable;
    struct sl_err err = {0};
    d->watch = (struct sl_watch){.fd = -1, .ready = on_answer, .ctx = run};
    int rc = spawn(run, &d->watch.fd, &err);
    if (rc == 0)
        rc = sl_watch_start(run->loop, &d->watch, &err);
    if (rc < 0)
        lose_process(run, err.msg);
    else if (send(d->watch.fd, run->dir->path, strlen(run->dir->path), MSG_NOSIGNAL) < 0)
        lose_process(run, strerror(errno));
}

/* ---- A batch --------------------------------------------------------------------------------- */

static void add_name(struct sl_str *names, const char *name) {
    sl_str_addn(names, name, strlen(name) + 1);
}

static bool is_needed(const struct run *run, const struct output_of *o) {
    return run->spec->keep_artifacts || run->tasks.items[o->item] != SL_ITEM_OK ||
           sl_task_at(&run->tasks, o->item, o->stage)->artifacts;
}

static int by_item(const void *a, const void *b) {
    const struct output_of *x = a, *y = b;
    return (x->item > y->item) - (x->item < y->item);
}

/* Whether the name of the folder is new. */
static bool add_item_folder(struct run *run, struct sl_str *names, int item) {
    struct sl_durable *d = run->durable;
    sl_str_addf(names, "items/%s%c", run->spec->items[item].name, 0);
    if (!d->known)
        d->known = sl_xcalloc((size_t)run->tasks.max_items, sizeof *d->known);
    bool is_new = !d->known[item];
    d->known[item] = true;
    return is_new;
}

/* Takes as many of the artifacts as fit; folders come after what is in them. */
static void add_artifacts(struct run *run, struct sl_str *names) {
    struct sl_durable *d = run->durable;
    int n = 0, last = -1, n_taken = d->n_fresh < MAX_OUTPUTS ? d->n_fresh : MAX_OUTPUTS;
    bool any_new = false;
    if (n_taken == 0) /* there may be no list */
        return;
    qsort(d->fresh, (size_t)n_taken, sizeof *d->fresh, by_item);
    for (; n < n_taken && names->len < SL_DURABLE_MAX_BYTES - 2 * MAX_NAME_BYTES; n++) {
        const struct output_of *o = &d->fresh[n];
        const struct sl_plan_stage *s = &run->plan->stages[o->stage];
        const char *item = run->spec->items[o->item].name;
        if (!is_needed(run, o))
            continue;
        if (last >= 0 && last != o->item)
            any_new |= add_item_folder(run, names, last);
        sl_autofree char *path = sl_artifact_path(
            &run->places, item, s->name, s->outputs[o->port].port, s->outputs[o->port].type);
        add_name(names, path + strlen(run->places.run) + 1);
        last = o->item;
    }
    if (last >= 0)
        any_new |= add_item_folder(run, names, last);
    if (any_new)
        add_name(names, "items");
    d->n_fresh -= n;
    memmove(d->fresh, d->fresh + n, (size_t)d->n_fresh * sizeof *d->fresh);
}

static bool send_batch(const struct sl_durable *d, const struct sl_str *names, const int *fds,
                       int n) {
    union {
        char bytes[CMSG_SPACE(SL_DURABLE_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } space = {.bytes = {0}};
    struct iovec iov = {names->data, names->len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n > 0) {
        msg.msg_control = space.bytes;
        msg.msg_controllen = CMSG_SPACE((size_t)n * sizeof *fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)n * sizeof *fds);
        memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof *fds);
    }
    return sendmsg(d->watch.fd, &msg, MSG_NOSIGNAL) == (ssize_t)names->len;
}

/* What the process does with a batch, here. */
static void sync_here(struct run *run, const struct sl_str *names, const int *fds, int n) {
    struct sl_durable *d = run->durable;
    struct sl_durable_answer answer = {.n_batches = d->n_batches};
    d->busy = true;
    struct sl_err err = {0}, why = {0};
    const struct sl_durable_batch batch = {.fds = fds,
                                           .n_fds = n,
                                           .folder = d->folder,
                                           .names = names->data + 1,
                                           .len = names->len - 1,
                                           .n_threads = 1,
                                           .most = UINT64_MAX};
    sl_durable_sync(&batch, &answer.failed, &why, &err);
    memcpy(answer.why, why.msg, sizeof answer.why);
    memcpy(answer.error, err.msg, sizeof answer.error);
    note_answer(run, &answer);
    d->news = true;
}

/* Sends a batch; false: there is no process that takes it. */
static bool hand_over(struct run *run, const struct sl_str *message, const int *fds, int n) {
    struct sl_durable *d = run->durable;
    d->n_batches++;
    d->busy = true;
    if (d->pid >= 0 && !send_batch(d, message, fds, n))
        lose_process(run, strerror(errno));
    return d->pid >= 0;
}

/* The next batch: sent, or, where there is no process, done. */
static void sync_next(struct run *run) {
    struct sl_durable *d = run->durable;
    sl_autostr struct sl_str names = {0};
    int fds[SL_DURABLE_MAX_FDS], n = take_fds(d, fds);
    sl_str_addf(&names, "%c", SL_DURABLE_SYNC);
    add_artifacts(run, &names);
    if (d->n_batches == 0) {
        add_name(&names, "..");
        add_name(&names, ".");
    }
    add_name(&names, "journal");
    run->journal.unsynced_ms = d->n_fresh > 0 ? run->journal.unsynced_ms : 0;
    run->n_done_sent = run->n_done;
    if (!hand_over(run, &names, fds, n))
        sync_here(run, &names, fds, n);
}

/* Whole names, as many as fit. */
static size_t take_names(const struct sl_durable *d) {
    const char *from = d->remove.data + d->removed, *end = d->remove.data + d->remove.len,
               *at = from;
    for (int n = 0; n < SL_DURABLE_MAX_NAMES && at < end; n++) {
        size_t len = strlen(at) + 1;
        if (at + len > from + SL_DURABLE_MAX_BYTES - 1)
            break;
        at += len;
    }
    return (size_t)(at - from);
}

static void remove_next(struct run *run) {
    struct sl_durable *d = run->durable;
    sl_autostr struct sl_str names = {0};
    size_t len = take_names(d);
    sl_str_addf(&names, "%c", SL_DURABLE_REMOVE);
    sl_str_addn(&names, d->remove.data + d->removed, len);
    d->removed += len;
    if (d->removed == d->remove.len) {
        sl_str_clear(&d->remove);
        d->removed = 0;
    }
    if (hand_over(run, &names, NULL, 0))
        return;
    sl_durable_remove(d->folder, names.data + 1, names.len - 1, 1);
    d->busy = false;
}

/* ---- The interface --------------------------------------------------------------------------- */

int sl_durable_start(struct run *run, struct sl_err *err) {
    struct sl_durable *d = run->durable = sl_xcalloc(1, sizeof *d);
    d->pid = d->pidfd = d->watch.fd = -1;
    d->folder = open(run->dir->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (d->folder < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be opened",
                          run->dir->path);
    return 0;
}

void sl_durable_add(struct run *run, int item, int stage, int port) {
    struct sl_durable *d = run->durable;
    SL_PUSH_ROOM(d->fresh, d->n_fresh, d->cap_fresh);
    d->fresh[d->n_fresh++] = (struct output_of){item, stage, port};
}

void sl_durable_remove_later(struct run *run, const char *name) {
    add_name(&run->durable->remove, name);
}

void sl_durable_ask(struct run *run, struct sl_sync_ask *ask) {
    struct sl_durable *d = run->durable;
    SL_PUSH_ROOM(d->asks, d->n_asks, d->cap_asks);
    d->asks[d->n_asks++] = ask;
}

/* A stage is: then there is time to gather what waits. */
static bool is_working(const struct run *run) {
    for (const struct carrier *c = run->carriers; c; c = c->next)
        if (c->n_attempts > 0)
            return true;
    return false;
}

const char *sl_durable_why(const struct run *run) {
    return run->durable->why;
}

/* Until the next batch; -1: not before something happens. */
static int due_ms(const struct run *run) {
    const struct sl_durable *d = run->durable;
    int left = sl_journal_due_ms(&run->journal);
    if (d->busy)
        return -1;
    if (d->remove.len > 0)
        return 0;
    return d->n_asks > 0 && (left < 0 || !is_working(run)) ? 0 : left;
}

int sl_durable_due_ms(const struct run *run) {
    return run->durable->news ? 0 : due_ms(run);
}

/* What is to be removed lets others pass, but not for ever: it takes room. */
static void next(struct run *run) {
    struct sl_durable *d = run->durable;
    bool waits = d->n_asks > 0 || run->journal.unsynced_ms;
    if (waits && (d->remove.len == 0 || d->n_passed < MAX_PASSED)) {
        d->n_passed++;
        sync_next(run);
    } else {
        d->n_passed = 0;
        remove_next(run);
    }
}

int sl_durable_turn(struct run *run, struct sl_err *err) {
    struct sl_durable *d = run->durable;
    d->news = false;
    if (due_ms(run) == 0) {
        if (d->pid < 0 && !d->alone)
            start_process(run);
        next(run);
    }
    if (d->error.cls < 0)
        *err = d->error;
    return d->error.cls;
}

int sl_durable_end(struct run *run, struct sl_err *err) {
    struct sl_durable *d = run->durable;
    while (d->error.cls == 0) {
        struct pollfd p = {d->watch.fd, POLLIN, 0};
        if (!d->busy && (run->journal.unsynced_ms || d->remove.len > 0))
            next(run);
        else if (!d->busy && d->n_large == 0)
            return 0;
        else if (poll(&p, 1, -1) > 0)
            on_answer(&d->watch);
    }
    *err = d->error;
    return err->cls;
}

void sl_durable_finish(struct run *run) {
    struct sl_durable *d = run->durable;
    if (!d)
        return;
    end_process(run);
    sl_close(&d->folder);
    free(d->fresh);
    free(d->known);
    free(d->asks);
    sl_str_finish(&d->remove);
    free(d);
    run->durable = NULL;
}

pid_t sl_durable_pid(const struct run *run) {
    return run->durable ? run->durable->pid : -1;
}

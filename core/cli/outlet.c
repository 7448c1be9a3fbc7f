/*
 * Outlets, see outlet.h. How a descriptor is written without waiting depends on what it is:
 *   a pipe, a terminal    a description of our own, reopened through /proc as non-blocking;
 *                         O_NONBLOCK on the one we were given would reach the shell and everyone
 *                         else who shares it
 *   a socket              send() with MSG_DONTWAIT
 *   a file                plainly: files make nobody wait
 *   what cannot be        a little at a time, whenever poll() promises room (a terminal of another
 *                         user)
 *   reopened
 */
#include "cli/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/units.h"

#define LITTLE 256 /* bytes that fit where poll() says there is room */

enum how { PLAIN, REOPENED, SOCKET, POLLED };

struct sl_outlet {
    enum sl_outlet_kind kind;
    enum how how;
    int fd; /* owned if REOPENED */
    double patience_s;
    struct sl_outlet *complain;
    struct sl_str text; /* what waits, from `sent` on */
    size_t sent;
    int64_t taken_ms;                    /* when something was last taken, or began to wait */
    enum { OPEN, GIVEN_UP, GONE } state; /* GONE: its reader */
    int n_lost;                          /* lines left out */
    struct sl_loop *loop;
    const struct sl_log *log;
    struct sl_watch room;
    struct sl_timer patience;
};

static size_t waiting(const struct sl_outlet *o) {
    return o->text.len - o->sent;
}

static int count_lines(const char *text, size_t len) {
    int n = 0;
    for (const char *at = text, *end = text + len; (at = memchr(at, '\n', (size_t)(end - at)));
         at++)
        n++;
    return n;
}

/* ---- Giving up ------------------------------------------------------------------------------- */

static void stop_waiting(struct sl_outlet *o) {
    sl_watch_stop(o->loop, &o->room);
    sl_timer_stop(o->loop, &o->patience);
}

static void drop_waiting(struct sl_outlet *o) {
    if (waiting(o))
        o->n_lost += count_lines(o->text.data + o->sent, waiting(o));
    sl_str_finish(&o->text);
    o->sent = 0;
}

static void give_up(struct sl_outlet *o, const char *why) {
    sl_autofree char *text = sl_xasprintf(
        "sluice: standard output: %s; nothing more is written to it, the run goes on\n", why);
    drop_waiting(o);
    o->state = GIVEN_UP;
    sl_log(o->log, SLUICE_LOG_ERROR, "standard output: %s; nothing more is written to it", why);
    if (o->complain)
        sl_outlet_put(o->complain, text, strlen(text));
}

static void reader_gone(struct sl_outlet *o, int code) {
    if (code != EPIPE && code != ECONNRESET && o->kind == SL_OUTLET_EXACT) {
        give_up(o, strerror(code)); /* a full disk */
        return;
    }
    drop_waiting(o);
    o->state = GONE;
    sl_log(o->log, SLUICE_LOG_INFO, "descriptor %d cannot be written any more: %s", o->fd,
           strerror(code));
}

/* ---- Writing --------------------------------------------------------------------------------- */

static ssize_t write_little(int fd, const char *text, size_t len) {
    struct pollfd room = {fd, POLLOUT, 0};
    if (poll(&room, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, text, len < LITTLE ? len : LITTLE);
}

/* Writes what goes at once; returns how many bytes that is. What waits is gone after if the reader
 * is. */
static size_t write_some(struct sl_outlet *o, const char *text, size_t len) {
    size_t at = 0;
    while (at < len && o->state == OPEN) {
        ssize_t n = o->how == SOCKET ? send(o->fd, text + at, len - at, MSG_DONTWAIT | MSG_NOSIGNAL)
                    : o->how == POLLED ? write_little(o->fd, text + at, len - at)
                                       : write(o->fd, text + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0)
            reader_gone(o, errno);
        else
            at += (size_t)n;
    }
    if (at > 0)
        o->taken_ms = sl_now_ms();
    return at;
}

static void flush(struct sl_outlet *o) {
    size_t done = waiting(o) ? write_some(o, o->text.data + o->sent, waiting(o)) : 0;
    if (o->state == OPEN) /* else nothing waits any more */
        o->sent += done;
    if (o->sent == 0 || o->sent < o->text.len / 2)
        return;
    memmove(o->text.data, o->text.data + o->sent, waiting(o));
    o->text.len -= o->sent;
    o->sent = 0;
}

static void append(struct sl_outlet *o, const char *text, size_t len) {
    if (waiting(o) == 0)
        o->taken_ms = sl_now_ms();
    sl_str_addn(&o->text, text, len);
}

/* ---- In the loop ----------------------------------------------------------------------------- */

static double patience_left(const struct sl_outlet *o) {
    return o->patience_s - (double)(sl_now_ms() - o->taken_ms) / 1000;
}

/* Watches for room while something waits, and the clock while the outlet is full. */
static void watch(struct sl_outlet *o) {
    struct sl_err err;
    if (!o->loop)
        return;
    if (waiting(o) == 0) {
        stop_waiting(o);
        return;
    }
    if (o->room.fd < 0) {
        o->room.fd = o->fd;
        if (sl_watch_start(o->loop, &o->room, &err) < 0)
            o->room.fd = -1;
    }
    if (!sl_outlet_is_full(o) || o->kind != SL_OUTLET_EXACT)
        sl_timer_stop(o->loop, &o->patience);
    else if (!o->patience.at_ms)
        sl_timer_set(o->loop, &o->patience, patience_left(o));
}

static void on_room(struct sl_watch *w) {
    struct sl_outlet *o = w->ctx;
    flush(o);
    watch(o);
}

static void on_patience_over(struct sl_timer *t) {
    struct sl_outlet *o = t->ctx;
    char time[32];
    if (patience_left(o) <= 0) {
        sl_autofree char *why =
            sl_xasprintf("nothing was read for %s (SLUICE_OUTPUT_WAIT) with %zu bytes waiting",
                         sl_format_duration(o->patience_s, time, sizeof time), waiting(o));
        give_up(o, why);
    }
    watch(o);
}

void sl_outlet_attach(struct sl_outlet *o, struct sl_loop *loop, const struct sl_log *log) {
    if (o->loop)
        stop_waiting(o);
    o->loop = loop;
    o->log = log;
    watch(o);
}

/* ---- The interface --------------------------------------------------------------------------- */

static enum how find_how(int fd, int *ret_fd) {
    struct stat st;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fstat(fd, &st) < 0)
        return PLAIN;
    if (S_ISSOCK(st.st_mode))
        return SOCKET;
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
        return PLAIN;
    int own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own < 0)
        return POLLED;
    *ret_fd = own;
    return REOPENED;
}

struct sl_outlet *sl_outlet_create(int fd, enum sl_outlet_kind kind, double patience_s,
                                   struct sl_outlet *complain) {
    struct sl_outlet *o = sl_xcalloc(1, sizeof *o);
    *o = (struct sl_outlet){.kind = kind, .fd = fd, .patience_s = patience_s, .complain = complain};
    o->how = find_how(fd, &o->fd);
    o->room = (struct sl_watch){.fd = -1, .ready = on_room, .ctx = o, .for_room = true};
    o->patience = (struct sl_timer){.fire = on_patience_over, .ctx = o};
    return o;
}

bool sl_outlet_put(struct sl_outlet *o, const char *text, size_t len) {
    if (o->kind == SL_OUTLET_EXACT && waiting(o) > SL_OUTLET_MOST)
        give_up(o, "it is read too slowly");
    if (o->state != OPEN || (o->kind == SL_OUTLET_LOSSY && sl_outlet_is_full(o))) {
        o->n_lost++;
        return false;
    }
    size_t done = waiting(o) ? 0 : write_some(o, text, len);
    if (done < len && o->state == OPEN)
        append(o, text + done, len - done);
    watch(o);
    return true;
}

bool sl_outlet_is_behind(const struct sl_outlet *o) {
    return waiting(o) > 0;
}

bool sl_outlet_is_full(const struct sl_outlet *o) {
    return waiting(o) > SL_OUTLET_FULL;
}

int sl_outlet_finish(struct sl_outlet *o) {
    if (!o)
        return 0;
    sl_outlet_attach(o, NULL, NULL);
    o->taken_ms = sl_now_ms(); /* who read nothing for long while all was running may begin now */
    double left;
    while (waiting(o) && (left = patience_left(o)) > 0) {
        struct pollfd room = {o->fd, POLLOUT, 0};
        poll(&room, 1, (int)(left * 1000) + 1);
        flush(o);
    }
    drop_waiting(o);
    int n_lost = o->state == GONE ? 0 : o->n_lost;
    if (o->how == REOPENED)
        close(o->fd);
    free(o);
    return n_lost;
}

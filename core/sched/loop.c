/*
 * The event loop, see loop.h. Timers are a list sorted by deadline: there are a few per worker, so
 * insertion is short. epoll keeps the watch's address; a watch stopped by an earlier callback of
 * the same turn is skipped by clearing its pending events.
 */
#include "sched/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define TURN_EVENTS 64

struct sl_loop {
    int epoll_fd;
    struct sl_timer *timers; /* sorted by at_ms */
    struct epoll_event events[TURN_EVENTS];
    int n_events;
};

int sl_loop_create(struct sl_loop **ret, struct sl_err *err) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "epoll cannot be created");
    struct sl_loop *loop = sl_xcalloc(1, sizeof *loop);
    loop->epoll_fd = fd;
    *ret = loop;
    return 0;
}

void sl_loop_destroy(struct sl_loop *loop) {
    if (!loop)
        return;
    close(loop->epoll_fd);
    free(loop);
}

int sl_watch_start(struct sl_loop *loop, struct sl_watch *w, struct sl_err *err) {
    struct epoll_event ev = {.events = w->for_room ? EPOLLOUT : EPOLLIN | EPOLLRDHUP,
                             .data.ptr = w};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno,
                          "a descriptor cannot be watched");
    return 0;
}

void sl_watch_stop(struct sl_loop *loop, struct sl_watch *w) {
    if (w->fd < 0)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = -1;
    for (int i = 0; i < loop->n_events; i++)
        if (loop->events[i].data.ptr == w)
            loop->events[i].data.ptr = NULL;
}

void sl_timer_stop(struct sl_loop *loop, struct sl_timer *t) {
    if (!t->at_ms)
        return;
    if (t->prev)
        t->prev->next = t->next;
    else
        loop->timers = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->prev = t->next = NULL;
    t->at_ms = 0;
}

void sl_timer_set(struct sl_loop *loop, struct sl_timer *t, double delay_s) {
    sl_timer_stop(loop, t);
    t->at_ms = sl_now_ms() + (int64_t)(delay_s * 1000 + 0.5);
    struct sl_timer *before = NULL, *after = loop->timers;
    while (after && after->at_ms <= t->at_ms) {
        before = after;
        after = after->next;
    }
    t->prev = before;
    t->next = after;
    *(before ? &before->next : &loop->timers) = t;
    if (after)
        after->prev = t;
}

static int wait_ms(const struct sl_loop *loop, int max_wait_ms) {
    if (!loop->timers)
        return max_wait_ms;
    int64_t left = loop->timers->at_ms - sl_now_ms();
    if (left < 0)
        left = 0;
    if (left > 3600000)
        left = 3600000;
    return max_wait_ms >= 0 && max_wait_ms < left ? max_wait_ms : (int)left;
}

static void fire_due(struct sl_loop *loop) {
    int64_t now = sl_now_ms();
    while (loop->timers && loop->timers->at_ms <= now) {
        struct sl_timer *t = loop->timers;
        sl_timer_stop(loop, t);
        t->fire(t);
    }
}

int sl_loop_turn(struct sl_loop *loop, int max_wait_ms, struct sl_err *err) {
    int n = epoll_wait(loop->epoll_fd, loop->events, TURN_EVENTS, wait_ms(loop, max_wait_ms));
    if (n < 0 && errno != EINTR)
        return sl_err_sys(err, SLUICE_INTERNAL, errno, "waiting for events failed");
    loop->n_events = n > 0 ? n : 0;
    for (int i = 0; i < loop->n_events; i++) {
        struct sl_watch *w = loop->events[i].data.ptr;
        if (w)
            w->ready(w);
    }
    loop->n_events = 0;
    fire_due(loop);
    return n > 0 ? n : 0;
}

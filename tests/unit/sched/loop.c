/* Timers fire in order, watches can be stopped by others' callbacks. */
#include <unistd.h>

#include "base/clock.h"
#include "sched/loop.h"
#include "unit/test.h"

static int order[8], n_fired;

static void fire(struct sl_timer *t) {
    order[n_fired++] = *(int *)t->ctx;
}

TEST(timers_fire_in_order_of_their_deadlines) {
    struct sl_loop *loop;
    struct sl_err err;
    int ids[] = {0, 1, 2, 3};
    struct sl_timer timers[4];
    CHECK_INT(sl_loop_create(&loop, &err), 0);
    for (int i = 0; i < 4; i++)
        timers[i] = (struct sl_timer){.fire = fire, .ctx = &ids[i]};
    sl_timer_set(loop, &timers[0], 0.03);
    sl_timer_set(loop, &timers[1], 0.01);
    sl_timer_set(loop, &timers[2], 0.02);
    sl_timer_set(loop, &timers[3], 0.005);
    sl_timer_stop(loop, &timers[3]);
    sl_timer_set(loop, &timers[1], 0.025); /* re-armed */
    int64_t began = sl_now_ms();
    while (n_fired < 3 && sl_now_ms() < began + 2000)
        CHECK(sl_loop_turn(loop, -1, &err) >= 0);
    CHECK_INT(n_fired, 3);
    CHECK_INT(order[0], 2);
    CHECK_INT(order[1], 1);
    CHECK_INT(order[2], 0);
    CHECK(sl_now_ms() - began >= 29);
    sl_loop_destroy(loop);
}

static struct sl_loop *the_loop;
static struct sl_watch pair_watches[2];
static int n_ready;

static void stop_the_other(struct sl_watch *w) {
    n_ready++;
    sl_watch_stop(the_loop, w == &pair_watches[0] ? &pair_watches[1] : &pair_watches[0]);
}

TEST(a_stopped_watch_is_not_called_in_the_same_turn) {
    struct sl_err err;
    int fds[2][2];
    CHECK_INT(sl_loop_create(&the_loop, &err), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(pipe(fds[i]), 0);
        pair_watches[i] = (struct sl_watch){.fd = fds[i][0], .ready = stop_the_other};
        CHECK_INT(sl_watch_start(the_loop, &pair_watches[i], &err), 0);
        CHECK_INT(write(fds[i][1], "x", 1), 1);
    }
    CHECK_INT(sl_loop_turn(the_loop, 1000, &err), 2);
    CHECK_INT(n_ready, 1);
    sl_loop_destroy(the_loop);
}

TEST(an_idle_turn_ends_in_time) {
    struct sl_err err;
    struct sl_loop *loop;
    CHECK_INT(sl_loop_create(&loop, &err), 0);
    int64_t began = sl_now_ms();
    CHECK_INT(sl_loop_turn(loop, 20, &err), 0);
    CHECK(sl_now_ms() - began >= 19 && sl_now_ms() - began < 1000);
    sl_loop_destroy(loop);
}

TEST_MAIN()

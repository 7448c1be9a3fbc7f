/*
 * The thread pool: every task runs exactly once, loops follow each other at any pace, idle threads
 * sleep.
 */
#include "unit/test.h"

#include <stdatomic.h>
#include <time.h>

#include "num/pool.h"

#define MAX_TASKS 1000

struct count {
    atomic_int runs[MAX_TASKS];
    uint32_t n_threads;
    atomic_int bad_thread;
};

static void count_task(void *ctx, uint32_t index, uint32_t thread) {
    struct count *c = ctx;
    atomic_fetch_add(&c->runs[index], 1);
    if (thread >= c->n_threads)
        atomic_store(&c->bad_thread, 1);
}

TEST(runs_every_task_once) {
    static struct count c;
    for (uint32_t n_threads = 1; n_threads <= 5; n_threads++) {
        struct num_pool *pool;
        struct num_err err;
        CHECK_INT(num_pool_create(n_threads, &pool, &err), 0);
        CHECK_INT(num_pool_threads(pool), n_threads);
        for (uint32_t round = 0; round < 300; round++) {
            uint32_t n = round * 7 % MAX_TASKS;
            memset(&c, 0, sizeof c);
            c.n_threads = n_threads;
            num_pool_run(pool, n, count_task, &c);
            for (uint32_t i = 0; i < MAX_TASKS; i++)
                CHECK_INT(atomic_load(&c.runs[i]), i < n);
            CHECK(!c.bad_thread);
            if (round % 50 == 0)
                usleep(2000); /* long enough for the threads to fall asleep */
        }
        num_pool_destroy(pool);
    }
}

TEST(idle_threads_take_no_time) {
    struct num_pool *pool;
    static struct count c = {.n_threads = 3};
    CHECK_INT(num_pool_create(3, &pool, NULL), 0);
    num_pool_run(pool, 100, count_task, &c);
    usleep(20000);
    clock_t before = clock();
    usleep(300000);
    CHECK((double)(clock() - before) / CLOCKS_PER_SEC < 0.05);
    num_pool_destroy(pool);
}

TEST(destroy_takes_nothing_and_unused_pools) {
    struct num_pool *pool;
    num_pool_destroy(NULL);
    CHECK_INT(num_pool_create(0, &pool, NULL), 0);
    CHECK_INT(num_pool_threads(pool), 1);
    num_pool_destroy(pool);
    CHECK_INT(num_pool_create(4, &pool, NULL), 0);
    num_pool_destroy(pool);
}

TEST_MAIN()

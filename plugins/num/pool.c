/*
 * Thread pool: see pool.h.
 *
 * A loop is announced by raising `epoch`. Threads then take tasks by counting down one shared word;
 * it carries the epoch in its upper half, so that a thread which comes late cannot take a task of a
 * loop that it has not seen. What a task needs (run, ctx, n_tasks) is read only after one was
 * taken: until that is done, the loop cannot end and the caller cannot write the next one's.
 */
#include "num/pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPIN_ROUNDS 2000 /* some 20 us: longer than the gap between two kernels of one step */
#define MAX_THREADS 1024

struct worker {
    struct num_pool *pool;
    pthread_t thread;
    uint32_t index;
};

struct num_pool {
    uint32_t n_threads;
    struct worker *workers; /* n_threads - 1; the caller is thread 0 */
    uint32_t n_started;

    num_task *run; /* of the current loop; written before `todo` announces it */
    void *ctx;
    uint32_t n_tasks;
    _Alignas(64) _Atomic uint64_t todo; /* epoch << 32 | tasks that nobody has taken */
    _Alignas(64) _Atomic uint32_t epoch;
    _Alignas(64) _Atomic uint32_t n_left; /* tasks that are not done */
    _Atomic uint32_t n_asleep;
    _Atomic bool stopping;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static void spin_pause(void) {
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
}

/* Waits until `word` is not `value`: spins, then sleeps. */
static void wait_change(_Atomic uint32_t *word, uint32_t value, _Atomic uint32_t *n_asleep) {
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load(word) != value)
            return;
        spin_pause();
    }
    atomic_fetch_add(n_asleep, 1);
    while (atomic_load(word) == value)
        futex_wait(word, value);
    atomic_fetch_sub(n_asleep, 1);
}

/* Takes tasks of loop `epoch` until none is left. */
static void run_tasks(struct num_pool *pool, uint32_t epoch, uint32_t thread) {
    uint64_t todo = atomic_load(&pool->todo);
    while ((uint32_t)(todo >> 32) == epoch && (uint32_t)todo > 0) {
        if (!atomic_compare_exchange_weak(&pool->todo, &todo, todo - 1))
            continue;
        pool->run(pool->ctx, pool->n_tasks - (uint32_t)todo, thread);
        if (atomic_fetch_sub(&pool->n_left, 1) == 1)
            futex_wake(&pool->n_left, 1);
        todo = atomic_load(&pool->todo);
    }
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    uint32_t seen = 0;
    for (;;) {
        wait_change(&w->pool->epoch, seen, &w->pool->n_asleep);
        if (atomic_load(&w->pool->stopping))
            return NULL;
        seen = atomic_load(&w->pool->epoch);
        run_tasks(w->pool, seen, w->index);
    }
}

int32_t num_pool_create(uint32_t n_threads, struct num_pool **ret, struct num_err *err) {
    if (n_threads < 1)
        n_threads = 1;
    if (n_threads > MAX_THREADS)
        n_threads = MAX_THREADS;
    struct num_pool *pool = aligned_alloc(64, sizeof *pool);
    struct worker *workers = calloc(n_threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return num_fail_memory(err, "a pool of threads",
                               sizeof *pool + n_threads * sizeof *workers);
    }
    memset(pool, 0, sizeof *pool);
    pool->n_threads = n_threads;
    pool->workers = workers;
    for (uint32_t i = 1; i < n_threads; i++) {
        struct worker *w = &workers[i - 1];
        *w = (struct worker){.pool = pool, .index = i};
        int error = pthread_create(&w->thread, NULL, worker_main, w);
        if (error) {
            num_pool_destroy(pool);
            return num_fail(err, SLUICE_RESOURCE, "cannot start thread %u of %u: %s", i + 1,
                            n_threads, strerror(error));
        }
        pool->n_started++;
    }
    *ret = pool;
    return SLUICE_OK;
}

void num_pool_destroy(struct num_pool *pool) {
    if (!pool)
        return;
    atomic_store(&pool->stopping, true);
    atomic_fetch_add(&pool->epoch, 1);
    futex_wake(&pool->epoch, MAX_THREADS);
    for (uint32_t i = 0; i < pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool->workers);
    free(pool);
}

uint32_t num_pool_threads(const struct num_pool *pool) {
    return pool->n_threads;
}

void num_pool_run(struct num_pool *pool, uint32_t n_tasks, num_task *run, void *ctx) {
    if (pool->n_threads == 1 || n_tasks <= 1) {
        for (uint32_t i = 0; i < n_tasks; i++)
            run(ctx, i, 0);
        return;
    }
    uint32_t epoch = atomic_load(&pool->epoch) + 1;
    pool->run = run;
    pool->ctx = ctx;
    pool->n_tasks = n_tasks;
    atomic_store(&pool->n_left, n_tasks);
    atomic_store(&pool->todo, (uint64_t)epoch << 32 | n_tasks);
    atomic_store(&pool->epoch, epoch);
    if (atomic_load(&pool->n_asleep))
        futex_wake(&pool->epoch, MAX_THREADS);
    run_tasks(pool, epoch, 0);
    for (uint32_t left; (left = atomic_load(&pool->n_left)) > 0;) {
        _Atomic uint32_t ignored = 0;
        wait_change(&pool->n_left, left, &ignored);
    }
}

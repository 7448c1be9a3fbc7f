/*
 * Time from spawning a worker, by the fork server and by exec, to READY and to its end, with a
 * small core and with one that holds 1 GiB:
 *
 *     bench_spawn WORKER PLUGIN.so STAGE [ROUNDS]
 *
 * prints one JSON line a case: medians and 95th percentiles in microseconds.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sched/worker.h"

#define HELD_BYTES ((size_t)1 << 30)

struct round {
    int64_t spawned_ns, ready_ns, ended_ns;
    bool ended;
};

static void on_ready(struct sl_worker *w) {
    ((struct round *)w->ctx)->ready_ns = sl_now_ns();
    sl_worker_release(w);
}

static void on_refused(struct sl_worker *w, int cls, const char *message) {
    (void)w;
    (void)cls;
    fprintf(stderr, "bench_spawn: %s\n", message);
    exit(1);
}

static void on_frame(struct sl_worker *w, const struct sl_frame *frame) {
    (void)w;
    (void)frame;
}

static void on_broken(struct sl_worker *w, const char *message) {
    on_refused(w, 0, message);
}

static void on_start_timeout(struct sl_worker *w) {
    on_refused(w, 0, "not ready in time");
}

static void on_ended(struct sl_worker *w) {
    struct round *r = w->ctx;
    r->ended_ns = sl_now_ns();
    r->ended = true;
    sl_worker_destroy(w);
}

static const struct sl_worker_callbacks callbacks = {on_ready,  on_refused,       on_frame,
                                                     on_broken, on_start_timeout, on_ended};

static void make_start(struct sl_frame_out *f, const char *plugin, const char *stage) {
    struct sl_err err;
    sl_frame_init(f, SL_FRAME_START, 0);
    sl_frame_add_text(f, plugin);
    sl_frame_add_text(f, stage);
    sl_frame_add_text(f, "{}");
    sl_frame_add_text(f, "/");
    for (int i = 0; i < 5; i++)
        sl_frame_add_u64(f, i == 2);
    if (sl_frame_finish(f, &err) < 0)
        exit(1);
}

static void run_round(struct sl_loop *loop, const struct sl_worker_spec *spec,
                      const struct sl_frame_out *start, struct round *r) {
    struct sl_err err;
    struct sl_worker *w;
    r->spawned_ns = sl_now_ns();
    if (sl_worker_create(loop, spec, start, &w, &err) < 0) {
        fprintf(stderr, "bench_spawn: %s\n", err.msg);
        exit(1);
    }
    while (!r->ended)
        sl_loop_turn(loop, 1000, &err);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void run_case(const char *name, const char *worker, const char *plugin, const char *stage,
                     int rounds, enum sl_containment containment, bool forked) {
    struct sl_frame_out *start = sl_xmalloc(sizeof *start);
    struct sl_loop *loop;
    struct sl_err err;
    double *ready = sl_xcalloc((size_t)rounds, sizeof *ready),
           *ended = sl_xcalloc((size_t)rounds, sizeof *ended);
    const char *argv[] = {worker, "--socket", "3", NULL};
    int log = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct sl_log quiet = {.fd = -1};
    struct sl_forkserver *server = forked ? sl_forkserver_create(worker, &quiet) : NULL;
    make_start(start, plugin, stage);
    if (sl_loop_create(&loop, &err) < 0)
        exit(1);
    for (int i = 0; i < rounds; i++) {
        struct round r = {0};
        struct sl_worker_spec spec = {.spawn = {.program = worker,
                                                .argv = argv,
                                                .log_fd = log,
                                                .channel_fd = -1,
                                                .stdin_fd = -1,
                                                .containment = containment,
                                                .visible_cards = "",
                                                .cpus = 1},
                                      .forkserver = server,
                                      .start_timeout_s = 20,
                                      .callbacks = &callbacks,
                                      .ctx = &r};
        run_round(loop, &spec, start, &r);
        ready[i] = (double)(r.ready_ns - r.spawned_ns) / 1000;
        ended[i] = (double)(r.ended_ns - r.spawned_ns) / 1000;
    }
    qsort(ready, (size_t)rounds, sizeof *ready, ascending);
    qsort(ended, (size_t)rounds, sizeof *ended, ascending);
    printf("{\"bench\": \"spawn\", \"case\": \"%s\", \"containment\": \"%s\", \"start\": \"%s\", "
           "\"rounds\": %d, \"ready_us\": %.0f, "
           "\"ready_p95_us\": %.0f, \"reaped_us\": %.0f}\n",
           name, sl_containment_name(containment), forked ? "fork" : "exec", rounds,
           ready[rounds / 2], ready[rounds * 95 / 100], ended[rounds / 2]);
    fflush(stdout);
    sl_loop_destroy(loop);
    sl_forkserver_destroy(server);
    close(log);
    free(start);
    free(ready);
    free(ended);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: bench_spawn WORKER PLUGIN.so STAGE [ROUNDS]\n");
        return 2;
    }
    int rounds = argc > 4 ? atoi(argv[4]) : 200;
    enum sl_containment both[] = {sl_containment_detect(), SL_CONTAIN_KEEPER};
    for (int i = 0; i < 4; i++)
        run_case("small core", argv[1], argv[2], argv[3], rounds, both[i % 2], i < 2);
    char *held = sl_xmalloc(HELD_BYTES);
    memset(held, 1, HELD_BYTES);
    for (int i = 0; i < 4; i++)
        run_case("core holds 1 GiB", argv[1], argv[2], argv[3], rounds, both[i % 2], i < 2);
    return held[HELD_BYTES - 1] == 1 ? 0 : 1;
}

/*
 * What workers print is kept within bounds: a stage that prints without end must not fill the disk,
 * and is no reason to fail it. The logs of living workers are looked at a few times a second; one
 * that is too long keeps its beginning and its end, and says how much was left out between.
 *
 * A worker writes with O_APPEND, so after a cut it goes on at the new end. What it prints between
 * two looks is written in full: the bound is on what stays.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/units.h"
#include "sched/run_internal.h"

#define LOG_MAX  (16 << 20)
#define LOG_HEAD (1 << 20)
#define LOG_TAIL (64 << 10)
#define LOOK_S   0.2

void sl_logs_bound(const struct carrier *c) {
    struct stat st;
    if (c->run->spec->wrap || stat(c->log_path, &st) < 0 || st.st_size <= LOG_MAX)
        return;
    sl_autoclose int fd = open(c->log_path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    sl_autofree char *tail = sl_xmalloc(LOG_TAIL);
    char left_out[32], line[128];
    ssize_t n = fd < 0 ? -1 : pread(fd, tail, LOG_TAIL, st.st_size - LOG_TAIL);
    if (n < 0 || ftruncate(fd, LOG_HEAD) < 0)
        return;
    sl_format_size((uint64_t)(st.st_size - LOG_HEAD - LOG_TAIL), left_out, sizeof left_out);
    int len = snprintf(line, sizeof line, "\n[sluice left out %s here, to keep this log short]\n",
                       left_out);
    if (sl_write_all(fd, line, (size_t)len, NULL) == 0)
        sl_write_all(fd, tail, (size_t)n, NULL);
}

int64_t sl_logs_size(const char *path) {
    struct stat st;
    return stat(path, &st) < 0 ? 0 : (int64_t)st.st_size;
}

static void on_look(struct sl_timer *t) {
    struct run *run = t->ctx;
    for (const struct carrier *c = run->carriers; c; c = c->next)
        sl_logs_bound(c);
    if (run->carriers)
        sl_timer_set(run->loop, t, LOOK_S);
}

void sl_logs_watch(struct run *run) {
    run->logs.fire = on_look;
    run->logs.ctx = run;
    if (!run->logs.at_ms)
        sl_timer_set(run->loop, &run->logs, LOOK_S);
}

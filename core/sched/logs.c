/*
 * What workers print is kept within bounds: a stage that prints without end must not fill the disk,
 * and is no reason to fail it. The logs of living workers are looked at a few times a second; one
 * that is too long keeps its beginning and its end, and says how much was left out between.
 *
 * The middle is taken out by the file system (FALLOC_FL_COLLAPSE_RANGE: ext4, XFS), so no line is
 * lost that a worker prints meanwhile. Elsewhere the end is read, the file cut and the end written
 * again: what is printed within the microseconds between the last read and the cut is lost there.
 * Workers write with O_APPEND, so they go on at the new end. What they print between two looks is
 * written in full: the bound is on what stays.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/units.h"
#include "sched/run_internal.h"

#define LOG_MAX  (16 << 20)
#define LOG_HEAD (1 << 20)
#define LOG_TAIL (64 << 10) /* at least */
#define BLOCK    (64 << 10) /* a multiple of what file systems allocate */
#define NOTE_MAX 128
#define LOOK_S   0.2

static int make_note(off_t bytes, char note[NOTE_MAX]) {
    char left_out[32];
    sl_format_size((uint64_t)bytes, left_out, sizeof left_out);
    return snprintf(note, NOTE_MAX, "\n[sluice left out %s here, to keep this log short]\n",
                    left_out);
}

/* The note takes the place of the last bytes before the gap. False: this file system cannot do
 * it. */
static bool collapse(int fd, off_t size) {
    char note[NOTE_MAX];
    off_t gap = (size - LOG_HEAD - LOG_TAIL) / BLOCK * BLOCK;
    if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, LOG_HEAD, gap) < 0)
        return false;
    int len = make_note(gap, note);
    return pwrite(fd, note, (size_t)len, LOG_HEAD - len) == len;
}

/* Reads from `from` to the end of what is there by now. */
static void read_rest(int fd, off_t from, struct sl_str *rest) {
    char chunk[16384];
    ssize_t n;
    while ((n = pread(fd, chunk, sizeof chunk, from)) > 0) {
        sl_str_addn(rest, chunk, (size_t)n);
        from += n;
    }
}

static void cut_and_append(const char *path, int fd, off_t size) {
    sl_autoclose int end = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    sl_autostr struct sl_str rest = {0};
    char note[NOTE_MAX];
    sl_str_addn(&rest, note, (size_t)make_note(size - LOG_HEAD - LOG_TAIL, note));
    read_rest(fd, size - LOG_TAIL, &rest);
    if (end >= 0 && ftruncate(fd, LOG_HEAD) == 0)
        sl_write_all(end, rest.data, rest.len, NULL);
}

void sl_logs_bound(const struct carrier *c) {
    struct stat st;
    if (c->run->spec->wrap || stat(c->log_path, &st) < 0 || st.st_size <= LOG_MAX)
        return;
    sl_autoclose int fd = open(c->log_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && !collapse(fd, st.st_size))
        cut_and_append(c->log_path, fd, st.st_size);
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

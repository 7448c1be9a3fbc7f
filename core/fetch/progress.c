/* Progress of a download: see progress.h. */
#include "fetch/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"

#define REDRAW_S    0.1
#define LARGE_BYTES 50000000
#define BAR         24

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void sl_progress_init(struct sl_progress *p, uint64_t total) {
    *p = (struct sl_progress){.total = total, .start = now_s(), .terminal = isatty(STDERR_FILENO)};
}

void sl_progress_clear(struct sl_progress *p) {
    if (p->terminal)
        fputs("\r\033[K", stderr);
}

static int columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

static void draw(const struct sl_progress *p, uint64_t have) {
    char done[32], total[32], rate[32], left[32] = "";
    char bar[BAR + 1];
    uint64_t all = p->before + have;
    double elapsed = now_s() - p->start,
           per_s = elapsed > 0 ? (double)(all - p->start_have) / elapsed : 0;
    int full = p->total ? (int)((double)all * BAR / (double)p->total) : 0;
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)(full > BAR ? BAR : full));
    bar[BAR] = '\0';
    if (p->total > all && per_s > 1)
        sl_format_duration((double)(p->total - all) / per_s, left, sizeof left);
    char line[256];
    snprintf(line, sizeof line, "[%s] %s of %s  %s/s  %s%s  %.40s", bar,
             sl_format_size(all, done, sizeof done), sl_format_size(p->total, total, sizeof total),
             sl_format_size((uint64_t)per_s, rate, sizeof rate), left, *left ? " left" : "",
             p->file ? p->file : "");
    fprintf(stderr, "\r\033[K%.*s", columns() - 1, line);
    fflush(stderr);
}

void sl_progress_file(struct sl_progress *p, const char *name, uint64_t size, uint64_t have) {
    char text[32];
    p->file = name;
    p->size = size;
    p->start_have += have;
    p->tenths = size != UINT64_MAX && size ? (int)((double)have * 10 / (double)size) : 0;
    if (!p->terminal && have > 0)
        fprintf(stderr, "%s: continuing at %s\n", name, sl_format_size(have, text, sizeof text));
}

void sl_progress_have(void *progress, uint64_t have) {
    struct sl_progress *p = progress;
    double now = now_s();
    if (p->terminal && now - p->drawn >= REDRAW_S) {
        p->drawn = now;
        draw(p, have);
    }
    if (p->terminal || p->size == UINT64_MAX || p->size < LARGE_BYTES)
        return;
    int tenths = (int)((double)have * 10 / (double)p->size);
    if (tenths > p->tenths && tenths < 10)
        fprintf(stderr, "%s: %d %%\n", p->file, 10 * tenths);
    if (tenths > p->tenths)
        p->tenths = tenths;
}

void sl_progress_done(struct sl_progress *p, uint64_t size) {
    char text[32];
    sl_progress_clear(p);
    fprintf(stderr, "%s: %s, checked\n", p->file, sl_format_size(size, text, sizeof text));
    p->before += size;
    p->file = NULL;
}

void sl_progress_note(struct sl_progress *p, const char *text) {
    sl_progress_clear(p);
    fprintf(stderr, "%s\n", text);
}

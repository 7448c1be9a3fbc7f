/* Clocks, see clock.h. */
#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

int64_t sl_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t sl_now_ms(void) {
    return sl_now_ns() / 1000000;
}

double sl_wall_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

const char *sl_format_time(double wall_s, char buf[SL_TIME_SIZE]) {
    int64_t ms = (int64_t)llround(wall_s * 1000);
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t len = strftime(buf, SL_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(buf + len, SL_TIME_SIZE - len, ".%03dZ", (int)(ms % 1000));
    return buf;
}

/* Clocks. Intervals use the monotonic clock, records the wall clock in UTC. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t sl_now_ms(void); /* CLOCK_MONOTONIC, milliseconds */
int64_t sl_now_ns(void); /* CLOCK_MONOTONIC, nanoseconds */
double sl_wall_s(void);  /* CLOCK_REALTIME, seconds since 1970 */

/* "2026-01-31T08:15:42.123Z" (24 characters and NUL) of a wall-clock time; returns buf. */
#define SL_TIME_SIZE 32
const char *sl_format_time(double wall_s, char buf[SL_TIME_SIZE]);

#endif

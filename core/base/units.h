/* Durations and sizes as people write them: `90s`, `1h30m`, `4GiB`. */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Seconds from "90s", "500ms", "2m", "1.5h", "1h30m", "1d" or a bare number (seconds); at least 0.
 * False: not one. */
bool sl_parse_duration(const char *text, double *ret_seconds);
/* Bytes from "4GiB", "512MiB", "1.5GB" (powers of 1000), "64k" (1024), or a bare number. False: not
 * one. */
bool sl_parse_size(const char *text, uint64_t *ret_bytes);
/* A decimal integer or real number, the whole text; false: not one, or out of range, NaN,
 * infinite. */
bool sl_parse_int(const char *text, int64_t *ret);
bool sl_parse_float(const char *text, double *ret);

/* "1h 02m", "3m 05s", "4.2 s", "120 ms" into buf; returns buf. */
const char *sl_format_duration(double seconds, char *buf, size_t size);
/* "4.0 GiB", "512 B" into buf; returns buf. */
const char *sl_format_size(uint64_t bytes, char *buf, size_t size);

#endif

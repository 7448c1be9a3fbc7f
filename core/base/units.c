/* Durations and sizes, see units.h. Locale-free in the "C" locale, which the programs never
 * leave. */
#include "base/units.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    double factor;
};

static const struct unit time_units[] = {{"ms", 1e-3}, {"s", 1},    {"m", 60},
                                         {"min", 60},  {"h", 3600}, {"d", 86400}};
static const struct unit size_units[] = {
    {"B", 1},         {"k", 1024},           {"K", 1024},
    {"M", 1048576},   {"G", 1073741824.0},   {"T", 1099511627776.0},
    {"kB", 1e3},      {"KB", 1e3},           {"MB", 1e6},
    {"GB", 1e9},      {"TB", 1e12},          {"KiB", 1024},
    {"MiB", 1048576}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}};

/* A plain decimal number at *text (digits and one point), *text moved past it. */
static bool take_number(const char **text, double *ret) {
    const char *t = *text;
    int digits = 0, points = 0;
    for (; isdigit((unsigned char)*t) || *t == '.'; t++)
        *t == '.' ? points++ : digits++;
    if (digits == 0 || points > 1 || t - *text > 40)
        return false;
    *ret = strtod(*text, NULL);
    *text = t;
    return true;
}

static const struct unit *take_unit(const char **text, const struct unit *units, size_t n) {
    size_t len = 0;
    while (isalpha((unsigned char)(*text)[len]))
        len++;
    for (size_t i = 0; i < n; i++)
        if (strlen(units[i].name) == len && memcmp(units[i].name, *text, len) == 0) {
            *text += len;
            return &units[i];
        }
    return NULL;
}

bool sl_parse_duration(const char *text, double *ret_seconds) {
    double total = 0, number;
    if (sl_parse_float(text, &number)) {
        *ret_seconds = number;
        return number >= 0;
    }
    if (!*text)
        return false;
    while (*text) {
        if (!take_number(&text, &number))
            return false;
        const struct unit *u = take_unit(&text, time_units, sizeof time_units / sizeof *time_units);
        if (!u)
            return false;
        total += number * u->factor;
        while (*text == ' ')
            text++;
    }
    *ret_seconds = total;
    return true;
}

bool sl_parse_size(const char *text, uint64_t *ret_bytes) {
    double number, factor = 1;
    if (!take_number(&text, &number))
        return false;
    while (*text == ' ')
        text++;
    if (*text) {
        const struct unit *u = take_unit(&text, size_units, sizeof size_units / sizeof *size_units);
        if (!u || *text)
            return false;
        factor = u->factor;
    }
    if (number * factor >= 9.2e18)
        return false;
    *ret_bytes = (uint64_t)(number * factor);
    return true;
}

bool sl_parse_int(const char *text, int64_t *ret) {
    char *end;
    if (!isdigit((unsigned char)*text) &&
        !((*text == '-' || *text == '+') && isdigit((unsigned char)text[1])))
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end || errno)
        return false;
    *ret = value;
    return true;
}

bool sl_parse_float(const char *text, double *ret) {
    char *end;
    const char *t = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)*t) && *t != '.')
        return false;
    for (const char *c = t; *c; c++)
        if (!isdigit((unsigned char)*c) && !strchr(".eE+-", *c))
            return false;
    errno = 0;
    double value = strtod(text, &end);
    if (*end || end == text || !isfinite(value))
        return false;
    *ret = value;
    return true;
}

const char *sl_format_duration(double seconds, char *buf, size_t size) {
    long s = lround(seconds);
    if (seconds < 0.9995)
        snprintf(buf, size, "%.0f ms", seconds * 1000);
    else if (seconds < 60)
        snprintf(buf, size, "%.1f s", seconds);
    else if (s < 3600)
        snprintf(buf, size, "%ldm %02lds", s / 60, s % 60);
    else
        snprintf(buf, size, "%ldh %02ldm", s / 3600, s / 60 % 60);
    return buf;
}

const char *sl_format_size(uint64_t bytes, char *buf, size_t size) {
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int i = 0;
    while (value >= 1024 && i < 4) {
        value /= 1024;
        i++;
    }
    snprintf(buf, size, i ? "%.1f %s" : "%.0f %s", value, names[i]);
    return buf;
}

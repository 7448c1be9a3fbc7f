/* Log lines "2026-01-31T08:15:42.123Z level text" to one descriptor, each written by one
 * write(2). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <sluice/plugin.h>

struct sl_log {
    int fd;        /* borrowed; -1: discard */
    int min_level; /* SLUICE_LOG_*; lower ones are dropped */
};

void sl_log(const struct sl_log *log, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* "debug", "info", "warning", "error". */
const char *sl_log_level_name(int level);

#endif

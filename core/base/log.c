/* Log lines, see log.h. A line is cut at 2 KiB and made printable. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#define LINE_SIZE 2048

const char *sl_log_level_name(int level) {
    static const char *const names[] = {"debug", "info", "warning", "error"};
    return level >= 0 && level < 4 ? names[level] : "info";
}

void sl_log(const struct sl_log *log, int level, const char *fmt, ...) {
    if (!log || log->fd < 0 || level < log->min_level)
        return;
    char line[LINE_SIZE], when[SL_TIME_SIZE];
    int len = snprintf(line, sizeof line, "%s %s ", sl_format_time(sl_wall_s(), when),
                       sl_log_level_name(level));
    va_list args;
    va_start(args, fmt);
    int more = vsnprintf(line + len, sizeof line - (size_t)len - 1, fmt, args);
    va_end(args);
    if (more < 0)
        return;
    len = (int)strlen(sl_make_printable(line));
    line[len++] = '\n';
    (void)!write(log->fd, line, (size_t)len);
}

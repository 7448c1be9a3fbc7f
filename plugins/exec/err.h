/* The error that the engine's functions fill in. */
#ifndef EXEC_ERR_H
#define EXEC_ERR_H

#include <stdarg.h>
#include <stdio.h>

/* Why a call failed: one sentence. Written only when the call returns a negative class of
 * sluice/types.h. */
struct cmd_err {
    char message[1024];
};

/* Formats the message and returns `status`. */
__attribute__((format(printf, 3, 4))) static inline int cmd_fail(struct cmd_err *err, int status,
                                                                 const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

#endif

/*
 * Errors as values: see err.h.
 */
#include "num/err.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int32_t num_fail(struct num_err *err, int32_t status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

int32_t num_fail_in(struct num_err *err, const char *format, ...) {
    char prefix[sizeof err->text / 2], text[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(text, err->text, sizeof text);
    int room = (int)(sizeof text - strlen(prefix) - sizeof ": ");
    snprintf(err->text, sizeof err->text, "%s: %.*s", prefix, room, text);
    return err->status;
}

int32_t num_fail_memory(struct num_err *err, const char *what, uint64_t bytes) {
    return num_fail(err, SLUICE_RESOURCE, "no memory for %s: %" PRIu64 " bytes were refused", what,
                    bytes);
}

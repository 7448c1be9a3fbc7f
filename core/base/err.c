/* Errors of fixed size, see err.h. Nothing here allocates or can fail. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const char *const class_names[] = {"ok",        "input",    "unsupported", "resource",
                                          "transient", "internal", "cancelled",   "crash",
                                          "timeout",   "usage"};

static int set(struct sl_err *err, int cls, int sys_errno, const char *fmt, va_list args) {
    if (!err)
        return cls;
    err->cls = cls;
    err->sys_errno = sys_errno;
    vsnprintf(err->msg, sizeof err->msg, fmt, args);
    if (sys_errno) {
        size_t len = strlen(err->msg);
        snprintf(err->msg + len, sizeof err->msg - len, ": %s", strerror(sys_errno));
    }
    sl_make_printable(err->msg); /* it may quote anything: names of files, words of plugins */
    return cls;
}

int sl_err_set(struct sl_err *err, int cls, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    set(err, cls, 0, fmt, args);
    va_end(args);
    return cls;
}

int sl_err_sys(struct sl_err *err, int cls, int sys_errno, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    set(err, cls, sys_errno, fmt, args);
    va_end(args);
    return cls;
}

int sl_err_wrap(struct sl_err *err, const char *fmt, ...) {
    char was[SL_ERR_SIZE], head[SL_ERR_SIZE];
    va_list args;
    if (!err)
        return SLUICE_INTERNAL;
    va_start(args, fmt);
    vsnprintf(head, sizeof head, fmt, args);
    va_end(args);
    memcpy(was, err->msg, sizeof was);
    int len = snprintf(err->msg, sizeof err->msg, "%.500s: ", head);
    int room = (int)sizeof err->msg - len - 1;
    snprintf(err->msg + len, (size_t)room + 1, "%.*s", room, was);
    sl_make_printable(err->msg);
    return err->cls;
}

int sl_err_class_of_errno(int sys_errno) {
    switch (sys_errno) {
    case ENOMEM:
    case ENOSPC:
    case EFBIG:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
        return SLUICE_RESOURCE;
    case EIO:
    case EAGAIN:
    case EBUSY:
    case ETIMEDOUT:
    case ESTALE:
        return SLUICE_TRANSIENT;
    default:
        return SLUICE_INTERNAL;
    }
}

const char *sl_class_name(int cls) {
    int n = (int)(sizeof class_names / sizeof *class_names);
    return cls <= 0 && -cls < n ? class_names[-cls] : "unknown";
}

int sl_class_from_name(const char *name) {
    for (int i = 0; i < (int)(sizeof class_names / sizeof *class_names); i++)
        if (strcmp(name, class_names[i]) == 0)
            return -i;
    return 1;
}

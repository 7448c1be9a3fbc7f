/*
 * Errors: a class that decides what happens next, and one sentence for people.
 *
 * A function that can fail returns int: 0, or a negative class, and takes `struct sl_err *err`
 * last. The leaf says what failed, on what, and errno; a layer that knows more wraps it; the top
 * prints it once. The struct is of fixed size and lives on the caller's stack, so an error path
 * never allocates.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

#include <sluice/types.h>

/* Classes that only the core can observe; they continue those of sluice/types.h. */
#define SL_CRASH   -7 /* a worker died without ending its job */
#define SL_TIMEOUT -8 /* a worker was silent or busy for too long */
#define SL_USAGE   -9 /* the command line or a pipeline file is wrong */

#define SL_ERR_SIZE 1024

struct sl_err {
    int cls;       /* 0 or a negative class */
    int sys_errno; /* errno behind it, or 0 */
    /* one sentence without a final full stop, cut (at a UTF-8 boundary) where too long */
    char msg[SL_ERR_SIZE];
};

/* Each returns `cls` so that a leaf can write `return sl_err_set(err, ...)`. `err` may be NULL. */
int sl_err_set(struct sl_err *err, int cls, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Like sl_err_set, with ": <strerror>" appended. */
int sl_err_sys(struct sl_err *err, int cls, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts "<text>: " in front of the message; returns err->cls. */
int sl_err_wrap(struct sl_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The class that an errno of a system call means: RESOURCE for ENOMEM, ENOSPC, EMFILE..., TRANSIENT
 * for EIO, EAGAIN..., else INTERNAL. */
int sl_err_class_of_errno(int sys_errno);

/* "input", "unsupported", "resource", "transient", "internal", "cancelled", "crash", "timeout",
 * "usage", "ok". */
const char *sl_class_name(int cls);
/* Inverse; returns 1 where there is no such class. */
int sl_class_from_name(const char *name);

#endif

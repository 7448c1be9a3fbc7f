/*
 * Errors of the numeric library and of the engines above it: a status class of sluice/types.h and
 * one sentence, in a struct on the caller's stack. Reporting an error allocates nothing.
 */
#ifndef NUM_ERR_H
#define NUM_ERR_H

#include <stdint.h>

#include <sluice/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct num_err {
    int32_t status; /* SLUICE_OK or a class; set by num_fail() */
    char text[512]; /* one sentence without a final newline */
};

/* Fills `err` (which may be NULL) and returns `status`, so that callers can write `return
 * num_fail(...)`. */
__attribute__((format(printf, 3, 4))) int32_t num_fail(struct num_err *err, int32_t status,
                                                       const char *format, ...);

/* Puts "PREFIX: " in front of the sentence and returns err->status; the class stays. */
__attribute__((format(printf, 2, 3))) int32_t num_fail_in(struct num_err *err, const char *format,
                                                          ...);

/* num_fail() for a failed allocation of `bytes` for `what`. */
int32_t num_fail_memory(struct num_err *err, const char *what, uint64_t bytes);

#ifdef __cplusplus
}
#endif

#endif

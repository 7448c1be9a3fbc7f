/*
 * export/json's engine: the transcript as it came, with other results added, printed for people.
 */
#ifndef EXPORT_JSON_H
#define EXPORT_JSON_H

#include <stddef.h>

#include "num/buf.h"
#include "num/watch.h"

/* A further input. `type` says how the bytes become a value: text/1 a string, JSON types as they
 * are. */
struct ex_addition {
    const char *name; /* the key it gets */
    const char *type;
    const void *data;
    size_t len;
};

/*
 * Checks that `defaults` is a JSON object: members that the output has in any case. SLUICE_INPUT.
 */
int ex_json_check_defaults(const char *defaults, struct num_err *err);

/*
 * Appends the JSON object `transcript` with the `n` additions after its own members, and then those
 * members of the object `defaults` (JSON text; NULL: none) that it does not have by then. Indent 2,
 * lists of plain numbers on one line, UTF-8 as it is, keys in the order of the source, numbers with
 * as few digits as give the same value back; a newline at the end.
 *
 * Returns 0; SLUICE_INPUT: bytes that are not what their type says; SLUICE_UNSUPPORTED: a type that
 * has no JSON form, or a name that the transcript already uses; SLUICE_RESOURCE; SLUICE_CANCELLED.
 * Then `out` is not to be used.
 */
int ex_json_write(const void *transcript, size_t len, const struct ex_addition *additions, size_t n,
                  const char *defaults, const struct num_watch *watch, struct num_buf *out,
                  struct num_err *err);

#endif

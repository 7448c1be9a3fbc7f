/* Digests of files by libcrypto: SHA-256, and the name that git gives a blob (SHA-1 of "blob
 * SIZE\0" and the bytes). */
#ifndef FETCH_DIGEST_H
#define FETCH_DIGEST_H

#include <stdbool.h>

#include "base/err.h"

struct sl_digests {
    char sha256[65], git_sha1[41]; /* lower-case hexadecimal */
};

/* Reads the file at `path` once. `stop` (NULL: never) is asked now and then; SLUICE_CANCELLED where
 * it says so. */
int sl_digest_file(const char *path, bool (*stop)(void *ctx), void *ctx, struct sl_digests *ret,
                   struct sl_err *err);

#endif

/*
 * References in arguments and environment values: ${in.PORT} and ${out.PORT}, nothing else.
 */
#ifndef EXEC_REFS_H
#define EXEC_REFS_H

#include <stdbool.h>
#include <stddef.h>

#include "exec/err.h"

/* The path that a reference stands for, borrowed until the next call; or NULL after filling in
 * `err`. */
typedef const char *cmd_resolver(void *context, bool is_output, const char *port,
                                 struct cmd_err *err);

/*
 * Copies `text` with its references replaced into *ret, which the caller frees. Any other `$` stays
 * as it is. Returns 0; SLUICE_UNSUPPORTED: a reference is malformed or unknown; SLUICE_RESOURCE.
 */
int cmd_refs_expand(const char *text, cmd_resolver *resolve, void *context, char **ret,
                    struct cmd_err *err);

#endif

/*
 * A file copied from an artifact and written whole: it has no name (O_TMPFILE) until all of it is
 * there. Copied and hashed a slice at a time, so that a large one does not hold up the loop. A file
 * of the user's is also on the disk before it has its name: between the last slice and that
 * somebody syncs its descriptor (sched/outputs.c).
 */
#ifndef RUN_PUBLISH_H
#define RUN_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sl_publish;

/*
 * Begins to write `path` from `from` (taken, also on failure), `size` bytes of hash `hash`. `tag`
 * tells this run from others that write into the same folder: a temporary name, where one is
 * needed, is made of it and of the path, so that what a killed core leaves is replaced by the core
 * that goes on. `durable`: sl_publish_name() gives the name.
 */
int sl_publish_begin(const char *path, const char *tag, bool durable, int from, uint64_t size,
                     uint64_t hash, struct sl_publish **ret, struct sl_err *err);

/* Copies at most `max` bytes more. 0: call again; 1: all is written and, unless it is durable, has
 * its name. SLUICE_INTERNAL: what was copied is not of that hash. */
int sl_publish_step(struct sl_publish *p, uint64_t max, struct sl_err *err);

/* The descriptor to be synced, borrowed; and then the name, which replaces an older file. */
int sl_publish_fd(const struct sl_publish *p);
int sl_publish_name(struct sl_publish *p, struct sl_err *err);

/* Frees it; what was not finished leaves nothing behind. NULL is fine. */
void sl_publish_destroy(struct sl_publish *p);

#endif

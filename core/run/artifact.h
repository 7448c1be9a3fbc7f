/*
 * Artifacts in a run folder: an unnamed file (O_TMPFILE, never with O_EXCL) that a worker fills
 * through a shared map, named when its task succeeded, hashed, and from then on only read. Where
 * the file system has no O_TMPFILE the file has a temporary name until then.
 */
#ifndef RUN_ARTIFACT_H
#define RUN_ARTIFACT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* A file being written. `struct sl_draft d = SL_DRAFT_NONE;` */
struct sl_draft {
    int fd;          /* read-write, O_CLOEXEC; -1: none */
    char *temp_path; /* owned; NULL with O_TMPFILE */
};
#define SL_DRAFT_NONE                                                                              \
    { .fd = -1 }

/* How names of drafts begin that have one; a core that was killed leaves them behind. */
#define SL_DRAFT_PREFIX ".draft-"

int sl_draft_create(const char *folder, struct sl_draft *ret, struct sl_err *err);

/*
 * Gives the draft its name (replacing what bears it), opens it anew and read-only (*ret_fd, owned)
 * and checks that it is `size` bytes long. The draft is empty after, whatever happened; a failure
 * leaves no file. *ret_held: a process still has the file open or mapped for writing and could
 * change it, as far as the kernel says. SIGIO must be ignored.
 */
int sl_draft_commit(struct sl_draft *d, const char *path, uint64_t size, int *ret_fd,
                    bool *ret_held, struct sl_err *err);
void sl_draft_discard(struct sl_draft *d);

/* Opens an artifact read-only. With `check_hash` its content must still be what it was.
 * SLUICE_INTERNAL: it is not. */
int sl_artifact_open(const char *path, uint64_t size, uint64_t hash, int check_hash, int *ret_fd,
                     struct sl_err *err);

/* Makes the XXH3-64 of a file of `size` bytes, a step at a time. The descriptor is taken. */
struct sl_hasher *sl_hasher_create(int fd, uint64_t size);
/* Reads up to `max` bytes more. 1: done, *ret_hash is set; 0: call again; SLUICE_INTERNAL: it
 * cannot be read to its end. */
int sl_hasher_step(struct sl_hasher *h, uint64_t max, uint64_t *ret_hash, struct sl_err *err);
void sl_hasher_destroy(struct sl_hasher *h);

/* ".json", ".txt", ".safetensors" or ".bin": what a payload of a port type is called. */
const char *sl_type_extension(const char *type);

#endif

/*
 * Where the bytes of an input come from: a file that is already open, or memory.
 */
#ifndef AUDIO_SOURCE_H
#define AUDIO_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "num/err.h"

/*
 * Seekable bytes of a known size. read_at() fills up to `len` bytes from `offset` and returns how
 * many, 0 at the end, or a negative errno.
 */
struct ad_source {
    void *ctx;
    int (*read_at)(void *ctx, int64_t offset, uint8_t *data, int len);
    int64_t size; /* bytes */
};

/* A regular file, open for reading. */
struct ad_file {
    int fd;
    struct ad_source source; /* valid until ad_file_finish() */
};

/*
 * Opens `path`, called `name` in messages. Folders, devices and pipes are refused. SLUICE_INPUT:
 * cannot be opened; SLUICE_TRANSIENT: the disk or network failed; SLUICE_RESOURCE: no file
 * descriptors or memory.
 */
int ad_file_init(struct ad_file *file, const char *path, const char *name, struct num_err *err);
void ad_file_finish(struct ad_file *file);

/* The class of a failed system call on an input. */
int ad_errno_status(int error);

/* Bytes in memory, borrowed for the life of the source. */
struct ad_memory {
    const uint8_t *data;
    struct ad_source source;
};

void ad_memory_init(struct ad_memory *memory, const void *data, size_t len);

#endif

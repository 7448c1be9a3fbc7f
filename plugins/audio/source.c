/*
 * Byte sources for the demuxer: a file descriptor read with pread, or a span of memory.
 *
 * FFmpeg never sees a path. It reads through these, so no protocol, playlist or reference inside a
 * file can make it open anything else, and a failed read keeps its errno, which decides whether a
 * retry makes sense.
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int ad_errno_status(int error) {
    switch (error) {
    case EIO:
    case EAGAIN:
    case EINTR:
    case ESTALE:
    case ETIMEDOUT:
    case ENOTCONN:
    case EHOSTDOWN:
        return SLUICE_TRANSIENT;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOSPC:
        return SLUICE_RESOURCE;
    default:
        return SLUICE_INPUT;
    }
}

static int file_read_at(void *ctx, int64_t offset, uint8_t *data, int len) {
    const struct ad_file *file = ctx;
    ssize_t n;
    do
        n = pread(file->fd, data, (size_t)len, offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

/* O_NONBLOCK keeps open() of a pipe from waiting for a writer; regular files ignore it. */
int ad_file_init(struct ad_file *file, const char *path, const char *name, struct num_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return num_fail(err, ad_errno_status(error), "%s: cannot be opened: %s", name,
                        strerror(error));
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return num_fail(err, SLUICE_INPUT, "%s: is a %s, not a file", name,
                        S_ISDIR(st.st_mode) ? "folder" : "device or pipe");
    }
    file->fd = fd;
    file->source = (struct ad_source){.ctx = file, .read_at = file_read_at, .size = st.st_size};
    return SLUICE_OK;
}

void ad_file_finish(struct ad_file *file) {
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

static int memory_read_at(void *ctx, int64_t offset, uint8_t *data, int len) {
    const struct ad_memory *memory = ctx;
    int64_t left = memory->source.size - offset;
    if (left <= 0)
        return 0;
    int n = left < len ? (int)left : len;
    memcpy(data, memory->data + offset, (size_t)n);
    return n;
}

void ad_memory_init(struct ad_memory *memory, const void *data, size_t len) {
    memory->data = data;
    memory->source =
        (struct ad_source){.ctx = memory, .read_at = memory_read_at, .size = (int64_t)len};
}

/*
 * Writing output files, see publish.h. A new name is given by linkat(); an old file is replaced by
 * a link under a temporary name and rename(), so a core that is killed leaves a stray name only
 * between these two calls. Where the file system has no O_TMPFILE the temporary name is there from
 * the beginning.
 *
 * Written slices are handed to the disk as they come (sync_file_range), so that the sync before the
 * name has little left to wait for.
 */
#include "run/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/mem.h"

#define CHUNK      (64u << 10)
#define PUSH_BYTES (1u << 20) /* smaller files are written by the fsync */

struct sl_publish {
    char *path, *temp; /* owned */
    int from, to;      /* owned */
    bool durable;
    bool is_named; /* `temp` is there */
    uint64_t size, at, hash;
    XXH3_state_t *state;
};

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash != path ? sl_xstrndup(path, (size_t)(slash - path)) : sl_xstrdup("/");
}

/* Of fixed length: the path's own name may be as long as names can be. */
static char *temp_name(const char *path, const char *tag) {
    sl_autofree char *folder = folder_of(path), *both = sl_xasprintf("%s\n%s", tag, path);
    return sl_xasprintf("%s/.sluice-%016" PRIx64 ".tmp", folder,
                        (uint64_t)XXH3_64bits(both, strlen(both)));
}

static int open_unnamed(struct sl_publish *p) {
    sl_autofree char *folder = folder_of(p->path);
    int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    fd = open(p->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    p->is_named = fd >= 0;
    return fd;
}

static int failed(const struct sl_publish *p, struct sl_err *err) {
    return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be written", p->path);
}

int sl_publish_begin(const char *path, const char *tag, bool durable, int from, uint64_t size,
                     uint64_t hash, struct sl_publish **ret, struct sl_err *err) {
    struct sl_publish *p = sl_xcalloc(1, sizeof *p);
    *p = (struct sl_publish){.path = sl_xstrdup(path),
                             .durable = durable,
                             .temp = temp_name(path, tag),
                             .from = from,
                             .size = size,
                             .hash = hash,
                             .state = XXH3_createState()};
    unlink(p->temp);
    p->to = open_unnamed(p);
    int rc = p->to < 0 ? failed(p, err) : 0;
    if (rc == 0 && !p->state)
        rc = sl_err_set(err, SLUICE_RESOURCE, "%s: no memory to write it", path);
    if (rc < 0) {
        sl_publish_destroy(p);
        return rc;
    }
    XXH3_64bits_reset(p->state);
    *ret = p;
    return 0;
}

void sl_publish_destroy(struct sl_publish *p) {
    if (!p)
        return;
    if (p->is_named)
        unlink(p->temp);
    sl_close(&p->from);
    sl_close(&p->to);
    XXH3_freeState(p->state);
    free(p->path);
    free(p->temp);
    free(p);
}

static int copy_some(struct sl_publish *p, uint64_t end, struct sl_err *err) {
    char chunk[CHUNK];
    uint64_t began = p->at;
    while (p->at < end) {
        size_t want = end - p->at < sizeof chunk ? (size_t)(end - p->at) : sizeof chunk;
        ssize_t n = pread(p->from, chunk, want, (off_t)p->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return sl_err_sys(err, SLUICE_INTERNAL, n < 0 ? errno : 0,
                              "%s: its artifact cannot be read to its end", p->path);
        XXH3_64bits_update(p->state, chunk, (size_t)n);
        if (sl_write_all(p->to, chunk, (size_t)n, err) < 0)
            return sl_err_wrap(err, "%s", p->path);
        p->at += (uint64_t)n;
    }
    if (p->durable && p->size > PUSH_BYTES)
        sync_file_range(p->to, (off_t)began, (off_t)(p->at - began), SYNC_FILE_RANGE_WRITE);
    return 0;
}

int sl_publish_fd(const struct sl_publish *p) {
    return p->to;
}

int sl_publish_name(struct sl_publish *p, struct sl_err *err) {
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", p->to);
    if (!p->is_named && linkat(AT_FDCWD, self, AT_FDCWD, p->path, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (!p->is_named && errno == EEXIST)
        p->is_named = linkat(AT_FDCWD, self, AT_FDCWD, p->temp, AT_SYMLINK_FOLLOW) == 0;
    if (!p->is_named || rename(p->temp, p->path) < 0)
        return failed(p, err);
    p->is_named = false;
    return 0;
}

int sl_publish_step(struct sl_publish *p, uint64_t max, struct sl_err *err) {
    int rc = copy_some(p, p->size - p->at > max ? p->at + max : p->size, err);
    if (rc < 0 || p->at < p->size)
        return rc;
    if (XXH3_64bits_digest(p->state) != p->hash)
        return sl_err_set(err, SLUICE_INTERNAL,
                          "%s: its artifact was changed after it was committed", p->path);
    sl_close(&p->from);
    rc = p->durable ? 0 : sl_publish_name(p, err);
    return rc < 0 ? rc : 1;
}

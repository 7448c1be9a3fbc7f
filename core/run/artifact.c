/* Artifacts: drafts, commit, verified opening. See artifact.h. */
#include "run/artifact.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"

#define HASH_CHUNK (64u << 10) /* on the stack, and within the first caches */

int sl_draft_create(const char *folder, struct sl_draft *ret, struct sl_err *err) {
    struct sl_draft d = {.fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644)};
    if (d.fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        d.temp_path = sl_path_join(folder, SL_DRAFT_PREFIX "XXXXXX");
        d.fd = mkostemp(d.temp_path, O_CLOEXEC);
    }
    if (d.fd < 0) {
        int cls =
            sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: no file can be made", folder);
        free(d.temp_path);
        return cls;
    }
    *ret = d;
    return 0;
}

void sl_draft_discard(struct sl_draft *d) {
    if (d->temp_path)
        unlink(d->temp_path);
    free(d->temp_path);
    d->temp_path = NULL;
    sl_close(&d->fd);
}

static int name_draft(struct sl_draft *d, const char *path, struct sl_err *err) {
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", d->fd);
    int rc;
    if (d->temp_path) {
        rc = rename(d->temp_path, path);
    } else {
        unlink(path);
        rc = linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
    }
    if (rc < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be named", path);
    free(d->temp_path);
    d->temp_path = NULL;
    return 0;
}

/* ---- hashing ---- */

struct sl_hasher {
    int fd; /* owned */
    uint64_t size, at;
    XXH3_state_t *state;
};

struct sl_hasher *sl_hasher_create(int fd, uint64_t size) {
    struct sl_hasher *h = sl_xcalloc(1, sizeof *h);
    *h = (struct sl_hasher){.fd = fd, .size = size, .state = XXH3_createState()};
    if (h->state)
        XXH3_64bits_reset(h->state);
    return h;
}

void sl_hasher_destroy(struct sl_hasher *h) {
    if (!h)
        return;
    sl_close(&h->fd);
    XXH3_freeState(h->state);
    free(h);
}

/* Reads rather than maps: a worker that still holds the file could truncate it under a map. */
int sl_hasher_step(struct sl_hasher *h, uint64_t max, uint64_t *ret_hash, struct sl_err *err) {
    char chunk[HASH_CHUNK];
    uint64_t end = h->size - h->at > max ? h->at + max : h->size;
    if (!h->state)
        return sl_err_set(err, SLUICE_RESOURCE, "no memory to hash it");
    while (h->at < end) {
        size_t want = end - h->at < sizeof chunk ? (size_t)(end - h->at) : sizeof chunk;
        ssize_t n = pread(h->fd, chunk, want, (off_t)h->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return sl_err_sys(err, SLUICE_INTERNAL, n < 0 ? errno : 0, "cannot be read to its end");
        XXH3_64bits_update(h->state, chunk, (size_t)n);
        h->at += (uint64_t)n;
    }
    if (h->at < h->size)
        return 0;
    *ret_hash = XXH3_64bits_digest(h->state);
    return 1;
}

static int hash_whole(int fd, uint64_t size, uint64_t *ret_hash, struct sl_err *err) {
    struct sl_hasher *h = sl_hasher_create(fd, size);
    int rc = sl_hasher_step(h, UINT64_MAX, ret_hash, err);
    h->fd = -1;
    sl_hasher_destroy(h);
    return rc < 0 ? rc : 0;
}

static int open_sized(const char *path, uint64_t size, int *ret_fd, struct sl_err *err) {
    struct stat st;
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "%s: cannot be opened", path);
    if ((uint64_t)st.st_size != size)
        return sl_err_set(err, SLUICE_INTERNAL,
                          "%s: is %lld bytes long, not %" PRIu64 " as committed", path,
                          (long long)st.st_size, size);
    *ret_fd = sl_steal_fd(&fd);
    return 0;
}

/* A read lease is refused while anyone has the file open or mapped for writing (fcntl(2)). Other
 * refusals tell nothing. */
static bool is_held(int fd) {
    if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
        return errno == EAGAIN;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
}

int sl_draft_commit(struct sl_draft *d, const char *path, uint64_t size, int *ret_fd,
                    bool *ret_held, struct sl_err *err) {
    int fd = -1, rc = name_draft(d, path, err);
    sl_draft_discard(d);
    if (rc == 0)
        rc = open_sized(path, size, &fd, err);
    if (rc < 0) {
        unlink(path);
        return rc;
    }
    *ret_held = is_held(fd);
    *ret_fd = fd;
    return 0;
}

int sl_artifact_open(const char *path, uint64_t size, uint64_t hash, int check_hash, int *ret_fd,
                     struct sl_err *err) {
    sl_autoclose int fd = -1;
    uint64_t now;
    int rc = open_sized(path, size, &fd, err);
    if (rc == 0 && check_hash) {
        rc = hash_whole(fd, size, &now, err);
        if (rc < 0)
            return sl_err_wrap(err, "%s", path);
        if (now != hash)
            return sl_err_set(err, SLUICE_INTERNAL, "%s: was changed after it was committed", path);
    }
    if (rc == 0)
        *ret_fd = sl_steal_fd(&fd);
    return rc;
}

const char *sl_type_extension(const char *type) {
    static const struct {
        const char *type, *extension;
    } table[] = {
        {SLUICE_TYPE_AUDIO, ".safetensors"},
        {SLUICE_TYPE_ATTENTION, ".safetensors"},
        {SLUICE_TYPE_EMBEDDINGS, ".safetensors"},
        {SLUICE_TYPE_REGIONS, ".json"},
        {SLUICE_TYPE_TRANSCRIPT, ".json"},
        {SLUICE_TYPE_TURNS, ".json"},
        {SLUICE_TYPE_JSON, ".json"},
        {SLUICE_TYPE_TEXT, ".txt"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].type, type) == 0)
            return table[i].extension;
    return ".bin";
}

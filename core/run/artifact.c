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

#define HASH_CHUNK (1u << 20)

int sl_draft_create(const char *folder, struct sl_draft *ret, struct sl_err *err) {
    struct sl_draft d = {.fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644)};
    if (d.fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        d.temp_path = sl_path_join(folder, ".draft-XXXXXX");
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

/* Reads rather than maps: a worker that still holds the file could truncate it under a map. */
int sl_hash_fd(int fd, uint64_t size, uint64_t *ret_hash, struct sl_err *err) {
    sl_autofree char *chunk = sl_xmalloc(HASH_CHUNK);
    XXH3_state_t *state = XXH3_createState();
    uint64_t at = 0;
    ssize_t n = 1;
    XXH3_64bits_reset(state);
    while (at < size && n > 0) {
        n = pread(fd, chunk, HASH_CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0) {
            XXH3_64bits_update(state, chunk, (size_t)n);
            at += (uint64_t)n;
        }
    }
    *ret_hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    if (at < size)
        return sl_err_sys(err, SLUICE_INTERNAL, n < 0 ? errno : 0, "cannot be read to its end");
    return 0;
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

/* A read lease is refused while anyone has the file open or mapped for writing (fcntl(2)). Other refusals tell nothing. */
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
        rc = sl_hash_fd(fd, size, &now, err);
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

/*
 * Syncing files, see durable.h. sync_file_range() begins to write all files of a batch before any
 * is waited for: the disk gets them as one stream. It promises nothing by itself; fsync does, and
 * is called for each. A journalling file system commits everything that changed for the first of
 * them. Called one after the other, the next one finds its folder changed again meanwhile, and
 * makes another commit; called at the same time, all wait for the same one or two.
 */
#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define MAX_FILES   (SL_DURABLE_MAX_FDS + SL_DURABLE_MAX_NAMES)
#define MAX_THREADS 8
#define PIECE_FLAGS                                                                                \
    (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)

struct file {
    int fd;
    const char *name; /* NULL: one of the batch's descriptors, which is borrowed */
    int error;        /* errno of its sync; 0: it is on the disk */
};

struct files {
    struct file all[MAX_FILES];
    int n;
    void (*each)(struct files *f, struct file *one); /* what is done with them */
    int folder;                                      /* for it */
    atomic_int next;
};

static int open_name(int folder, const char *name, struct stat *st) {
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, st) < 0 || !(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))))
        sl_close(&fd);
    return fd;
}

static int sync_open(int fd) {
    return fsync(fd) == 0 || errno == EINVAL || errno == EROFS || errno == ENOTSUP ? 0 : errno;
}

static int failed(int error, const char *name, struct sl_err *err) {
    return sl_err_sys(err, sl_err_class_of_errno(error), error, "%s%scannot be brought to the disk",
                      name ? name : "", name ? ": " : "");
}

static int open_all(const struct sl_durable_batch *b, struct files *f, struct sl_err *err) {
    struct stat st;
    for (int i = 0; i < b->n_fds && i < SL_DURABLE_MAX_FDS; i++)
        f->all[f->n++] = (struct file){.fd = b->fds[i]};
    for (const char *name = b->names; name < b->names + b->len; name += strlen(name) + 1) {
        if (f->n == MAX_FILES)
            return sl_err_set(err, SLUICE_INTERNAL, "%s: one name too many to be synced", name);
        int fd = open_name(b->folder, name, &st);
        if (fd < 0)
            continue;
        if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > b->most) {
            b->each_large(b->ctx, name);
            close(fd);
            continue;
        }
        f->all[f->n++] = (struct file){.fd = fd, .name = name};
    }
    return 0;
}

static void *do_some(void *ctx) {
    struct files *f = ctx;
    for (int i; (i = atomic_fetch_add(&f->next, 1)) < f->n;)
        f->each(f, &f->all[i]);
    return NULL;
}

static void do_all(struct files *f, int n_threads) {
    pthread_t threads[MAX_THREADS];
    int n = 0;
    while (n < n_threads - 1 && n < MAX_THREADS && n < f->n - 1 &&
           pthread_create(&threads[n], NULL, do_some, f) == 0)
        n++;
    do_some(f);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void sync_one(struct files *f, struct file *one) {
    (void)f;
    one->error = sync_open(one->fd);
}

int sl_durable_sync(const struct sl_durable_batch *b, uint64_t *ret_failed, struct sl_err *ret_why,
                    struct sl_err *err) {
    struct files f = {.each = sync_one};
    int rc = open_all(b, &f, err);
    for (int i = 0; i < f.n; i++)
        sync_file_range(f.all[i].fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* of a folder: nothing */
    do_all(&f, b->n_threads);
    *ret_failed = 0;
    for (int i = 0; i < f.n; i++) {
        const struct file *one = &f.all[i];
        if (one->error && one->name)
            rc = failed(one->error, one->name, err);
        else if (one->error && failed(one->error, NULL, ret_why) < 0)
            *ret_failed |= (uint64_t)1 << i;
        if (one->name)
            close(one->fd);
    }
    return rc;
}

static void remove_one(struct files *f, struct file *one) {
    unlinkat(f->folder, one->name, sl_ends_with(one->name, "/") ? AT_REMOVEDIR : 0);
}

void sl_durable_remove(int folder, const char *names, size_t len, int n_threads) {
    for (int folders = 0; folders < 2; folders++) {
        struct files f = {.each = remove_one, .folder = folder};
        for (const char *name = names; name < names + len && f.n < MAX_FILES;
             name += strlen(name) + 1)
            if (sl_ends_with(name, "/") == folders)
                f.all[f.n++].name = name;
        do_all(&f, n_threads);
    }
}

int sl_durable_sync_piece(int folder, const char *name, uint64_t *at, struct sl_err *err) {
    struct stat st;
    sl_autoclose int fd = open_name(folder, name, &st);
    if (fd < 0)
        return 1;
    if (*at < (uint64_t)st.st_size) {
        sync_file_range(fd, (off_t)*at, (off_t)SL_DURABLE_PIECE, PIECE_FLAGS);
        *at += SL_DURABLE_PIECE;
        return 0;
    }
    int error = sync_open(fd);
    return error ? failed(error, name, err) : 1;
}

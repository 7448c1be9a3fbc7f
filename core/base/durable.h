/*
 * Files brought to the disk, so that a power cut does not take them. Used by `sluice-sync`, the
 * process that does it for a run (sched/durable.c asks, worker/sync.c answers), and by the core
 * itself where there is no such process.
 */
#ifndef BASE_DURABLE_H
#define BASE_DURABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SL_DURABLE_MAX_NAMES 200
#define SL_DURABLE_MAX_BYTES 60000 /* of all names */
#define SL_DURABLE_MAX_FDS   60

/* A file of more bytes than this is brought to the disk piece by piece, between batches. */
#define SL_DURABLE_PIECE ((uint64_t)8 << 20)

/* What is to be brought to the disk together. */
struct sl_durable_batch {
    const int *fds; /* open files and folders, at most SL_DURABLE_MAX_FDS; borrowed */
    int n_fds;
    /* At most SL_DURABLE_MAX_NAMES paths relative to the descriptor `folder`, each ended by a NUL.
     * Those that are missing, or cannot be opened, are passed over. */
    int folder;
    const char *names;
    size_t len;
    /* wait for the disk at the same time, which costs a file system one commit instead of many */
    int n_threads;
    /* Files among the names of more bytes than this are told, and not waited for. */
    uint64_t most;
    void (*each_large)(void *ctx, const char *name);
    void *ctx;
};

/* Waits until it is there. File systems that cannot sync are passed over. A failure does not keep
 * the rest from the disk: *ret_failed has a bit for each of `fds` that is not there, `ret_why` says
 * why of one of them; a name that is not there is an error. */
int sl_durable_sync(const struct sl_durable_batch *b, uint64_t *ret_failed, struct sl_err *ret_why,
                    struct sl_err *err);

/* Brings the next piece of a large file from *at on to the disk. 1: it is there whole, or it is
 * gone; 0: call again. */
int sl_durable_sync_piece(int folder, const char *name, uint64_t *at, struct sl_err *err);

/* Removes files, and then empty folders: names that end with a slash; at most SL_DURABLE_MAX_NAMES,
 * as above. What cannot be removed stays. To free the blocks of a file can mean to wait, too, so
 * this has threads as well. */
void sl_durable_remove(int folder, const char *names, size_t len, int n_threads);

/*
 * What the core and `sluice-sync` say to each other, over a SOCK_SEQPACKET pair. First the core
 * sends the path of a folder; each further message is a batch: SL_DURABLE_SYNC and names, with
 * descriptors (SCM_RIGHTS), or SL_DURABLE_REMOVE and names. An answer follows each batch, and each
 * large file that is done.
 */
#define SL_DURABLE_SYNC   's'
#define SL_DURABLE_REMOVE 'r'
struct sl_durable_answer {
    uint32_t n_batches;      /* done so far */
    uint32_t n_large;        /* large files that are not on the disk yet */
    uint64_t failed;         /* a bit for each descriptor of the batch that is not there */
    char why[SL_ERR_SIZE];   /* of one of these, ended by a NUL */
    char error[SL_ERR_SIZE]; /* not empty: something that was named could not be brought there */
};

#endif

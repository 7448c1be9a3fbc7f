/*
 * A folder that is watched: files that are put into it are told once they are settled.
 *
 * inotify says what changes; a scan at the start, after a lost event (IN_Q_OVERFLOW) and every
 * SL_INBOX_RESCAN_S (file systems of other machines send no events) finds what no event told. A
 * file is settled when its size and time have not changed for SL_INBOX_SETTLE_S and nobody has it
 * open for writing; one that was seen to be closed, or moved in, for SL_INBOX_CLOSED_S. Where the
 * kernel cannot say whether it is open (another file system, another owner), time alone decides.
 * Empty files, names that begin with a dot, links to folders and folders are passed over.
 *
 * Each name is told once, however often its file is written again.
 */
#ifndef SCHED_INBOX_H
#define SCHED_INBOX_H

#include "base/log.h"
#include "sched/loop.h"

#define SL_INBOX_SETTLE_S 2.0
#define SL_INBOX_CLOSED_S 0.5
#define SL_INBOX_RESCAN_S 10.0

struct sl_inbox;

struct sl_inbox_spec {
    const char *folder; /* absolute; borrowed, as all here */
    const char *type;   /* of the input that takes the files: run/gather.h */
    struct sl_loop *loop;
    const struct sl_log *log;
    /* Files that are settled, sorted by name. May close the inbox. */
    void (*settled)(void *ctx, const char *const *paths, int n);
    /* The folder is gone, or cannot be watched any more; `why` is a sentence. */
    void (*lost)(void *ctx, const char *why);
    void *ctx;
};

/* SL_USAGE: the folder cannot be watched. */
int sl_inbox_create(const struct sl_inbox_spec *spec, struct sl_inbox **ret, struct sl_err *err);
/* Not from within `settled` or `lost`. NULL is fine. */
void sl_inbox_destroy(struct sl_inbox *in);
/* Stops watching; nothing is told any more. */
void sl_inbox_close(struct sl_inbox *in);
bool sl_inbox_is_open(const struct sl_inbox *in); /* false for NULL */

/* One event of inotify, as it was read; `name` "" for none. For tests. */
void sl_inbox_event(struct sl_inbox *in, unsigned mask, const char *name);

#endif

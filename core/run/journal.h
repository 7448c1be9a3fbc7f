/*
 * The journal of a run: append-only records, each one line that a person can read:
 *
 *     <XXH3-64 of the JSON text, 16 hex digits> <JSON object>\n
 *
 * Records are gathered, written once a loop turn, and brought to the disk together, begun at most
 * 25 ms later, so that a disk that syncs within 25 ms loses at most 50 ms to a power cut. A killed
 * core loses nothing that was written. A reader stops at the first line that is damaged or
 * unfinished, which is what a cut leaves behind.
 */
#ifndef RUN_JOURNAL_H
#define RUN_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/str.h"

#define SL_JOURNAL_SYNC_MS 25

struct sl_journal {
    int fd;
    struct sl_str pending; /* lines not yet written */
    int64_t unsynced_ms;   /* when the first unsynced byte was written, 0: none */
};

int sl_journal_create(const char *path, struct sl_journal *ret, struct sl_err *err);
/* Opens the journal of a run that another core began, to go on after its first `good` bytes: what
 * follows is dropped. */
int sl_journal_reopen(const char *path, uint64_t good, struct sl_journal *ret, struct sl_err *err);

/* Adds a record (taken) with the key `time` set to now. Nothing is written yet. */
void sl_journal_add(struct sl_journal *j, json_t *record);

/* Writes what is pending. Call once a loop turn. Who brings it to the disk sets `unsynced_ms` to 0
 * before. */
int sl_journal_write(struct sl_journal *j, struct sl_err *err);

/* Milliseconds until a sync is due, or -1: nothing to sync. */
int sl_journal_due_ms(const struct sl_journal *j);

/* Writes, syncs where that is still to do, and closes. */
int sl_journal_close(struct sl_journal *j, struct sl_err *err);

/*
 * Reads records from a span, in order; `each` gets a borrowed object. *ret_good is the length of
 * the undamaged beginning. Pure. Returns the number of records.
 */
int sl_journal_read(const char *text, size_t len, void (*each)(void *ctx, const json_t *record),
                    void *ctx, size_t *ret_good);

/* The same from a file, read piece by piece: a long journal is never in memory. Returns 0, also
 * where it is damaged at some point (records before that were given). `ret_good` may be NULL. */
int sl_journal_read_file(const char *path, void (*each)(void *ctx, const json_t *record), void *ctx,
                         uint64_t *ret_good, struct sl_err *err);

/* The same for those records only that `wants` says yes to: it gets the text of each, whose
 * checksum was right, before it is taken apart, which is most of the work. NULL: all. */
typedef bool sl_journal_wants(void *ctx, const char *text, size_t len);
int sl_journal_scan_file(const char *path, sl_journal_wants *wants,
                         void (*each)(void *ctx, const json_t *record), void *ctx,
                         uint64_t *ret_good, struct sl_err *err);

/* The item that the text of a record names; false where it names none, or not as our writer writes
 * it: then the record has to be taken apart. */
#define SL_JOURNAL_NAME_BYTES 1024
bool sl_journal_item(const char *text, size_t len, char ret_name[SL_JOURNAL_NAME_BYTES]);

#endif

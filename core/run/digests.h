/*
 * Digests of files: XXH3-64 of what is in them, remembered for large ones by path, size, times and
 * inode, so that a model is read once and not in every run. One text file, a line each:
 *
 *     <XXH3-64 of the rest> <size> <mtime_ns> <ctime_ns> <inode> <XXH3-64 of the file> <path>\n
 *
 * Lines are appended; the last of a path counts; a damaged one is none.
 */
#ifndef RUN_DIGESTS_H
#define RUN_DIGESTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/json.h"

/* Smaller files are read faster than they are looked up. */
#define SL_DIGEST_SMALL (1u << 20)

struct sl_digests {
    json_t *known; /* path -> the rest of its line, without the path */
    int n_lines;   /* in the file */
    int fd;        /* to append to; -1: they are forgotten */
};

/* From the bytes of the file. Pure; fuzzed. Free with sl_digests_finish(). */
void sl_digests_parse(const char *text, size_t len, struct sl_digests *ret);
/* Reads ROOT/digests (NULL: nothing is remembered), rewriting it where most lines are of no use any
 * more. */
void sl_digests_open(const char *root, struct sl_digests *ret);
void sl_digests_finish(struct sl_digests *d);

bool sl_digests_find(const struct sl_digests *d, const char *path, const struct stat *st,
                     uint64_t *ret_hash);
/* Remembers the hash of a file that was in state `st` before it was read; not of one that changed a
 * moment ago, since it could change again within the same tick of the clock. */
void sl_digests_add(struct sl_digests *d, const char *path, const struct stat *st, uint64_t hash);

/* "SIZE:HASH", as recipes name content; owned. */
char *sl_digest_text(uint64_t size, uint64_t hash);

#endif

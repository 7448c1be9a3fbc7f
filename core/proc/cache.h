/*
 * The cache of plugin descriptions: one JSON file, {"sum": 16 hex digits, "worker": ..., "plugins":
 * [...]}, where sum is the XXH3 of all that follows it. Whatever does not fit is dropped: damage
 * costs new probes, never an error.
 */
#ifndef PROC_CACHE_H
#define PROC_CACHE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What tells one version of a file from another. */
struct sl_cache_key {
    const char *path; /* absolute */
    int64_t size, mtime_ns;
    const char *build; /* hex, or "" */
};

struct sl_cache {
    json_t *entries; /* array of {path, size, mtime_ns, build, description | broken, until?} */
    bool changed;
};

/* How long a reason counts that may pass by itself. */
#define SL_CACHE_PASSING_S 3600

/*
 * Reads the cache out of `len` bytes; entries by another worker (`worker`: its path, size and time
 * as one text) count as none, and so do those that counted until before `now_s` (wall clock).
 * Always leaves a usable cache. Pure; fuzzed.
 */
void sl_cache_parse(const char *text, size_t len, const char *worker, int64_t now_s,
                    struct sl_cache *ret);
/* The file's text; owned. */
char *sl_cache_text(const struct sl_cache *c, const char *worker);

/* The entry of this very version of a file, or NULL; borrowed until the next change. */
const json_t *sl_cache_find(const struct sl_cache *c, const struct sl_cache_key *key);
/* Puts an entry in place of all of the same path: the description (borrowed), or the reason why
 * there is none. It counts until `until_s`; 0: for good. */
void sl_cache_put(struct sl_cache *c, const struct sl_cache_key *key, json_t *description,
                  const char *broken, int64_t until_s);
/* Drops entries whose file is gone. */
void sl_cache_prune(struct sl_cache *c);
void sl_cache_finish(struct sl_cache *c);

#endif

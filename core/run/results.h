/*
 * Results kept across runs: what a stage made of the same inputs, parameters and models is found
 * again by what it was made of.
 *
 *   ROOT/ab/abcd...32 digits            an entry: "<XXH3-64 of the JSON, 16 hex digits> <JSON>\n"
 *   ROOT/ab/abcd...32 digits.PORT       its outputs: links to artifacts of the run that made them,
 *                                       or copies
 *   ROOT/last/cd/cdef...16 digits       a symbolic link whose target is the key of the newest entry
 *                                       of one stage and file: what a miss is compared with, to say
 *                                       what has changed
 *
 * The JSON of an entry: {"recipe": {...}, "use", "stage", "item", "run", "outputs": [{"port",
 * "size", "xxh3"}]}. The *recipe* is all that decides the bytes of the outputs; its text, hashed,
 * is the key:
 *
 *   {"use", "version", "build", "device", "params": {...}, "files": {path: digest},
 *    "inputs": {port: digest}, "env"}
 *
 * The entry is written last and says the hashes of its outputs, so half an entry is none, and a
 * damaged output is noticed. Nothing is synced: what a power cut damages is dropped when it is met.
 * No locks: an entry that another process removes meanwhile is a miss.
 */
#ifndef RUN_RESULTS_H
#define RUN_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

#define SL_RESULT_KEY_SIZE 33

/* The folder of results; owned. NULL: there is no place for it. */
char *sl_results_root(void);

void sl_results_key(const json_t *recipe, char ret_key[SL_RESULT_KEY_SIZE]);

/* An entry from its bytes and back. *ret is owned. SLUICE_INPUT: it is damaged or not one. Pure;
 * fuzzed. */
int sl_result_parse(const char *text, size_t len, json_t **ret, struct sl_err *err);
char *sl_result_text(const json_t *entry);

/* What in words differs between the recipe of before and that of now, as the end of "...: "; owned.
 * NULL: nothing. Pure. */
char *sl_recipe_difference(const json_t *before, const json_t *now);

/* The entry of a key, owned; NULL: there is none. Using it makes it younger (sl_result_use). */
json_t *sl_result_find(const char *root, const char *key);
void sl_result_use(const char *root, const char *key);
/* Where an output of an entry lies; owned. */
char *sl_result_path(const char *root, const char *key, const char *port);
/* Makes the folder that the key's files belong in. */
int sl_result_make_place(const char *root, const char *key, struct sl_err *err);
/* Writes the entry, after its outputs. */
int sl_result_write(const char *root, const char *key, const json_t *entry, struct sl_err *err);
void sl_result_remove(const char *root, const char *key);

/* The newest key of what `trail` names (any text); false: none. */
bool sl_result_last(const char *root, const char *trail, char ret_key[SL_RESULT_KEY_SIZE]);
void sl_result_set_last(const char *root, const char *trail, const char *key);

/* ---- All of them ---- */

struct sl_result_info {
    char key[SL_RESULT_KEY_SIZE];
    uint64_t bytes; /* of its outputs and itself */
    int64_t used_s; /* when it was made or last used, seconds since 1970 */
};
struct sl_result_list {
    struct sl_result_info *items; /* by use, newest first */
    int n, cap;
    uint64_t bytes;
};
struct sl_result_list sl_results_list(const char *root);
void sl_result_list_finish(struct sl_result_list *list);

struct sl_result_pruned {
    int n, n_left;
    uint64_t bytes, bytes_left;
};
/* Removes entries that were last used before `max_age_s` (< 0: any age), and the oldest until the
 * rest is at most `max_bytes` large; also outputs without an entry and links that lead nowhere. */
struct sl_result_pruned sl_results_prune(const char *root, uint64_t max_bytes, double max_age_s);

/* What is kept unless somebody says otherwise: SLUICE_CACHE_SIZE ("20GiB"; 0 keeps nothing) and
 * SLUICE_CACHE_AGE. */
uint64_t sl_results_max_bytes(void);
double sl_results_max_age_s(void);

#endif

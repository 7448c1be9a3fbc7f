/* Items: the inputs of a batch, each with a name that is unique in the run and safe as a file
 * name. */
#ifndef RUN_ITEMS_H
#define RUN_ITEMS_H

#include <jansson.h>

#include "base/mem.h"

struct sl_item {
    const char *name;
    const char *file; /* absolute path; "" for a pipeline without inputs */
    int set;          /* its parameters, see graph/variants.h; 0: those of the pipeline */
};

/*
 * Names each file after its base name without the extension, with "_" for control characters and
 * bytes that are not UTF-8; equal names get the parent folder's name as a prefix ("monday-talk",
 * "tuesday-talk"), and where that does not tell them apart a number ("talk-2"). Everything is
 * allocated in the arena. Returns an array of n items.
 */
struct sl_item *sl_items_from_files(struct sl_arena *arena, const char *const *files, int n);

/* A name for one more file, unequal to all in `taken` (a set: names are its keys), to which it is
 * added. */
const char *sl_item_name(struct sl_arena *arena, json_t *taken, const char *file);

#endif

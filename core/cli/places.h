/* Where the files of a run will be written: each in a place of its own, and over none that the run
 * reads. */
#ifndef CLI_PLACES_H
#define CLI_PLACES_H

#include "graph/plan.h"
#include "run/items.h"

/*
 * Looks at names alone, and at the folders of the items, before anything runs. 0; SL_USAGE, where
 *   - two items would write one file ("talk" as "talk.en.srt", "talk.en" as "talk.en.srt");
 *   - an item would write over the file of one of the items, which lies in the folder `out_dir`.
 * What it cannot see (links, further inputs, files of a watched folder) is looked at when a file is
 * written.
 */
int sl_places_check(const struct sl_plan *plan, const struct sl_item *items, int n_items,
                    const char *out_dir, struct sl_err *err);

/*
 * Whether the files can be written there: `out_dir`, or the nearest folder above it that is there,
 * is a folder that we may write to. Makes nothing. 0; SL_USAGE. So a batch does not find out when
 * its first item is done.
 */
int sl_places_check_folder(const char *out_dir, struct sl_err *err);

#endif

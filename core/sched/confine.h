/*
 * What a worker's sandbox lets it read and write (worker/sandbox.h), from what its stage is about:
 *   read    the plugin's folder, share/sluice, the folder of models, files and folders that its
 *           parameters name, the artifacts that it takes, and where the stage takes files of the
 *           user's, those: the item's own, or for a process that takes several items the artifacts
 *           and folders of all
 *   write   the run's scratch folder
 * Links in the folders of models are followed, as those of download caches must be.
 */
#ifndef SCHED_CONFINE_H
#define SCHED_CONFINE_H

#include "sched/run_internal.h"

/* Makes SL_FRAME_SANDBOX for a worker that begins with `task`, on a card or not. `params`: its
 * parameters as JSON. False: it is not confined. */
bool sl_confine_frame(const struct run *run, const struct sl_task *task, bool on_gpu,
                      const char *params, struct sl_frame_out *ret);

/* The real paths that all stages may read: share/sluice and the folders of models, with what their
 * links lead to; *ret_n of them, in `arena`. Found once for a run: a worker's start would wait for
 * it. */
const char **sl_confine_shared(const char *share_dir, struct sl_arena *arena, int *ret_n);

/* The folders in which items lie, each once; *ret_n of them, in `arena`. Of more than
 * SL_CONFINE_MAX_FOLDERS only the one above them all. */
#define SL_CONFINE_MAX_FOLDERS 64
const char **sl_confine_folders(const struct sl_item *items, int n, struct sl_arena *arena,
                                int *ret_n);

#endif

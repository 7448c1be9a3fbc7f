/*
 * The run folder: $SLUICE_STATE/runs/ID, else $XDG_STATE_HOME/sluice/runs/ID, else
 * ~/.local/state/sluice/runs/ID. docs/run-folder.md says what lies in it.
 *
 * An ID sorts by time: "20260131-081542-1f3a".
 */
#ifndef RUN_RUNDIR_H
#define RUN_RUNDIR_H

#include <stdbool.h>

#include "base/err.h"

#define SL_RUN_ID_SIZE 32

struct sl_rundir {
    char id[SL_RUN_ID_SIZE];
    char *path;  /* absolute, owned */
    int lock_fd; /* holds the lock of a live run; -1 when opened for reading */
};

/* The folder of all runs; owned. */
char *sl_runs_root(void);

/* Makes a new run folder with its sub-folders and takes its lock. */
int sl_rundir_create(struct sl_rundir *ret, struct sl_err *err);

/* Makes the sub-folders that are missing. */
int sl_rundir_make_folders(const struct sl_rundir *rd, struct sl_err *err);
/* Takes the lock of a run that was opened and whose core is gone. SLUICE_RESOURCE: it lives (says
 * which process). */
int sl_rundir_lock(struct sl_rundir *rd, struct sl_err *err);

/* Opens a run by its id, by a unique beginning of it, or by "last". SLUICE_INPUT: no such run (says
 * what there is). */
int sl_rundir_open(const char *id, struct sl_rundir *ret, struct sl_err *err);
void sl_rundir_finish(struct sl_rundir *rd);

/* True while the core of that run lives. */
bool sl_rundir_is_live(const char *path);

/* Ids of all runs, newest first: an owned array of owned strings. A missing root counts as
 * empty. */
int sl_rundir_list(char ***ret_ids, int *ret_n, struct sl_err *err);
void sl_rundir_list_free(char **ids, int n);

#endif

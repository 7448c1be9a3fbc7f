/*
 * What the words of a command line stand for: a file for itself, a folder for the files in it, a
 * pattern (* ? [...]) for those that match.
 *
 * Of a folder those files are taken whose names end as the pipeline's first input wants it
 * (SL_MEDIA_ENDINGS for file/1), sorted by name, with those of folders below in their place. Names
 * that begin with a dot are passed over, and links to folders are not followed. A word that ends in
 * one of these ways is taken for a file without a look: a long list of files costs no system call
 * for each.
 */
#ifndef RUN_GATHER_H
#define RUN_GATHER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"

#define SL_GATHER_MAX_FILES 1000000

struct sl_gather {
    struct sl_arena arena;
    const char **files; /* as they were named, or found */
    int n, cap;
};

/* Whether a file of this name is one that an input of `type` takes from folders. */
bool sl_gather_wants(const char *name, const char *type);

/* Adds what `word` stands for. SL_USAGE: a folder or a pattern without any such file. */
int sl_gather_add(struct sl_gather *g, const char *word, const char *type, struct sl_err *err);
void sl_gather_finish(struct sl_gather *g);

#endif

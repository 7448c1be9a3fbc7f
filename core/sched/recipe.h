/* Recipes: what decides the bytes that a task makes (run/results.h says of what parts). Large files
 * are hashed a slice at a time; what was hashed before is remembered (run/digests.h). */
#ifndef SCHED_RECIPE_H
#define SCHED_RECIPE_H

#include "run/artifact.h"
#include "run/digests.h"
#include "sched/tasks.h"

struct run;

struct sl_recipes {
    const struct run *run; /* borrowed */
    struct sl_digests digests;
    /* digests of files that parameters name: path -> digest; looked at once a run */
    json_t *params;
    char **builds; /* for each stage: its plugin's build; owned */
};
void sl_recipes_init(struct sl_recipes *rs, const struct run *run);
void sl_recipes_finish(struct sl_recipes *rs);

/* All zero: not begun. */
struct sl_recipe {
    json_t *all; /* the recipe; NULL until it is made */
    /* stamps of the user's files before they were read (sl_run_sources); or NULL */
    json_t *sources;
    json_t *known; /* digests so far: path -> digest */
    char *path;    /* of the file that is being hashed; NULL: none */
    struct stat st;
    struct sl_hasher *hasher;
};

/* Goes on making the recipe of a task, reading at most about `max` bytes. 1: it is made; 0: call
 * again, also while an artifact that it takes has no hash yet; -1: it has none, *ret_never says why
 * (static). */
int sl_recipe_make(struct sl_recipes *rs, const struct sl_task *task, uint64_t max,
                   struct sl_recipe *r, const char **ret_never);
void sl_recipe_finish(struct sl_recipe *r);

#endif

/*
 * Parameters that differ from item to item: the columns of a manifest (config/manifest.h) take the
 * place of the pipeline's parameters of the same name.
 *
 * A *set* is one combination of values; items with equal values share it. Set 0 is the pipeline as
 * it is. For each stage sets fall into *keys*: two items have equal keys exactly if the stage has
 * equal parameters for them, so a worker that was created for one serves the other. Key 0 is that
 * of the plan.
 *
 * Only values under `with:` can differ. A parameter that is referred to elsewhere (resources,
 * device, retry, ...), or that shapes the plan (outputs of a command, batch_size), cannot be a
 * column.
 */
#ifndef GRAPH_VARIANTS_H
#define GRAPH_VARIANTS_H

#include <jansson.h>

#include "graph/plan.h"

struct sl_variants;

/*
 * `names`: the columns, each with its position in the manifest, whose name is diags->file. Mistakes
 * (no such parameter, one that cannot differ) are added to `diags`, and NULL is returned.
 * Everything is borrowed until sl_variants_destroy().
 */
struct sl_variants *sl_variants_create(const struct sl_pipeline *pipeline,
                                       const struct sl_catalog *catalog, const struct sl_plan *plan,
                                       const struct sl_setting *settings, int n_settings,
                                       const char *const *names, const struct sl_pos *name_pos,
                                       int n_names, struct sl_diags *diags);
/* NULL is fine here and as `v` below: no item has parameters of its own. */
void sl_variants_destroy(struct sl_variants *v);

/* The set of these values, one for each name (NULL: the pipeline's own); -1 after mistakes were
 * reported at `pos`. Values are borrowed until sl_variants_destroy(). */
int sl_variants_add(struct sl_variants *v, const char *const *values, struct sl_pos pos,
                    struct sl_diags *diags);

/* The key of a stage of the plan. */
int sl_variants_key(const struct sl_variants *v, int set, int stage);
/* The parameters of the stage as one JSON object, owned; NULL where the key is 0: those of the plan
 * hold. */
char *sl_variants_params(const struct sl_variants *v, int set, int stage);
/* The values of a set by name, owned; NULL for set 0. */
json_t *sl_variants_values(const struct sl_variants *v, int set);

#endif

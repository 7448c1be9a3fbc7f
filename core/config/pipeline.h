/*
 * A pipeline file as it is written: names, references between stages, and the values that only the
 * catalog or the settings can judge, as YAML nodes. The format is documented in
 * docs/pipeline-file.md.
 *
 * Loading goes on after a mistake, so that sl_plan_make() can add those that it finds: all are
 * shown in one go.
 */
#ifndef CONFIG_PIPELINE_H
#define CONFIG_PIPELINE_H

#include "config/diag.h"
#include "config/yaml.h"

#define SL_PIPELINE_FORMAT     1 /* `sluice: 1` */
#define SL_PIPELINE_MAX_STAGES 20000
#define SL_PIPELINE_MAX_PARAMS 1000
#define SL_PIPELINE_MAX_INPUTS 100

struct sl_pipeline_input {
    const char *name, *type, *help; /* help: "" where not given */
    struct sl_pos pos, type_pos;
};

struct sl_pipeline_param {
    const char *name, *help;
    struct sl_pos pos;
    const struct sl_yaml *value; /* the default; NULL: must be given with --set */
};

/* `in: { PORT: STAGE.SOURCE_PORT }`; a reference to `inputs.NAME` has stage "inputs". */
struct sl_pipeline_ref {
    const char *port;
    const char *stage; /* NULL: not of that form, which was reported */
    /* NULL: only a stage was named; sl_plan_make() says which ports it has */
    const char *source_port;
    struct sl_pos pos, source_pos; /* of the port, of the reference */
};

struct sl_pipeline_stage {
    const char *name;
    struct sl_pos pos;
    bool is_output;
    const char *use; /* NULL: missing, which was reported */
    struct sl_pos use_pos;
    struct sl_pipeline_ref *refs;
    int n_refs;
    /* Unread, since they may hold references to parameters; NULL where not given. */
    const struct sl_yaml *with, *device, *resources, *retry, *timeout, *optional, *cache, *keep,
        *on_oom, *sandbox, *network;
};

struct sl_pipeline {
    struct sl_arena arena; /* owns everything below */
    const char *name, *description;
    struct sl_pipeline_input *inputs;
    int n_inputs;
    struct sl_pipeline_param *params;
    int n_params;
    /* those under `stages:`, then those under `outputs:`, in the file's order */
    struct sl_pipeline_stage *stages;
    int n_stages;
    /* of `defaults:` */
    const struct sl_yaml *device, *resources, *retry, *timeout, *keep, *on_oom, *cache, *sandbox,
        *network;
    const struct sl_yaml *on_finish, *on_failure; /* unread; NULL where not given */
};

/*
 * Reads a file. Returns 0 with *ret_pipeline written where there is something to go on with, even
 * if mistakes were added to `diags`: call sl_plan_make() next, which fails if there are any.
 * SL_USAGE: nothing could be made of it. Set diags->file before.
 */
int sl_pipeline_load(const char *path, struct sl_diags *diags, struct sl_pipeline **ret_pipeline);
/* The same from memory. Pure. */
int sl_pipeline_parse(const char *bytes, size_t len, struct sl_diags *diags,
                      struct sl_pipeline **ret_pipeline);
void sl_pipeline_destroy(struct sl_pipeline *pipeline);

#endif

/*
 * What a parameter that names a model means: "embedded", a path, or the name of an installed model.
 *
 * A name is looked for in two folders, as NAME (a folder, or a file), NAME.bin and ggml-NAME.bin:
 *     SHARE/models                                            what came with Sluice
 *     $SLUICE_MODELS, or $XDG_DATA_HOME/sluice/models, or ~/.local/share/sluice/models
 *                                                             what `sluice models get` installed
 * `sluice models path` (core/cli/cmd_models.c) answers by the same rules.
 */
#ifndef NUM_RESOLVE_H
#define NUM_RESOLVE_H

#include <stddef.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes the path of `model` to `path`. A model with a slash is a path where there is one, else a
 * name like "owner/repo". `embedded` is the name that "embedded" stands for, NULL: nothing does.
 * SLUICE_INPUT where there is none, with what is installed.
 */
int32_t num_model_resolve(const char *model, const char *embedded, const char *share_dir,
                          char *path, size_t size, struct num_err *err);

#define NUM_MODEL_PATH 4096

/*
 * The path of a model that a path or a name says, for parameters of which "embedded" is no value. A
 * path that is there, and any absolute one, is taken as it stands, so that what is wrong with it is
 * said by who opens it. *ret is `value` or `room`.
 */
int32_t num_model_find(const char *value, const char *share_dir, char room[NUM_MODEL_PATH],
                       const char **ret, struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

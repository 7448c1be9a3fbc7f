/*
 * What the parameter `model` means: "embedded", a path, or the name of an installed model.
 *
 * A name is looked for in two folders, as NAME (a folder, or a file), NAME.bin and ggml-NAME.bin:
 *     SHARE/models                                            what came with Sluice
 *     $SLUICE_MODELS, or $XDG_DATA_HOME/sluice/models, or ~/.local/share/sluice/models
 *                                                             what `sluice models get` installed
 * `sluice models path` (core/cli/cmd_models.c) answers by the same rules.
 */
#ifndef WH_RESOLVE_H
#define WH_RESOLVE_H

#include <stddef.h>

#include "num/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes the path of `model` to `path`. A model with a slash is a path where there is one, else a
 * name like "owner/repo". SLUICE_INPUT where there is none, with what is installed.
 */
int32_t wh_model_resolve(const char *model, const char *share_dir, char *path, size_t size,
                         struct num_err *err);

#ifdef __cplusplus
}
#endif

#endif

/* Loader: opens a plugin's shared object and hands out its entry. The only user of libltdl. */
#ifndef WORKER_LOADER_H
#define WORKER_LOADER_H

#include <stdbool.h>

#include <sluice/plugin.h>

#include "base/err.h"

/*
 * Loads the plugin at `path` (absolute, ends in .so; bound now and locally) and checks its
 * description (check.h). It stays loaded until the process ends. Runs the constructors of the
 * object. Call once, from the main thread.
 *
 * *ret_load_failed (may be NULL) tells why on failure. True: it cannot be loaded, dlopen's words
 * are the message; false: it was loaded, but is not a plugin or describes itself wrongly.
 */
int sl_loader_open(const char *path, const struct sluice_plugin **ret_plugin, bool *ret_load_failed,
                   struct sl_err *err);

/* Sets libltdl up, which sl_loader_open() does where it was not called; for a process that is
 * forked to load plugins. */
void sl_loader_init(void);

/* The stage `id` of a checked plugin, or NULL. */
const struct sluice_stage *sl_loader_stage(const struct sluice_plugin *plugin, const char *id);

#endif

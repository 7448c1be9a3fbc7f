/*
 * The registry finds plugins and describes them in throwaway workers, up to the number of
 * processors at a time. A plugin that crashes, hangs or lies while it is described costs one probe
 * and is listed with the real reason (dlopen's words, the signal, the last lines of its standard
 * error).
 *
 * Folders, in this order, the first to hold a file name wins: those of `--plugins DIR`,
 * SLUICE_PLUGIN_PATH (colon separated), <prefix>/lib/sluice/plugins. Never the working directory.
 *
 * Descriptions are cached in $XDG_CACHE_HOME/sluice/plugins.json (SLUICE_CACHE overrides the
 * folder), keyed by path, size, mtime (ns) and build id. Failures are cached too where the cause
 * lies in the file (a wrong declaration, another ABI). One that takes too long is left alone for an
 * hour (SL_CACHE_PASSING_S); one that does not load or crashes is probed again, which costs little,
 * for the cause may be a library that is installed tomorrow. The cache is written whole and any
 * damage to it only costs new probes.
 */
#ifndef PROC_REGISTRY_H
#define PROC_REGISTRY_H

#include "graph/catalog.h"

struct sl_registry_options {
    const char *const *folders; /* of --plugins; may be NULL */
    int n_folders;
    const char *worker; /* path of sluice-worker; NULL: <prefix>/libexec/sluice/sluice-worker */
    bool no_cache;
    bool refresh; /* describes all again, and remembers it */
    int limit_ms; /* for one plugin to be described; 0: SL_PROBE_LIMIT_MS */
};

/* Fills an empty catalog with every plugin found, sorted by name. Fails only where the system does;
 * broken plugins are part of the catalog. SL_USAGE: a folder of `--plugins` cannot be read. */
int sl_registry_load(const struct sl_registry_options *options, struct sl_catalog *catalog,
                     struct sl_err *err);

/* Describes one file by its path, without the cache; adds it (also where broken) to the catalog. */
int sl_registry_probe(const struct sl_registry_options *options, const char *path,
                      struct sl_catalog *catalog, struct sl_err *err);

#endif

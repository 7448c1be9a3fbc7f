/* Describing a plugin: its declarations as one line of JSON, in the form of graph/catalog.h. */
#ifndef WORKER_DESCRIBE_H
#define WORKER_DESCRIBE_H

#include <jansson.h>

#include <sluice/plugin.h>

#define SL_DESCRIBE_EXIT_LOAD  1 /* it does not load: a cause outside the file is possible */
#define SL_DESCRIBE_EXIT_WRONG 2 /* it loads, but is no plugin or describes itself wrongly */

/*
 * Loads the plugin at `path` and writes its description to `fd`, or to standard output where fd <
 * 0; what constructors print goes to standard error. Returns the exit code of the program; the
 * reason of a failure is the last line of standard error.
 */
int sl_describe(const char *path, int fd);

/* The description of a checked plugin; owned. */
json_t *sl_describe_plugin(const struct sluice_plugin *plugin);

#endif

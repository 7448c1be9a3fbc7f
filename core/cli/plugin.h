/* The two halves of `sluice plugin`. */
#ifndef CLI_PLUGIN_H
#define CLI_PLUGIN_H

#include "cli/cli.h"

int sl_plugin_new(const struct sl_command *self, int argc, char **argv);
int sl_plugin_check(const struct sl_command *self, int argc, char **argv);

#endif

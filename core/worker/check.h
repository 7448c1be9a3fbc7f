/* Checks what a plugin declares, before anything relies on it. Calls no code of the plugin. */
#ifndef WORKER_CHECK_H
#define WORKER_CHECK_H

#include <sluice/plugin.h>

#include "base/err.h"

#define SL_CHECK_MAX_ITEMS 256 /* stages; ports or parameters of one; choices of a parameter */

/*
 * `entry` is what the symbol sluice_plugin_entry points to. Checks magic, size, ABI versions, that
 * every array ends within SL_CHECK_MAX_ITEMS, names and ids are well formed and unique, types and
 * kinds are known, ranges are in order, and that process() is there. The message names the field
 * that is wrong, what was found and what was expected. What it cannot see: pointers that lead
 * nowhere.
 */
int sl_check_plugin(const void *entry, struct sl_err *err);

/* The name of a SLUICE_PARAM_* kind as descriptions spell it, or NULL. */
const char *sl_check_kind_name(int kind);

#endif

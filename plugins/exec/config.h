/*
 * The parameters of exec/command, checked.
 */
#ifndef EXEC_CONFIG_H
#define EXEC_CONFIG_H

#include <stddef.h>

#include "exec/err.h"
#include "exec/status.h"

/* One member of a map: an output and its type, a variable and its value. */
struct cmd_pair {
    char *name, *value; /* owned */
};

struct cmd_config {
    char **argv; /* [n_argv], owned, at least one; references (refs.h) not yet replaced */
    size_t n_argv;
    struct cmd_pair *outputs; /* [n_outputs], port and type */
    size_t n_outputs;
    struct cmd_pair *env; /* [n_env], added to the base environment */
    size_t n_env;
    struct cmd_exit_codes exit_codes;
};

/*
 * Reads the four parameters, each JSON text; NULL and "null" count as empty. Whole numbers stand
 * for their digits where a string is wanted. Checks that references are well formed, that each
 * ${out.X} names a declared output, and that each output is named by argv or env, since the program
 * has no other way to learn where to write. Returns 0; SLUICE_UNSUPPORTED: they are wrong, and
 * `err` says which and why; SLUICE_RESOURCE. Pure.
 */
int cmd_config_read(const char *argv, const char *outputs, const char *env, const char *exit_codes,
                    struct cmd_config *ret, struct cmd_err *err);

/* Frees what a configuration holds; it may be zeroed. */
void cmd_config_finish(struct cmd_config *config);

/* The type of output `name`, or NULL. */
const char *cmd_config_output(const struct cmd_config *config, const char *name);

/* File name extension for a payload of `type`: ".json", ".txt", ".safetensors", else ".bin".
 * Static. */
const char *cmd_type_extension(const char *type);

#endif

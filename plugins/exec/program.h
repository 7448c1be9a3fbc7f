/*
 * Which file is the program, and in which environment it runs.
 */
#ifndef EXEC_PROGRAM_H
#define EXEC_PROGRAM_H

#include "exec/config.h"

/*
 * The environment of a program: PATH, HOME and LANG of this process (with defaults where they are
 * not set), TMPDIR=`tmpdir`, then `pairs`, which win. Returns a NULL-terminated vector for
 * cmd_env_free(), or NULL where memory is short.
 */
char **cmd_env_make(const char *tmpdir, const struct cmd_pair *pairs, size_t n);

/* Frees a vector of strings; NULL is allowed. */
void cmd_env_free(char **env);

/* Value of `name` in `env`, or NULL. */
const char *cmd_env_get(char *const *env, const char *name);

/*
 * Finds program `name` as a shell would: as it is where it holds a slash (relative to the working
 * directory), else in the folders of `path`. The file name is put into *ret, for free(). Returns 0;
 * SLUICE_UNSUPPORTED: not there, or there but not executable; SLUICE_RESOURCE.
 */
int cmd_program_find(const char *name, const char *path, char **ret, struct cmd_err *err);

#endif

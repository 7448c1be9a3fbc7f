/* What a process is started with, put in order before a command looks at it. */
#ifndef CLI_SURROUNDINGS_H
#define CLI_SURROUNDINGS_H

/*
 * Once, first of all in main():
 *   - closed standard descriptors become /dev/null: else the next file that is opened would get
 *     what is printed;
 *   - SIGXFSZ is ignored: a file over the user's limit (ulimit -f) is an error that is said;
 *   - HOME, where it is not set, as in many services, becomes what the list of users says, also
 *     for plugins and programs;
 *   - variables of ours (docs/env.md) whose value cannot be read are warned of: their default
 *     holds.
 */
void sl_surroundings_prepare(void);

#endif

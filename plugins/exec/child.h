/*
 * Runs one program to its end.
 */
#ifndef EXEC_CHILD_H
#define EXEC_CHILD_H

#include <stdbool.h>

#include "exec/err.h"

#define CMD_ALIVE_MS     5000 /* between two calls of alive() */
#define CMD_CANCEL_MS    100  /* longest time until a cancellation is noticed */
#define CMD_TERMINATE_MS 2000 /* between SIGTERM and SIGKILL */

struct cmd_child_spec {
    const char *file;  /* what is executed (cmd_program_find) */
    char *const *argv; /* NULL-terminated; argv[0] is the name in messages */
    char *const *env;  /* NULL-terminated */
};

/* Called on the calling thread while the program runs. */
struct cmd_child_watch {
    void *context;
    bool (*cancelled)(void *context);
    void (*alive)(void *context);
};

struct cmd_child_end {
    int status;          /* exit status, or 128 + signal */
    int signal;          /* what killed it, or 0 */
    bool cancelled;      /* it was stopped because watch->cancelled() said so */
    char last_line[300]; /* its last words on standard error, printable; may be empty */
};

/*
 * Starts the program in a process group of its own with an empty standard input, standard output as
 * it is here, and standard error passed on to file descriptor 2; no other file descriptor is open
 * in it. Waits for its end and kills what is left of its group. Blocking; uses no state but its
 * arguments.
 *
 * Returns 0 and the end, however the program ended; SLUICE_UNSUPPORTED: it cannot be executed;
 * SLUICE_RESOURCE: no process or descriptor to be had; SLUICE_INTERNAL: its end cannot be learned,
 * because somebody else in this process waited for it.
 */
int cmd_child_run(const struct cmd_child_spec *spec, const struct cmd_child_watch *watch,
                  struct cmd_child_end *ret, struct cmd_err *err);

#endif

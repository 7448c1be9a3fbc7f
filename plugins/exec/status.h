/*
 * What a program's end means. Pure.
 *
 * A program's status is its exit status, or 128 + the number of the signal that killed it, as
 * shells count.
 */
#ifndef EXEC_STATUS_H
#define EXEC_STATUS_H

#include <stdbool.h>
#include <stdint.h>

struct cmd_exit_codes {
    int8_t classes[256]; /* a class of sluice/types.h for each status */
};

/* 0 is ok, 75 (EX_TEMPFAIL of sysexits.h) transient, 137 (SIGKILL: most often the kernel, for want
 * of memory) resource; every other internal. */
void cmd_exit_codes_init(struct cmd_exit_codes *codes);

/* The class called `name` ("ok", "input", "unsupported", "resource", "transient", "internal");
 * false: none. */
bool cmd_class_by_name(const char *name, int32_t *ret);

/* Class of `status`; one outside 0..255 is internal. */
int32_t cmd_exit_codes_class(const struct cmd_exit_codes *codes, int status);

#endif

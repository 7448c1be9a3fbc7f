/*
 * The last bytes of a stream, kept for error messages.
 */
#ifndef EXEC_TAIL_H
#define EXEC_TAIL_H

#include <stddef.h>

#define CMD_TAIL_BYTES 2048

struct cmd_tail {
    char data[CMD_TAIL_BYTES]; /* the last `len` bytes, oldest first */
    size_t len;
};

void cmd_tail_add(struct cmd_tail *tail, const char *data, size_t len);

/*
 * Copies the last line that is not blank into `ret`, cut to size - 1 bytes: control characters and
 * bytes that are not UTF-8 become '?'. Empty where there is none.
 */
void cmd_tail_last_line(const struct cmd_tail *tail, char *ret, size_t size);

#endif

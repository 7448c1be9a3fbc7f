/*
 * Breaks a cue's text into lines of limited width.
 */
#ifndef EXPORT_WRAP_H
#define EXPORT_WRAP_H

#include <stddef.h>

#include "num/err.h"

struct ex_line {
    size_t at, len; /* bytes of the text: [at, at + len) */
};

struct ex_lines {
    struct ex_line *lines; /* owned */
    size_t n, cap;
};

struct ex_wrap {
    size_t width;  /* most columns in a line; 0: only the text's own line breaks count */
    size_t count;  /* lines in a cue; 0: all. Says which lines open a cue */
    size_t indent; /* columns already taken in the first line of a cue, by a speaker's name */
};

/*
 * Splits `text` (cleaned, see text.h) into lines, appended to `ret`. Words are broken only between
 * East Asian characters, which have no spaces; a word longer than the width gets a line that is too
 * long. Combining marks stay with their letter and closing punctuation with what it closes. Returns
 * 0 or SLUICE_RESOURCE.
 */
int ex_wrap_lines(const char *text, const struct ex_wrap *wrap, struct ex_lines *ret,
                  struct num_err *err);

void ex_lines_finish(struct ex_lines *lines);

#define ex_autolines __attribute__((cleanup(ex_lines_finish))) struct ex_lines

#endif

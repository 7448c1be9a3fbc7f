/* Diagnostics of a pipeline file: every mistake in one go, each with its position. */
#ifndef CONFIG_DIAG_H
#define CONFIG_DIAG_H

#include "base/mem.h"
#include "base/str.h"

struct sl_pos {
    int line, column; /* from 1; 0: unknown */
};

struct sl_diag {
    struct sl_pos pos;
    const char *text; /* what was found, what would be accepted, did-you-mean; one sentence */
    bool warning;
};

/* `struct sl_diags d = {.file = path};` collects; texts live in the arena. */
struct sl_diags {
    const char *file; /* as the user named it; borrowed */
    struct sl_arena arena;
    struct sl_diag *items;
    int n, cap;
    int n_errors;
};

void sl_diag_error(struct sl_diags *d, struct sl_pos pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void sl_diag_warn(struct sl_diags *d, struct sl_pos pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds all, sorted by position, as "FILE:LINE:COLUMN: error: TEXT\n" lines. */
void sl_diags_print(struct sl_diags *d, struct sl_str *out);
void sl_diags_finish(struct sl_diags *d);

#endif
